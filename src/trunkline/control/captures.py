"""The captures of streams that media workers have written (`workers/worker/capture_writer.py`), for their accounts."""

import asyncio
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from pathlib import Path

import msgspec

from trunkline.calls.views import CapturePart, CaptureView
from trunkline.config import StreamSettings
from trunkline.errors import InvalidRequest, ResourceNotFound, Unavailable
from trunkline.ids import AccountSid
from trunkline.streaming.capture_names import CaptureName, folder_of
from trunkline.streaming.params import StreamParams

HEAD_LIMIT = 65536
"""Bytes of the first line, at most."""


class Captures:
    """Of this server. Each method raises Unavailable for a directory that cannot be used."""

    def __init__(self, settings: StreamSettings) -> None:
        self._directory = None if settings.capture is None else settings.capture.expanduser()

    @property
    def possible(self) -> bool:
        """Streams can be captured."""
        return self._directory is not None

    def check(self, params: StreamParams) -> None:
        """Raises InvalidRequest for a stream that asks for what this server does not do."""
        if params.capture and not self.possible:
            reason = "this server captures no streams: its operator has to set streams.capture to a directory"
            raise InvalidRequest(f"Capture: {reason}.", pointer="/Capture")

    async def page(
        self, account: AccountSid, streams: Collection[str] | None, *, offset: int, limit: int
    ) -> tuple[list[CaptureView], bool]:
        """One page, newest first, and whether more follow; with `streams`, of these alone."""
        return await asyncio.to_thread(self._page, account, streams, offset, limit)

    async def capture(self, account: AccountSid, stream: str) -> CaptureView:
        """The capture of a stream. Raises ResourceNotFound."""
        found, _ = await self.page(account, {stream}, offset=0, limit=1)
        if not found:
            raise ResourceNotFound
        return found[0]

    async def delete(self, account: AccountSid, streams: Collection[str]) -> int:
        """Delete the captures of streams; returns how many there were."""
        return await asyncio.to_thread(self._delete, account, streams)

    async def prune(self, before: datetime) -> int:
        """Delete files that were last written before; returns how many. Raises OSError, not Unavailable."""
        return await asyncio.to_thread(self._prune, before.timestamp())

    # ── in a thread ─────────────────────────────────────────────────────────────────────────────────────────

    def _page(
        self, account: AccountSid, streams: Collection[str] | None, offset: int, limit: int
    ) -> tuple[list[CaptureView], bool]:
        found = sorted(self._names(account, streams), reverse=True)
        captures = [
            [*names] for _, names in groupby(found, lambda name: (name.started_at, name.stream))
        ]  # the last part first
        views = (self._view(account, names[::-1]) for names in captures[offset : offset + limit])
        return [view for view in views if view is not None], len(captures) > offset + limit

    def _names(self, account: AccountSid, streams: Collection[str] | None = None) -> Iterator[CaptureName]:
        if self._directory is None:
            return
        try:
            entries = os.listdir(self._folder(account))
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unusable(error) from None
        for entry in entries:
            name = CaptureName.parse(entry)
            if name is not None and (streams is None or name.stream in streams):
                yield name

    def _folder(self, account: AccountSid) -> Path:
        assert self._directory is not None
        return self._directory / folder_of(account)

    def _view(self, account: AccountSid, names: Sequence[CaptureName]) -> CaptureView | None:
        """None: it was deleted meanwhile."""
        folder = self._folder(account)
        parts = [part for name in names if (part := _part(folder / name.file)) is not None]
        try:
            head = _head(parts[0].path) if parts else {}
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(error) from None
        if head.get("account_sid") != account:  # another's, of the same folder
            return None
        name, call, audio = replace(names[0], part=1), str(head.get("call_sid")), head.get("payloads") != "hash"
        return CaptureView(name.stream, call, name.started_at, name.file, audio, tuple(parts))

    def _delete(self, account: AccountSid, streams: Collection[str]) -> int:
        names = list(self._names(account, streams))
        try:
            for name in names:
                (self._folder(account) / name.file).unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(error) from None
        return len({name.stream for name in names})

    def _prune(self, before: float) -> int:
        gone = [] if self._directory is None else [*_older(self._directory, before)]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)


def _part(path: Path) -> CapturePart | None:
    with suppress(OSError):
        return CapturePart(path, _whole_lines(path))
    return None


def _whole_lines(path: Path) -> int:
    """Bytes to the end of the last whole line: one may just be written, or was, when the server died."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = file.seek(max(0, end - HEAD_LIMIT))
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            end = begin
    return 0


def _head(path: Path) -> dict[str, object]:
    """The first line; {} for what is none."""
    with path.open("rb") as file:
        first = file.readline(HEAD_LIMIT)
    try:
        return msgspec.json.decode(first, type=dict[str, object])
    except msgspec.DecodeError:
        return {}


def _older(directory: Path, before: float) -> Iterator[Path]:
    for path in directory.glob("*/*"):
        if CaptureName.parse(path.name) is not None:
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    yield path


def _unusable(error: OSError) -> Unavailable:
    return Unavailable(f"The directory of captures cannot be used: {error.strerror}.")
