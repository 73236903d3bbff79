"""Between the model and the drivers: turns their events into facts, and effects into calls of drivers.

The only file of the room that knows SIP, the media workers, the store and the callbacks. Everything here runs on one
loop and without awaiting: a fact is applied and its effects are carried out before the next one is looked at, so no
locks are needed. What must be durable goes to the store's writer, which sends callbacks after the commit.
"""

import asyncio
import dataclasses
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import structlog

from trunkline.calls import commands, effects, events
from trunkline.calls.call import Call, CallRules, CallState
from trunkline.calls.commands import CallRequest, Command, EndCall, Instructions, Note, Route
from trunkline.calls.directory import Directory
from trunkline.calls.endings import lost_in_crash
from trunkline.calls.observer import CallObserver, NoObserver
from trunkline.calls.quotas import Excess, Quotas
from trunkline.calls.registry import InviteInfo, LiveCall, Registry
from trunkline.calls.script import CallScript
from trunkline.calls.views import CALL_EVENTS, END_EVENTS, CallView, RecordingView, StreamView
from trunkline.config import Settings
from trunkline.control.recordings import Recordings
from trunkline.control.signals import action_of, fact_of
from trunkline.control.waits import WRITE_TIME, RunningTimer, store_late
from trunkline.errors import ApiError, TooManyRequests, Unavailable
from trunkline.ids import AccountSid, CallSessionId, CallSid, IdsOfLife, LegId, end_event_id, random_uuid
from trunkline.sdp.crypto import SrtpRule
from trunkline.sdp.negotiate import family_of
from trunkline.sip import values as sip
from trunkline.sip.endpoint import SipEndpoint
from trunkline.store.records import CallbackRecord
from trunkline.store.writer import Writer
from trunkline.webhooks.payloads import CallbackFace, call_callback_of, callback_of, record_of
from trunkline.workers import orders
from trunkline.workers.messages import FromLeg, Reported
from trunkline.workers.pool import WorkerPool
from trunkline.workers.reports import DigitHeard, LegFailed, LegHeard, LegWatched, RecordingEnded, WorkerLost

_log = structlog.get_logger()

