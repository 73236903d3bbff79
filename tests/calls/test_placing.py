"""Outbound calls, calls that ring until a command, and the events of a call: the model's rows for them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_params import stream_params
from trunkline.calls import effects, events
from trunkline.calls.call import Call, CallRules, CallState
from trunkline.calls.commands import (
    AnswerCall,
    Command,
    EndCall,
    PlaceCall,
    RejectCall,
    Route,
    SetStatusCallback,
    StartStream,
)
from trunkline.calls.endings import lost_in_crash
from trunkline.calls.views import CALL_EVENTS, CallView
from trunkline.errors import ApiError, CallEnded, CallNotAnswered, InvalidRequest
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.report import LegReport
from trunkline.sdp.negotiate import CodecOrder
from trunkline.sdp.session import parse
from trunkline.sdp.values import Endpoint
from trunkline.workers import orders, reports
from trunkline.workers.orders import Bridge, SendDigits, StartPlayback, StartRecording

T0 = datetime(2025, 6, 5, 8, 54, 19, tzinfo=UTC)
ROUTE = Route("trunk", "carrier", "+15550002222")
PLACE = PlaceCall(ROUTE, timeout=20, time_limit=600, headers=(("X-Ref", "7"),), username="u", password="p")
OPENED = reports.LegOpened(Endpoint("127.0.0.1", 20000))
STREAM = StartStream(StreamSid("s1"), stream_params("ws://app.example/"))

Some = TypeVar("Some", bound=effects.Effect)


def sdp(codecs: str = "0", port: int = 4000) -> str:
    return (
        f"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio {port} RTP/AVP {codecs}\r\n"
    )


PCMU = parse(sdp().encode())
PCMA = parse(sdp("8").encode())
G729 = parse(sdp("18").encode())


def new_call(direction: str = "outbound", rules: CallRules | None = None) -> Call:
    view = CallView(
        sid=CallSid("v3:x"),
        account_sid=AccountSid("a"),
        session_id=CallSessionId("c"),
        direction="outbound" if direction == "outbound" else "inbound",
        from_="+15550001111",
        to="+15550002222",
        caller_name="",
        status="queued" if direction == "outbound" else "ringing",
        created_at=T0,
        updated_at=T0,
    )
    return Call(view, rules or CallRules(), sdp_session=1, random=Random(1).randbytes)


def feed(call: Call, *inputs: events.Fact | Command) -> list[effects.Effect]:
    """The effects of the last input, where the store takes each record at once."""
    out: list[effects.Effect] = []
    for what in inputs:
        out = call.handle(what, T0)
        recorded = [effect.then for effect in out if isinstance(effect, effects.Persist) and effect.then]
        out += [effect for fact in recorded for effect in call.handle(fact, T0)]
    return out


def calling(place: PlaceCall = PLACE, *more: events.Fact | Command) -> Call:
    call = new_call()
    feed(call, place, OPENED, *more)
    return call


def ringing_in() -> Call:
    call = new_call("inbound")
    feed(call, events.Invited(PCMU, answer=False), OPENED)
    return call


def kinds(out: Sequence[effects.Effect]) -> list[type]:
    return [type(effect) for effect in out]


def only(kind: type[Some], out: Sequence[effects.Effect]) -> Some:
    (found,) = [effect for effect in out if isinstance(effect, kind)]
    return found


def events_of(out: Sequence[effects.Effect]) -> list[tuple[str, str]]:
    """The call events: kind, and the call's status in it."""
    made = [event for effect in out if isinstance(effect, effects.Persist) for event in effect.call_events]
    return [(event.kind, event.call.status) for event in made]


