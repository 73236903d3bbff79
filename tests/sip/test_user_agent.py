"""Calls through the dialog layer, with a wire in memory and a clock advanced by hand."""

import pytest

from sip.bench import ANSWER, EMPTY, OFFER, PEER, Bench, Caller, HandClock, Wire, header
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.validation import ALLOW, Rejection
from trunkline.sip.uas import REINVITE_LIMIT
from trunkline.sip.values import (
    AcceptInvite,
    AcceptReinvite,
    AckReceived,
    DialogEnded,
    DialogId,
    DialogMoved,
    EndDialog,
    InfoDigitReceived,
    InviteReceived,
    ReinviteCancelled,
    ReinviteReceived,
    RejectInvite,
    RejectReinvite,
    SendRinging,
)


def ring(bench: Bench, caller: Caller, body: str = OFFER, headers: tuple[str, ...] = ()) -> DialogId:
    """An INVITE that was received and reported."""
    bench.receive(caller.request("INVITE", body, headers))
    event = bench.event()
    assert isinstance(event, InviteReceived)
    return event.dialog


def answer(bench: Bench, caller: Caller, dialog: DialogId) -> None:
    bench.wire.take()
    bench.perform(AcceptInvite(dialog, ANSWER))
    caller.learn(bench.wire.take()[0])


def establish(bench: Bench, caller: Caller, headers: tuple[str, ...] = ()) -> DialogId:
    """A call that is up."""
    dialog = ring(bench, caller, headers=headers)
    answer(bench, caller, dialog)
    bench.receive(caller.request("ACK"))
    assert bench.event() == AckReceived(dialog, None)
    return dialog


def test_a_received_call_is_answered_confirmed_and_ended_by_the_caller(bench: Bench) -> None:
    caller = Caller()
    bench.receive(caller.request("INVITE", OFFER, ("X-Campaign: summer", "x-two: 2")))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    assert (invite.from_user, invite.from_name, invite.from_uri) == (
        "+15550001",
        'Ann "A" Caller',
        "sip:+15550001@192.0.2.10",
    )
    assert (invite.to_user, invite.call_id, invite.transport, invite.source) == (
        "+15550002",
        caller.call_id,
        "udp",
        PEER,
    )
    assert invite.headers == (("X-Campaign", "summer"), ("x-two", "2"))
    assert invite.offer is not None
    assert invite.offer.media[0].port == 4000
    (trying,) = bench.wire.take()
    assert trying.startswith("SIP/2.0 100 Trying\r\n")

    bench.perform(SendRinging(invite.dialog))
    (ringing,) = bench.wire.take()
    assert ringing.startswith("SIP/2.0 180 Ringing\r\n")

    bench.perform(AcceptInvite(invite.dialog, ANSWER, (("X-Trunkline-Call-Sid", "v3:abc"),)))
    (ok,) = bench.wire.take()
    assert ok.startswith("SIP/2.0 200 OK\r\n")
    assert header(ok, "To") == header(ringing, "To")
    assert header(ok, "From") == 'From: "Ann \\"A\\" Caller" <sip:+15550001@192.0.2.10>;tag=caller'.partition(": ")[2]
    assert header(ok, "X-Trunkline-Call-Sid") == "v3:abc"
    assert header(ok, "Contact") == "<sip:198.51.100.7:5060>"
    assert header(ok, "Content-Type") == "application/sdp"
    assert ok.endswith("\r\n\r\n" + ANSWER)
    caller.learn(ok)

    bench.receive(caller.request("ACK"))
    assert bench.event() == AckReceived(invite.dialog, None)
    assert bench.wire.take() == []

    bench.receive(caller.request("BYE", headers=('Reason: Q.850;cause=16;text="Normal"',)))
    assert bench.wire.take_lines() == ["200 OK"]
    assert bench.event() == DialogEnded(invite.dialog, "bye", 'Q.850;cause=16;text="Normal"')
    assert bench.dialogs.sizes == EMPTY


def test_responses_go_to_the_source_with_rport_and_have_its_address(bench: Bench) -> None:
    ring(bench, Caller())
    ((text, to),) = bench.wire.sent
    assert to == PEER
    assert ";received=192.0.2.10;rport=5062" in header(text, "Via")


def test_a_retransmitted_invite_gets_the_last_response_and_makes_no_call(bench: Bench) -> None:
    caller = Caller()
    invite = caller.request("INVITE", OFFER)
    bench.receive(invite)
    event = bench.event()
    bench.receive(invite)
    assert bench.wire.take_lines() == ["100 Trying", "100 Trying"]
    bench.perform(AcceptInvite(event.dialog, ANSWER))
    bench.receive(invite)
    first, again = bench.wire.take()
    assert first == again
    caller.learn(first)
    bench.receive(caller.request("ACK"))
    bench.events.clear()
    bench.receive(invite)
    assert (bench.wire.take(), bench.events) == ([], []), "confirmed: absorbed (RFC 6026 section 7.1)"


