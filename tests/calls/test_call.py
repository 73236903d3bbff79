"""The call model: each row of its table, and what holds for every sequence of facts and commands."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline.calls import effects, events
from trunkline.calls.call import Call, CallRules, CallState
from trunkline.calls.commands import AnswerCall, Command, EndCall, StartStream, StopStream
from trunkline.calls.endings import lost_in_crash
from trunkline.calls.views import CallView, StreamEvent
from trunkline.errors import (
    ApiError,
    CallEnded,
    CallNotAnswered,
    InvalidRequest,
    ResourceNotFound,
    StreamLimitReached,
)
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.report import LegReport
from trunkline.sdp.negotiate import CodecOrder
from trunkline.sdp.session import SessionDescription, parse
from trunkline.sdp.values import Direction, Endpoint
from trunkline.streaming.params import BidirectionalMode, StreamReport
from trunkline.workers import orders, reports
from trunkline.workers.orders import PauseStream

RANDOM = Random(1)
T0 = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
S1, S2 = StreamSid("s1"), StreamSid("s2")


def sdp(codecs: str = "0 8", extra: str = "", address: str = "192.0.2.7") -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n"
        f"m=audio 4000 RTP/AVP {codecs}\r\n{extra}"
    )


OFFER = parse(sdp().encode())
HOLD = parse(sdp(extra="a=sendonly\r\n").encode())
TO_PCMA = parse(sdp("8").encode())
UNUSABLE = parse(sdp("18").encode())
OFF = parse(sdp().replace("audio 4000", "audio 0").encode())
OPENED = reports.LegOpened(Endpoint("127.0.0.1", 20000))
APP = stream_params("ws://app.example/")
RTP = replace(APP, mode=BidirectionalMode.RTP)

Some = TypeVar("Some", bound=effects.Effect)


def new_call(rules: CallRules | None = None) -> Call:
    view = CallView(
        sid=CallSid("v3:x"),
        account_sid=AccountSid("a"),
        session_id=CallSessionId("c"),
        direction="inbound",
        from_="+15550001111",
        to="+15550002222",
        caller_name="",
        status="ringing",
        created_at=T0,
        updated_at=T0,
    )
    return Call(view, rules or CallRules(), sdp_session=1, random=RANDOM.randbytes)


def feed(call: Call, *inputs: events.Fact | Command) -> list[effects.Effect]:
    """The effects of the last input, where the store takes each record at once."""
    out: list[effects.Effect] = []
    for what in inputs:
        out = call.handle(what, T0)
        recorded = [effect.then for effect in out if isinstance(effect, effects.Persist) and effect.then]
        out += [effect for fact in recorded for effect in call.handle(fact, T0)]
    return out


def answered(*inputs: events.Fact | Command) -> Call:
    call = new_call()
    feed(call, events.Invited(OFFER), OPENED, events.Confirmed(None), *inputs)
    return call


def kinds(out: Sequence[effects.Effect]) -> list[type]:
    return [type(effect) for effect in out]


def only(kind: type[Some], out: Sequence[effects.Effect]) -> Some:
    (found,) = [effect for effect in out if isinstance(effect, kind)]
    return found


def updated(order: orders.UpdateLeg) -> reports.LegUpdated:
    return reports.LegUpdated(order.number)


def stream_events(out: Sequence[effects.Effect]) -> list[StreamEvent]:
    return [event for effect in out if isinstance(effect, effects.Persist) for event in effect.events]


# ── set-up ──


def test_an_invite_rings_and_asks_for_a_leg() -> None:
    out = feed(new_call(), events.Invited(OFFER))
    assert kinds(out) == [effects.RingCaller, orders.OpenLeg, effects.Persist]
    assert only(orders.OpenLeg, out).params.codec == "PCMU"


def test_an_open_leg_answers_the_call_at_its_port() -> None:
    call = new_call()
    out = feed(call, events.Invited(OFFER), OPENED)
    assert "m=audio 20000 RTP/AVP 0" in only(effects.AnswerCaller, out).sdp
    assert call.view.status == "in-progress"
    assert call.view.answered_at == T0


@pytest.mark.parametrize(("first", "second"), [(OPENED, events.Recorded()), (events.Recorded(), OPENED)])
def test_a_call_is_answered_once_it_has_a_leg_and_a_durable_record(first: events.Fact, second: events.Fact) -> None:
    call = new_call()
    call.handle(events.Invited(OFFER), T0)
    assert call.handle(first, T0) == []
    assert effects.AnswerCaller in kinds(call.handle(second, T0))


@pytest.mark.parametrize("opened", [True, False])
def test_a_call_without_a_durable_record_is_refused_with_503(opened: bool) -> None:
    call = new_call()
    call.handle(events.Invited(OFFER), T0)
    if opened:
        call.handle(OPENED, T0)
    out = call.handle(events.NotRecorded(), T0)
    assert only(effects.RejectCaller, out).status == 503
    assert call.view.status == "failed"


def test_an_offer_without_a_usable_codec_gets_488_and_a_reason() -> None:
    call = new_call()
    out = feed(call, events.Invited(UNUSABLE))
    refusal = only(effects.RejectCaller, out)
    assert (refusal.status, refusal.reason) == (488, "Not Acceptable Here")
    assert refusal.warning
    assert kinds(out) == [effects.RejectCaller, effects.Persist, effects.Forget]
    assert call.view.status == "failed"


def test_the_ack_confirms_a_callers_leg_once() -> None:
    call = new_call()
    assert not only(orders.OpenLeg, feed(call, events.Invited(OFFER))).confirmed
    feed(call, OPENED)
    assert feed(call, events.Confirmed(None)) == [orders.ConfirmLeg()]
    assert feed(call, events.Confirmed(None)) == []


def test_the_ack_confirms_a_callers_leg_whatever_became_of_an_offer_of_ours() -> None:
    call = new_call()
    feed(call, events.Invited(OFFER), OPENED, events.OfferReceived(None))
    assert kinds(feed(call, events.Confirmed(None))) == [orders.ConfirmLeg, orders.UpdateLeg]


def test_a_leg_whose_peer_is_not_known_yet_needs_no_confirmation() -> None:
    assert only(orders.OpenLeg, feed(new_call(), events.Invited(None))).confirmed


def test_a_call_without_sdp_streams_gets_them_by_a_later_offer() -> None:
    nothing = parse(sdp().partition("m=")[0].encode())
    call = new_call()
    opened = feed(call, events.Invited(nothing))
    params = only(orders.OpenLeg, opened).params
    assert params.direction is Direction.INACTIVE
    answer = only(effects.AnswerCaller, feed(call, OPENED)).sdp
    assert parse(answer.encode()).media == ()
    again = only(orders.UpdateLeg, feed(call, events.Confirmed(None), events.OfferReceived(nothing)))
    assert again.params == params
    feed(call, updated(again))
    order = only(orders.UpdateLeg, feed(call, events.OfferReceived(parse(sdp().encode()))))
    assert order.params.direction is Direction.SENDRECV
    feed(call, updated(order))
    assert kinds(feed(call, events.OfferReceived(nothing))) == [effects.RejectReoffer], (
        "streams do not vanish from an offer"
    )


def test_without_a_leg_the_call_is_refused_and_forgotten() -> None:
    out = feed(new_call(), events.Invited(OFFER), reports.LegFailed("no free port"))
    assert only(effects.RejectCaller, out).status == 503
    assert kinds(out)[-1] is effects.Forget


def test_a_late_offer_is_settled_by_the_ack() -> None:
    call = new_call()
    feed(call, events.Invited(None), OPENED)
    with pytest.raises(CallNotAnswered, match="Streaming can start once the call is answered"):
        feed(call, StartStream(S1, APP))
    out = feed(call, events.Confirmed(TO_PCMA))
    assert only(orders.UpdateLeg, out).params.codec == "PCMA"
    assert call.view.codec == "PCMA"
    assert only(orders.OpenStream, feed(call, StartStream(S1, APP))).encoding == "PCMA"


@pytest.mark.parametrize("answer", [None, UNUSABLE])
def test_a_late_offer_that_is_not_answered_ends_the_call(answer: SessionDescription | None) -> None:
    call = new_call()
    out = feed(call, events.Invited(None), OPENED, events.Confirmed(answer))
    assert kinds(out) == [effects.HangUpPeer, orders.CloseLeg, effects.Persist]
    assert only(effects.HangUpPeer, out).cause == 488
    assert call.view.status == "failed"


def test_cancel_while_the_leg_opens_closes_it_again() -> None:
    call = new_call()
    out = feed(call, events.Invited(OFFER), events.PeerEnded("cancel", ""))
    assert kinds(out) == [orders.CloseLeg, effects.Persist]
    assert call.view.status == "canceled"
    assert kinds(feed(call, OPENED, reports.LegClosed(LegReport()))) == [effects.Persist, effects.Forget]


def test_the_api_ending_a_ringing_call_refuses_it() -> None:
    call = new_call()
    out = feed(call, events.Invited(OFFER), EndCall("ended by the API"))
    assert kinds(out) == [effects.RejectCaller, orders.CloseLeg, effects.Persist]
    assert only(effects.RejectCaller, out) == effects.RejectCaller(480, "Temporarily Unavailable", "ended by the API")
    assert call.view.sip_status == 480


@pytest.mark.parametrize("lost", [reports.LegFailed("no port"), reports.WorkerLost("killed")])
def test_a_call_that_we_cannot_take_has_the_status_of_its_refusal(lost: events.Fact) -> None:
    call = new_call()
    refusal = only(effects.RejectCaller, feed(call, events.Invited(OFFER), lost))
    assert call.view.sip_status == refusal.status == 503


# ── re-INVITE ──


def test_hold_and_resume_reach_the_leg() -> None:
    call = answered()
    held = only(orders.UpdateLeg, feed(call, events.OfferReceived(HOLD)))
    assert held.params.direction is Direction.RECVONLY
    assert "a=recvonly" in only(effects.AcceptReoffer, feed(call, updated(held))).sdp
    resumed = only(orders.UpdateLeg, feed(call, events.OfferReceived(OFFER)))
    assert resumed.params.direction is Direction.SENDRECV
    assert "a=sendrecv" in only(effects.AcceptReoffer, feed(call, updated(resumed))).sdp


def test_an_offer_is_answered_once_the_leg_has_applied_it() -> None:
    call = answered()
    asked = feed(call, events.OfferReceived(TO_PCMA))
    assert kinds(asked) == [orders.UpdateLeg]
    assert call.view.codec == "PCMU", "the codec is shown once it is agreed"
    accepted = feed(call, updated(only(orders.UpdateLeg, asked)))
    assert kinds(accepted) == [effects.AcceptReoffer, effects.Persist]
    assert "m=audio 20000 RTP/AVP 8" in only(effects.AcceptReoffer, accepted).sdp
    assert only(effects.Persist, accepted).calls[0].codec == "PCMA"
    assert feed(call, updated(only(orders.UpdateLeg, asked))) == [], "once"


def test_a_stream_that_starts_while_an_offer_waits_speaks_what_the_leg_will() -> None:
    call = answered(events.OfferReceived(TO_PCMA))
    assert only(orders.OpenStream, feed(call, StartStream(S1, APP))).encoding == "PCMA"


def test_an_offer_that_is_cancelled_leaves_the_call_as_it_was() -> None:
    call = answered()
    asked = only(orders.UpdateLeg, feed(call, events.OfferReceived(TO_PCMA)))
    (back,) = feed(call, events.ReofferCancelled())
    assert isinstance(back, orders.UpdateLeg)
    assert back.params.codec == call.view.codec == "PCMU"
    assert feed(call, updated(asked), updated(back)) == []
    assert feed(call, events.ReofferCancelled()) == []


def test_the_report_of_an_earlier_update_is_not_taken_for_a_later_one() -> None:
    call = answered()
    cancelled = only(orders.UpdateLeg, feed(call, events.OfferReceived(HOLD)))
    back = only(orders.UpdateLeg, feed(call, events.ReofferCancelled()))
    asked = only(orders.UpdateLeg, feed(call, events.OfferReceived(TO_PCMA)))
    assert [feed(call, updated(early)) for early in (cancelled, back)] == [[], []]
    sdp = only(effects.AcceptReoffer, feed(call, updated(asked))).sdp
    assert "RTP/AVP 8" in sdp
    assert sdp.splitlines()[1].split()[2] == "2", "an offer that got no answer takes no version"


def test_the_report_of_an_update_without_an_open_offer_changes_nothing() -> None:
    call = new_call()
    order = only(orders.UpdateLeg, feed(call, events.Invited(None), OPENED, events.Confirmed(TO_PCMA)))
    assert feed(call, updated(order)) == []


@pytest.mark.parametrize(
    ("end", "first"),
    [
        (events.PeerEnded("bye", ""), orders.CloseLeg("caller hung up")),
        (EndCall("so be it"), effects.HangUpPeer("so be it")),
        (reports.WorkerLost("the media worker died"), effects.HangUpPeer("the media worker died", 500)),
        (reports.LegSilent(60), effects.HangUpPeer("no RTP for 60 s", 408)),
    ],
)
def test_a_call_that_ends_answers_no_offer_any_more(end: events.Fact | Command, first: effects.Effect) -> None:
    call = answered()
    order = only(orders.UpdateLeg, feed(call, events.OfferReceived(HOLD)))
    assert feed(call, end)[0] == first, "with which signalling answers the open request"
    assert effects.AcceptReoffer not in kinds([*feed(call, updated(order)), *feed(call, events.ReofferCancelled())])


def test_each_sdp_of_ours_has_a_higher_version() -> None:
    call = new_call()
    texts = [only(effects.AnswerCaller, feed(call, events.Invited(OFFER), OPENED)).sdp]
    for offer in (HOLD, None, OFFER):
        out = feed(call, events.OfferReceived(offer))
        if offer is not None:
            out = feed(call, updated(only(orders.UpdateLeg, out)))
        texts.append(only(effects.AcceptReoffer, out).sdp)
    origins = [line.split() for text in texts for line in text.splitlines() if line.startswith("o=")]
    assert [origin[2] for origin in origins] == ["1", "2", "3", "4"]
    assert len({origin[1] for origin in origins}) == 1


def test_a_reinvite_that_cannot_be_met_leaves_the_call_as_it_was() -> None:
    call = answered()
    out = feed(call, events.OfferReceived(UNUSABLE))
    assert kinds(out) == [effects.RejectReoffer]
    refusal = only(effects.RejectReoffer, out)
    assert (refusal.status, refusal.reason) == (488, "Not Acceptable Here")
    assert call.view.codec == "PCMU"


def test_a_reinvite_without_an_offer_is_settled_by_its_ack() -> None:
    call = answered()
    out = feed(call, events.OfferReceived(None))
    assert kinds(out) == [orders.UpdateLeg, effects.AcceptReoffer]
    before = only(orders.UpdateLeg, out).params
    assert (before.codec, dict(before.heard)[9]) == ("PCMU", "G722"), "what the peer sends upon our offer is heard"
    assert only(orders.UpdateLeg, feed(call, events.Confirmed(TO_PCMA))).params.codec == "PCMA"
    assert call.view.codec == "PCMA"
    feed(call, updated(only(orders.UpdateLeg, feed(call, events.OfferReceived(OFFER)))))
    assert feed(call, events.Confirmed(None)) == [], "the offer was the peer's this time"


@pytest.mark.parametrize("answer", [None, UNUSABLE, OFF])
def test_an_offer_of_ours_in_the_call_that_gets_no_answer_leaves_it_as_it_was(
    answer: SessionDescription | None,
) -> None:
    call = new_call()
    before = only(orders.OpenLeg, feed(call, events.Invited(OFFER))).params
    feed(call, OPENED, events.Confirmed(None), events.OfferReceived(None))
    out = feed(call, events.Confirmed(answer))
    assert kinds(out) == [orders.UpdateLeg]
    assert only(orders.UpdateLeg, out).params == before
    assert call.state is CallState.UP
    assert only(orders.UpdateLeg, feed(call, events.OfferReceived(TO_PCMA))).params.codec == "PCMA"


def test_the_answer_to_a_refresh_counts() -> None:
    call = answered()
    moved = parse(sdp(extra="a=inactive\r\n", address="192.0.2.9").encode())
    params = only(orders.UpdateLeg, feed(call, events.Refreshed(moved))).params
    assert (params.direction, params.remote.host) == (Direction.INACTIVE, "192.0.2.9")
    (again,) = feed(call, events.Refreshed(moved))
    assert isinstance(again, orders.UpdateLeg), "nothing has changed, and the leg is updated again"
    assert again.params == params
    assert feed(call, events.Refreshed(UNUSABLE)) == [], "the call goes on as it was"
    assert feed(call, events.Refreshed(OFF)) == []
    assert only(orders.UpdateLeg, feed(call, events.Refreshed(TO_PCMA))).params.codec == "PCMA"
    assert call.view.codec == "PCMA"


def test_a_call_is_answered_in_the_codec_of_the_leg_to_be_bridged() -> None:
    call = new_call()
    feed(call, events.Invited(OFFER, answer=False), OPENED)
    out = feed(call, AnswerCall("PCMA"))
    assert kinds(out) == [orders.UpdateLeg, effects.AnswerCaller, effects.Persist]
    assert only(orders.UpdateLeg, out).params.codec == call.view.codec == "PCMA"
    assert "RTP/AVP 8 0" in only(effects.AnswerCaller, out).sdp
    feed(call, events.Confirmed(None))
    order = only(orders.UpdateLeg, feed(call, events.OfferReceived(HOLD)))
    assert order.params.codec == "PCMA", "and stays in it"


@pytest.mark.parametrize("codec", ["PCMU", "G722", "OPUS", None])
def test_a_preferred_codec_not_offered_or_already_first_changes_nothing(codec: str | None) -> None:
    call = new_call()
    feed(call, events.Invited(OFFER, answer=False), OPENED)
    assert kinds(feed(call, AnswerCall(codec))) == [effects.AnswerCaller, effects.Persist]
    assert call.view.codec == "PCMU"


def test_an_answer_that_comes_before_the_leg_prefers_a_codec_too() -> None:
    call = new_call()
    feed(call, events.Invited(OFFER, answer=False))
    assert only(orders.UpdateLeg, feed(call, AnswerCall("PCMA"))).params.codec == "PCMA"
    assert "RTP/AVP 8 0" in only(effects.AnswerCaller, feed(call, OPENED)).sdp


@pytest.mark.parametrize(("order", "codec"), [("ours", "PCMU"), ("peer", "G722")])
def test_a_setting_decides_between_the_codec_orders(order: CodecOrder, codec: str) -> None:
    phone = parse(sdp("9 0 8").encode())
    call = new_call(CallRules(codec_order=order))
    assert only(orders.OpenLeg, feed(call, events.Invited(phone))).params.codec == codec


# ── streams ──


def test_a_stream_is_recorded_before_it_is_opened() -> None:
    out = feed(answered(), StartStream(S1, APP))
    assert kinds(out) == [effects.Persist, orders.OpenStream]
    assert only(orders.OpenStream, out).encoding == "PCMU"


def test_a_stream_may_start_between_200_and_ack() -> None:
    call = new_call()
    feed(call, events.Invited(OFFER), OPENED)
    assert kinds(feed(call, StartStream(S1, APP))) == [effects.Persist, orders.OpenStream]


def test_started_and_stopped_are_reported_once_each() -> None:
    call = answered(StartStream(S1, APP))
    started = feed(call, reports.StreamStarted(S1))
    stopped = feed(call, StopStream(S1))
    late = feed(call, reports.StreamEnded(S1, "too late to matter", "", StreamReport(frames_sent=7)))
    assert [event.kind for event in stream_events([*started, *stopped, *late])] == ["stream-started", "stream-stopped"]
    (view,) = only(effects.Persist, late).streams
    assert view.status == "stopped"
    assert view.report == StreamReport(frames_sent=7)


def test_an_app_that_fails_gives_stream_error_and_the_call_goes_on() -> None:
    call = answered(StartStream(S1, APP))
    out = feed(call, reports.StreamEnded(S1, "connection refused", "connection refused", None))
    (event,) = stream_events(out)
    assert (event.kind, event.error) == ("stream-error", "connection refused")
    assert call.state is CallState.UP


def test_an_app_that_closes_gives_stream_stopped() -> None:
    out = feed(answered(StartStream(S1, APP)), reports.StreamEnded(S1, None, "the app closed", None))
    assert [event.kind for event in stream_events(out)] == ["stream-stopped"]


def test_a_hangup_during_connect_stops_the_stream_once_the_worker_reports() -> None:
    call = answered(StartStream(S1, APP))
    out = feed(call, events.PeerEnded("bye", ""))
    assert kinds(out) == [orders.CloseStream, orders.CloseLeg, effects.Persist]
    assert stream_events(out) == []
    assert [event.kind for event in stream_events(feed(call, reports.StreamEnded(S1, None, "closed", None)))] == [
        "stream-stopped"
    ]


@pytest.mark.parametrize("end", [events.PeerEnded("bye", ""), StopStream(S1)])
def test_a_start_that_crosses_the_end_of_the_call_is_reported_before_it(end: events.Fact | Command) -> None:
    call = answered(StartStream(S1, APP))
    assert stream_events(feed(call, end)) == []
    out = feed(call, reports.StreamStarted(S1))
    assert [event.kind for event in stream_events(out)] == ["stream-started", "stream-stopped"]
    assert stream_events(feed(call, reports.StreamEnded(S1, None, "closed", None))) == []


def test_a_worker_that_dies_after_the_end_leaves_no_stream_unreported() -> None:
    call = answered(StartStream(S1, APP), events.PeerEnded("bye", ""))
    assert [event.kind for event in stream_events(feed(call, reports.WorkerLost("died")))] == ["stream-stopped"]


def test_a_dead_worker_fails_its_streams_and_hangs_up() -> None:
    call = answered(StartStream(S1, APP), reports.StreamStarted(S1))
    out = feed(call, reports.WorkerLost("the media worker died"))
    assert kinds(out) == [effects.HangUpPeer, effects.Persist, effects.Forget]
    assert out[0] == effects.HangUpPeer("the media worker died", 500)
    assert [(event.kind, event.error) for event in stream_events(out)] == [("stream-error", "the media worker died")]


@pytest.mark.parametrize(("status", "cause"), [("completed", 200), ("failed", 500)])
def test_a_normal_end_is_distinguished_from_a_failure(status: Literal["completed", "failed"], cause: int) -> None:
    assert only(effects.HangUpPeer, feed(answered(), EndCall("so be it", status))) == effects.HangUpPeer(
        "so be it", cause
    )


def test_silence_ends_the_call_with_a_reason() -> None:
    call = answered()
    out = feed(call, reports.LegSilent(60))
    assert only(effects.HangUpPeer, out) == effects.HangUpPeer("no RTP for 60 s", 408)
    assert call.view.hangup_source == "system"


def test_stream_limits() -> None:
    call = answered(StartStream(S1, RTP))
    with pytest.raises(StreamLimitReached):
        feed(call, StartStream(S2, RTP))
    for number in range(3):
        feed(call, StartStream(StreamSid(f"more{number}"), APP))
    with pytest.raises(StreamLimitReached):
        feed(call, StartStream(S2, APP))
    feed(call, StopStream(S1))
    assert kinds(feed(call, StartStream(S2, RTP))) == [effects.Persist, orders.OpenStream]


def test_a_live_stream_is_found_by_name() -> None:
    call = answered(StartStream(S1, replace(APP, name="ears")))
    found = call.find_stream("ears")
    assert found is not None
    assert found.sid == S1
    assert call.live_streams == [found]
    assert call.streaming == [(found, replace(APP, name="ears"))]
    feed(call, StopStream(S1))
    assert (call.live_streams, call.streaming) == ([], [])
    assert call.find_stream("ears") is None
    assert call.find_stream("s1") is not None


def test_commands_after_the_end_are_refused() -> None:
    call = answered(events.PeerEnded("bye", ""))
    for command in (StartStream(S1, APP), EndCall("x")):
        with pytest.raises(CallEnded, match="The call is over"):
            feed(call, command)
    with pytest.raises(ResourceNotFound):
        feed(call, StopStream(S1))


def test_a_call_is_forgotten_when_leg_and_streams_have_reported() -> None:
    call = answered(StartStream(S1, APP), events.PeerEnded("bye", ""))
    assert effects.Forget not in kinds(feed(call, reports.LegClosed(LegReport(packets_in=5))))
    assert call.view.report == LegReport(packets_in=5)
    assert kinds(feed(call, reports.StreamEnded(S1, None, "", None)))[-1] is effects.Forget


@pytest.mark.parametrize(
    ("fact", "status", "source", "words"),
    [
        (events.PeerEnded("bye", ""), "completed", "caller", "caller hung up"),
        (events.PeerEnded("bye", "user busy"), "completed", "caller", "caller hung up (user busy)"),
        (events.PeerEnded("no-ack", ""), "failed", "system", "our answer was never confirmed"),
        (events.PeerEnded("error", "reset"), "failed", "system", "signalling failed (reset)"),
    ],
)
def test_how_a_call_ended_is_kept(fact: events.Fact, status: str, source: str, words: str) -> None:
    view = answered(fact).view
    assert (view.status, view.hangup_source, view.hangup_cause) == (status, source, words)
    assert view.ended_at == T0


def test_a_crash_is_reported_after_the_restart() -> None:
    call = answered(StartStream(S1, APP))
    record = lost_in_crash([call.view], call.live_streams, T0 + timedelta(minutes=1))
    assert [view.status for view in record.calls] == ["failed"]
    assert [event.kind for event in record.events] == ["stream-error"]
    [stream] = record.streams
    assert (stream.status, stream.ended_reason) == ("failed", "the server stopped without warning")
    assert stream.updated_at == T0 + timedelta(minutes=1)
    assert [event.stream for event in record.events] == [stream]


# ── whatever happens ──

ANYTHING = st.sampled_from(
    [
        events.Invited(OFFER),
        events.Invited(None),
        OPENED,
        reports.LegFailed("x"),
        events.Confirmed(None),
        events.Confirmed(TO_PCMA),
        events.OfferReceived(HOLD),
        events.OfferReceived(None),
        events.OfferReceived(UNUSABLE),
        events.ReofferCancelled(),
        reports.LegUpdated(1),
        reports.LegUpdated(2),
        events.DigitReceived("5"),
        events.PeerEnded("bye", ""),
        events.PeerEnded("cancel", ""),
        events.PeerEnded("no-ack", ""),
        reports.LegSilent(60),
        reports.LegClosed(LegReport()),
        reports.WorkerLost("x"),
        reports.StreamStarted(S1),
        reports.StreamEnded(S1, None, "x", None),
        reports.StreamEnded(S1, "x", "x", None),
        reports.StreamEnded(S2, "x", "x", None),
        StartStream(S1, APP),
        StartStream(S2, RTP),
        StopStream(S1),
        StopStream(S2),
        PauseStream(S1, paused=True),
        PauseStream(S1, paused=False),
        EndCall("x"),
    ]
)


@given(st.sampled_from([OFFER, None]), st.lists(ANYTHING, max_size=30))
def test_every_stream_ends_exactly_once_and_nothing_follows_the_end(
    offer: SessionDescription | None, inputs: list[events.Fact | Command]
) -> None:
    call = new_call()
    opened: list[StreamSid] = []
    endings: list[StreamSid] = []
    ended_calls = 0
    asked = answers = 0
    for what in [events.Invited(offer), *inputs, reports.WorkerLost("the end"), reports.WorkerLost("the end")]:
        if isinstance(what, StartStream) and what.sid in opened:
            continue
        was_over = call.state is CallState.ENDED
        try:
            out = call.handle(what, T0)
        except ApiError:
            continue
        opened += [effect.identity.stream_sid for effect in out if isinstance(effect, orders.OpenStream)]
        endings += [event.stream.sid for event in stream_events(out) if event.kind != "stream-started"]
        asked += isinstance(what, events.OfferReceived)
        answers += len({effects.AcceptReoffer, effects.RejectReoffer} & set(kinds(out)))
        ended_calls += not was_over and call.state is CallState.ENDED
        if was_over:
            assert not {
                effects.HangUpPeer,
                effects.RejectCaller,
                effects.AnswerCaller,
                orders.OpenStream,
                orders.OpenLeg,
            } & set(kinds(out))
    assert sorted(opened) == sorted(endings)
    assert ended_calls == 1
    assert answers <= asked
    assert call.state is CallState.ENDED


def test_a_key_received_by_sip_goes_to_the_media_of_a_call_that_is_up() -> None:
    assert feed(answered(), events.DigitReceived("5")) == [orders.NotifyDtmf("5")]
    ringing = new_call()
    assert feed(ringing, events.Invited(OFFER), events.DigitReceived("5")) == []


def test_a_stream_is_paused_and_resumed_once_each_and_stays_live() -> None:
    call = answered(StartStream(S1, APP), reports.StreamStarted(S1))
    paused = feed(call, PauseStream(S1, paused=True))
    assert only(effects.Persist, paused).streams[0].status == "paused"
    assert only(orders.PauseStream, paused) == orders.PauseStream(S1, paused=True)
    assert feed(call, PauseStream(S1, paused=True)) == []
    assert [view.status for view in call.live_streams] == ["paused"]
    assert only(effects.Persist, feed(call, PauseStream(S1, paused=False))).streams[0].status == "in-progress"
    assert (
        stream_events(feed(call, PauseStream(S1, paused=True), events.PeerEnded("bye", "")))[0].kind == "stream-stopped"
    )


def test_what_cannot_be_paused() -> None:
    call = answered(StartStream(S1, APP), StopStream(S1))
    with pytest.raises(InvalidRequest, match="over"):
        call.handle(PauseStream(S1, paused=True), T0)
    with pytest.raises(ResourceNotFound):
        call.handle(PauseStream(S2, paused=True), T0)
    feed(call, EndCall("x"))
    with pytest.raises(CallEnded):
        call.handle(PauseStream(S1, paused=True), T0)


INNER = "http://10.0.0.5:8080/voice: connection refused"


@pytest.mark.parametrize(
    ("fault", "kind", "detail"),
    [
        (EndCall("no instructions", "failed", detail=INNER), "no instructions", f"no instructions: {INNER}"),
        (reports.LegFailed(f"cannot open {INNER}"), "there is no room for the call's media", f"cannot open {INNER}"),
        (reports.WorkerLost(f"it died of {INNER}"), "the media worker died", f"it died of {INNER}"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_peer_receives_the_kind_of_a_fault_and_the_record_its_detail(fault: Any, kind: str, detail: str) -> None:
    call = new_call()
    assert only(effects.RejectCaller, feed(call, events.Invited(OFFER), fault)).warning == kind
    assert call.view.hangup_cause == detail
    if not isinstance(fault, reports.LegFailed):
        up = answered()
        assert only(effects.HangUpPeer, feed(up, fault)) == effects.HangUpPeer(kind, 500)
        assert up.view.hangup_cause == detail
