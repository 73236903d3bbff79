"""Recordings: their records, and the disk that they may take.

A record is stored when a recording begins and again when it ends, whatever asked for it. A recording is refused where
its account has used its quota, or the disk has less free than the floor; one that runs ends at the floor
(`workers/decoder/wavfile.py`), and may go over the quota.
"""

import asyncio
import os
import secrets
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import structlog

from trunkline.calls.commands import RecordingCallback
from trunkline.calls.recordings import RecordingFiles
from trunkline.calls.registry import LiveCall
from trunkline.calls.views import CallView, RecordingEvent, RecordingEventKind, RecordingStatus, RecordingView
from trunkline.config import StoreSettings
from trunkline.confinement import environment
from trunkline.errors import InvalidRequest, ResourceNotFound, Unavailable
from trunkline.ids import AccountSid, IdsOfLife, LegId, end_event_id, random_uuid
from trunkline.store.store import Store
from trunkline.store.writer import Writer
from trunkline.webhooks.payloads import CallbackFace, recording_callback_of
from trunkline.workers.decoder.wavfile import EMPTY, measured
from trunkline.workers.orders import RecordingOptions, StartRecording
from trunkline.workers.reports import RecordingEnded

_log = structlog.get_logger()

MEGABYTE = 1_000_000
MP3 = ".mp3"
ENCODING_TIME = 600
"""Seconds for an mp3 file; an hour of speech takes some twenty."""
RECORDINGS_PER_CALL = 4
"""Each takes a part of its media worker's time."""


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
        face: CallbackFace,
    ) -> None:
        self.files = files
        self._ids = ids
        self._writer = writer
        self._store = store
        self._quota = settings.recordings_quota * MEGABYTE
        self._floor = settings.recordings_floor * MEGABYTE
        self._used = Counter(used)
        self._face = face
        self._jobs = count(-1, -1)
        self._turn = asyncio.Lock()
        """Of those that make mp3 files: one at a time."""
        self._running: dict[tuple[LegId, int], RecordingView] = {}

    def job(self) -> int:
        """A number for a recording, or a playback, that no document asked for; those of documents are above 0."""
        return next(self._jobs)

    def running(self, sid: str) -> tuple[LegId, int, RecordingView] | None:
        """Leg, job and view of one that is under way."""
        found = ((leg, job, view) for (leg, job), view in self._running.items() if view.sid == sid)
        return next(found, None)

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

    def begin(
        self,
        entry: LiveCall,
        job: int,
        options: RecordingOptions,
        source: str,
        callback: RecordingCallback,
        apply: Callable[[LiveCall, StartRecording], object],
    ) -> str:
        """Record a call by `apply`, which carries out commands; the sid. Raises ApiError."""
        view = entry.call.view
        self._check(entry.leg)
        sid, order = self.order(view.account_sid, job, options)
        apply(entry, order)
        self._began(entry.leg, view, sid, order, source, callback)
        return sid

    def _check(self, leg: LegId) -> None:
        if sum(one == leg for one, _ in self._running) >= RECORDINGS_PER_CALL:
            raise InvalidRequest(f"The call has {RECORDINGS_PER_CALL} recordings under way.")

    def _began(
        self,
        leg: LegId,
        call: CallView,
        sid: str,
        order: StartRecording,
        source: str,
        callback: RecordingCallback,
    ) -> None:
        now = datetime.now(UTC)
        view = RecordingView(
            sid,
            call.account_sid,
            call.sid,
            "in-progress",
            source,
            order.options.channels,
            created_at=now,
            updated_at=now,
            track=order.options.track,
            application_sid=call.application_sid,
            status_callback=callback.url,
            status_callback_method=callback.method,
            status_callback_events=callback.events,
            sends_url=callback.sends_url,
        )
        self._running[leg, order.job] = view
        self._save(view, "in-progress", random_uuid(secrets.token_bytes(16)))

    def paused(self, sid: str, paused: bool, now: datetime) -> tuple[RecordingView, asyncio.Future[None]]:
        """One that is under way was paused or resumed. What it is now, and the durable write."""
        found = self.running(sid)
        assert found is not None
        leg, job, view = found
        status: RecordingStatus = "paused" if paused else "in-progress"
        self._running[leg, job] = view = replace(view, status=status, updated_at=now)
        return view, self._writer.submit(recordings=[view])

    def ended(self, leg: LegId, fact: RecordingEnded, now: datetime) -> None:
        """A recording is over. No effect for one that is unknown."""
        view = self._running.pop((leg, fact.job), None)
        if view is None:
            return
        seconds, size = (fact.seconds, fact.size) if fact.error is None else self._measured(view)
        self._used[view.account_sid] += size
        ended = replace(
            view,
            status="completed" if fact.error is None else "failed",
            updated_at=now,
            ended_at=now,
            duration=seconds,
            size=size,
            error=fact.error,
        )
        self._over(ended)

    def _over(self, view: RecordingView) -> asyncio.Future[None]:
        return self._save(view, "completed" if (view.size or 0) > EMPTY else "absent", end_event_id(view.sid))

    def _save(self, view: RecordingView, kind: RecordingEventKind, callback_id: str) -> asyncio.Future[None]:
        event, url = RecordingEvent(kind, view), self.files.url(view.account_sid, view.sid)
        callback = recording_callback_of(event, url, view.updated_at, callback_id, self._face)
        return self._writer.submit(recordings=[view], callbacks=[] if callback is None else [callback])

    def lost(self, leg: LegId, why: str, now: datetime) -> None:
        """The media worker of a leg has died: what was written of its recordings plays."""
        for key in [key for key in self._running if key[0] == leg]:
            self.ended(leg, RecordingEnded(key[1], 0.0, "error", error=why), now)

    async def mp3(self, account: AccountSid, sid: str) -> Path:
        """The mp3 file of a recording that is over, made when it is first asked for. Raises ResourceNotFound,
        Unavailable."""
        source = self.files.path(account, sid)
        if source is None or not source.is_file():
            raise ResourceNotFound
        target, part = source.with_suffix(MP3), source.with_suffix(f"{MP3}.part")
        async with self._turn:
            if not target.is_file():
                await self._encode(source, part)
                part.replace(target)
        return target

    async def _encode(self, source: Path, target: Path) -> None:
        if self._floor and self._free() < self._floor:
            raise Unavailable("The disk has no room for the mp3 file (store.recordings_floor).")
        program = (sys.executable, "-m", "trunkline.workers.decoder.mp3file", str(source), str(target))
        process = await asyncio.create_subprocess_exec(*program, env=environment(), stdin=DEVNULL, stdout=DEVNULL)
        try:
            async with asyncio.timeout(ENCODING_TIME):
                status = await process.wait()
        except TimeoutError:
            status = None
        finally:
            if process.returncode is None:
                process.kill()
        if status != 0:
            await asyncio.to_thread(target.unlink, missing_ok=True)
            _log.warning("mp3_failed", recording=source.stem, status=status)
            raise Unavailable("The mp3 file could not be made.")

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
            seconds, size = await asyncio.to_thread(self._measured, view)
            self._used[view.account_sid] += size
            await self._over(cut_off(view, now, seconds, size))

    def _unlink(self, views: Sequence[RecordingView]) -> None:
        for view in views:
            path = self.files.path(view.account_sid, view.sid)
            if path is not None:
                path.unlink(missing_ok=True)
                path.with_suffix(MP3).unlink(missing_ok=True)
                path.with_suffix(f"{MP3}.part").unlink(missing_ok=True)

    def _measured(self, view: RecordingView) -> tuple[float, int]:
        """Seconds and bytes of what was written."""
        path = self.files.path(view.account_sid, view.sid)
        try:
            return (0.0, 0) if path is None else measured(path)
        except OSError:
            return 0.0, 0

    def _free(self) -> int:
        try:
            disk = os.statvfs(self.files.directory)
        except OSError as error:
            raise Unavailable(f"The folder of recordings cannot be read: {error.strerror}.") from None
        return disk.f_bavail * disk.f_frsize


def cut_off(view: RecordingView, now: datetime, seconds: float, size: int) -> RecordingView:
    """The record of a recording that was under way when the server died."""
    error = "the server stopped without warning"
    return replace(view, status="stopped", updated_at=now, ended_at=now, duration=seconds, size=size, error=error)