def test_an_invite_repeated_in_other_bytes_is_the_same_invite(bench: Bench) -> None:
    caller = Caller()
    invite = caller.request("INVITE", OFFER)
    bench.receive(invite)
    dialog = bench.event().dialog
    answer(bench, caller, dialog)
    bench.receive(invite.replace(b"Max-Forwards: 70", b"Max-Forwards: 69"))
    assert bench.wire.take_lines() == ["200 OK"]
    assert bench.events == []


def test_an_invite_received_by_two_paths_is_accepted_once(bench: Bench) -> None:
    caller = Caller()
    invite = caller.request("INVITE", OFFER)
    bench.receive(invite)
    assert str(bench.refused(invite.replace(caller.branch.encode(), b"z9hG4bKother"))) == "482 Loop Detected"


@pytest.mark.parametrize("state", ["ringing", "answered", "up", "offering"])
@pytest.mark.parametrize("number", [1, 9])
def test_a_second_invite_with_the_tags_of_a_dialog_is_refused(bench: Bench, state: str, number: int) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    if state != "ringing":
        answer(bench, caller, dialog)
    if state in ("up", "offering"):
        bench.receive(caller.request("ACK"))
        bench.events.clear()
    if state == "offering":
        bench.receive(caller.request("INVITE", OFFER))
        bench.events.clear()
    before = bench.dialogs.sizes
    bench.wire.take()
    again = Caller(cseq=number - 1, branches=caller.branches).request("INVITE", OFFER)
    assert [str(bench.refused(again)) for _ in range(2)] == ["482 Loop Detected"] * 2
    assert (bench.events, bench.wire.take(), bench.dialogs.sizes) == ([], [], before)


def test_the_first_invite_repeated_long_after_its_ack_makes_no_call(bench: Bench) -> None:
    caller = Caller()
    invite = caller.request("INVITE", OFFER)
    bench.receive(invite)
    answer(bench, caller, bench.event().dialog)
    bench.receive(caller.request("ACK"))
    bench.events.clear()
    bench.receive(invite.replace(b"Max-Forwards: 70", b"Max-Forwards: 68"))
    assert (bench.events, bench.wire.take()) == ([], [])
    assert bench.counters["retransmissions"] == 1


def test_our_200_is_repeated_until_the_ack(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    answer(bench, caller, ring(bench, caller))
    times = []
    for _ in range(100):
        clock.advance(0.125)
        times += [clock.now] * len(bench.wire.take_lines())
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5]
    bench.receive(caller.request("ACK"))
    assert isinstance(bench.event(), AckReceived)
    clock.advance(40)
    assert bench.wire.take() == []