SETTLED_AT_ONCE = 100
"""Calls of an earlier life that are ended in one transaction."""
SAVE_AFTER = 0.2
"""Seconds from a move of a peer until its dialog is saved again."""
CALL_SID_HEADER = "X-Trunkline-Call-Sid"
RETRY_AFTER = 5
"""Seconds after which a request that a draining server refused may be sent again."""
LAG_RETRY_AFTER = 2
"""And one that was refused as no media worker keeps up: until the next two reports of lag."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def call_clock() -> Callable[[], datetime]:
    """See `LiveCall.clock`."""
    began, since = utc_now(), time.monotonic()
    return lambda: began + timedelta(seconds=time.monotonic() - since)


class Runner:
    """Runs every call of the node."""

    def __init__(
        self,
        settings: Settings,
        account: AccountSid,
        directory: Directory,
        pool: WorkerPool,
        writer: Writer,
        callbacks: CallbackFace,
        ids: IdsOfLife,
        recordings: Recordings,
        observer: CallObserver | None = None,
    ) -> None:
        """`account` is the one that inbound calls without an application belong to."""
        self._observer = observer or NoObserver()
        self._callbacks = callbacks
        self.ids = ids
        self.recordings = recordings
        self._settings = settings
        self._account = account
        self._pool = pool
        self._writer = writer
        self._directory = directory
        self._sip: SipEndpoint | None = None
        self._script: CallScript | None = None
        self._timers: dict[LegId, list[asyncio.TimerHandle]] = {}
        self._rules = CallRules(
            codecs=settings.media.codecs,
            codec_order=settings.media.codec_order,
            family=family_of(settings.media.advertised_host or settings.media.host),
            streams_per_call=settings.streams.per_call_limit,
            bidirectional_per_call=settings.streams.bidirectional_per_call,
        )
        self._empty = asyncio.Event()
        self._empty.set()
        self.registry = Registry()
        self.quotas = Quotas(settings.sip)
        self.counters: Counter[str] = Counter()
        self.draining = False
        """New calls are refused; those that run may still dial."""
        self._ending = False
        self._call_ids: dict[LegId, str] = {}
        """For the log: the Call-IDs of live calls, also when their dialogs are over."""
        self._moved: dict[LegId, LiveCall] = {}
        """Calls whose dialogs are to be saved again."""

    def record(
        self,
        entry: LiveCall,
        job: int,
        options: orders.RecordingOptions,
        source: str,
        callback: commands.RecordingCallback = commands.NOT_REPORTED,
    ) -> str:
        """Record a call; returns the recording's sid. `job` is in its `RecordingEnded`. Raises ApiError."""
        return self.recordings.begin(entry, job, options, source, callback, self.apply)

    def connect(self, signalling: SipEndpoint, script: CallScript) -> None:
        """Give it the rooms that in turn need this runner."""
        self._sip = signalling
        self._script = script

    def redirect(self, entry: LiveCall, instructions: Instructions) -> None:
        """Replace the instructions of an answered call."""
        assert self._script is not None
        self._script.redirect(entry, instructions)

    async def settle(
        self,
        calls: Sequence[tuple[CallView, str | None]],
        streams: Sequence[StreamView],
        recordings: Sequence[RecordingView] = (),
    ) -> None:
        """End the calls and streams that an earlier life left unfinished: BYE to the peers of those that were up, then
        their records and events, `SETTLED_AT_ONCE` calls in a transaction. What is left when this is cancelled is the
        next life's."""
        assert self._sip is not None
        if calls or streams:
            _log.warning("calls_cut_off", calls=len(calls), streams=len(streams))
        of_call: dict[str, list[StreamView]] = {}
        for stream in streams:
            of_call.setdefault(stream.call_sid, []).append(stream)
        batches = [calls[at : at + SETTLED_AT_ONCE] for at in range(0, len(calls), SETTLED_AT_ONCE)]
        for batch in batches:
            for view, dialog in batch:
                if dialog is not None:
                    self._sip.end_saved_dialog(dialog, "the server was restarted", call_sid=view.sid)
            theirs = [stream for view, _ in batch for stream in of_call.pop(view.sid, ())]
            await self._record(lost_in_crash([view for view, _ in batch], theirs, utc_now()))
        left = [stream for rest in of_call.values() for stream in rest]
        if left:
            await self._record(lost_in_crash((), left, utc_now()))
        await self.recordings.settle(recordings, utc_now())

    def begin_draining(self) -> None:
        """Take no more calls; those that run may go on, and may start streams and `<Dial>`."""
        self.draining = True

    async def wait_empty(self) -> None:
        """Until no call is left."""
        await self._empty.wait()

    async def end_all(self, grace: float) -> None:
        """Take no more calls, end those there are, and wait until nothing is left or `grace` seconds are over."""
        self.draining = self._ending = True
        for entry in self.registry:
            if entry.call.state is not CallState.ENDED:
                try:
                    self.apply(entry, EndCall("the server is shutting down"))
                except Exception:
                    _log.exception("call_end_failed", call_sid=entry.call.view.sid)
        try:
            await asyncio.wait_for(self._empty.wait(), grace)
        except TimeoutError:
            _log.warning("calls_not_ended", calls=len(self.registry))

    def apply(self, entry: LiveCall, what: events.Fact | Command) -> asyncio.Future[None] | None:
        """Apply a fact or command and carry out its effects.

        Returns the durable write that came of it, if any. Raises ApiError for a command that is refused.
        """
        written: asyncio.Future[None] | None = None
        before = entry.call.state
        out = entry.call.handle(what, entry.clock())
        if entry.call.state is not before:
            self._tell(entry)
        for effect in out:
            if isinstance(effect, effects.Persist):
                written = self._record(effect, self._saved_dialog(entry) if effect.calls else None)
                if effect.then is not None:
                    written = self._confirm(entry, effect.then, written)
            else:
                _PERFORM[type(effect)](self, entry, effect)
        self._observer.happened(entry.call.view, what, utc_now())
        self._direct(entry, what)
        return written

    def sip_call_id(self, call: CallSid) -> str | None:
        """The Call-ID of a live call, once there is one."""
        entry = self.registry.by_sid(call)
        return None if entry is None or self._sip is None else self._sip.call_id_of(sip.DialogId(entry.dialog))

    def watch(self, call: CallSid, on: bool) -> None:
        """Give the observer what a live call sounds like, or no more; a call without a leg is asked again by
        `LegOpened`."""
        entry = self.registry.by_sid(call)
        if entry is not None:
            self._pool.send(entry.leg, orders.WatchLeg(on))

    def listen(self, call: CallSid, on: bool) -> None:
        """Give the observer a live call's audio, or no more; likewise."""
        entry = self.registry.by_sid(call)
        if entry is not None:
            self._pool.send(entry.leg, orders.ListenLeg(on))

    def _direct(self, entry: LiveCall, what: events.Fact | Command) -> None:
        assert self._script is not None
        self._script.on_applied(entry, what)
        if entry.instructions is None:
            return
        begins = isinstance(what, events.Accepted) and entry.call.answered
        if begins or (what == events.Recorded() and entry.call.view.direction == "inbound"):
            self._script.start(entry, entry.instructions)

    def place(
        self, account: AccountSid, request: CallRequest, route: Route, parent: LiveCall | None = None
    ) -> tuple[LiveCall, asyncio.Future[None]]:
        """Place a call; facts report its progress. `parent`: the call that it will be bridged with, so that
        both are on one media worker. Returns the durable write too. Raises Unavailable, TooManyRequests."""
        assert self._sip is not None
        if self._ending or (self.draining and parent is None):
            raise Unavailable("The server is draining: it takes no new calls.", retry_after=RETRY_AFTER)
        if not self._sip.started:
            raise Unavailable("The server is starting.", retry_after=1)
        if self._writer.full:
            raise Unavailable("The store is behind.", retry_after=1)
        if parent is None and (reason := self._pool.refusal or self._limit_reached):
            raise Unavailable(f"No call can be placed now: {reason}.", retry_after=LAG_RETRY_AFTER)
        clock = call_clock()
        now = clock()
        from_ = self._directory.caller_id(request.from_, route)
        view = CallView(
            sid=self.ids.call(secrets.token_bytes(self.ids.face.call_bytes)),
            account_sid=account,
            session_id=parent.call.view.session_id if parent else CallSessionId(_uuid()),
            direction="outbound",
            from_=from_,
            to=request.to,
            caller_name=request.caller_name,
            status="queued",
            created_at=now,
            updated_at=now,
            parent_sid=parent.call.view.sid if parent else None,
            application_sid=request.application_sid,
            status_callback=request.status_callback,
            status_callback_method=request.status_callback_method or "POST",
            status_callback_events=request.status_callback_events,
        )
        trunk, phone = (route.name if route.kind == kind else None for kind in ("trunk", "phone"))
        excess = self._admit(view, trunk)
        if excess is not None:
            raise TooManyRequests(f"Too many calls: {excess.detail}.", retry_after=excess.retry_after)
        local = self._sip.local.host
        callee = route.to if route.kind == "uri" else f"sip:{request.to}@{local}"
        origin = InviteInfo(f"sip:{from_}@{local}", callee)
        srtp = self._directory.srtp(trunk=trunk, phone=phone)
        entry = self._add(view, self._sip.new_dialog(), origin, request.instructions, srtp, clock, parent)
        about = {"parent_sid": view.parent_sid} if parent else {}
        way = {"route": route.kind, "name": route.name}
        _log.info("call_placed", call_sid=view.sid, from_=view.from_, to=view.to, **way, **about)
        written = self.apply(entry, request.place(route))
        assert written is not None
        return entry, written

    @property
    def _limit_reached(self) -> str | None:
        """SIP refuses a call above the limit; here one that is placed is refused before it has a sid."""
        return "the call limit is reached" if len(self.registry) >= self._settings.sip.call_limit else None

    def notify(self, entry: LiveCall, url: str, method: str, form: Sequence[tuple[str, str]]) -> None:
        """Send the application one more callback of a call: in order, signed and durable."""
        view = entry.call.view
        record = record_of(_uuid(), (url, method), form, utc_now(), view.account_sid, view.sid)
        if record is not None:
            self._writer.submit(callbacks=[record])

    def _admit(self, view: CallView, trunk: str | None) -> Excess | None:
        """Count a new call for its account and trunk."""
        excess = self.quotas.admit(view.sid, view.account_sid, trunk, asyncio.get_running_loop().time())
        if excess is not None:
            self.counters[f"calls_over_{excess.of}_{excess.kind}"] += 1
            about = {"account_sid": view.account_sid} | ({"trunk": trunk} if trunk else {})
            _log.warning("call_refused", reason=excess.detail, from_=view.from_, to=view.to, **about)
        return excess

    def _add(
        self,
        view: CallView,
        dialog: int,
        origin: InviteInfo,
        instructions: Instructions | None,
        srtp: SrtpRule,
        clock: Callable[[], datetime],
        parent: LiveCall | None = None,
    ) -> LiveCall:
        call = Call(view, dataclasses.replace(self._rules, srtp=srtp), secrets.randbits(62), secrets.token_bytes)
        self._empty.clear()
        entry = self.registry.add(call, dialog, origin, instructions, parent.leg if parent else None, clock)
        self._observer.began(view)
        return entry

    def _tell(self, entry: LiveCall) -> None:
        call, view = entry.call, entry.call.view
        ids = {"call_sid": view.sid} | ({"sip_call_id": known} if (known := self._call_ids.get(entry.leg)) else {})
        self.counters[f"calls_{call.state.name.lower()}"] += 1
        if call.state is CallState.ENDED:
            self.quotas.release(view.sid)
            _log.info("call_ended", status=view.status, reason=view.hangup_cause, **ids)
        elif call.state is CallState.ANSWERED or (call.state is CallState.UP and view.direction == "outbound"):
            _log.info("call_answered", codec=view.codec, **ids)

    async def report(self, entry: LiveCall) -> Reported | None:
        """What the media worker of a call says of it; None when it does not answer."""
        return await self._pool.report(entry.leg)

    def keep_contacts(self, phone: str, saved: str) -> None:
        """Keep where a phone is to be found, for the next start; while the store is behind this is left out."""
        if not self._writer.full:
            self._writer.submit(contacts={phone: saved})

    # ── events of the drivers ───────────────────────────────────────────────────────────────────────────────

    def call_sid_of(self, dialog: int) -> CallSid | None:
        """The sid of the live call of a SIP dialog."""
        entry = self.registry.by_dialog(dialog)
        return None if entry is None else entry.call.view.sid

    def on_sip(self, event: sip.SipEvent) -> None:
        """A fact from signalling."""
        if isinstance(event, sip.InviteReceived):
            self._invited(event)
            return
        entry = self.registry.by_dialog(event.dialog)
        if entry is None:
            return
        if isinstance(event, sip.DialogMoved):
            self._save_soon(entry)
            return
        self.apply(entry, fact_of(event))

    def _invited(self, event: sip.InviteReceived) -> None:
        reason = self._pool.refusal
        if self.draining or self._writer.full or reason:
            words = reason or "draining or overloaded"
            self._signal(sip.RejectInvite(event.dialog, 503, "Service Unavailable", words))
            return
        service = self._directory.service_for(event.to_user, trunk=event.trunk, phone=event.phone)
        application, instructions = service.application, service.instructions
        if application is not None and not application.active:
            self._signal(sip.RejectInvite(event.dialog, 403, "Forbidden", "the application is not active"))
            return
        clock = call_clock()
        now = clock()
        view = CallView(
            sid=self.ids.call(secrets.token_bytes(self.ids.face.call_bytes)),
            account_sid=application.account_sid if application else self._account,
            session_id=CallSessionId(_uuid()),
            direction="inbound",
            from_=event.from_user,
            to=event.to_user,
            caller_name=event.from_name,
            status="ringing",
            created_at=now,
            updated_at=now,
            application_sid=application.sid if application else None,
            status_callback=application.status_callback if application else None,
            status_callback_method=application.status_callback_method if application else "POST",
            status_callback_events=" ".join(CALL_EVENTS),
        )
        origin = InviteInfo(event.from_uri, event.to_uri, event.headers)
        srtp = self._directory.srtp(trunk=event.trunk, phone=event.phone)
        excess = self._admit(view, event.trunk)
        if excess is not None:
            status, reason = (486, "Busy Here") if excess.of == "account" else (503, "Service Unavailable")
            self._signal(sip.RejectInvite(event.dialog, status, reason, "too many calls", excess.retry_after))
            return
        entry = self._add(view, event.dialog, origin, instructions, srtp, clock)
        self._call_ids[entry.leg] = event.call_id
        peer = {kind: name for kind, name in (("trunk", event.trunk), ("phone", event.phone)) if name}
        by = {"sip_call_id": event.call_id, "transport": event.transport, **peer}
        _log.info("call_received", call_sid=view.sid, from_=view.from_, to=view.to, **by)
        self.apply(entry, events.Invited(event.offer, answer=instructions is None))

    def on_pool(self, event: FromLeg) -> None:
        """A report of a call's leg, from its media worker or in place of it."""
        if isinstance(event.report, RecordingEnded):
            self.recordings.ended(event.leg, event.report, utc_now())
        elif isinstance(event.report, WorkerLost):
            self.recordings.lost(event.leg, event.report.detail, utc_now())
        entry = self.registry.by_leg(event.leg)
        if entry is None:
            return
        if isinstance(event.report, LegWatched):
            self._observer.watched(entry.call.view, event.report, utc_now())
        elif isinstance(event.report, LegHeard):
            self._observer.heard(entry.call.view, event.report)
        else:
            if isinstance(event.report, DigitHeard):
                _log.debug("digit_pressed", call_sid=entry.call.view.sid, digit=event.report.digit)
            self.apply(entry, event.report)

    # ── what the model wants done ───────────────────────────────────────────────────────────────────────────

    def _saved_dialog(self, entry: LiveCall) -> str | None:
        assert self._sip is not None
        view = entry.call.view
        if view.answered_at is None or view.ended_at is not None:
            return None
        return self._sip.saved_dialog(sip.DialogId(entry.dialog))

    def _save_soon(self, entry: LiveCall) -> None:
        """Save the dialog again, with all that move meanwhile, each once: the next life needs it for the BYE, and
        nothing waits for it."""
        if not self._moved:
            asyncio.get_running_loop().call_later(SAVE_AFTER, self._save_moved)
        self._moved[entry.leg] = entry

    def _save_moved(self) -> None:
        moved, self._moved = self._moved, {}
        for entry in moved.values():
            dialog = self._saved_dialog(entry)
            if dialog is not None:
                self._writer.submit((entry.call.view,), dialog=dialog)

    def _record(self, record: effects.Persist, dialog: str | None = None) -> asyncio.Future[None]:
        self._observer.recorded(record, utc_now())
        callbacks: list[CallbackRecord | None] = []
        for event in record.events:
            name, stream = event.kind.replace("-", "_"), event.stream
            self.counters[name] += 1
            reason = {"reason": stream.ended_reason} if stream.ended_reason else {}
            failed = event.kind == "stream-error"
            (_log.warning if failed else _log.info)(name, call_sid=stream.call_sid, stream_id=stream.sid, **reason)
            if stream.status_callback:
                id_ = _event_id(event.kind, stream.sid)
                callbacks.append(callback_of(event, self._settings.callbacks, id_, self._callbacks))
        watched = (one for one in record.call_events if one.call.status_callback)
        callbacks += [call_callback_of(one, _event_id(one.kind, one.call.sid), self._callbacks) for one in watched]
        wanted = [one for one in callbacks if one is not None]
        return self._writer.submit(record.calls, record.streams, wanted, dialog=dialog)

    def _confirm(self, entry: LiveCall, fact: events.Recorded, written: asyncio.Future[None]) -> asyncio.Future[None]:
        """Apply the fact once it is written; `NotRecorded` if that takes more than `WRITE_TIME`. The future that is
        returned raises Unavailable then. Whether something waits for it makes no difference to the call."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[None] = loop.create_future()

        def give_up() -> None:
            written.remove_done_callback(end)
            if not outcome.done():
                outcome.set_exception(store_late())
                outcome.exception()  # Marked as seen: only the API waits for it.
            if entry.call.state is not CallState.ENDED:
                self.counters["not_recorded"] += 1
                self.apply(entry, events.NotRecorded(fact.stream))

        def end(written: asyncio.Future[None]) -> None:
            timer.cancel()
            if written.exception() is not None:
                give_up()
                return
            if not outcome.done():
                outcome.set_result(None)
            if entry.call.state is not CallState.ENDED:
                self.apply(entry, fact)

        timer = RunningTimer(WRITE_TIME, give_up)
        written.add_done_callback(end)
        return outcome

    def _signal(self, action: sip.SipAction) -> None:
        assert self._sip is not None
        self._sip.perform(action)

    def _order(self, entry: LiveCall, effect: orders.Order) -> None:
        self._pool.send(entry.leg, effect)

    def _open_leg(self, entry: LiveCall, effect: orders.OpenLeg) -> None:
        if self._pool.place(entry.leg, entry.same_worker_as):
            self._pool.send(entry.leg, effect)
        else:
            # Not at once: the effects of this transition come first.
            loop = asyncio.get_running_loop()
            loop.call_soon(self.apply, entry, LegFailed("no media worker is running"))

    def _invite(self, entry: LiveCall, effect: effects.InviteCallee) -> None:
        view, route = entry.call.view, effect.route
        credentials = None if effect.username is None else sip.Credentials(effect.username, effect.password or "")
        self._signal(
            sip.SendInvite(
                sip.DialogId(entry.dialog),
                route.kind,
                route.name,
                route.to,
                view.from_,
                view.caller_name,
                effect.sdp,
                effect.headers,
                credentials,
                route.restricted,
            )
        )
        if (call_id := self.sip_call_id(view.sid)) is not None:
            self._call_ids[entry.leg] = call_id

    def _begin_recording(self, entry: LiveCall, effect: effects.BeginRecording) -> None:
        # Not at once: the effects of this transition come first.
        asyncio.get_running_loop().call_soon(self._record_placed, entry, effect)

    def _record_placed(self, entry: LiveCall, effect: effects.BeginRecording) -> None:
        wanted = effect.request
        try:
            self.record(entry, self.recordings.job(), wanted.options, "OutboundAPI", wanted.callback)
        except ApiError as error:
            _log.warning("recording_refused", call_sid=entry.call.view.sid, reason=error.detail)
            self.apply(entry, Note(f"the call is not recorded: {error.detail}"))

    def _set_timer(self, entry: LiveCall, effect: effects.SetTimer) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(effect.seconds, self.apply, entry, events.TimerFired(effect.name))
        self._timers.setdefault(entry.leg, []).append(timer)

    def _forget(self, entry: LiveCall, _effect: effects.Forget) -> None:
        for timer in self._timers.pop(entry.leg, ()):
            timer.cancel()
        self._pool.release(entry.leg)
        self.registry.remove(entry)
        self._call_ids.pop(entry.leg, None)
        self._observer.forgotten(entry.call.view)
        if not len(self.registry):
            self._empty.set()

    def _answer(self, entry: LiveCall, effect: effects.AnswerCaller) -> None:
        header = (CALL_SID_HEADER, entry.call.view.sid)
        self._signal(sip.AcceptInvite(sip.DialogId(entry.dialog), effect.sdp, (header,)))

    def _signal_like(self, entry: LiveCall, effect: Any) -> None:
        """Effects and SIP actions that differ in nothing but the dialog's number."""
        self._signal(action_of(effect, sip.DialogId(entry.dialog)))


_PERFORM: dict[type, Callable[[Runner, LiveCall, Any], None]] = {
    **dict.fromkeys(get_args(orders.Order), Runner._order),
    orders.OpenLeg: Runner._open_leg,
    effects.RingCaller: Runner._signal_like,
    effects.AnswerCaller: Runner._answer,
    effects.RejectCaller: Runner._signal_like,
    effects.AcceptReoffer: Runner._signal_like,
    effects.RejectReoffer: Runner._signal_like,
    effects.HangUpPeer: Runner._signal_like,
    effects.InviteCallee: Runner._invite,
    effects.BeginRecording: Runner._begin_recording,
    effects.SetTimer: Runner._set_timer,
    effects.Forget: Runner._forget,
}


def _uuid() -> str:
    return random_uuid(secrets.token_bytes(16))


def _event_id(kind: str, sid: str) -> str:
    return end_event_id(sid) if kind in END_EVENTS else _uuid()
