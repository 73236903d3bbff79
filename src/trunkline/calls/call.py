"""One call as a table: state x (command or fact) -> new state and effects. Pure: no I/O, no clock, no randomness.

    inbound    NEW ──Invited──► OPENING ──LegOpened──► RINGING ──AnswerCall──► ANSWERED ──Confirmed──► UP
    outbound   NEW ───Place───► PLACING ──LegOpened──► CALLING ────────────Accepted────────────────► UP
                                    │                     │                       │                  │
                                    └────── any end ──────┴───────────────────────┴──────────────────┴─► ENDED

OPENING and PLACING wait for the media leg and for the call's record to be durable; RINGING waits for the answer, and is
passed through where the call answers by itself; CALLING has sent its INVITE; ANSWERED has sent 200 and waits for the
ACK. A call is answered, and may be streamed, from ANSWERED on; when the offer was ours the codec is known with the ACK
only, so then from UP. ENDED lasts until the last report of media leg, streams and recordings is in; then the call is
forgotten.

An offer of the peer's in the call lives beside the state, in `offers.py`: Reoffered has the leg go by it, LegUpdated
answers it, unless ReofferCancelled has the leg go by what was agreed before.

A fact that has no row in a state comes too late to matter and changes nothing (a leg that opens after CANCEL, say), or
concerns the `CallScript` alone (a key heard, a file played). A command that the state does not allow has a row that
raises. Streams have a table's worth of rules of their own: `streams.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, get_args

from trunkline.calls import effects
from trunkline.calls.commands import (
    AnswerCall,
    Command,
    EndCall,
    Note,
    PlaceCall,
    RejectCall,
    SetStatusCallback,
    StartStream,
    StopStream,
)
from trunkline.calls.endings import (
    CANCELED,
    NO_ANSWER,
    PEER_ENDS,
    TIME_LIMIT,
    UNREACHABLE,
    Ending,
    broken,
    hung_up,
    refusal_of,
    rejection,
)
from trunkline.calls.events import (
    Accepted,
    Confirmed,
    DigitReceived,
    Fact,
    Invited,
    NotRecorded,
    OfferReceived,
    PeerEnded,
    Progressed,
    Recorded,
    Refreshed,
    Refused,
    ReofferCancelled,
    TimerFired,
)
from trunkline.calls.offers import OfferRules, Offers
from trunkline.calls.streams import CallStreams, both
from trunkline.calls.views import CallEvent, CallEventKind, CallView, StreamView
from trunkline.errors import CallEnded, CallNotAnswered, InvalidRequest
from trunkline.sdp.crypto import SrtpRule
from trunkline.sdp.negotiate import CodecOrder, Family
from trunkline.sdp.values import MediaParams, NotAcceptable
from trunkline.streaming.params import StreamParams
from trunkline.workers import orders
from trunkline.workers.orders import PauseStream
from trunkline.workers.reports import (
    LegClosed,
    LegFailed,
    LegOpened,
    LegSilent,
    LegUpdated,
    RecordingEnded,
    StreamEnded,
    StreamStarted,
    WorkerLost,
)

NOTE_LIMIT, NOTE_LENGTH = 20, 300
"""Warnings kept of one call's instructions, and characters of each."""


class CallState(Enum):
    """Where a call is; see the picture above."""

    NEW = auto()
    OPENING = auto()
    RINGING = auto()
    PLACING = auto()
    CALLING = auto()
    ANSWERED = auto()
    UP = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class CallRules:
    """The settings that the model needs."""

    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722")
    codec_order: CodecOrder = "ours"
    srtp: SrtpRule = "optional"
    family: Family | None = None
    """Of our media address; None = peers of either family are reached."""
    streams_per_call: int = 4
    bidirectional_per_call: int = 1
    ring_limit: float = 180
    """Seconds that an inbound call may ring without an answer."""