def test_a_200_without_ack_is_given_up_after_64_t1_with_a_bye(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    answer(bench, caller, dialog)
    clock.advance(31.9)
    # 0.5, 1, 2 and then every 4 seconds (RFC 3261 section 13.3.1.4).
    assert bench.wire.take_lines() == ["200 OK"] * 10
    assert bench.events == []
    clock.advance(0.2)
    (bye,) = bench.wire.take()
    assert bye.startswith("BYE sip:ann@192.0.2.10:5062 SIP/2.0\r\n")
    assert header(bye, "Reason") == 'SIP;cause=408;text="no ACK"'
    ended = bench.event()
    assert isinstance(ended, DialogEnded)
    assert ended.cause == "no-ack"
    bench.answer(bye)
    assert bench.dialogs.sizes == EMPTY


def test_our_hangup_is_a_bye_to_the_contact_with_its_reason(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.perform(EndDialog(dialog, 'no "RTP"\r\nfor 60 s', 408))
    ((bye, to),) = bench.wire.sent
    assert to == Endpoint("192.0.2.10", 5062)
    assert header(bye, "From") == f"<sip:+15550002@198.51.100.7>;tag={caller.to_tag}"
    assert header(bye, "To").endswith(";tag=caller")
    assert header(bye, "Via").startswith("SIP/2.0/UDP 198.51.100.7")
    assert header(bye, "Reason") == 'SIP;cause=408;text="no \\"RTP\\"  for 60 s"'
    clock.advance(0.6)
    assert bench.wire.take() == [bye, bye]
    bench.answer(bye)
    assert bench.dialogs.sizes == EMPTY
    assert bench.events == []


def test_a_bye_without_a_response_is_dropped_after_its_timeout(bench: Bench, clock: HandClock) -> None:
    bench.perform(EndDialog(establish(bench, Caller())))
    clock.advance(70)
    assert bench.dialogs.sizes == EMPTY
    assert bench.events == []


def test_byes_that_cross_are_both_answered(bench: Bench) -> None:
    caller = Caller()
    bench.perform(EndDialog(establish(bench, caller)))
    (bye,) = bench.wire.take()
    bench.receive(caller.request("BYE"))
    assert bench.wire.take_lines() == ["200 OK"]
    bench.answer(bye)
    assert bench.dialogs.sizes == EMPTY
    assert bench.events == []


def test_a_hangup_before_the_ack_waits_for_it(bench: Bench) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    answer(bench, caller, dialog)
    bench.perform(EndDialog(dialog, "done"))
    assert bench.wire.take() == []
    bench.receive(caller.request("ACK"))
    assert bench.wire.take_lines() == ["BYE sip:ann@192.0.2.10:5062 SIP/2.0"]
    assert bench.events == []


def test_a_hangup_of_an_unanswered_call_is_a_480(bench: Bench) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    bench.wire.take()
    bench.perform(EndDialog(dialog, "gone"))
    (response,) = bench.wire.take()
    assert response.startswith("SIP/2.0 480 ")
    assert 'text="gone"' in header(response, "Reason")
    caller.learn(response)
    bench.receive(caller.request("ACK", new=False))
    assert bench.dialogs.sizes == EMPTY


@pytest.mark.parametrize("ringing", [False, True], ids=["after 100", "after 180"])
def test_a_cancel_ends_a_call_that_is_not_answered(bench: Bench, ringing: bool) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    if ringing:
        bench.perform(SendRinging(dialog))
    bench.wire.take()
    bench.receive(caller.request("CANCEL", headers=("Reason: SIP;cause=200",), new=False))
    ok, terminated = bench.wire.take()
    assert ok.startswith("SIP/2.0 200 OK\r\n")
    assert header(ok, "CSeq") == "1 CANCEL"
    assert terminated.startswith("SIP/2.0 487 Request Terminated\r\n")
    assert header(terminated, "CSeq") == "1 INVITE"
    assert header(ok, "To") == header(terminated, "To")
    assert bench.event() == DialogEnded(dialog, "cancel", "SIP;cause=200")
    bench.perform(AcceptInvite(dialog, ANSWER))
    assert bench.wire.take() == []
    caller.learn(terminated)
    bench.receive(caller.request("ACK", new=False))
    assert bench.dialogs.sizes == EMPTY


def test_a_cancel_that_crosses_the_200_is_answered_and_changes_nothing(bench: Bench) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    answer(bench, caller, dialog)
    to_tag, caller.to_tag = caller.to_tag, ""
    bench.receive(caller.request("CANCEL", new=False))
    (response,) = bench.wire.take()
    assert response.startswith("SIP/2.0 200 OK\r\n")
    assert (header(response, "CSeq"), header(response, "To").partition("tag=")[2]) == ("1 CANCEL", to_tag)
    caller.to_tag = to_tag
    bench.receive(caller.request("ACK"))
    assert bench.event() == AckReceived(dialog, None)


def test_a_cancel_without_an_invite_is_481(bench: Bench) -> None:
    assert str(bench.refused(Caller().request("CANCEL"))) == "481 Call/Transaction Does Not Exist"
    assert bench.dialogs.sizes == EMPTY


def test_an_unanswered_invite_expires(bench: Bench, clock: HandClock) -> None:
    dialog = ring(bench, Caller(), headers=("Expires: 20",))
    bench.wire.take()
    clock.advance(21)
    assert bench.wire.take_lines()[0] == "487 Request Terminated"
    assert bench.event() == DialogEnded(dialog, "error", "the INVITE expired unanswered")
    clock.advance(40)
    assert bench.dialogs.sizes == EMPTY


def test_a_rejection_carries_its_warning_and_is_repeated_until_its_ack(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    bench.wire.take()
    bench.perform(RejectInvite(dialog, 488, "Not Acceptable Here", 'no "codec"'))
    (response,) = bench.wire.take()
    assert response.startswith("SIP/2.0 488 Not Acceptable Here\r\n")
    assert header(response, "Warning") == '399 198.51.100.7:5060 "no \\"codec\\""'
    clock.advance(0.6)
    assert bench.wire.take() == [response]
    caller.learn(response)
    bench.receive(caller.request("ACK", new=False))
    clock.advance(40)
    assert bench.wire.take() == []
    assert bench.events == []
    assert bench.dialogs.sizes == EMPTY


@pytest.mark.parametrize(
    ("status", "given", "seconds"), [(503, None, "2"), (503, 60, "60"), (486, 5, "5"), (486, None, "")]
)
def test_a_refusal_says_when_to_try_again(bench: Bench, status: int, given: int | None, seconds: str) -> None:
    dialog = ring(bench, Caller())
    bench.wire.take()
    bench.perform(RejectInvite(dialog, status, "Try Later", retry_after=given))
    (response,) = bench.wire.take()
    assert ("Retry-After" in response) == bool(seconds)
    assert not seconds or header(response, "Retry-After") == seconds


def test_a_rejection_without_ack_is_dropped_without_an_event(bench: Bench, clock: HandClock) -> None:
    bench.perform(RejectInvite(ring(bench, Caller()), 404, "Not Found"))
    clock.advance(40)
    assert bench.events == []
    assert bench.dialogs.sizes == EMPTY


def test_a_late_offer_gets_its_answer_with_the_ack(bench: Bench) -> None:
    caller = Caller()
    bench.receive(caller.request("INVITE"))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    assert invite.offer is None
    answer(bench, caller, invite.dialog)
    bench.receive(caller.request("ACK", OFFER))
    ack = bench.event()
    assert isinstance(ack, AckReceived)
    assert ack.answer is not None
    assert ack.answer.media[0].port == 4000


def test_an_answer_in_the_ack_that_is_not_sdp_is_dropped_and_counted(bench: Bench) -> None:
    caller = Caller()
    bench.receive(caller.request("INVITE"))
    dialog = bench.event().dialog
    answer(bench, caller, dialog)
    bench.receive(caller.request("ACK", "nonsense"))
    assert bench.event() == AckReceived(dialog, None)
    assert bench.counters["bad_answers"] == 1


@pytest.mark.parametrize("body", [OFFER, ""], ids=["with an offer", "late offer"])
def test_a_reinvite_is_accepted_and_moves_the_remote_target(bench: Bench, body: str) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request("INVITE", body, ("Contact: <sip:ann@192.0.2.99:5070>",)))
    event = bench.event()
    assert isinstance(event, ReinviteReceived)
    assert event.dialog == dialog
    assert (event.offer is not None) == bool(body)
    bench.perform(AcceptReinvite(dialog, ANSWER))
    assert bench.wire.take_lines() == ["100 Trying", "200 OK"]
    bench.receive(caller.request("ACK", "" if body else OFFER))
    ack = bench.event()
    assert isinstance(ack, AckReceived)
    assert (ack.answer is not None) == (not body)
    bench.perform(EndDialog(dialog))
    assert bench.wire.sent[0][1] == Endpoint("192.0.2.99", 5070)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "OPTIONS"])