@pytest.mark.parametrize(
    ("order", "codecs", "codec"),
    [
        ("ours", None, "PCMU"),
        ("peer", None, "G722"),
        ("ours", ("PCMA", "G722"), "PCMA"),
        ("peer", ("PCMA", "G722"), "PCMA"),
    ],
)
def test_the_codecs_that_a_call_was_placed_with_go_first_whatever_the_order(
    order: CodecOrder, codecs: tuple[str, ...] | None, codec: str
) -> None:
    call = new_call(rules=CallRules(codec_order=order))
    offer = only(effects.InviteCallee, feed(call, replace(PLACE, codecs=codecs), OPENED)).sdp
    assert f"RTP/AVP {'0 8 9' if codecs is None else '8 9'} 101" in offer
    out = feed(call, events.Accepted(parse(sdp("9 8 0").encode())))
    assert only(orders.UpdateLeg, out).params.codec == codec


# ── placing ──


def test_a_placed_call_opens_a_leg_and_then_invites() -> None:
    call = new_call()
    out = feed(call, PLACE)
    assert kinds(out) == [orders.OpenLeg, effects.Persist]
    assert events_of(out) == [("initiated", "queued")]
    out = feed(call, OPENED)
    invite = only(effects.InviteCallee, out)
    assert "m=audio 20000 RTP/AVP 0 8 9" in invite.sdp
    assert (invite.route, invite.headers, invite.username, invite.password) == (ROUTE, (("X-Ref", "7"),), "u", "p")
    assert only(effects.SetTimer, out) == effects.SetTimer("ring", 20)


def test_codecs_and_encryption_as_asked_for() -> None:
    call = new_call()
    out = feed(call, replace(PLACE, codecs=("G722",), srtp=True), OPENED)
    assert "RTP/SAVP 9" in only(effects.InviteCallee, out).sdp
    assert "a=crypto:" in only(effects.InviteCallee, out).sdp
    refused = feed(call, events.Accepted(PCMU))
    assert kinds(refused) == [effects.HangUpPeer, orders.CloseLeg, effects.Persist]
    assert call.view.status == "failed"


def test_alerting_is_reported_once() -> None:
    call = calling()
    assert events_of(feed(call, events.Progressed(180, None))) == [("ringing", "ringing")]
    assert feed(call, events.Progressed(180, None)) == []
    assert call.state is CallState.CALLING


def test_early_media_reaches_the_leg_before_the_answer() -> None:
    call = calling()
    out = feed(call, events.Progressed(183, PCMU))
    assert only(orders.UpdateLeg, out).early
    assert only(orders.UpdateLeg, out).params.remote == Endpoint("192.0.2.7", 4000)
    out = feed(call, events.Accepted(None))
    assert only(orders.UpdateLeg, out).params.codec == "PCMU"
    assert call.view.codec == "PCMU"


def test_early_media_that_cannot_be_used_does_not_end_the_call() -> None:
    call = calling()
    feed(call, events.Progressed(183, G729))
    assert events_of(feed(call, events.Accepted(PCMA))) == [("answered", "in-progress")]
    assert call.view.codec == "PCMA"


def test_the_answer_puts_the_call_up_and_limits_its_time() -> None:
    call = calling(replace(PLACE, send_digits="12"))
    out = feed(call, events.Accepted(PCMA))
    assert kinds(out) == [orders.UpdateLeg, effects.SetTimer, SendDigits, effects.Persist]
    assert only(effects.SetTimer, out) == effects.SetTimer("limit", 600)
    assert only(SendDigits, out) == SendDigits("12")
    assert (call.view.status, call.view.answered_at, call.state) == ("in-progress", T0, CallState.UP)
    ended = feed(call, events.TimerFired("limit"))
    assert kinds(ended) == [effects.HangUpPeer, orders.CloseLeg, effects.Persist]
    assert (call.view.status, call.view.hangup_code) == ("completed", "time_limit")


def test_a_call_without_options_rings_half_a_minute_and_lasts_four_hours() -> None:
    call = new_call()
    assert only(effects.SetTimer, feed(call, PlaceCall(ROUTE), OPENED)) == effects.SetTimer("ring", 30)
    out = feed(call, events.Accepted(PCMA))
    assert only(effects.SetTimer, out) == effects.SetTimer("limit", 4 * 3600)
    assert kinds(out) == [orders.UpdateLeg, effects.SetTimer, effects.Persist], "no keys are pressed"


