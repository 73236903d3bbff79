"""The one writer: changes go in at any time and are committed in order, many at once (group commit).

`submit` never waits. One task takes all waiting changes, writes them in one transaction, then calls `on_stored` with
the callbacks and completes the futures. A commit costs one disk sync however many changes it has, so the busier the
server, the larger the groups.

A database that fails is tried again with back-off, for as long as it takes: nothing that was submitted is dropped
while the server runs, but for a change that the database will never take (a fault of ours): it is set aside, with an
error in the log. What is bounded is new work: callers ask `full` before they accept any.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import structlog

from trunkline.calls.views import CallView, RecordingView, StreamView
from trunkline.config import StoreSettings
from trunkline.errors import Fenced, TrunklineError
from trunkline.store.records import (
    CallbackRecord,
    Row,
    TraceRecord,
    call_row,
    callback_row,
    contacts_row,
    recording_row,
    stream_row,
    trace_row,
)
from trunkline.store.store import Store, never_writable

GROUP_LIMIT = 1000
"""Changes in one transaction, so that after an outage the first are durable soon."""
FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
"""Seconds between tries while the database fails; each wait is twice the one before."""

LATE = 2.0
"""Seconds after which a change is late."""

log = structlog.get_logger()


class NotStored(TrunklineError):
    """The server stopped before the change could be written."""


@dataclass(frozen=True, slots=True)
class _Change:
    calls: tuple[Row, ...]
    streams: tuple[Row, ...]
    recordings: tuple[Row, ...]
    callbacks: tuple[CallbackRecord, ...]
    contacts: tuple[Row, ...]
    traces: tuple[Row, ...]
    since: float
    """When it was submitted, by the loop's clock."""
    done: asyncio.Future[None]


class Writer:
    """Writes calls, streams, recordings, callbacks, phones' contacts and traces to the store. `on_stored` gets each
    commit's callbacks, in order."""

    def __init__(
        self, store: Store, settings: StoreSettings, on_stored: Callable[[Sequence[CallbackRecord]], None]
    ) -> None:
        self._store = store
        self._limit = settings.queue_limit
        self._on_stored = on_stored
        self._waiting: deque[_Change] = deque()
        self.counters: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Changes submitted and not yet durable."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether new calls and streams must be refused. Changes of existing ones are taken all the same."""
        return len(self._waiting) >= self._limit

    @property
    def late(self) -> bool:
        """A change has waited for `LATE` seconds: the database is away, or too slow."""
        return bool(self._waiting) and asyncio.get_running_loop().time() - self._waiting[0].since >= LATE

    def start(self) -> None:
        """Start writing."""
        self._task = asyncio.create_task(self._run(), name="store writer")

    async def stop(self) -> None:
        """Write what is waiting, then end. What the database still refuses fails with NotStored."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def submit(
        self,
        calls: Sequence[CallView] = (),
        streams: Sequence[StreamView] = (),
        callbacks: Sequence[CallbackRecord] = (),
        contacts: Mapping[str, str] | None = None,
        dialog: str | None = None,
        recordings: Sequence[RecordingView] = (),
        traces: Sequence[TraceRecord] = (),
    ) -> asyncio.Future[None]:
        """Queue one change, written whole or not at all; `dialog` is the text of the SIP dialog of its call. The future
        is done once it is durable; it may be ignored."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        change = _Change(
            tuple(call_row(view, dialog) for view in calls),
            tuple(stream_row(view) for view in streams),
            tuple(recording_row(view) for view in recordings),
            tuple(replace(record, position=self._store.next_position()) for record in callbacks),
            tuple(contacts_row(user, saved) for user, saved in (contacts or {}).items()),
            tuple(map(trace_row, traces)),
            done.get_loop().time(),
            done,
        )
        if self._task is not None and self._task.done():
            _fail(change, NotStored("the store is closed"))
            return done
        self._waiting.append(change)
        self._wake.set()
        return done

    async def _run(self) -> None:
        delay = 0.0
        while True:
            if not self._waiting:
                if self._stopping:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._write_some(list(islice(self._waiting, GROUP_LIMIT)))
            except Exception as error:
                if self._stopping or isinstance(error, Fenced):
                    self._give_up(error)
                    return
                if not delay:
                    log.error("store_unavailable", reason=str(error), waiting=len(self._waiting))
                delay = min(max(2 * delay, FIRST_DELAY), LONGEST_DELAY)
                await self._rest(delay)
                continue
            if delay:
                log.warning("store_recovered", waiting=len(self._waiting))
                delay = 0.0

    async def _write_some(self, group: Sequence[_Change]) -> None:
        """All of them in one transaction. Where one can never be written each gets a transaction of its own, and that
        one is set aside."""
        try:
            await self._write(group)
        except Exception as error:
            if not never_writable(error):
                raise
        else:
            self._settle(group)
            return
        await self._store.write_results()  # If the fault lies there, no change is to blame.
        for change in group:
            try:
                await self._write([change])
            except Exception as error:
                if not never_writable(error):
                    raise
                self._set_aside(change, error)
            else:
                self._settle([change])

    def _set_aside(self, change: _Change, error: Exception) -> None:
        self._waiting.popleft()
        self.counters["set_aside"] += 1
        ids = {"call_sid": [row["sid"] for row in change.calls], "stream_id": [row["sid"] for row in change.streams]}
        log.error("store_change_set_aside", reason=repr(error)[:300], callbacks=len(change.callbacks), **ids)
        _fail(change, NotStored("the database will never take this change"))

    async def _write(self, group: Sequence[_Change]) -> None:
        # Of several versions of one record only the last is worth writing.
        calls = {row["sid"]: row for change in group for row in change.calls}
        streams = {row["sid"]: row for change in group for row in change.streams}
        callbacks = [callback_row(record) for change in group for record in change.callbacks]
        recordings = {row["sid"]: row for change in group for row in change.recordings}
        contacts = {row["user"]: row for change in group for row in change.contacts}
        traces = {row["call_sid"]: row for change in group for row in change.traces}
        records = [list(rows.values()) for rows in (calls, streams, contacts, recordings, traces)]
        await self._store.write(records[0], records[1], callbacks, *records[2:])

    def _settle(self, group: Sequence[_Change]) -> None:
        for _ in group:
            self._waiting.popleft()
        stored = [record for change in group for record in change.callbacks]
        if stored:
            try:
                self._on_stored(stored)
            except Exception as error:
                # A fault of the callee must not end the writer; the callbacks are stored, and go out at the next start.
                log.error("callbacks_not_queued", reason=repr(error), count=len(stored), exc_info=True)
        for change in group:
            if not change.done.done():
                change.done.set_result(None)

    async def _rest(self, delay: float) -> None:
        """Wait, but not once the server stops."""
        deadline = asyncio.get_running_loop().time() + delay
        while not self._stopping:
            self._wake.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _give_up(self, error: Exception) -> None:
        log.error("store_changes_lost", reason=str(error), lost=len(self._waiting))
        for change in self._waiting:
            _fail(change, NotStored(f"the database does not take writes: {error}"))
        self._waiting.clear()


def _fail(change: _Change, error: NotStored) -> None:
    if not change.done.done():
        change.done.set_exception(error)
        # Taken, so that a caller who ignores the future does not leave a warning on stderr.
        change.done.exception()