def test_a_move_of_the_peer_is_reported_once_for_the_saved_dialog(bench: Bench, method: str) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.saved(dialog)
    bench.receive(caller.request("OPTIONS"))
    assert bench.events == [], "it has not moved"
    source = Endpoint("192.0.2.10", 7000) if method == "OPTIONS" else PEER
    headers = () if method == "OPTIONS" else ("Contact: <sip:ann@192.0.2.99:5070>",)
    bench.receive(caller.request(method, OFFER if method == "INVITE" else "", headers), source=source)
    if method == "INVITE":
        assert isinstance(bench.event(), ReinviteReceived)
        bench.perform(AcceptReinvite(dialog, ANSWER))
    assert bench.event() == DialogMoved(dialog)
    bench.receive(caller.request("ACK") if method == "INVITE" else caller.request("OPTIONS"), source=source)
    assert not any(isinstance(event, DialogMoved) for event in bench.events)
    after = Bench(HandClock())
    after.end_saved(bench.saved(dialog))
    bench.wire.take()
    bench.perform(EndDialog(dialog))
    assert [to for _, to in after.wire.sent] == [to for _, to in bench.wire.sent]
    assert after.wire.take()[0].split()[:2] == bench.wire.take()[0].split()[:2]


def test_a_dialog_that_was_never_saved_reports_no_move(bench: Bench) -> None:
    caller = Caller()
    establish(bench, caller)
    bench.receive(caller.request("UPDATE", headers=("Contact: <sip:ann@192.0.2.99:5070>",)))
    assert bench.events == []


def test_a_rejected_reinvite_leaves_the_dialog_as_it_was(bench: Bench) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request("INVITE", OFFER, ("Contact: <sip:ann@192.0.2.99>",)))
    bench.event()
    bench.perform(RejectReinvite(dialog, 488, "Not Acceptable Here", "no codec"))
    assert bench.wire.take_lines() == ["100 Trying", "488 Not Acceptable Here"]
    bench.receive(caller.request("ACK", new=False))
    bench.perform(EndDialog(dialog))
    assert bench.wire.sent[0][1] == Endpoint("192.0.2.10", 5062)