@pytest.mark.parametrize("answer", [None, G729])
def test_an_answer_that_says_nothing_useful_ends_the_call(answer: object) -> None:
    call = calling()
    out = feed(call, events.Accepted(G729 if answer else None))
    assert kinds(out) == [effects.HangUpPeer, orders.CloseLeg, effects.Persist]
    assert events_of(out) == [("completed", "failed")]
    assert ("cannot be used" if answer else "without an answer to our offer") in (call.view.hangup_cause or "")


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        (486, "busy", "user_busy"),
        (600, "busy", "user_busy"),
        (603, "busy", "call_rejected"),
        (480, "no-answer", "timeout"),
        (408, "no-answer", "timeout"),
        (487, "canceled", "originator_cancel"),
        (404, "failed", "not_found"),
        (403, "failed", "call_rejected"),
        (500, "failed", "unspecified"),
        (503, "failed", "unspecified"),
    ],
)
def test_a_refusal_has_its_status_code_and_source(status: int, shown: str, code: str) -> None:
    call = calling()
    out = feed(call, events.Refused(status, "No", "says the peer"))
    assert kinds(out) == [orders.CloseLeg, effects.Persist]
    assert events_of(out) == [("completed", shown)]
    view = call.view
    source = "system" if status in (408, 503) else "callee"
    assert (view.hangup_code, view.sip_status, view.hangup_source) == (code, status, source)
    assert view.hangup_cause == f"not connected: {status} No (says the peer)"


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [(480, "no-answer", "timeout"), (503, "failed", "unspecified")],
)
def test_a_call_without_a_response_ends_as_not_connected(status: int, shown: str, code: str) -> None:
    call = calling()
    assert events_of(feed(call, events.Refused(status, "No", "no response", responded=False))) == [("completed", shown)]
    view = call.view
    assert (view.hangup_code, view.sip_status, view.hangup_source) == (code, None, "system")
    assert view.hangup_cause == "not connected: no response"


@pytest.mark.parametrize("status", [408, 503])
def test_an_address_without_a_listener_is_unreachable(status: int) -> None:
    call = calling()
    refused = events.Refused(status, "No", "192.0.2.1:5060 is unreachable: why", responded=False, unreachable=True)
    assert events_of(feed(call, refused)) == [("completed", "failed")]
    view = call.view
    assert (view.hangup_code, view.sip_status, view.hangup_source) == ("unreachable", None, "system")
    assert view.hangup_cause == "not connected: 192.0.2.1:5060 is unreachable: why"


@pytest.mark.parametrize("answer", [(), (events.Accepted(PCMU),)])
def test_the_hangup_source_is_that_of_the_command(answer: tuple[events.Fact, ...]) -> None:
    call = calling(PLACE, *answer)
    feed(call, EndCall("the call that dialled it is over", source="caller"))
    assert (call.view.hangup_source, call.view.status) == ("caller", "completed" if answer else "canceled")


@pytest.mark.parametrize("status", [100, 180])
def test_no_answer_before_the_timeout(status: int) -> None:
    call = calling()
    out = feed(call, events.Progressed(status, None), events.TimerFired("ring"))
    assert kinds(out) == [effects.HangUpPeer, orders.CloseLeg, effects.Persist]
    assert out[0] == effects.HangUpPeer("no answer", 408)
    assert (call.view.status, call.view.hangup_code) == ("no-answer", "timeout")


def test_no_response_before_the_timeout() -> None:
    call = calling()
    out = feed(call, events.TimerFired("ring"))
    assert kinds(out) == [effects.HangUpPeer, orders.CloseLeg, effects.Persist]
    assert (call.view.status, call.view.hangup_code, call.view.hangup_source) == ("failed", "unreachable", "system")
    assert "unreachable" in (call.view.hangup_cause or "")