class Call:
    """One call leg and its streams. `handle` is the only way in."""

    def __init__(self, view: CallView, rules: CallRules, sdp_session: int, random: Callable[[int], bytes]) -> None:
        """`random` gives that many secret bytes, for the keys of encrypted audio."""
        self.view = view
        self.state = CallState.NEW
        self._rules = rules
        self._offers = Offers(_offer_rules(rules), sdp_session, random)
        self._streams = CallStreams(rules.streams_per_call, rules.bidirectional_per_call)
        self._answers_itself = True
        self._place: PlaceCall | None = None
        self._durable = False
        """The record of the call is: from now on the outside may learn of the call."""
        self._heard_of = False
        """Something has answered our INVITE, if only that it has it."""
        self._leg_open = False
        self._updates = 0
        """Orders to the leg to go by another outcome."""
        self._recordings: set[int] = set()

    @property
    def live_streams(self) -> list[StreamView]:
        """Streams that have not ended, oldest first."""
        return [view for view, _ in self._streams.live]

    @property
    def streaming(self) -> list[tuple[StreamView, StreamParams]]:
        """The live streams and what they were asked to be."""
        return self._streams.live

    @property
    def answered(self) -> bool:
        """Audio may flow both ways: media commands are carried out."""
        return self.state in (CallState.ANSWERED, CallState.UP)

    def find_stream(self, sid_or_name: str) -> StreamView | None:
        """A stream of this call by sid, or a live one by name."""
        return self._streams.find(sid_or_name)

    def handle(self, what: Fact | Command, now: datetime) -> list[effects.Effect]:
        """Apply one fact or command. `now` is UTC.

        Raises `errors.ApiError` for a command that the state does not allow; then nothing has changed.
        """
        row = _TABLE.get((self.state, type(what)))
        if row is None:
            return []
        return row(self, what, now)

    # ── an inbound call is set up ───────────────────────────────────────────────────────────────────────────

    def _invited(self, fact: Invited, now: datetime) -> list[effects.Effect]:
        if fact.offer is None:
            self._offers.open = True
            params = self._offers.before()
        else:
            try:
                params = self._offers.take_offer(fact.offer)
            except NotAcceptable as error:
                refusal = effects.RejectCaller(488, "Not Acceptable Here", str(error))
                return [refusal, *self._end(now, broken(f"refused: {error}", 488))]
        self._answers_itself = fact.answer
        self._leg_open = True
        self._enter(CallState.OPENING, now, codec=None if self._offers.open else params.codec)
        events = (self._event("initiated", now), self._event("ringing", now))
        timer = [] if fact.answer else [effects.SetTimer("ring", self._rules.ring_limit)]
        return [
            effects.RingCaller(),
            orders.OpenLeg(self.view.sid, params, confirmed=self._offers.open, account=self.view.account_sid),
            *timer,
            effects.Persist(calls=(self.view,), call_events=events, then=Recorded()),
        ]

    def _leg_opened(self, fact: LegOpened, now: datetime) -> list[effects.Effect]:
        self._offers.local = fact.local
        return self._begin(now)

    def _recorded(self, _fact: Recorded, now: datetime) -> list[effects.Effect]:
        self._durable = True
        return self._begin(now)

    def _begin(self, now: datetime) -> list[effects.Effect]:
        """Leave OPENING or PLACING, if nothing is missing."""
        if not (self._offers.local.port and self._durable):
            return []
        if self._place is not None:
            return self._call_out(self._place, now)
        self._enter(CallState.RINGING, now)
        return self._answer(AnswerCall(), now) if self._answers_itself else []

    def _not_recorded(self, _fact: NotRecorded, now: datetime) -> list[effects.Effect]:
        goodbye = self._goodbye("the database takes no records", 503, "Service Unavailable")
        cause = "the database took no record of the call in time"
        return [*goodbye, *self._end(now, broken(cause, _refusal(goodbye)))]

    def _answer_later(self, command: AnswerCall, _now: datetime) -> list[effects.Effect]:
        self._answers_itself = True
        return self._prefer(command.codec)

    def _prefer(self, codec: str | None) -> list[effects.Effect]:
        params = None if codec is None else self._offers.prefer(codec)
        return [] if params is None else [self._update(params)]

    def _answer(self, command: AnswerCall, now: datetime) -> list[effects.Effect]:
        offers = self._offers
        changed = self._prefer(command.codec)
        codec = None if offers.agreed is None else offers.agreed.codec
        sdp = offers.offer() if offers.offered is None else offers.answer()
        self._enter(CallState.ANSWERED, now, status="in-progress", answered_at=now, codec=codec)
        return [*changed, effects.AnswerCaller(sdp), self._record() if offers.open else self._record("answered", now)]

    def _leg_failed(self, fact: LegFailed, now: datetime) -> list[effects.Effect]:
        self._leg_open = False
        goodbye = self._goodbye("there is no room for the call's media", 503, "Service Unavailable")
        return [*goodbye, *self._end(now, broken(fact.detail, _refusal(goodbye)))]

    def _confirmed(self, fact: Confirmed, now: datetime) -> list[effects.Effect]:
        confirm = [orders.ConfirmLeg()] if self.state is CallState.ANSWERED else []
        if not self._offers.open:
            self._enter(CallState.UP, now)
            return [*confirm]
        first = self.view.codec is None
        try:
            params = None if fact.answer is None else self._offers.take_answer(fact.answer)
            cause = "the ACK held no answer to our offer"
        except NotAcceptable as error:
            params, cause = None, f"the answer to our offer cannot be used: {error}"
        if params is None:
            return self._drop(now, cause) if first else [*confirm, self._update(self._offers.abandon())]
        self._enter(CallState.UP, now, codec=params.codec)
        return [*confirm, self._update(params), self._record("answered", now) if first else self._record()]

    def _drop(self, now: datetime, cause: str) -> list[effects.Effect]:
        return [effects.HangUpPeer(cause, 488), *self._end(now, broken(cause))]

    def _reject(self, command: RejectCall, now: datetime) -> list[effects.Effect]:
        refusal = effects.RejectCaller(command.status, command.reason)
        return [refusal, *self._end(now, rejection(command.status, command.reason))]

    # ── an outbound call is set up ──────────────────────────────────────────────────────────────────────────

    def _placed(self, command: PlaceCall, now: datetime) -> list[effects.Effect]:
        rules = self._offers.rules
        srtp: SrtpRule = rules.srtp if command.srtp is None else "required" if command.srtp else "off"
        codecs = command.codecs or rules.codecs
        self._offers.rules = replace(rules, codecs=codecs, srtp=srtp, order=command.codecs or rules.order)
        self._place = command
        self._leg_open = True
        self._enter(CallState.PLACING, now)
        record = replace(self._record("initiated", now), then=Recorded())
        return [orders.OpenLeg(self.view.sid, self._offers.before(), account=self.view.account_sid), record]

    def _call_out(self, place: PlaceCall, now: datetime) -> list[effects.Effect]:
        self._enter(CallState.CALLING, now)
        offer = self._offers.offer()
        invite = effects.InviteCallee(place.route, offer, place.headers, place.username, place.password)
        return [invite, effects.SetTimer("ring", place.timeout)]

    def _progressed(self, fact: Progressed, now: datetime) -> list[effects.Effect]:
        out: list[effects.Effect] = []
        self._heard_of = True
        if fact.answer is not None:
            try:
                params = self._offers.take_answer(fact.answer)
            except NotAcceptable:
                pass  # The answer that counts comes with the 200, and may be another's.
            else:
                out.append(self._update(params, early=True))
        if fact.status > 100 and self.view.status == "queued":
            self._enter(self.state, now, status="ringing")
            out.append(self._record("ringing", now))
        return out

    def _accepted(self, fact: Accepted, now: datetime) -> list[effects.Effect]:
        place = self._place
        assert place is not None
        try:
            params = self._offers.agreed if fact.answer is None else self._offers.take_answer(fact.answer)
        except NotAcceptable as error:
            return self._drop(now, f"the answer to our offer cannot be used: {error}")
        if params is None:
            return self._drop(now, "the call was answered without an answer to our offer")
        self._enter(CallState.UP, now, status="in-progress", answered_at=now, codec=params.codec)
        limit = effects.SetTimer("limit", place.time_limit)
        keys = [orders.SendDigits(place.send_digits)] if place.send_digits else []
        recording = [effects.BeginRecording(place.recording)] if place.recording else []
        return [self._update(params), limit, *keys, *recording, self._record("answered", now)]

    def _refused(self, fact: Refused, now: datetime) -> list[effects.Effect]:
        if fact.unreachable:
            return self._end(now, replace(UNREACHABLE, cause=f"not connected: {fact.detail}"))
        return self._end(now, refusal_of(fact.status, fact.reason, fact.detail, responded=fact.responded))

    # ── in the call ─────────────────────────────────────────────────────────────────────────────────────────

    def _reoffered(self, fact: OfferReceived, _now: datetime) -> list[effects.Effect]:
        if fact.offer is None:
            # The peer may send from elsewhere, and in all that we offer, before its answer comes.
            accept = effects.AcceptReoffer(self._offers.offer())
            return [self._update(self._offers.listening()), accept]
        try:
            params = self._offers.take_offer(fact.offer)
        except NotAcceptable as error:
            return [effects.RejectReoffer(488, "Not Acceptable Here", str(error))]
        return [self._update(params)]

    def _leg_updated(self, fact: LegUpdated, now: datetime) -> list[effects.Effect]:
        """Only now: what the peer sends upon our answer would otherwise find a leg that cannot hear it."""
        agreed = self._offers.agreed
        if self._offers.offered is None or agreed is None or fact.number != self._updates:
            return []
        accept = effects.AcceptReoffer(self._offers.answer())
        self._enter(self.state, now, codec=agreed.codec)
        return [accept, self._record()]

    def _reoffer_cancelled(self, _fact: ReofferCancelled, _now: datetime) -> list[effects.Effect]:
        return [] if self._offers.offered is None else [self._update(self._offers.withdraw())]

    def _refreshed(self, fact: Refreshed, now: datetime) -> list[effects.Effect]:
        before = self._offers.agreed
        try:
            params = self._offers.take_answer(fact.answer)
        except NotAcceptable:
            return []  # The session was refreshed all the same, and goes on as it was.
        if params == before:
            return [self._update(params)]  # It may have moved all the same, behind a NAT.
        self._enter(self.state, now, codec=params.codec)
        return [self._update(params), self._record()]

    def _update(self, params: MediaParams, *, early: bool = False) -> orders.UpdateLeg:
        self._updates += 1
        return orders.UpdateLeg(params, self._updates, early)

    def _digit(self, fact: DigitReceived, _now: datetime) -> list[effects.Effect]:
        return [orders.NotifyDtmf(fact.digit)]

    def _media(self, command: orders.MediaOrder, _now: datetime) -> list[effects.Effect]:
        if isinstance(command, orders.StartRecording):
            self._recordings.add(command.job)
        return [command]

    def _record_ended(self, fact: RecordingEnded, _now: datetime) -> list[effects.Effect]:
        self._recordings.discard(fact.job)
        return self._forget_if_done()

    def _watch(self, command: SetStatusCallback, now: datetime) -> list[effects.Effect]:
        self._enter(self.state, now, status_callback=command.url, status_callback_method=command.method)
        return [self._record()]

    def _peer_ended(self, fact: PeerEnded, now: datetime) -> list[effects.Effect]:
        return self._end(now, PEER_ENDS[fact.cause].by(self._peer, fact.detail))

    @property
    def _peer(self) -> str:
        return "caller" if self.view.direction == "inbound" else "callee"

    def _silent(self, fact: LegSilent, now: datetime) -> list[effects.Effect]:
        cause = f"no RTP for {fact.seconds:g} s"
        return [effects.HangUpPeer(cause, 408), *self._end(now, hung_up(cause))]

    def _timer(self, fact: TimerFired, now: datetime) -> list[effects.Effect]:
        if fact.name == "limit":
            return [effects.HangUpPeer("time limit"), *self._end(now, TIME_LIMIT)] if self.answered else []
        if self.state is CallState.CALLING:
            return [effects.HangUpPeer("no answer", 408), *self._end(now, NO_ANSWER if self._heard_of else UNREACHABLE)]
        if self.state in (CallState.OPENING, CallState.RINGING):
            goodbye = self._goodbye("not answered", 480, "Temporarily Unavailable")
            return [*goodbye, *self._end(now, replace(NO_ANSWER, sip_status=_refusal(goodbye)))]
        return []

    def _goodbye(self, cause: str, status: int, reason: str, bye: int = 200) -> list[effects.Effect]:
        """The effect that ends the call towards the peer: a refusal, or a BYE or CANCEL with the cause `bye`. `cause`
        is the kind of fault only, in our words: the peer may not be trusted."""
        if self.state is CallState.PLACING:
            return []
        if self.state in (CallState.OPENING, CallState.RINGING):
            return [effects.RejectCaller(status, reason, cause)]
        return [effects.HangUpPeer(cause, bye)]

    def _worker_lost(self, fact: WorkerLost, now: datetime) -> list[effects.Effect]:
        goodbye = self._goodbye("the media worker died", 503, "Service Unavailable", 500)
        self._leg_open = False
        self._recordings.clear()
        lost = self._streams.lose_all(now, fact.detail)
        ended = self._end(now, broken(fact.detail, _refusal(goodbye)))
        return [*goodbye, *(both(one, lost) if isinstance(one, effects.Persist) else one for one in ended)]

    def _end_call(self, command: EndCall, now: datetime) -> list[effects.Effect]:
        bye = 500 if command.status == "failed" else 200
        goodbye = self._goodbye(command.cause, 480, "Temporarily Unavailable", bye)
        if self.answered:
            return [*goodbye, *self._end(now, hung_up(command.words, command.status, command.source))]
        if self._place is not None:
            return [*goodbye, *self._end(now, replace(CANCELED, cause=command.words, source=command.source))]
        return [*goodbye, *self._end(now, broken(command.words, _refusal(goodbye)))]

    def _refuse_ended(self, _what: Any, _now: datetime) -> list[effects.Effect]:
        raise CallEnded("The call is over.")

    def _refuse_unanswered(self, _what: Any, _now: datetime) -> list[effects.Effect]:
        raise CallNotAnswered("The call is not answered yet.")

    def _refuse_outbound(self, _what: Any, _now: datetime) -> list[effects.Effect]:
        raise InvalidRequest("Whether this call is answered is for the callee to say.")

    def _refuse_answered(self, _what: Any, _now: datetime) -> list[effects.Effect]:
        raise InvalidRequest("The call is answered already.")

    def _ignore(self, _what: Any, _now: datetime) -> list[effects.Effect]:
        return []

    # ── streams ─────────────────────────────────────────────────────────────────────────────────────────────

    def _start_stream(self, command: StartStream, now: datetime) -> list[effects.Effect]:
        agreed = self._offers.agreed
        if agreed is None:
            raise CallNotAnswered("Streaming can start once the call is answered.")
        return self._streams.start(command, self.view, agreed.codec, now)

    def _stream_recorded(self, fact: Recorded, _now: datetime) -> list[effects.Effect]:
        return [] if fact.stream is None else self._streams.recorded(fact.stream)

    def _stream_not_recorded(self, fact: NotRecorded, now: datetime) -> list[effects.Effect]:
        return [] if fact.stream is None else self._streams.not_recorded(fact.stream, now)

    def _stop_stream(self, command: StopStream, now: datetime) -> list[effects.Effect]:
        return self._streams.stop(command, now)

    def _pause_stream(self, command: PauseStream, now: datetime) -> list[effects.Effect]:
        return self._streams.pause(command, now)

    def _stream_started(self, fact: StreamStarted, now: datetime) -> list[effects.Effect]:
        return self._streams.started(fact, now)

    def _stream_ended(self, fact: StreamEnded, now: datetime) -> list[effects.Effect]:
        return [*self._streams.ended(fact, now), *self._forget_if_done()]

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────

    def _end(self, now: datetime, ending: Ending) -> list[effects.Effect]:
        """End the call and every stream of it."""
        self._enter(
            CallState.ENDED,
            now,
            status=ending.status,
            ended_at=now,
            hangup_cause=ending.cause,
            hangup_source=ending.source,
            hangup_code=ending.code,
            sip_status=ending.sip_status,
        )
        streams, closing = self._streams.end_all(now, ending.cause)
        if self._leg_open:
            closing.append(orders.CloseLeg(ending.cause))
        record = both(self._record("completed", now), streams)
        return [*closing, record, *self._forget_if_done()]

    def _note(self, command: Note, _now: datetime) -> list[effects.Effect]:
        notes = self.view.notes
        text = " ".join(command.text.split())[:NOTE_LENGTH]
        if text not in notes and len(notes) < NOTE_LIMIT:
            self.view = replace(self.view, notes=(*notes, text))
        return []

    def _leg_closed(self, fact: LegClosed | LegFailed, _now: datetime) -> list[effects.Effect]:
        self._leg_open = False
        if isinstance(fact, LegClosed):
            self.view = replace(self.view, report=fact.report)
        return [self._record(), *self._forget_if_done()]

    def _worker_lost_after_end(self, _fact: WorkerLost, now: datetime) -> list[effects.Effect]:
        self._leg_open = False
        self._recordings.clear()
        return [self._streams.settle_all(now), *self._forget_if_done()]

    def _forget_if_done(self) -> list[effects.Effect]:
        done = self.state is CallState.ENDED and not (self._leg_open or self._streams or self._recordings)
        return [effects.Forget()] if done else []

    def _enter(self, state: CallState, now: datetime, **changes: Any) -> None:
        self.state = state
        self.view = replace(self.view, updated_at=now, **changes)

    def _event(self, kind: CallEventKind, now: datetime) -> CallEvent:
        return CallEvent(kind, self.view, now)

    def _record(self, kind: CallEventKind | None = None, now: datetime | None = None) -> effects.Persist:
        events = () if kind is None or now is None else (self._event(kind, now),)
        return effects.Persist(calls=(self.view,), call_events=events)