@pytest.mark.parametrize("first", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("second", ["INVITE", "UPDATE"])
def test_a_second_offer_has_to_wait_for_the_first(bench: Bench, first: str, second: str) -> None:
    caller = Caller()
    establish(bench, caller)
    bench.receive(caller.request(first, OFFER))
    bench.events.clear()
    bench.wire.take()
    bench.receive(caller.request(second, OFFER))
    (response,) = bench.wire.take()
    assert response.startswith("SIP/2.0 500 ")
    assert 0 <= int(header(response, "Retry-After")) <= 10
    assert bench.events == []


@pytest.mark.parametrize("body", [OFFER, ""], ids=["with an offer", "late offer"])
@pytest.mark.parametrize("there", ["200 OK", "501 Not Implemented", "481 Who", ""])
def test_a_reinvite_without_an_ack_ends_a_call_only_if_the_peer_is_gone(
    bench: Bench, clock: HandClock, body: str, there: str
) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request("INVITE", body))
    bench.event()
    bench.perform(AcceptReinvite(dialog, ANSWER))
    clock.advance(32.1)
    assert bench.event() == AckReceived(dialog, None), "an offer of ours has got no answer"
    options = bench.wire.take()[-1]
    assert options.startswith("OPTIONS sip:ann@192.0.2.10:5062 ")
    if there:
        bench.answer(options, there)
    else:
        clock.advance(32.1)
    if there in ("200 OK", "501 Not Implemented"):
        assert bench.events == []
        bench.receive(caller.request("INVITE", OFFER))
        assert isinstance(bench.event(), ReinviteReceived), "the next offer is taken"
    else:
        ended = bench.event()
        assert isinstance(ended, DialogEnded)
        assert ended.cause == "no-ack"
        assert bench.wire.take_lines()[-1] == "BYE sip:ann@192.0.2.10:5062 SIP/2.0"


def test_a_cancelled_reinvite_leaves_the_dialog_up(bench: Bench) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request("INVITE", OFFER))
    bench.events.clear()
    bench.wire.take()
    bench.receive(caller.request("CANCEL", new=False))
    assert bench.wire.take_lines() == ["200 OK", "487 Request Terminated"]
    assert bench.event() == ReinviteCancelled(dialog)
    bench.perform(AcceptReinvite(dialog, ANSWER))
    assert bench.wire.take() == []
    bench.receive(caller.request("ACK", new=False))
    bench.receive(caller.request("INVITE", OFFER))
    bench.event()
    bench.perform(AcceptReinvite(dialog, ANSWER))
    assert bench.wire.take_lines() == ["100 Trying", "200 OK"]


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_offer_that_the_application_does_not_answer_is_refused_in_time(
    bench: Bench, clock: HandClock, method: str
) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request(method, OFFER))
    bench.events.clear()
    bench.wire.take()
    clock.advance(REINVITE_LIMIT - 0.1)
    assert bench.wire.take() == []
    clock.advance(0.1)
    assert bench.wire.take_lines() == ["504 Server Time-out"]
    assert bench.event() == ReinviteCancelled(dialog)
    bench.perform(AcceptReinvite(dialog, ANSWER))
    assert bench.wire.take() == []
    if method == "INVITE":
        bench.receive(caller.request("ACK", new=False))
    bench.receive(caller.request("BYE"))
    assert bench.wire.take_lines() == ["200 OK"]
    clock.advance(70)
    assert bench.dialogs.sizes == EMPTY


def test_an_offer_that_was_answered_in_time_is_left_alone(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request("INVITE", OFFER))
    bench.perform(AcceptReinvite(dialog, ANSWER))
    bench.receive(caller.request("ACK"))
    bench.receive(caller.request("UPDATE", OFFER))
    bench.perform(AcceptReinvite(dialog, ANSWER))
    clock.advance(REINVITE_LIMIT - 1)
    bench.receive(caller.request("INVITE", OFFER))
    bench.events.clear()
    bench.wire.take()
    clock.advance(2)
    assert (bench.wire.take(), bench.events) == ([], []), "the one that waits has its own time"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_a_bye_ends_a_call_with_an_offer_pending(bench: Bench, method: str) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request(method, OFFER))
    bench.events.clear()
    bench.wire.take()
    bench.receive(caller.request("BYE"))
    assert sorted(bench.wire.take_lines()) == ["200 OK", "487 Request Terminated"]
    assert bench.event() == DialogEnded(dialog, "bye", "")


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_our_hangup_answers_an_offer_that_is_pending(bench: Bench, method: str) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request(method, OFFER))
    bench.events.clear()
    bench.wire.take()
    bench.perform(EndDialog(dialog))
    assert bench.wire.take_lines() == ["487 Request Terminated", "BYE sip:ann@192.0.2.10:5062 SIP/2.0"]
    bench.perform(AcceptReinvite(dialog, ANSWER))
    assert (bench.wire.take(), bench.events) == ([], [])


