"""Names of the files of captures (`capture.py`), for who writes them and who finds them. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

SUFFIX = ".capture.jsonl"
_TIME = "%Y%m%dT%H%M%S"
_NAME = re.compile(r"(\d{8}T\d{6})-([0-9A-Za-z-]{1,64})(?:\.(\d{3,6}))?" + re.escape(SUFFIX), re.ASCII)
_FOLDER = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class CaptureName:
    """The name of one file: in order of time in a listing."""

    started_at: datetime
    """Whole seconds."""
    stream: str
    """`stream_id`."""
    part: int = 1
    """A capture that is long is in several."""

    @property
    def file(self) -> str:
        """In the folder of the account."""
        part = "" if self.part == 1 else f".{self.part:03}"
        return f"{self.started_at:{_TIME}}-{self.stream}{part}{SUFFIX}"

    @classmethod
    def parse(cls, file: str) -> "CaptureName | None":
        """What `file` gave; None for any other."""
        found = _NAME.fullmatch(file)
        try:
            at = None if found is None else datetime.strptime(found[1], _TIME).replace(tzinfo=UTC)
        except ValueError:
            return None
        return None if found is None or at is None else cls(at, found[2], int(found[3] or 1))


def folder_of(account: str) -> str:
    """Where the captures of an account are, below `streams.capture`: an account that the settings name may be called
    anything."""
    return account if _FOLDER.fullmatch(account) else sha256(account.encode()).hexdigest()
