"""One call as a table: state x (command or fact) -> new state and effects. Pure: no I/O, no clock, no randomness.

    NEW ──Invited──► OPENING ──LegOpened──► ANSWERED ──Confirmed──► UP
                        │                       │                   │
                        └──────── any end ──────┴───────────────────┴──► ENDED ──last report──► forgotten

OPENING waits for the media leg (180 has been sent), ANSWERED has sent 200 and waits for the ACK. A call is answered,
and may be streamed, from ANSWERED on; when the offer was ours the codec is known with the ACK only, so then from UP.

Streams end with the call or by themselves. Whatever happens, `_end_stream` runs once for each: it alone makes the
`stream-stopped` or `stream-error` event, at the moment the decision falls; the counters follow with `StreamEnded`.
Only where we end a stream that is not known to have started, the event waits for the worker's next word on it: its
`start` may have reached the app already, and then `stream-started` comes first.

A fact that has no row in a state comes too late to matter and changes nothing (a leg that opens after CANCEL, say);
a command that has none raises.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, Literal

from trunkline.calls import effects as do
from trunkline.calls.commands import Command, EndCall, PauseStream, StartStream, StopStream
from trunkline.calls.events import (
    Confirmed,
    DigitReceived,
    Fact,
    Invited,
    LegClosed,
    LegFailed,
    LegOpened,
    LegSilent,
    PeerEnded,
    Reoffered,
    StreamEnded,
    StreamStarted,
    WorkerLost,
)
from trunkline.calls.views import CallStatus, CallView, StreamEvent, StreamStatus, StreamView
from trunkline.errors import CallEnded, CallNotAnswered, InvalidRequest, ResourceNotFound, StreamLimitReached
from trunkline.ids import StreamSid
from trunkline.sdp import crypto
from trunkline.sdp.crypto import Crypto, Security, SrtpRule
from trunkline.sdp.negotiate import Family, accept_answer, answer_text, negotiate, offer_text
from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Direction, Endpoint, MediaParams, NotAcceptable
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams

Source = Literal["caller", "callee", "system"]


class State(Enum):
    """Where a call is; see the picture above."""

    NEW = auto()
    OPENING = auto()
    ANSWERED = auto()
    UP = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class CallRules:
    """The settings that the model needs."""

    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722")
    srtp: SrtpRule = "optional"
    family: Family | None = None
    """Of our media address; None = peers of either family are reached."""
    streams_per_call: int = 4
    bidirectional_per_call: int = 1


@dataclass(slots=True)
class _Stream:
    view: StreamView
    params: StreamParams
    live: bool = True
    started: bool = False
    ending: str | None = None
    """Why we ended it, while we do not know yet whether it has started."""


class Call:
    """One call leg and its streams. `handle` is the only way in."""

    def __init__(self, view: CallView, rules: CallRules, sdp_session: int, random: Callable[[int], bytes]) -> None:
        """`random` gives that many secret bytes, for the keys of encrypted audio."""
        self.view = view
        self.state = State.NEW
        self._rules = rules
        self._random = random
        self._sdp_session = sdp_session
        self._sdp_version = 0
        self._offer: Invited | None = None
        self._params: MediaParams | None = None
        self._local = Endpoint("", 0)
        self._offered = False
        self._offered_lines: tuple[Crypto, ...] = ()
        self._leg_open = False
        self._streams: dict[StreamSid, _Stream] = {}

    @property
    def live_streams(self) -> list[StreamView]:
        """Streams that have not ended, oldest first."""
        return [stream.view for stream in self._streams.values() if stream.live]

    @property
    def streaming(self) -> list[tuple[StreamView, StreamParams]]:
        """The live streams and what they were asked to be."""
        return [(stream.view, stream.params) for stream in self._streams.values() if stream.live]

    def find_stream(self, sid_or_name: str) -> StreamView | None:
        """A stream of this call by sid, or a live one by name."""
        by_sid = self._streams.get(StreamSid(sid_or_name))
        if by_sid is not None:
            return by_sid.view
        return next((view for view in self.live_streams if view.name == sid_or_name), None)

    def handle(self, what: Fact | Command, now: datetime) -> list[do.Effect]:
        """Apply one fact or command. `now` is UTC.

        Raises `errors.ApiError` for a command that the state does not allow; then nothing has changed.
        """
        row = _TABLE.get((self.state, type(what)))
        if row is None:
            return []
        return row(self, what, now)

    # ── set-up ──────────────────────────────────────────────────────────────────────────────────────────────

    def _invited(self, fact: Invited, now: datetime) -> list[do.Effect]:
        if fact.offer is None:
            self._offered = True
            params = self._before_answer()
        else:
            try:
                params = self._negotiate(fact.offer)
            except NotAcceptable as error:
                refusal = do.Reject(488, "Not Acceptable Here", str(error))
                return [refusal, *self._end(now, "failed", f"refused: {error}", "system")]
        self._offer, self._params = fact, params
        self._leg_open = True
        self._enter(State.OPENING, now, codec=None if self._offered else params.codec)
        return [do.Ring(), do.OpenLeg(params), self._record()]

    def _before_answer(self) -> MediaParams:
        """Stands in until the peer's answer to our offer tells what was agreed."""
        return MediaParams(self._rules.codecs[0], 0, 20, Endpoint("0.0.0.0", 0), Direction.INACTIVE)

    def _leg_opened(self, fact: LegOpened, now: datetime) -> list[do.Effect]:
        self._local = fact.local
        self._enter(State.ANSWERED, now, status="in-progress", answered_at=now)
        offer = self._offer.offer if self._offer else None
        return [do.Answer(self._describe(offer)), self._record()]

    def _describe(self, offer: Any) -> str:
        """Our SDP: the answer to `offer`, or an offer of our own."""
        self._sdp_version += 1
        if offer is None:
            self._offered_lines = lines = self._lines_to_offer()
            return offer_text(self._rules.codecs, self._local, self._sdp_session, self._sdp_version, lines)
        assert self._params is not None
        return answer_text(offer, self._params, self._local, self._sdp_session, self._sdp_version)

    def _negotiate(self, offer: SessionDescription) -> MediaParams:
        """What comes of an offer. Our key changes when the peer's does: as long as both stay, the packets' counters
        run on, and a hold or a refresh is heard without a break."""
        rules, before = self._rules, self._params.srtp if self._params else None
        security = Security(rules.srtp, crypto.fresh(self._random(crypto.RANDOM_BYTES)))
        params = negotiate(offer, rules.codecs, security, rules.family)
        keys = params.srtp
        if keys is None or before is None or (keys.suite, keys.theirs) != (before.suite, before.theirs):
            return params
        return replace(params, srtp=replace(keys, ours=before.ours))

    def _lines_to_offer(self) -> tuple[Crypto, ...]:
        """An offer of ours keeps the key in use; without one it is encrypted only where it must be."""
        keys = self._params.srtp if self._params else None
        if keys is not None:
            return (Crypto(1, keys.suite, keys.ours),)
        return crypto.fresh(self._random(crypto.RANDOM_BYTES)) if self._rules.srtp == "required" else ()

    def _leg_failed(self, fact: LegFailed, now: datetime) -> list[do.Effect]:
        self._leg_open = False
        refusal = do.Reject(503, "Service Unavailable", fact.detail)
        return [refusal, *self._end(now, "failed", fact.detail, "system")]

    def _confirmed(self, fact: Confirmed, now: datetime) -> list[do.Effect]:
        if not self._offered:
            self._enter(State.UP, now)
            return []
        if fact.answer is None:
            return self._drop(now, "the ACK held no answer to our offer")
        try:
            self._params = accept_answer(self._rules.codecs, fact.answer, self._offered_lines, self._rules.family)
        except NotAcceptable as error:
            return self._drop(now, f"the answer to our offer cannot be used: {error}")
        self._offered = False
        self._enter(State.UP, now, codec=self._params.codec)
        return [do.UpdateLeg(self._params), self._record()]

    def _drop(self, now: datetime, cause: str) -> list[do.Effect]:
        return [do.HangUp(cause), *self._end(now, "failed", cause, "system")]

    # ── in the call ─────────────────────────────────────────────────────────────────────────────────────────

    def _reoffered(self, fact: Reoffered, now: datetime) -> list[do.Effect]:
        if fact.offer is None:
            self._offered = True
            return [do.AcceptReoffer(self._describe(None))]
        try:
            params = self._negotiate(fact.offer)
        except NotAcceptable as error:
            return [do.RejectReoffer(488, "Not Acceptable Here", str(error))]
        self._params = params
        accept = do.AcceptReoffer(self._describe(fact.offer))
        self._enter(self.state, now, codec=params.codec)
        return [do.UpdateLeg(params), accept, self._record()]

    def _digit(self, fact: DigitReceived, _now: datetime) -> list[do.Effect]:
        return [do.PressKey(fact.digit)]

    def _peer_ended(self, fact: PeerEnded, now: datetime) -> list[do.Effect]:
        peer: Source = "caller" if self.view.direction == "inbound" else "callee"
        status, source, cause = _PEER_ENDS[fact.cause]
        words = cause.format(peer=peer) + (f" ({fact.detail})" if fact.detail else "")
        return self._end(now, status, words, peer if source == "peer" else "system")

    def _silent(self, fact: LegSilent, now: datetime) -> list[do.Effect]:
        cause = f"no RTP for {fact.seconds:g} s"
        return [do.HangUp(cause), *self._end(now, "completed", cause, "system")]

    def _worker_lost(self, fact: WorkerLost, now: datetime) -> list[do.Effect]:
        refused = self.state is State.OPENING
        goodbye = do.Reject(503, "Service Unavailable", fact.detail) if refused else do.HangUp(fact.detail)
        self._leg_open = False
        return [goodbye, *self._end(now, "failed", fact.detail, "system", error=fact.detail)]

    def _end_call(self, command: EndCall, now: datetime) -> list[do.Effect]:
        refused = self.state is State.OPENING
        goodbye = do.Reject(480, "Temporarily Unavailable", command.cause) if refused else do.HangUp(command.cause)
        status: CallStatus = "failed" if refused else command.status
        return [goodbye, *self._end(now, status, command.cause, "system")]

    def _refuse_ended(self, _what: Any, _now: datetime) -> list[do.Effect]:
        raise CallEnded("The call is over.")

    # ── streams ─────────────────────────────────────────────────────────────────────────────────────────────

    def _start_stream(self, command: StartStream, now: datetime) -> list[do.Effect]:
        if self.state is State.OPENING or (self.state is State.ANSWERED and self._offered):
            raise CallNotAnswered("Streaming can start once the call is answered.")
        assert self._params is not None
        params = command.params
        self._check_limits(params)
        view = StreamView(
            sid=command.sid,
            account_sid=self.view.account_sid,
            call_sid=self.view.sid,
            name=params.name,
            url=params.url,
            track=params.track.value,
            status="in-progress",
            created_at=now,
            updated_at=now,
            status_callback=params.status_callback,
            status_callback_method=params.status_callback_method,
        )
        self._streams[command.sid] = _Stream(view, params)
        identity = StreamIdentity(
            stream_sid=command.sid,
            account_sid=self.view.account_sid,
            call_sid=self.view.sid,
            call_session_id=self.view.session_id,
            from_=self.view.from_,
            to=self.view.to,
        )
        encoding = params.encoding(self._params.codec)
        return [do.Record(streams=(view,)), do.OpenStream(identity, params, encoding)]

    def _check_limits(self, params: StreamParams) -> None:
        live = [stream for stream in self._streams.values() if stream.live]
        if len(live) >= self._rules.streams_per_call:
            raise StreamLimitReached(f"The call has {len(live)} streams already, which is the limit.")
        speaking = sum(stream.params.mode is BidirectionalMode.RTP for stream in live)
        if params.mode is BidirectionalMode.RTP and speaking >= self._rules.bidirectional_per_call:
            raise StreamLimitReached("The call has a bidirectional stream already.")

    def _stop_stream(self, command: StopStream, now: datetime) -> list[do.Effect]:
        stream = self._streams.get(command.sid)
        if stream is None:
            raise ResourceNotFound
        if not stream.live:
            return []
        reason = "stopped by the API"
        return [self._finish(stream, now, reason), do.CloseStream(command.sid, reason)]

    def _pause_stream(self, command: PauseStream, now: datetime) -> list[do.Effect]:
        stream = self._streams.get(command.sid)
        if stream is None:
            raise ResourceNotFound
        if not stream.live:
            raise InvalidRequest("The stream is over.", pointer="/Status")
        status: StreamStatus = "paused" if command.paused else "in-progress"
        if status == stream.view.status:
            return []
        stream.view = replace(stream.view, status=status, updated_at=now)
        return [do.Record(streams=(stream.view,)), do.PauseStream(command.sid, command.paused)]

    def _stream_started(self, fact: StreamStarted, now: datetime) -> list[do.Effect]:
        stream = self._streams.get(fact.sid)
        if stream is None or not (stream.live or stream.ending):
            return []
        stream.started = True
        stream.view = replace(stream.view, updated_at=now)
        started = do.Record(streams=(stream.view,), events=(StreamEvent("stream-started", stream.view, now),))
        if stream.ending is None:
            return [started]
        return [started, self._end_stream(stream, now, None, stream.ending)]

    def _stream_ended(self, fact: StreamEnded, now: datetime) -> list[do.Effect]:
        stream = self._streams.pop(fact.sid, None)
        if stream is None:
            return []
        events: tuple[StreamEvent, ...] = ()
        if stream.live:
            events = self._end_stream(stream, now, fact.error, fact.reason).events
        elif stream.ending is not None:
            events = self._end_stream(stream, now, None, stream.ending).events
        stream.view = replace(stream.view, report=fact.report)
        return [do.Record(streams=(stream.view,), events=events), *self._forget_if_done()]

    def _finish(self, stream: _Stream, now: datetime, reason: str) -> do.Record:
        """Our own decision to end a stream whose worker is alive."""
        if stream.started:
            return self._end_stream(stream, now, None, reason)
        stream.live, stream.ending = False, reason
        return do.Record()

    def _end_stream(self, stream: _Stream, now: datetime, error: str | None, reason: str) -> do.Record:
        stream.live, stream.ending = False, None
        stream.view = replace(
            stream.view,
            status="stopped" if error is None else "failed",
            updated_at=now,
            ended_reason=error or reason,
        )
        kind: Literal["stream-stopped", "stream-error"] = "stream-stopped" if error is None else "stream-error"
        return do.Record(streams=(stream.view,), events=(StreamEvent(kind, stream.view, now, error),))

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def _end(
        self, now: datetime, status: CallStatus, cause: str, source: Source, *, error: str | None = None
    ) -> list[do.Effect]:
        """End the call and every stream of it; with `error` the streams failed and their worker will not report."""
        self._enter(State.ENDED, now, status=status, ended_at=now, hangup_cause=cause, hangup_source=source)
        record = self._record()
        closing: list[do.Effect] = []
        for sid, stream in list(self._streams.items()):
            if error is not None and (stream.live or stream.ending):
                record = _both(record, self._end_stream(stream, now, error, error))
            elif stream.live:
                record = _both(record, self._finish(stream, now, f"the call ended: {cause}"))
                closing.append(do.CloseStream(sid, cause))
            if error is not None:
                del self._streams[sid]
        if self._leg_open:
            closing.append(do.CloseLeg())
        return [*([] if error else closing), record, *self._forget_if_done()]

    def _leg_closed(self, fact: LegClosed | LegFailed, now: datetime) -> list[do.Effect]:
        self._leg_open = False
        if isinstance(fact, LegClosed):
            self.view = replace(self.view, report=fact.report)
        return [self._record(), *self._forget_if_done()]

    def _worker_lost_after_end(self, _fact: WorkerLost, now: datetime) -> list[do.Effect]:
        self._leg_open = False
        record = do.Record()
        for stream in self._streams.values():
            if stream.ending is not None:
                record = _both(record, self._end_stream(stream, now, None, stream.ending))
        self._streams.clear()
        return [record, *self._forget_if_done()]

    def _forget_if_done(self) -> list[do.Effect]:
        done = self.state is State.ENDED and not self._leg_open and not self._streams
        return [do.Forget()] if done else []

    def _enter(self, state: State, now: datetime, **changes: Any) -> None:
        self.state = state
        self.view = replace(self.view, updated_at=now, **changes)

    def _record(self) -> do.Record:
        return do.Record(calls=(self.view,))


