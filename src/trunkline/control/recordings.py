"""Recordings: their records, and the disk that they may take.

A record is stored when a recording begins and again when it ends, whatever asked for it. A recording is refused where
its account has used its quota, or the disk has less free than the floor; one that runs ends at the floor
(`workers/decoder/wavfile.py`), and may go over the quota.
"""

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from trunkline.calls.recordings import RecordingFiles
from trunkline.calls.views import CallView, RecordingView
from trunkline.config import StoreSettings
from trunkline.errors import Unavailable
from trunkline.ids import AccountSid, IdsOfLife, LegId
from trunkline.store.store import Store
from trunkline.store.writer import Writer
from trunkline.workers.orders import RecordingOptions, StartRecording
from trunkline.workers.reports import RecordingEnded

MEGABYTE = 1_000_000


class Recordings:
    """Of this server. `used` has the bytes that each account's recordings take."""

    def __init__(
        self,
        files: RecordingFiles,
        ids: IdsOfLife,
        writer: Writer,
        store: Store,
        settings: StoreSettings,
        used: Mapping[AccountSid, int],
    ) -> None:
        self.files = files
        self._ids = ids
        self._writer = writer
        self._store = store
        self._quota = settings.recordings_quota * MEGABYTE
        self._floor = settings.recordings_floor * MEGABYTE
        self._used = Counter(used)
        self._running: dict[tuple[LegId, int], RecordingView] = {}

    def order(self, account: AccountSid, job: int, options: RecordingOptions) -> tuple[str, StartRecording]:
        """The sid and the order of a new recording. Raises Unavailable where it may not be made."""
        if self._quota and self._used[account] >= self._quota:
            quota = f"{self._quota / MEGABYTE:g} MB"
            raise Unavailable(f"The account's recordings take {quota} or more (store.recordings_quota).")
        if self._floor and self._free() < self._floor:
            floor = f"{self._floor / MEGABYTE:g} MB"
            raise Unavailable(f"Less than {floor} of the disk are free (store.recordings_floor).")
        sid = self._ids.recording(secrets.token_bytes(16))
        path = self.files.path(account, sid)
        return sid, StartRecording(job, str(path), options, int(self._floor))

    def began(self, leg: LegId, call: CallView, sid: str, order: StartRecording, source: str, now: datetime) -> None:
        """The order was given."""
        view = RecordingView(sid, call.account_sid, call.sid, "in-progress", source, order.options.channels, now, now)
        self._running[leg, order.job] = view
        self._writer.submit(recordings=[view])

    def ended(self, leg: LegId, fact: RecordingEnded, now: datetime) -> None:
        """A recording is over. No effect for one that is unknown."""
        view = self._running.pop((leg, fact.job), None)
        if view is None:
            return
        self._used[view.account_sid] += fact.size
        ended = replace(
            view,
            status="completed" if fact.error is None else "failed",
            updated_at=now,
            ended_at=now,
            duration=fact.seconds,
            size=fact.size,
            error=fact.error,
        )
        self._writer.submit(recordings=[ended])

    def lost(self, leg: LegId, why: str, now: datetime) -> None:
        """The media worker of a leg has died: what was written of its recordings plays."""
        for key in [key for key in self._running if key[0] == leg]:
            self.ended(leg, RecordingEnded(key[1], 0.0, "error", error=why, size=self._size(self._running[key])), now)

    async def delete(self, views: Sequence[RecordingView]) -> None:
        """Delete recordings that have ended: the files first, so that none is left without a record. Raises
        STORE_ERRORS."""
        await asyncio.to_thread(self._unlink, views)
        gone = await self._store.delete_recordings([view.sid for view in views])
        for view in (view for view in views if view.sid in gone):  # another request may have deleted it meanwhile
            self._used[view.account_sid] = max(0, self._used[view.account_sid] - (view.size or 0))

    async def settle(self, views: Sequence[RecordingView], now: datetime) -> None:
        """End the records of recordings that an earlier life left under way. Raises NotStored."""
        for view in views:
            size = await asyncio.to_thread(self._size, view)
            self._used[view.account_sid] += size
            await self._writer.submit(recordings=[cut_off(view, now, size)])

    def _unlink(self, views: Sequence[RecordingView]) -> None:
        for view in views:
            path = self.files.path(view.account_sid, view.sid)
            if path is not None:
                path.unlink(missing_ok=True)

    def _size(self, view: RecordingView) -> int:
        path = self.files.path(view.account_sid, view.sid)
        try:
            return 0 if path is None else path.stat().st_size
        except OSError:
            return 0

    def _free(self) -> int:
        try:
            disk = os.statvfs(self.files.directory)
        except OSError as error:
            raise Unavailable(f"The folder of recordings cannot be read: {error.strerror}.") from None
        return disk.f_bavail * disk.f_frsize


def cut_off(view: RecordingView, now: datetime, size: int) -> RecordingView:
    """The record of a recording that was under way when the server died."""
    error = "the server stopped without warning"
    return replace(view, status="stopped", updated_at=now, ended_at=now, size=size, error=error)