def test_a_server_that_has_our_call_is_no_ringing() -> None:
    call = calling()
    assert feed(call, events.Progressed(100, None)) == []
    assert call.view.status == "queued"


def test_the_ring_time_means_nothing_once_answered() -> None:
    call = calling(PLACE, events.Accepted(PCMU))
    assert feed(call, events.TimerFired("ring")) == []
    assert call.state is CallState.UP


def test_ending_before_the_answer_cancels() -> None:
    waiting = new_call()
    assert kinds(feed(waiting, PLACE, EndCall("ended by the API"))) == [orders.CloseLeg, effects.Persist]
    call = calling()
    assert kinds(feed(call, EndCall("ended by the API"))) == [effects.HangUpPeer, orders.CloseLeg, effects.Persist]
    for view in (waiting.view, call.view):
        assert (view.status, view.hangup_cause) == ("canceled", "ended by the API")


def test_an_outbound_call_without_a_leg_or_worker_fails_and_sends_no_sip() -> None:
    call = new_call()
    assert kinds(feed(call, PLACE, reports.LegFailed("no port"))) == [effects.Persist, effects.Forget]
    lost = new_call()
    assert kinds(feed(lost, PLACE, reports.WorkerLost("died"))) == [effects.Persist, effects.Forget]
    assert (call.view.status, lost.view.status) == ("failed", "failed")


def test_an_outbound_call_is_not_ours_to_answer() -> None:
    for call in (calling(), new_call()):
        feed(call, PLACE)
        for command in (AnswerCall(), RejectCall(486, "Busy Here")):
            with pytest.raises(InvalidRequest, match="for the callee to say"):
                feed(call, command)


def test_nothing_is_streamed_or_played_before_the_answer() -> None:
    call = calling()
    for command in (STREAM, StartPlayback(1, "/x.wav"), SendDigits("1")):
        with pytest.raises(CallNotAnswered):
            feed(call, command)


# ── ringing until a command ──


def test_a_call_without_automatic_answer_rings_until_a_command() -> None:
    call = new_call("inbound")
    out = feed(call, events.Invited(PCMU, answer=False))
    assert kinds(out) == [effects.RingCaller, orders.OpenLeg, effects.SetTimer, effects.Persist]
    assert events_of(out) == [("initiated", "ringing"), ("ringing", "ringing")]
    assert feed(call, OPENED) == []
    assert events_of(feed(call, AnswerCall())) == [("answered", "in-progress")]
    assert call.state is CallState.ANSWERED
    assert feed(call, AnswerCall()) == []


def test_an_answer_command_before_the_leg_is_open() -> None:
    call = new_call("inbound")
    assert feed(call, events.Invited(PCMU, answer=False), AnswerCall()) == []
    assert effects.AnswerCaller in kinds(feed(call, OPENED))


def test_a_refuse_command() -> None:
    call = ringing_in()
    out = feed(call, RejectCall(486, "Busy Here"))
    assert kinds(out) == [effects.RejectCaller, orders.CloseLeg, effects.Persist]
    assert (call.view.status, call.view.hangup_code, call.view.sip_status) == ("busy", "user_busy", 486)
    with pytest.raises(CallEnded):
        feed(call, AnswerCall())


def test_an_answered_call_cannot_be_refused() -> None:
    call = ringing_in()
    feed(call, AnswerCall())
    with pytest.raises(InvalidRequest, match="The call is answered already"):
        feed(call, RejectCall(486, "Busy Here"))


def test_it_does_not_ring_for_ever() -> None:
    call = ringing_in()
    out = feed(call, events.TimerFired("ring"))
    assert only(effects.RejectCaller, out) == effects.RejectCaller(480, "Temporarily Unavailable", "not answered")
    assert (call.view.status, call.view.sip_status) == ("no-answer", 480)


def test_the_caller_gives_up_while_it_rings() -> None:
    call = ringing_in()
    assert kinds(feed(call, events.PeerEnded("cancel", ""))) == [orders.CloseLeg, effects.Persist]
    assert (call.view.status, call.view.hangup_code) == ("canceled", "originator_cancel")


