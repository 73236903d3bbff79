"""Where recordings are: the file of each on this machine, and the URL at which its account fetches it. Pure.

All lie in one folder, each under a name made of its account and sid. Only sids that we made lead to files, so no
request leaves the folder."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trunkline.ids import AccountSid

_SID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RecordingFiles:
    """Of one node."""

    directory: Path
    public_url: Callable[[], str]
    """Of this server, without a slash at its end; known once it serves."""

    def path(self, account: AccountSid, sid: str) -> Path | None:
        """The file, which need not exist; None for what is no sid."""
        return self.directory / f"{account}.{sid}.wav" if _SID.fullmatch(sid) else None

    def url(self, account: AccountSid, sid: str) -> str:
        """The URL for customers (`faces/telnyx/operations/calls.py`, FetchRecordingAudio)."""
        return f"{self._base(account)}{sid}.wav"

    def path_of(self, account: AccountSid, url: str) -> Path | None:
        """The file of a URL that `url` gave; None for any other."""
        base = self._base(account)
        sid = url.removeprefix(base).removesuffix(".wav")
        return self.path(account, sid) if url == f"{base}{sid}.wav" else None

    def _base(self, account: AccountSid) -> str:
        return f"{self.public_url()}/v2/texml/Accounts/{account}/Recordings/"