def test_a_bye_before_the_ack_stops_the_repetition_of_the_200(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    answer(bench, caller, dialog)
    bench.receive(caller.request("BYE"))
    assert bench.wire.take_lines() == ["200 OK"]
    assert bench.event() == DialogEnded(dialog, "bye", "")
    clock.advance(40)
    assert bench.wire.take() == []
    assert bench.dialogs.sizes == EMPTY


def test_a_request_with_an_old_sequence_number_is_out_of_order(bench: Bench) -> None:
    caller = Caller()
    establish(bench, caller)
    caller.cseq = -1
    bench.receive(caller.request("INFO"))
    assert bench.wire.take_lines() == ["500 CSeq Out Of Order"]
    assert bench.counters["refused_500"] == 1
    assert bench.dialogs.sizes["dialogs"] == 1


@pytest.mark.parametrize(
    ("host", "ends"),
    [(PEER.host, True), ("192.0.2.77", True), ("192.0.2.99", True), ("192.0.2.66", False)],
    ids=["where the INVITE came from", "a proxy of the route", "the Contact", "another host"],
)
def test_a_bye_of_the_peer_ends_the_call_with_any_sequence_number(bench: Bench, host: str, ends: bool) -> None:
    caller = Caller()
    way = ("Record-Route: <sip:192.0.2.78;lr>, <sip:192.0.2.77:5080;lr>", "Contact: <sip:ann@192.0.2.99>")
    dialog = establish(bench, caller, way)
    bench.receive(caller.request("OPTIONS"))
    bench.wire.take()
    caller.cseq = 0
    bench.receive(caller.request("BYE", headers=("Reason: SIP;cause=408",)), source=Endpoint(host, 7777))
    assert bench.wire.take_lines() == ["200 OK" if ends else "500 CSeq Out Of Order"]
    assert bench.events == ([DialogEnded(dialog, "bye", "SIP;cause=408")] if ends else [])
    assert bench.dialogs.sizes == EMPTY or not ends


def test_a_bye_with_the_cseq_of_a_pending_offer_answers_both(bench: Bench) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.receive(caller.request("INVITE", OFFER))
    bench.events.clear()
    bench.wire.take()
    caller.cseq -= 1
    bench.receive(caller.request("BYE"))
    assert sorted(bench.wire.take_lines()) == ["200 OK", "487 Request Terminated"]
    assert bench.event() == DialogEnded(dialog, "bye", "")


@pytest.mark.parametrize("method", ["INVITE", "BYE", "OPTIONS", "INFO"])
def test_requests_of_unknown_dialogs_are_481_and_leave_nothing_behind(bench: Bench, method: str) -> None:
    assert (
        str(bench.refused(Caller(to_tag="unknown").request(method, OFFER if method == "INVITE" else "")))
        == "481 Call/Transaction Does Not Exist"
    )
    assert bench.events == []
    assert bench.dialogs.sizes == EMPTY


@pytest.mark.parametrize("method", ["INVITE", "BYE", "OPTIONS", "INFO"])
def test_a_request_with_another_to_tag_is_not_of_this_dialog(bench: Bench, method: str) -> None:
    caller = Caller()
    establish(bench, caller)
    before = bench.dialogs.sizes
    caller.to_tag = "forged"
    assert (
        str(bench.refused(caller.request(method, OFFER if method == "INVITE" else "")))
        == "481 Call/Transaction Does Not Exist"
    )
    assert bench.dialogs.sizes == before


@pytest.mark.parametrize("inside", [False, True], ids=["outside a dialog", "inside"])
def test_options_get_our_capabilities(bench: Bench, inside: bool) -> None:
    caller = Caller()
    if inside:
        establish(bench, caller)
    bench.receive(caller.request("OPTIONS"))
    (response,) = bench.wire.take()
    assert response.startswith("SIP/2.0 200 OK\r\n")
    assert header(response, "Allow") == ", ".join(ALLOW)
    assert "application/sdp" in header(response, "Accept")
    assert header(response, "Supported") == "100rel, timer"


def test_a_stray_ack_is_ignored(bench: Bench) -> None:
    bench.receive(Caller(to_tag="x").request("ACK"))
    assert bench.wire.take() == []
    assert bench.events == []


def test_record_routes_are_copied_and_become_our_route(bench: Bench) -> None:
    caller = Caller()
    routes = ("Record-Route: <sip:p2.example.com;lr>, <sip:192.0.2.77:5080;lr>",)
    dialog = ring(bench, caller, headers=routes)
    bench.wire.take()
    bench.perform(AcceptInvite(dialog, ANSWER))
    (ok,) = bench.wire.take()
    assert header(ok, "Record-Route") == "<sip:p2.example.com;lr>, <sip:192.0.2.77:5080;lr>"
    caller.learn(ok)
    bench.receive(caller.request("ACK"))
    bench.perform(EndDialog(dialog))
    ((bye, to),) = bench.wire.sent
    assert bye.startswith("BYE sip:ann@192.0.2.10:5062 SIP/2.0\r\n")
    assert [line for line in bye.split("\r\n") if line.startswith("Route")] == [
        "Route: <sip:p2.example.com;lr>",
        "Route: <sip:192.0.2.77:5080;lr>",
    ]
    assert to == Endpoint("p2.example.com", 5060)


def test_a_strict_router_is_addressed_itself(bench: Bench) -> None:
    dialog = establish(bench, Caller(), ("Record-Route: <sip:192.0.2.77:5080>",))
    bench.perform(EndDialog(dialog))
    ((bye, to),) = bench.wire.sent
    assert bye.startswith("BYE sip:192.0.2.77:5080 SIP/2.0\r\n")
    assert header(bye, "Route") == "<sip:ann@192.0.2.10:5062>"
    assert to == Endpoint("192.0.2.77", 5080)


def test_over_tcp_the_contact_has_the_transport_and_only_the_200_is_repeated(bench: Bench, clock: HandClock) -> None:
    caller = Caller(transport="TCP")
    bench.wire.transport = "tcp"
    dialog = ring(bench, caller)
    bench.wire.take()
    bench.perform(AcceptInvite(dialog, ANSWER))
    (ok,) = bench.wire.take()
    assert header(ok, "Contact") == "<sip:198.51.100.7:5060;transport=tcp>"
    clock.advance(0.6)
    assert bench.wire.take() == [ok]
    caller.learn(ok)
    bench.receive(caller.request("ACK"))
    bench.perform(EndDialog(dialog))
    (bye,) = bench.wire.take()
    assert header(bye, "Via").startswith("SIP/2.0/TCP ")
    clock.advance(10)
    assert bench.wire.take() == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("nonsense", (), 400),
        ("{}", ("Content-Type: application/json",), 415),
    ],
)
def test_bodies_without_sdp_are_refused_and_leave_nothing_behind(
    bench: Bench, clock: HandClock, body: str, headers: tuple[str, ...], status: int
) -> None:
    bench.receive(Caller().request("INVITE", body, headers))
    assert bench.wire.take_lines()[0].startswith(str(status))
    assert bench.events == []
    clock.advance(40)
    assert bench.dialogs.sizes == EMPTY