# ── in the call ──


def test_media_commands_pass_to_the_leg() -> None:
    call = ringing_in()
    feed(call, AnswerCall())
    for command in (StartPlayback(1, "/x.wav"), StartRecording(2, "/y.wav"), Bridge(CallSid("v3:y"))):
        assert feed(call, command) == [command]


def test_a_call_is_not_forgotten_before_its_recordings_are_complete() -> None:
    call = ringing_in()
    feed(call, AnswerCall(), StartRecording(2, "/y.wav"), events.PeerEnded("bye", ""))
    assert effects.Forget not in kinds(feed(call, reports.LegClosed(LegReport())))
    assert kinds(feed(call, reports.RecordingEnded(2, 1.5, "hangup"))) == [effects.Forget]


def test_status_callbacks_can_be_sent_elsewhere() -> None:
    call = ringing_in()
    feed(call, SetStatusCallback("https://app.example/s", "GET"))
    assert (call.view.status_callback, call.view.status_callback_method) == ("https://app.example/s", "GET")


def test_a_crash_is_reported_as_a_completed_event() -> None:
    record = lost_in_crash([calling().view], [], T0)
    assert [(event.kind, event.call.status) for event in record.call_events] == [("completed", "failed")]


# ── whatever happens ──

ANYTHING = st.sampled_from(
    [
        PLACE,
        OPENED,
        reports.LegFailed("x"),
        events.Progressed(180, None),
        events.Progressed(183, PCMU),
        events.Progressed(183, G729),
        events.Accepted(PCMA),
        events.Accepted(None),
        events.Refused(486, "Busy Here", ""),
        events.TimerFired("ring"),
        events.TimerFired("limit"),
        events.Confirmed(None),
        events.OfferReceived(PCMA),
        events.OfferReceived(None),
        events.PeerEnded("bye", ""),
        events.PeerEnded("cancel", ""),
        reports.LegClosed(LegReport()),
        reports.RecordingEnded(2, 1, "stopped"),
        reports.WorkerLost("x"),
        AnswerCall(),
        RejectCall(486, "Busy Here"),
        StartRecording(2, "/y.wav"),
        Bridge(CallSid("v3:y")),
        EndCall("x"),
        STREAM,
    ]
)
BEGINNINGS = st.sampled_from(
    [(PLACE,), (PLACE, OPENED), (events.Invited(PCMU, answer=False),), (events.Invited(None, answer=False), OPENED)]
)


@given(BEGINNINGS, st.lists(ANYTHING, max_size=25))
def test_events_come_in_order_each_at_most_once_and_the_last_exactly_once(
    beginning: tuple[events.Fact | Command, ...], inputs: list[events.Fact | Command]
) -> None:
    call = new_call("outbound" if beginning[0] is PLACE else "inbound")
    seen_kinds: list[str] = []
    forgotten = 0
    for what in [*beginning, *inputs, reports.WorkerLost("the end"), reports.WorkerLost("the end")]:
        if forgotten:
            break
        try:
            out = call.handle(what, T0)
        except ApiError:
            continue
        seen_kinds += [kind for kind, _ in events_of(out)]
        forgotten += effects.Forget in kinds(out)
    order = [kind for kind in CALL_EVENTS if kind in seen_kinds]
    assert seen_kinds == order
    assert seen_kinds[-1] == "completed"
    assert forgotten == 1


def test_an_invite_leaves_once_the_record_of_the_call_is_durable() -> None:
    call = new_call()
    call.handle(PLACE, T0)
    assert call.handle(OPENED, T0) == []
    assert effects.InviteCallee in kinds(call.handle(events.Recorded(), T0))
    late = new_call()
    late.handle(PLACE, T0)
    late.handle(OPENED, T0)
    assert effects.InviteCallee not in kinds(late.handle(events.NotRecorded(), T0))
    assert late.view.status == "failed"
