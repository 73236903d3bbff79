"""`CallControl` for the API: commands to live calls through the runner, everything that is over from the store."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

from trunkline.calls.call import CallState
from trunkline.calls.commands import (
    CallRequest,
    Command,
    EndCall,
    Instructions,
    RecordingRequest,
    StartStream,
    StopStream,
)
from trunkline.calls.diagnosis import MediaReport, StreamMedia, diagnose
from trunkline.calls.directory import Directory
from trunkline.calls.registry import LiveCall
from trunkline.calls.views import (
    CallbackView,
    CallFilter,
    CallView,
    CaptureView,
    Erasure,
    RecordingFilter,
    RecordingView,
    RoutesView,
    RoutingView,
    SipTraceView,
    StreamFilter,
    StreamView,
    WorkerView,
)
from trunkline.control.captures import Captures
from trunkline.control.destinations import Destinations
from trunkline.control.recordings import Recordings
from trunkline.control.routes import routing_of
from trunkline.control.runner import Runner, utc_now
from trunkline.control.sip_traces import SipTraces, restored
from trunkline.control.waits import RETRY, answered, written
from trunkline.errors import (
    CallEnded,
    CallNotAnswered,
    InvalidRequest,
    ResourceNotFound,
    Unavailable,
    UnknownApplication,
)
from trunkline.ids import AccountSid, CallSid, LegId, random_uuid
from trunkline.store.store import STORE_ERRORS, Store
from trunkline.store.writer import Writer
from trunkline.streaming.params import StreamParams
from trunkline.webhooks.payloads import record_of
from trunkline.workers.orders import PauseRecording, PauseStream, StartPlayback, StopRecording
from trunkline.workers.pool import WorkerState

ERASED_AT_ONCE = 100
"""Calls in a transaction."""
FAREWELL = 0.2
"""Seconds from the answer to a Call Control hang-up to the end of the call."""


class CallService:
    """The one `CallControl`."""

    def __init__(
        self,
        runner: Runner,
        directory: Directory,
        store: Store,
        writer: Writer,
        recordings: Recordings,
        destinations: Destinations,
        captures: Captures,
        beep: Callable[[], Path],
        traces: SipTraces,
        routes: Callable[[AccountSid], RoutesView] = lambda _: RoutesView(),
        workers: Callable[[], Sequence[WorkerState]] = list,
    ) -> None:
        """`beep`: the file of what a recording begins with."""
        self._routes = routes
        self._workers = workers
        self._runner = runner
        self._directory = directory
        self._store = store
        self._writer = writer
        self._recordings = recordings
        self._destinations = destinations
        self._captures = captures
        self._beep = beep
        self._traces = traces
        self._farewells: set[CallSid] = set()
        """Calls that end within `FAREWELL`."""

    async def place(self, account: AccountSid, request: CallRequest, *, restricted: bool = False) -> CallView:
        """See `CallControl`."""
        self._destinations.check_call(account, request)
        if request.recording is not None:
            self._destinations.check_urls(account, {"RecordingStatusCallback": request.recording.callback.url})
        if request.application_sid is not None:
            application = self._directory.application(account, request.application_sid)
            if application is None:
                raise UnknownApplication("There is no such TeXML application.", pointer="/ApplicationSid")
            if not application.active:
                raise InvalidRequest("The TeXML application is not active.", pointer="/ApplicationSid")
            request = request.completed_by(application)
        route = self._directory.route(request.to)
        if route is None:
            raise InvalidRequest("No trunk takes this number, and no phone has this name.", pointer="/To")
        if restricted:
            allowed = self._directory.dial(request.to)
            if isinstance(allowed, str):
                raise InvalidRequest(f"The key's scope is calls, and {allowed}.", pointer="/To")
            route = allowed
        self._destinations.check_route(route)
        entry, durable = self._runner.place(account, request, route)
        await durable
        return entry.call.view

    async def redirect(self, account: AccountSid, call: CallSid, instructions: Instructions) -> CallView:
        """See `CallControl`."""
        entry = await self._live(account, call)
        if entry.call.state is CallState.ENDED:
            raise CallEnded("The call is over.")
        if not entry.call.answered:
            raise CallNotAnswered("The call is not answered yet.")
        self._destinations.check_instructions(account, instructions)
        self._runner.redirect(entry, instructions)
        return entry.call.view

    async def apply(self, account: AccountSid, call: CallSid, command: Command) -> CallView:
        """See `CallControl`."""
        entry = await self._live(account, call)
        self._destinations.check_command(account, command)
        await self._apply(entry, command)
        return entry.call.view

    async def start_stream(self, account: AccountSid, call: CallSid, params: StreamParams) -> StreamView:
        """See `CallControl`."""
        entry = await self._live(account, call)
        self._destinations.check_stream(account, params)
        self._captures.check(params)
        if self._writer.full:
            raise Unavailable("The store is behind.", retry_after=1)
        sid = self._runner.ids.stream(secrets.token_bytes(16))
        durable = self._runner.apply(entry, StartStream(sid, params))
        view = entry.call.find_stream(sid)
        assert durable is not None
        assert view is not None
        await durable
        return view

    async def stop_stream(self, account: AccountSid, call: CallSid, stream: str) -> StreamView:
        """See `CallControl`."""
        entry = self._mine(account, call)
        view = entry.call.find_stream(stream) if entry else None
        if entry is None or view is None:
            return await self.stream(account, call, stream)
        await self._apply(entry, StopStream(view.sid))
        return entry.call.find_stream(view.sid) or await self.stream(account, call, view.sid)

    async def pause_stream(self, account: AccountSid, call: CallSid, stream: str, *, paused: bool) -> StreamView:
        """See `CallControl`."""
        entry = await self._live(account, call)
        view = entry.call.find_stream(stream)
        if view is None:
            await answered(self._store.stream(account, call, stream))
            raise InvalidRequest("The stream is over.", pointer="/Status")
        await self._apply(entry, PauseStream(view.sid, paused))
        return entry.call.find_stream(view.sid) or await self.stream(account, call, view.sid)

    async def end_after(self, account: AccountSid, call: CallSid) -> Callable[[], None]:
        """See `CallControl`."""
        entry = await self._live(account, call)
        if entry.call.state is CallState.ENDED:
            raise CallEnded("The call is over.")

        def end() -> None:
            self._farewells.discard(call)
            with suppress(CallEnded):
                self._runner.apply(entry, EndCall("ended by the API"))

        def soon() -> None:
            self._farewells.add(call)
            asyncio.get_running_loop().call_later(FAREWELL, end)

        return soon

    async def call(self, account: AccountSid, call: CallSid) -> CallView:
        """See `CallControl`."""
        entry = self._mine(account, call)
        return entry.call.view if entry else await answered(self._store.call(account, call))

    async def calls(
        self, account: AccountSid, where: CallFilter, *, offset: int, limit: int
    ) -> tuple[list[CallView], bool]:
        """See `CallControl`."""
        return await answered(self._store.calls(account, where, offset=offset, limit=limit))

    async def stream(self, account: AccountSid, call: CallSid, stream: str) -> StreamView:
        """See `CallControl`."""
        entry = self._mine(account, call)
        view = entry.call.find_stream(stream) if entry else None
        return view if view is not None else await answered(self._store.stream(account, call, stream))

    async def streams(self, account: AccountSid, call: CallSid) -> list[StreamView]:
        """See `CallControl`."""
        return await answered(self._store.streams(account, call))

    async def streams_of_account(
        self, account: AccountSid, where: StreamFilter, *, offset: int, limit: int
    ) -> tuple[list[StreamView], bool]:
        """See `CallControl`."""
        return await answered(self._store.streams_of_account(account, where, offset=offset, limit=limit))

    async def media(self, account: AccountSid, call: CallSid) -> MediaReport:
        """See `CallControl`."""
        entry = self._mine(account, call)
        try:
            stored = await answered(self._store.streams(account, call))
        except (ResourceNotFound, Unavailable):
            if entry is None:
                raise
            stored = []  # the call is so new that it is not written yet, or the database is away
        if entry is None or entry.call.state in (CallState.OPENING, CallState.PLACING, CallState.ENDED):
            view = await self.call(account, call)
            over = tuple(StreamMedia(stream, "ended", stream.report) for stream in stored)
            return MediaReport(view, False, view.report, over, diagnose(view, view.report, over, live=False))
        reported = await self._runner.report(entry)
        sockets = {state.sid: state for state in reported.streams} if reported else {}
        live = entry.call.streaming
        sids = {stream.sid for stream, _ in live}
        streams = [StreamMedia(one, "ended", one.report) for one in stored if one.sid not in sids]
        for stream, _ in live:
            socket = sockets.get(stream.sid)
            state, counters = (socket.state, socket.report) if socket else ("connecting", None)
            streams.append(StreamMedia(stream, state, counters))
        leg = reported.leg if reported else None
        found = diagnose(entry.call.view, leg, streams, live=True)
        return MediaReport(entry.call.view, True, leg, tuple(streams), found)

    async def recordings(
        self, account: AccountSid, where: RecordingFilter, *, offset: int, limit: int
    ) -> tuple[list[RecordingView], bool]:
        """See `CallControl`."""
        if where.call is not None:
            await self.call(account, where.call)
        return await answered(self._store.recordings(account, where, offset=offset, limit=limit))

    async def recording(self, account: AccountSid, sid: str) -> RecordingView:
        """See `CallControl`."""
        return await answered(self._store.recording(account, sid))

    async def delete_recording(self, account: AccountSid, sid: str) -> None:
        """See `CallControl`."""
        view = await self.recording(account, sid)
        if view.ended_at is None:
            raise InvalidRequest("The recording is under way: it is deleted once it has ended.")
        try:
            await self._recordings.delete([view])
        except STORE_ERRORS as error:
            raise Unavailable(f"The recording is not deleted: {error}", retry_after=RETRY) from None

    async def start_recording(self, account: AccountSid, call: CallSid, wanted: RecordingRequest) -> RecordingView:
        """See `CallControl`."""
        entry = await self._live(account, call)
        self._destinations.check_urls(account, {"RecordingStatusCallback": wanted.callback.url})
        if self._writer.full:
            raise Unavailable("The store is behind.", retry_after=1)
        recordings, job = self._recordings, self._recordings.job()
        sid = self._runner.record(entry, job, wanted.options, "StartCallRecordingAPI", wanted.callback)
        if wanted.play_beep:
            self._runner.apply(entry, StartPlayback(recordings.job(), str(self._beep())))
        found = recordings.running(sid)
        assert found is not None
        await written(self._writer.submit(recordings=[found[2]]))
        return found[2]

    async def stop_recording(self, account: AccountSid, call: CallSid, sid: str) -> RecordingView:
        """See `CallControl`."""
        found = self._recordings.running(sid)
        if found is None or (found[2].account_sid, found[2].call_sid) != (account, call):
            return await self._recording_of(account, call, sid)
        leg, job, view = found
        self._order(leg, StopRecording(job))
        return view

    async def pause_recording(self, account: AccountSid, call: CallSid, sid: str, *, paused: bool) -> RecordingView:
        """See `CallControl`."""
        found = self._recordings.running(sid)
        if found is None or (found[2].account_sid, found[2].call_sid) != (account, call):
            await self._recording_of(account, call, sid)
            raise InvalidRequest("The recording is over.", pointer="/Status")
        leg, job, _ = found
        self._order(leg, PauseRecording(job, paused))
        view, durable = self._recordings.paused(sid, paused, utc_now())
        await written(durable)
        return view

    def _order(self, leg: LegId, order: StopRecording | PauseRecording) -> None:
        entry = self._runner.registry.by_leg(leg)
        if entry is not None:
            self._runner.apply(entry, order)

    async def _recording_of(self, account: AccountSid, call: CallSid, sid: str) -> RecordingView:
        view = await self.recording(account, sid)
        if view.call_sid != call:
            raise ResourceNotFound
        return view

    def recording_url(self, account: AccountSid, sid: str) -> str:
        """See `CallControl`."""
        return self._recordings.files.url(account, sid)

    async def recording_mp3(self, account: AccountSid, sid: str) -> Path:
        """See `CallControl`."""
        if (await self.recording(account, sid)).ended_at is None:
            raise InvalidRequest("The recording is under way: its mp3 file is made once it has ended.")
        return await self._recordings.mp3(account, sid)

    async def recording_audio(self, account: AccountSid, sid: str) -> Path:
        """See `CallControl`."""
        path = self._recordings.files.path(account, sid)
        if path is None or not path.is_file():
            raise ResourceNotFound
        return path

    async def captures(
        self, account: AccountSid, *, call: str | None, stream: str | None, offset: int, limit: int
    ) -> tuple[list[CaptureView], bool]:
        """See `CallControl`."""
        streams = None if stream is None else {stream}
        if call is not None:
            of_call = {str(view.sid) for view in await self.streams(account, CallSid(call))}
            streams = of_call if streams is None else of_call & streams
        return await self._captures.page(account, streams, offset=offset, limit=limit)

    async def capture(self, account: AccountSid, stream: str) -> CaptureView:
        """See `CallControl`."""
        return await self._captures.capture(account, stream)

    async def delete_capture(self, account: AccountSid, stream: str) -> CaptureView:
        """See `CallControl`."""
        view = await self._captures.capture(account, stream)
        await self._captures.delete(account, {stream})
        return view

    async def sip_trace(self, account: AccountSid, call: CallSid) -> SipTraceView:
        """See `CallControl`."""
        found = self._traces.of_call(account, call)
        if found is not None and found.messages:
            return found
        await self.call(account, call)
        text = await answered(self._store.sip_trace(account, call))
        return found or SipTraceView(call, None) if text is None else restored(text)

    def refused_calls(self, account: AccountSid) -> list[SipTraceView]:
        """See `CallControl`."""
        return self._traces.refused() if self._directory.is_of(account) else []

    async def callbacks(self, account: AccountSid, *, offset: int, limit: int) -> tuple[list[CallbackView], bool]:
        """See `CallControl`."""
        return await answered(self._store.callbacks(account, offset=offset, limit=limit))

    async def redeliver(self, account: AccountSid, callback: str) -> CallbackView:
        """See `CallControl`."""
        found, _ = await answered(self._store.callbacks(account, offset=0, limit=1, sid=callback))
        if not found:
            raise ResourceNotFound
        old, now = found[0], utc_now()
        new = random_uuid(secrets.token_bytes(16))
        form = parse_qsl(old.form, keep_blank_values=True)
        record = record_of(new, (old.url, old.method), form, now, account, old.call_sid, old.stream_sid)
        assert record is not None
        await written(self._writer.submit(callbacks=[record]))
        of_no_try = replace(old, state="pending", tries=0, last_status=None, last_error=None, finished_at=None)
        return replace(of_no_try, sid=new, created_at=now)

    def routes(self, account: AccountSid) -> RoutesView:
        """See `CallControl`."""
        return self._routes(account)

    def routing(self, account: AccountSid, number: str, *, trunk: str | None, phone: str | None) -> RoutingView:
        """See `CallControl`."""
        if not self._directory.is_of(account):
            raise ResourceNotFound
        return routing_of(self._directory, self._destinations, number, trunk, phone)

    def workers(self, account: AccountSid) -> list[WorkerView]:
        """See `CallControl`."""
        if not self._directory.is_of(account):
            return []
        return [
            WorkerView(
                worker=one.index,
                pid=one.pid,
                lags=one.lags,
                lag_ms=round(one.lag * 1000),
                share=round(one.status.load, 3),
                legs=one.status.legs,
                streams=one.status.streams,
            )
            for one in self._workers()
        ]

    async def erase(self, account: AccountSid, number: str) -> Erasure:
        """See `CallControl`."""
        erased = Erasure()
        while batch := await answered(self._store.ended_calls_of(account, number, ERASED_AT_ONCE)):
            recordings = await answered(self._store.recordings_of(batch))
            streams_of = {str(sid) for sid in await answered(self._store.streams_of(batch))}
            captures = await self._captures.delete(account, streams_of)
            try:
                await self._recordings.delete(recordings)
                streams, callbacks = await self._store.delete_calls(batch)
                self._traces.forget(batch)
            except STORE_ERRORS as error:
                raise Unavailable(f"Not all is erased: {error}", retry_after=RETRY) from None
            erased = erased.plus(len(batch), streams, callbacks, len(recordings), captures)
        live = [entry.call.view for entry in self._runner.registry]
        in_progress = sum(view.account_sid == account and number in (view.from_, view.to) for view in live)
        return replace(erased, in_progress=in_progress)

    async def _apply(self, entry: LiveCall, command: Command) -> None:
        durable = self._runner.apply(entry, command)
        if durable is not None:
            await written(durable)

    def _mine(self, account: AccountSid, call: CallSid) -> LiveCall | None:
        entry = self._runner.registry.by_sid(call)
        return entry if entry is not None and entry.call.view.account_sid == account else None

    async def _live(self, account: AccountSid, call: CallSid) -> LiveCall:
        entry = self._mine(account, call)
        if entry is None:
            await answered(self._store.call(account, call))
        # Once hang-up is answered, the call takes no command in the moment before its end.
        if entry is None or call in self._farewells:
            raise CallEnded("The call is over.")
        return entry