def test_one_call_too_many_is_503_with_retry_after(clock: HandClock) -> None:
    bench = Bench(clock, limit=2)
    callers = [Caller(call_id=f"c{number}") for number in range(3)]
    first = establish(bench, callers[0])
    establish(bench, callers[1])
    refused = bench.refused(callers[2].request("INVITE", OFFER))
    assert str(refused) == "503 Too Many Calls"
    assert refused.headers == (("Retry-After", "5"),)
    bench.receive(callers[0].request("BYE"))
    assert bench.event() == DialogEnded(first, "bye", "")
    establish(bench, callers[2])


def test_rejected_calls_without_acks_are_bounded(clock: HandClock) -> None:
    bench = Bench(clock, limit=1)
    bench.caller.phone = "ann"
    for number in range(4):
        bench.perform(RejectInvite(ring(bench, Caller(call_id=f"c{number}")), 486, "Busy Here"))
    assert str(bench.refused(Caller(call_id="c5").request("INVITE", OFFER))) == "503 Too Many Calls"
    clock.advance(33)
    ring(bench, Caller(call_id="c6"))


OTHER = Endpoint("203.0.113.9", 5060)


def invited(bench: Bench, number: int, source: Endpoint = PEER) -> str:
    """The refusal of an INVITE; empty if it rings."""
    try:
        bench.receive(Caller(call_id=f"{source}-{number}").request("INVITE", OFFER), source=source)
    except Rejection as refused:
        return str(refused)
    assert isinstance(bench.event(), InviteReceived)
    return ""


def test_an_unknown_caller_has_half_of_the_free_places_until_the_ack(clock: HandClock) -> None:
    bench = Bench(clock, limit=8)
    rejected, answered = ring(bench, Caller(call_id="one")), ring(bench, second := Caller(call_id="two"))
    bench.perform(RejectInvite(rejected, 486, "Busy Here"))
    bench.perform(AcceptInvite(answered, ANSWER))
    assert [invited(bench, number) for number in range(3)] == ["", "", "503 Too Many Unanswered Calls"]
    assert [invited(bench, number, OTHER) for number in range(3)] == ["", "", "503 Too Many Unanswered Calls"]
    bench.caller.phone = "ann"
    assert invited(bench, 9, OTHER) == "", "identified callers have no share"
    bench.caller.phone = None
    assert bench.dialogs.transactions.unsettled == {"192.0.2.10": 4, "203.0.113.9": 2}
    second.learn(next(text for text in bench.wire.take() if "SIP/2.0 200" in text))
    bench.receive(second.request("ACK"))
    bench.events.clear()
    assert bench.dialogs.transactions.unsettled == {"192.0.2.10": 3, "203.0.113.9": 2}
    bench.end_all("over")
    clock.advance(100)
    assert bench.dialogs.transactions.unsettled == {}


def test_the_flow_of_an_admitted_request_is_kept(bench: Bench) -> None:
    caller = Caller()
    establish(bench, caller)
    assert bench.wire.admissions == [False, False], "the INVITE and its ACK"
    bench.caller.phone = "ann"
    ring(bench, Caller(call_id="two"))
    assert bench.wire.admissions[2:] == [True]
    bench.refused(Caller(call_id="three", to_tag="x").request("BYE"))
    bench.receive(Caller(call_id="four").request("OPTIONS"))
    assert len(bench.wire.admissions) == 3
    assert bench.dialogs.uses(bench.wire)
    assert not bench.dialogs.uses(Wire())