_Row = Callable[[Call, Any, datetime], list[effects.Effect]]

_MEDIA = get_args(orders.MediaOrder)
_UNANSWERED: dict[type, _Row] = {
    **dict.fromkeys((StartStream, StopStream, PauseStream, *_MEDIA), Call._refuse_unanswered),
    EndCall: Call._end_call,
    LegFailed: Call._leg_failed,
    PeerEnded: Call._peer_ended,
    WorkerLost: Call._worker_lost,
    TimerFired: Call._timer,
    SetStatusCallback: Call._watch,
}
_UNRECORDED: dict[type, _Row] = {
    LegOpened: Call._leg_opened,
    Recorded: Call._recorded,
    NotRecorded: Call._not_recorded,
}
_ANSWERED: dict[type, _Row] = {
    **dict.fromkeys(_MEDIA, Call._media),
    AnswerCall: Call._ignore,
    RejectCall: Call._refuse_answered,
    Confirmed: Call._confirmed,
    OfferReceived: Call._reoffered,
    Refreshed: Call._refreshed,
    ReofferCancelled: Call._reoffer_cancelled,
    LegUpdated: Call._leg_updated,
    DigitReceived: Call._digit,
    RecordingEnded: Call._record_ended,
    PeerEnded: Call._peer_ended,
    LegSilent: Call._silent,
    TimerFired: Call._timer,
    WorkerLost: Call._worker_lost,
    EndCall: Call._end_call,
    SetStatusCallback: Call._watch,
    StartStream: Call._start_stream,
    Recorded: Call._stream_recorded,
    NotRecorded: Call._stream_not_recorded,
    StopStream: Call._stop_stream,
    PauseStream: Call._pause_stream,
    StreamStarted: Call._stream_started,
    StreamEnded: Call._stream_ended,
}
_NOT_OURS: dict[type, _Row] = dict.fromkeys((AnswerCall, RejectCall), Call._refuse_outbound)
_OVER = (EndCall, StartStream, PauseStream, AnswerCall, RejectCall, SetStatusCallback, PlaceCall, *_MEDIA)