def _both(one: do.Record, other: do.Record) -> do.Record:
    return do.Record(one.calls + other.calls, one.streams + other.streams, one.events + other.events)


_PEER_ENDS: dict[str, tuple[CallStatus, str, str]] = {
    "bye": ("completed", "peer", "{peer} hung up"),
    "cancel": ("canceled", "peer", "{peer} gave up before the answer"),
    "no-ack": ("failed", "system", "our answer was never confirmed"),
    "error": ("failed", "system", "signalling failed"),
}

_Row = Callable[[Call, Any, datetime], list[do.Effect]]

_IN_CALL: dict[type, _Row] = {
    Confirmed: Call._confirmed,
    Reoffered: Call._reoffered,
    DigitReceived: Call._digit,
    PeerEnded: Call._peer_ended,
    LegSilent: Call._silent,
    WorkerLost: Call._worker_lost,
    EndCall: Call._end_call,
    StartStream: Call._start_stream,
    StopStream: Call._stop_stream,
    PauseStream: Call._pause_stream,
    StreamStarted: Call._stream_started,
    StreamEnded: Call._stream_ended,
}

_TABLE: dict[tuple[State, type], _Row] = {
    (State.NEW, Invited): Call._invited,
    (State.OPENING, LegOpened): Call._leg_opened,
    (State.OPENING, LegFailed): Call._leg_failed,
    (State.OPENING, PeerEnded): Call._peer_ended,
    (State.OPENING, WorkerLost): Call._worker_lost,
    (State.OPENING, EndCall): Call._end_call,
    (State.OPENING, StartStream): Call._start_stream,
    (State.OPENING, StopStream): Call._stop_stream,
    (State.OPENING, PauseStream): Call._pause_stream,
    **{(State.ANSWERED, what): row for what, row in _IN_CALL.items()},
    **{(State.UP, what): row for what, row in _IN_CALL.items()},
    (State.ENDED, LegClosed): Call._leg_closed,
    (State.ENDED, LegFailed): Call._leg_closed,
    (State.ENDED, StreamStarted): Call._stream_started,
    (State.ENDED, StreamEnded): Call._stream_ended,
    (State.ENDED, WorkerLost): Call._worker_lost_after_end,
    (State.ENDED, EndCall): Call._refuse_ended,
    (State.ENDED, StartStream): Call._refuse_ended,
    (State.ENDED, PauseStream): Call._refuse_ended,
    (State.ENDED, StopStream): Call._stop_stream,
}


def lost_in_crash(calls: Sequence[CallView], streams: Sequence[StreamView], now: datetime) -> do.Record:
    """What has to be recorded and told after a server died with these calls and streams still live."""
    cause = "the server stopped without warning"
    ended_calls = tuple(
        replace(call, status="failed", updated_at=now, ended_at=now, hangup_cause=cause, hangup_source="system")
        for call in calls
    )
    ended = tuple(replace(stream, status="failed", updated_at=now, ended_reason=cause) for stream in streams)
    return do.Record(ended_calls, ended, tuple(StreamEvent("stream-error", stream, now, cause) for stream in ended))