def test_options_outside_a_dialog_take_no_transaction(bench: Bench) -> None:
    bench.receive(Caller().request("OPTIONS"))
    (answer,) = bench.wire.take()
    assert answer.startswith("SIP/2.0 200 OK\r\n")
    assert "INVITE" in header(answer, "Allow")
    assert ";tag=" in header(answer, "To")
    assert bench.dialogs.sizes == EMPTY
    bench.receive(Caller().request("OPTIONS"))
    assert bench.wire.take() == [answer]


def test_while_draining_new_calls_are_503_and_calls_that_are_up_go_on(bench: Bench) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.dialogs.draining = True
    assert str(bench.refused(Caller(call_id="other").request("INVITE", OFFER))) == "503 Draining"
    assert str(bench.refused(Caller(call_id="other").request("OPTIONS"))) == "503 Draining"
    bench.receive(caller.request("INVITE", OFFER))
    assert isinstance(bench.event(), ReinviteReceived)
    bench.receive(caller.request("BYE"))
    assert bench.event() == DialogEnded(dialog, "bye", "")


def test_hanging_up_all_reaches_every_state(bench: Bench) -> None:
    ringing, unconfirmed, up = (Caller(call_id=f"c{number}") for number in range(3))
    ring(bench, ringing)
    answer(bench, unconfirmed, ring(bench, unconfirmed))
    establish(bench, up)
    bench.end_all("shutting down")
    texts = bench.wire.take()
    assert sorted(text[:11] for text in texts) == ["BYE sip:ann", "BYE sip:ann", "SIP/2.0 480"]
    assert not bench.dialogs.empty
    for text in texts:
        if text.startswith("BYE"):
            bench.answer(text)
    assert bench.dialogs.empty


def test_actions_on_ended_dialogs_are_ignored(bench: Bench) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.perform(SendRinging(dialog))
    bench.perform(AcceptInvite(dialog, ANSWER))
    bench.perform(RejectInvite(dialog, 486, "Busy Here"))
    bench.perform(AcceptReinvite(dialog, ANSWER))
    assert bench.wire.take() == []
    bench.receive(caller.request("BYE"))
    bench.wire.take()
    for action in (SendRinging(dialog), EndDialog(dialog), RejectReinvite(dialog, 488, "No"), EndDialog(DialogId(999))):
        bench.perform(action)
    assert bench.wire.take() == []


def test_a_thousand_calls_leave_nothing_behind(clock: HandClock) -> None:
    bench = Bench(clock)
    for number in range(1000):
        caller = Caller(call_id=f"call-{number}")
        dialog = establish(bench, caller)
        bench.wire.take()
        if number % 2:
            bench.receive(caller.request("BYE"))
            bench.events.clear()
        else:
            bench.perform(EndDialog(dialog))
            (bye,) = bench.wire.take()
            bench.answer(bye)
    assert bench.dialogs.sizes == EMPTY
    clock.advance(100)
    assert len(clock.timers) == 0


def test_responses_go_only_to_the_flow_of_their_request(bench: Bench) -> None:
    other = Wire("tcp")
    bench.receive(Caller(call_id="other", transport="TCP").request("INVITE", OFFER), other)
    assert other.take_lines() == ["100 Trying"]
    assert bench.wire.take() == []


RELAY = ("Content-Type: application/dtmf-relay",)


def test_a_digit_in_an_info_is_reported_once_and_answered(bench: Bench) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.wire.take()
    pressed = caller.request("INFO", "Signal=5\r\nDuration=160\r\n", RELAY)
    bench.receive(pressed)
    assert bench.event() == InfoDigitReceived(dialog, "5")
    bench.receive(pressed)  # the 200 was lost
    assert bench.events == []
    assert bench.wire.take_lines() == ["200 OK", "200 OK"]
    assert bench.counters["info_digits"] == 1


def test_an_info_that_is_no_key_is_refused_and_counted(bench: Bench) -> None:
    caller = Caller()
    establish(bench, caller)
    bench.wire.take()
    bench.receive(caller.request("INFO", "x", ("Content-Type: text/plain",)))
    assert bench.wire.take_lines() == ["415 Unsupported Media Type"]
    assert (bench.events, bench.counters["refused_415"]) == ([], 1)


def test_an_info_outside_a_dialog_is_refused(bench: Bench) -> None:
    assert (
        str(bench.refused(Caller(to_tag="x").request("INFO", "Signal=5", RELAY)))
        == "481 Call/Transaction Does Not Exist"
    )


def test_a_key_after_our_bye_is_not_reported(bench: Bench) -> None:
    caller = Caller()
    dialog = establish(bench, caller)
    bench.perform(EndDialog(dialog))
    bench.wire.take()
    bench.receive(caller.request("INFO", "Signal=5", RELAY))
    assert bench.events == []
    assert bench.wire.take_lines() == ["200 OK"]