_ROWS: dict[CallState, dict[type, _Row]] = {
    CallState.NEW: {Invited: Call._invited, PlaceCall: Call._placed},
    CallState.OPENING: {
        **_UNANSWERED,
        **_UNRECORDED,
        AnswerCall: Call._answer_later,
        RejectCall: Call._reject,
    },
    CallState.RINGING: {**_UNANSWERED, AnswerCall: Call._answer, RejectCall: Call._reject},
    CallState.PLACING: {**_UNANSWERED, **_UNRECORDED, **_NOT_OURS},
    CallState.CALLING: {
        **_UNANSWERED,
        **_NOT_OURS,
        Progressed: Call._progressed,
        Accepted: Call._accepted,
        Refused: Call._refused,
    },
    CallState.ANSWERED: _ANSWERED,
    CallState.UP: _ANSWERED,
    CallState.ENDED: {
        **dict.fromkeys(_OVER, Call._refuse_ended),
        LegClosed: Call._leg_closed,
        LegFailed: Call._leg_closed,
        RecordingEnded: Call._record_ended,
        StreamStarted: Call._stream_started,
        StreamEnded: Call._stream_ended,
        StopStream: Call._stop_stream,
        WorkerLost: Call._worker_lost_after_end,
    },
}
_TABLE = {(state, what): row for state, rows in _ROWS.items() for what, row in (rows | {Note: Call._note}).items()}


def _offer_rules(rules: CallRules) -> OfferRules:
    order = rules.codecs if rules.codec_order == "ours" else ()
    return OfferRules(rules.codecs, rules.srtp, rules.family, order)


def _refusal(goodbye: Sequence[effects.Effect]) -> int | None:
    """The SIP status by which we refuse the call, if we do."""
    return next((effect.status for effect in goodbye if isinstance(effect, effects.RejectCaller)), None)
