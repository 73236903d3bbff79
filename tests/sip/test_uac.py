"""Calls that we place, with a wire in memory and a clock advanced by hand."""

from collections.abc import Sequence
from typing import Literal

import pytest

from sip.bench import ANSWER, EMPTY, OFFER, PEER, Bench, Caller, HandClock, header, response
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.digest import digest_response, parse_digest
from trunkline.sip.message.validation import Discard
from trunkline.sip.targets import Target
from trunkline.sip.values import (
    AcceptReinvite,
    AckReceived,
    Credentials,
    DialogEnded,
    DialogId,
    EndDialog,
    InfoDigitReceived,
    InviteAccepted,
    InviteProgressed,
    InviteRefused,
    ReinviteReceived,
    SendInvite,
)

ICMP_TOLERANCE = 2

URI = "sip:bob@192.0.2.10:5062"
FIRST, SECOND = (
    Target(f"sip:+15550002@{host}", Endpoint(host, 5060), "udp", credentials=Credentials("trunk", "secret"))
    for host in ("192.0.2.10", "192.0.2.11")
)


def place(
    bench: Bench, *, headers: tuple[tuple[str, str], ...] = (), credentials: Credentials | None = None, uri: str = URI
) -> DialogId:
    """A call is placed."""
    number = bench.dialogs.new_dialog()
    bench.perform(SendInvite(number, "uri", "", uri, "+1555 0001", 'Ann "A"', OFFER, headers, credentials))
    return number


def invite_of(bench: Bench) -> str:
    """The one message on the wire, an INVITE."""
    (text,) = bench.wire.take()
    assert text.startswith("INVITE ")
    return text


def establish(bench: Bench, headers: tuple[str, ...] = ()) -> tuple[DialogId, Caller]:
    """A call that is up, and the called peer's side of its dialog."""
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, tag="them", body=ANSWER, headers=headers)
    assert isinstance(bench.event(), InviteAccepted)
    (ack,) = bench.wire.take()
    assert ack.startswith("ACK ")
    return number, callee(invite)


def callee(invite: str, tag: str = "them") -> Caller:
    """The writer of the called peer's requests."""
    return Caller(header(invite, "Call-ID"), from_tag=tag, to_tag=header(invite, "From").partition("tag=")[2])


def gone(bench: Bench) -> bool:
    """Whether nothing is left of any call except the record of those that may still be forked."""
    return {**bench.dialogs.sizes, "uac_invites": 0} == EMPTY


def test_a_placed_call_rings_is_answered_confirmed_and_ended_by_us(bench: Bench, clock: HandClock) -> None:
    number = place(bench, headers=(("X-Campaign", "summer\r\nX-Evil: 1"),))
    ((invite, to),) = bench.wire.sent
    bench.wire.take()
    assert to == PEER
    assert invite.startswith(f"INVITE {URI} SIP/2.0\r\n")
    assert header(invite, "From") == '"Ann \\"A\\"" <sip:+1555%200001@198.51.100.7>;tag=our2'
    assert header(invite, "To") == f"<{URI}>"
    assert header(invite, "Contact") == "<sip:198.51.100.7:5060>"
    assert header(invite, "X-Campaign") == "summer  X-Evil: 1"
    assert "INVITE" in header(invite, "Allow")
    assert "\r\nexpires:" not in invite.lower()
    assert header(invite, "Session-Expires") == "1800"
    assert header(invite, "Min-SE") == "90"
    assert invite.endswith("\r\n\r\n" + OFFER)

    bench.answer(invite, "100 Trying", body=ANSWER)
    assert bench.event() == InviteProgressed(number, 100, "Trying", None)
    bench.answer(invite, "180 Ringing", "them")
    assert bench.event() == InviteProgressed(number, 180, "Ringing", None)
    bench.answer(invite, "183 Session Progress", "them", ANSWER)
    progressed = bench.event()
    assert isinstance(progressed, InviteProgressed)
    assert progressed.answer is not None
    bench.answer(invite, "200 OK", "them", ANSWER)
    accepted = bench.event()
    assert isinstance(accepted, InviteAccepted)
    assert accepted.answer is not None
    (ack,) = bench.wire.take()
    assert ack.startswith("ACK sip:bob@192.0.2.10:5062 SIP/2.0\r\n")
    assert header(ack, "CSeq") == "1 ACK"
    assert header(ack, "To") == f"<{URI}>;tag=them"
    assert header(ack, "Via") != header(invite, "Via")

    bench.perform(EndDialog(number, "enough"))
    (bye,) = bench.wire.take()
    assert bye.startswith("BYE sip:bob@192.0.2.10:5062 SIP/2.0\r\n")
    assert header(bye, "CSeq") == "2 BYE"
    assert header(bye, "From") == header(invite, "From")
    bench.answer(bye)
    assert gone(bench)
    clock.advance(33)
    assert bench.dialogs.sizes == EMPTY
    assert bench.events == []


def test_the_called_peer_hangs_up(bench: Bench) -> None:
    number, peer = establish(bench)
    bench.receive(peer.request("BYE", headers=("Reason: Q.850;cause=16",)))
    assert bench.wire.take_lines() == ["200 OK"]
    assert bench.event() == DialogEnded(number, "bye", "Q.850;cause=16")
    assert gone(bench)


def test_the_called_peer_reinvites_and_presses_keys(bench: Bench) -> None:
    number, peer = establish(bench)
    for body in (OFFER, ""):
        bench.receive(peer.request("INVITE", body, ("Contact: <sip:bob@192.0.2.99:5070>",)))
        event = bench.event()
        assert isinstance(event, ReinviteReceived)
        assert (event.offer is None) == (not body)
        bench.perform(AcceptReinvite(number, ANSWER))
        assert bench.wire.take_lines() == ["100 Trying", "200 OK"]
        bench.receive(peer.request("ACK", "" if body else OFFER))
        ack = bench.event()
        assert isinstance(ack, AckReceived)
        assert (ack.answer is None) == bool(body)
    bench.receive(peer.request("INFO", "5", ("Content-Type: application/dtmf",)))
    assert bench.event() == InfoDigitReceived(number, "5")
    bench.wire.take()
    bench.perform(EndDialog(number))
    assert bench.wire.sent[0][1] == Endpoint("192.0.2.99", 5070)


def test_a_repeated_2xx_is_confirmed_again(bench: Bench, clock: HandClock) -> None:
    number = place(bench)
    ok = response(invite_of(bench), "200 OK", "them", ANSWER)
    bench.receive(ok)
    (ack,) = bench.wire.take()
    bench.receive(ok)
    clock.advance(1)
    bench.receive(ok.replace(b"SIP/2.0 200 OK", b"SIP/2.0 200 Fine"))
    assert bench.wire.take() == [ack, ack]
    assert [type(event) for event in bench.events] == [InviteAccepted]
    bench.perform(EndDialog(number))
    bench.receive(ok)
    assert ack in bench.wire.take()


@pytest.mark.parametrize("status", ["486 Busy Here", "404 Not Found", "600 Busy Everywhere", "302 Moved"])
def test_a_failure_is_acknowledged_and_reported(bench: Bench, status: str) -> None:
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, status, "them", headers=('Reason: Q.850;cause=17;text="busy"', "Contact: <tel:+1555>"))
    (ack,) = bench.wire.take()
    assert ack.startswith(f"ACK {URI} SIP/2.0\r\n")
    assert header(ack, "Via") == header(invite, "Via")
    assert header(ack, "To").endswith(";tag=them")
    code, _, reason = status.partition(" ")
    assert bench.event() == InviteRefused(number, int(code), reason, '192.0.2.10:5062: Q.850;cause=17;text="busy"')
    assert gone(bench)
    bench.answer(invite, status, "them", headers=('Reason: Q.850;cause=17;text="busy"', "Contact: <tel:+1555>"))
    assert bench.wire.take() == [ack]
    assert bench.events == []


def test_a_failure_is_confirmed_by_the_route_of_its_invite(bench: Bench) -> None:
    bench.targets = [Target(URI, PEER, "udp", route=("<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"))]
    place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "486 Busy Here", "them")
    (ack,) = bench.wire.take()
    routes = [[line for line in text.split("\r\n") if line.startswith("Route:")] for text in (invite, ack)]
    assert routes[0] == routes[1] == ["Route: <sip:p1.example.com;lr>", "Route: <sip:p2.example.com;lr>"]


def test_an_unanswered_invite_is_repeated_and_ends_in_408(bench: Bench, clock: HandClock) -> None:
    number = place(bench)
    times = []
    for _ in range(320):
        times += [clock.now] * len(bench.wire.take())
        clock.advance(0.125)
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    detail = "192.0.2.10:5062 is unreachable: no response"
    assert bench.event() == InviteRefused(number, 408, "Request Timeout", detail, responded=False, unreachable=True)
    clock.advance(40)
    assert bench.dialogs.sizes == EMPTY


def test_ringing_lasts_until_the_application_ends_it(bench: Bench, clock: HandClock) -> None:
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "180 Ringing", "them")
    clock.advance(600)
    assert bench.wire.take() == []
    bench.events.clear()
    bench.perform(EndDialog(number, "no answer"))
    (cancel,) = bench.wire.take()
    assert cancel.startswith(f"CANCEL {URI} SIP/2.0\r\n")
    assert header(cancel, "Via") == header(invite, "Via")
    assert header(cancel, "CSeq") == "1 CANCEL"
    assert header(cancel, "To") == f"<{URI}>"
    assert header(cancel, "Reason") == 'SIP;cause=200;text="no answer"'
    bench.answer(cancel)
    bench.answer(invite, "487 Request Terminated", "them")
    assert bench.wire.take_lines() == [f"ACK {URI} SIP/2.0"]
    assert gone(bench)
    assert bench.events == []


def test_a_ringing_timeout_is_not_reported_as_unreachable(bench: Bench, clock: HandClock) -> None:
    number = place(bench)
    bench.answer(invite_of(bench), "180 Ringing", "them")
    bench.events.clear()
    clock.advance(4000)
    detail = "no final response from 192.0.2.10:5062"
    assert bench.event() == InviteRefused(number, 408, "Request Timeout", detail, responded=False)


def test_before_any_response_there_is_no_cancel(bench: Bench) -> None:
    number = place(bench)
    invite = invite_of(bench)
    bench.perform(EndDialog(number))
    assert bench.wire.take() == []
    bench.answer(invite, "100 Trying")
    assert bench.wire.take_lines() == [f"CANCEL {URI} SIP/2.0"]
    assert bench.events == []


def test_a_cancel_that_changes_nothing_is_given_up(bench: Bench, clock: HandClock) -> None:
    number = place(bench)
    bench.answer(invite_of(bench), "180 Ringing", "them")
    bench.perform(EndDialog(number))
    bench.events.clear()
    clock.advance(100)
    assert bench.dialogs.sizes == EMPTY
    assert bench.events == []


@pytest.mark.parametrize("rings", [True, False])
def test_a_2xx_that_crosses_our_cancel_is_confirmed_and_ended(bench: Bench, clock: HandClock, rings: bool) -> None:
    number = place(bench)
    invite = invite_of(bench)
    if rings:
        bench.answer(invite, "180 Ringing", "them")
        bench.events.clear()
    bench.perform(EndDialog(number, "no answer"))
    for cancel in bench.wire.take():
        bench.answer(cancel)
    bench.answer(invite, "200 OK", "them", ANSWER)
    ack, bye = bench.wire.take()
    assert ack.startswith("ACK ")
    assert bye.startswith("BYE ")
    assert header(bye, "Reason") == 'SIP;cause=200;text="no answer"'
    bench.answer(bye)
    assert gone(bench)
    assert bench.events == []


def test_of_forks_that_answer_the_first_wins(bench: Bench) -> None:
    number = place(bench)
    invite = invite_of(bench)
    for tag in ("one", "two"):
        bench.answer(invite, "180 Ringing", tag)
    bench.events.clear()
    bench.answer(invite, "200 OK", "two", ANSWER)
    bench.event()
    bench.wire.take()
    late = response(invite, "200 OK", "three", ANSWER, ("Contact: <sip:third@192.0.2.33>",))
    bench.receive(late)
    ack, bye = bench.wire.take()
    assert ack.startswith("ACK sip:third@192.0.2.33 SIP/2.0\r\n")
    assert bye.startswith("BYE sip:third@192.0.2.33 SIP/2.0\r\n")
    assert header(bye, "To").endswith(";tag=three")
    bench.receive(late)
    assert set(bench.wire.take()) == {ack}
    assert bench.events == []
    bench.perform(EndDialog(number))
    assert header(bench.wire.take()[0], "To").endswith(";tag=two")


def test_the_answer_of_the_fork_that_wins_counts(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "183 Session Progress", "one", ANSWER)
    bench.answer(invite, "183 Session Progress", "two", ANSWER.replace("4000", "4002"))
    bench.answer(invite, "180 Ringing", "one")
    bench.events.clear()
    bench.answer(invite, "200 OK", "one")
    accepted = bench.event()
    assert isinstance(accepted, InviteAccepted)
    assert accepted.answer is not None
    assert accepted.answer.media[0].port == 4000


def test_the_number_of_forks_is_bounded(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    for number in range(100):
        bench.answer(invite, "180 Ringing", f"fork{number}")
    assert bench.dialogs.sizes["by_key"] == 20
    bench.events.clear()
    bench.answer(invite, "200 OK", "fork99", ANSWER)
    assert (bench.wire.take(), bench.events) == ([], [])
    bench.answer(invite, "200 OK", "fork7", ANSWER)
    assert isinstance(bench.event(), InviteAccepted)


def test_the_record_route_of_the_2xx_is_used_in_reverse(bench: Bench) -> None:
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "180 Ringing", "them", headers=("Record-Route: <sip:other.example.com;lr>",))
    bench.events.clear()
    routes = "Record-Route: <sip:192.0.2.77:5080;lr>, <sip:p2.example.com;lr>"
    bench.answer(invite, "200 OK", "them", ANSWER, (routes,))
    bench.perform(EndDialog(number))
    for text, to in bench.wire.sent:
        assert text.partition(" ")[2].startswith("sip:bob@192.0.2.10:5062 ")
        assert [line for line in text.split("\r\n") if line.startswith("Route")] == [
            "Route: <sip:p2.example.com;lr>",
            "Route: <sip:192.0.2.77:5080;lr>",
        ]
        assert to == Endpoint("p2.example.com", 5060)


def test_a_target_found_at_another_address_than_its_uri_stays_there(bench: Bench) -> None:
    where = Endpoint("203.0.113.9", 40000)
    bench.targets = [Target("sip:bob@192.168.1.5:5062", where, "udp")]
    number = place(bench)
    bench.answer(invite_of(bench), "200 OK", "them", ANSWER, ("Contact: <sip:bob@192.168.1.5:5062>",))
    bench.perform(EndDialog(number))
    assert [to for _, to in bench.wire.sent] == [where, where]


@pytest.mark.parametrize("contact", ["Contact: <tel:+1555>", "Contact: <<>", "Contact: *"])
def test_a_2xx_without_usable_contact_is_confirmed_at_the_request_uri(bench: Bench, contact: str) -> None:
    place(bench)
    bench.answer(invite_of(bench), "200 OK", "them", ANSWER, (contact,))
    assert bench.wire.take_lines() == [f"ACK {URI} SIP/2.0"]


def test_a_2xx_with_malformed_sdp_is_reported_without_it(bench: Bench) -> None:
    number = place(bench)
    bench.answer(invite_of(bench), "200 OK", "them", "nonsense")
    assert bench.event() == InviteAccepted(number, None)
    assert bench.counters["bad_answers"] == 1


def test_a_broken_record_route_is_dropped(bench: Bench) -> None:
    place(bench)
    with pytest.raises(Discard, match="Record-Route"):
        bench.answer(invite_of(bench), "200 OK", "them", ANSWER, ("Record-Route: <sip:@>",))


# ── reliable provisional responses ──────────────────────────────────────────────────────────────────────────


def test_a_reliable_response_gets_its_prack_and_its_answer_counts(bench: Bench) -> None:
    number = place(bench)
    invite = invite_of(bench)
    reliable = ("Require: 100rel", "RSeq: 8000", "Contact: <sip:early@192.0.2.44>")
    bench.answer(invite, "183 Session Progress", "them", ANSWER, reliable)
    progressed = bench.event()
    assert isinstance(progressed, InviteProgressed)
    assert progressed.answer is not None
    (prack,) = bench.wire.take()
    assert prack.startswith("PRACK sip:early@192.0.2.44 SIP/2.0\r\n")
    assert header(prack, "RAck") == "8000 1 INVITE"
    assert header(prack, "CSeq") == "2 PRACK"
    assert header(prack, "To").endswith(";tag=them")
    bench.answer(prack)
    bench.answer(invite, "200 OK", "them")
    assert bench.event() == InviteAccepted(number, None)
    (ack,) = bench.wire.take()
    assert header(ack, "CSeq") == "1 ACK"


def test_reliable_responses_are_processed_in_order_and_once(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    for rseq, taken in (("5", True), ("7", False), ("5", False), ("6", True), ("x", False), ("0", False), ("7", True)):
        bench.answer(invite, "180 Ringing", "them", headers=("Require: 100rel", f"RSeq: {rseq}", f"X-One: {taken}"))
        assert len(bench.events) == taken, rseq
        bench.events.clear()
    assert [header(text, "RAck") for text in bench.wire.take()] == ["5 1 INVITE", "6 1 INVITE", "7 1 INVITE"]


def test_each_fork_counts_its_own_rseq(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    for tag in ("one", "two"):
        bench.answer(invite, "180 Ringing", tag, headers=("Require: 100rel", "RSeq: 1"))
    assert [header(text, "To").rpartition("=")[2] for text in bench.wire.take()] == ["one", "two"]


# ── digest ──────────────────────────────────────────────────────────────────────────────────────────────────


def authorized(invite: str, name: str = "Authorization", method: str = "INVITE") -> dict[str, str]:
    """The credentials of a request, which must be valid."""
    params = parse_digest(header(invite, name))
    assert params["response"] == digest_response(params, "secret", method)
    return params


@pytest.mark.parametrize(
    ("status", "asked", "answered"),
    [
        ("401 Unauthorized", "WWW-Authenticate", "Authorization"),
        ("407 Proxy Authentication Required", "Proxy-Authenticate", "Proxy-Authorization"),
    ],
)
def test_a_challenge_is_answered_for_the_invite_and_the_bye(
    bench: Bench, status: str, asked: str, answered: str
) -> None:
    challenge = (f'{asked}: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256',)
    number = place(bench, credentials=Credentials("ann", "secret"))
    first = invite_of(bench)
    bench.answer(first, status, "proxy", headers=challenge)
    ack, second = bench.wire.take()
    assert ack.startswith("ACK ")
    assert authorized(second, answered)["uri"] == URI
    assert header(second, "CSeq") == "2 INVITE"
    assert [header(second, name) == header(first, name) for name in ("Call-ID", "From", "To", "Via")] == [
        True,
        True,
        True,
        False,
    ]
    bench.answer(second, "200 OK", "them", ANSWER)
    assert isinstance(bench.event(), InviteAccepted)
    (ack,) = bench.wire.take()
    assert header(ack, "CSeq") == "2 ACK"
    assert header(ack, answered) == header(second, answered)
    bench.perform(EndDialog(number, "enough"))
    (bye,) = bench.wire.take()
    assert header(bye, "CSeq") == "3 BYE"
    bench.answer(bye, status, headers=challenge)
    (bye,) = bench.wire.take()
    assert header(bye, "CSeq") == "4 BYE"
    assert header(bye, "Reason") == 'SIP;cause=200;text="enough"'
    authorized(bye, answered, "BYE")
    bench.answer(bye, status, headers=challenge)
    assert gone(bench)


@pytest.mark.parametrize("own", [False, True], ids=["the trunk's", "the call's own"])
def test_the_bye_of_a_saved_call_by_a_trunk_answers_a_challenge(bench: Bench, own: bool) -> None:
    asked = ('WWW-Authenticate: Digest realm="r", nonce="n", algorithm=SHA-256',)
    bench.targets = [FIRST]
    number = bench.dialogs.new_dialog()
    credentials = Credentials("trunk", "other") if own else None
    bench.perform(SendInvite(number, "trunk", "carrier", "+1", "+2", "", OFFER, (), credentials))
    bench.answer(invite_of(bench), tag="them", body=ANSWER)
    after = Bench(HandClock())
    assert FIRST.credentials is not None
    after.end_saved(bench.saved(number), {"carrier": FIRST.credentials})
    (bye,) = after.wire.take()
    after.answer(bye, "401 Unauthorized", headers=asked)
    if own:
        assert after.wire.take() == [], "the trunk's password is for the trunk's peers alone"
    else:
        (again,) = after.wire.take()
        assert int(header(again, "CSeq").split()[0]) == int(header(bye, "CSeq").split()[0]) + 1
        authorized(again, "Authorization", "BYE")
        after.answer(again, "200 OK")
    assert after.dialogs.sizes["by_key"] == 0


@pytest.mark.parametrize("reliable", [False, True])
def test_a_fork_that_challenges_under_its_tag_sees_each_number_once(bench: Bench, reliable: bool) -> None:
    number = place(bench, credentials=Credentials("ann", "secret"))
    first = invite_of(bench)
    bench.answer(first, "183 Progress", "one", headers=("Require: 100rel", "RSeq: 1") if reliable else ())
    asked = bench.wire.take()
    challenge = ('Proxy-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256',)
    bench.answer(first, "407 Proxy Authentication Required", "one", headers=challenge)
    _, second = bench.wire.take()
    bench.answer(second, "200 OK", "one", ANSWER)
    (ack,) = bench.wire.take()
    bench.perform(EndDialog(number))
    requests = [first, *asked, second, *bench.wire.take()]
    numbers = [int(header(text, "CSeq").split()[0]) for text in requests]
    assert numbers == list(range(1, len(requests) + 1))
    assert header(ack, "CSeq").split()[0] == header(second, "CSeq").split()[0]


def test_an_invite_of_the_called_peer_with_the_dialogs_tags_is_refused(bench: Bench) -> None:
    _, peer = establish(bench)
    peer.to_tag = ""
    assert str(bench.refused(peer.request("INVITE", OFFER))) == "482 Loop Detected"
    assert bench.events == []


def test_wrong_credentials_are_refused_after_one_try(bench: Bench) -> None:
    number = place(bench, credentials=Credentials("ann", "wrong"))
    for _ in range(2):
        *_, invite = bench.wire.take()
        bench.answer(invite, "401 Unauthorized", "them", headers=('WWW-Authenticate: Digest realm="r", nonce="n"',))
    assert bench.event() == InviteRefused(number, 401, "Unauthorized", "192.0.2.10:5062")
    assert gone(bench)


def test_a_challenge_without_credentials_is_a_failure(bench: Bench) -> None:
    number = place(bench)
    bench.answer(invite_of(bench), "407 Who", "them", headers=('Proxy-Authenticate: Digest realm="r", nonce="n"',))
    assert bench.event() == InviteRefused(number, 407, "Who", "192.0.2.10:5062")


def test_the_targets_credentials_are_used_if_the_call_has_none(bench: Bench) -> None:
    bench.targets = [FIRST]
    place(bench)
    bench.answer(
        invite_of(bench), "401 Unauthorized", "them", headers=('WWW-Authenticate: Digest realm="r", nonce="n"',)
    )
    assert authorized(bench.wire.take()[1])["username"] == "trunk"


# ── several targets ─────────────────────────────────────────────────────────────────────────────────────────


def place_at(bench: Bench, targets: Sequence[Target]) -> tuple[DialogId, str]:
    bench.targets = list(targets)
    number = place(bench)
    return number, invite_of(bench)


def test_an_unresponsive_target_is_given_up_for_the_next(bench: Bench, clock: HandClock) -> None:
    _, first = place_at(bench, [FIRST, SECOND])
    clock.advance(4.9)
    assert set(bench.wire.take()) == {first}
    clock.advance(0.2)
    ((second, to),) = bench.wire.sent
    bench.wire.take()
    assert to == SECOND.endpoint
    assert second.startswith(f"INVITE {SECOND.uri} SIP/2.0\r\n")
    clock.advance(0.6)
    assert bench.wire.take() == [second], "the first is not sent again"
    bench.answer(second, "180 Ringing", "two")
    bench.answer(second, "200 OK", "two", ANSWER)
    assert [type(event) for event in bench.events] == [InviteProgressed, InviteAccepted]
    bench.wire.take()
    bench.answer(first, "180 Ringing", "one")  # it responds after all
    assert bench.wire.take_lines() == [f"CANCEL {FIRST.uri} SIP/2.0"]
    bench.answer(first, "200 OK", "one", ANSWER)
    assert [line.partition(" ")[0] for line in bench.wire.take_lines()] == ["ACK", "BYE"]
    assert len(bench.events) == 2


def test_a_late_response_of_an_earlier_target_is_cancelled_once(bench: Bench, clock: HandClock) -> None:
    _, first = place_at(bench, [FIRST, SECOND])
    clock.advance(5.1)
    second = bench.wire.take()[-1]
    bench.answer(first, "180 Ringing", "one")
    assert bench.wire.take_lines() == [f"CANCEL {FIRST.uri} SIP/2.0"]
    bench.answer(second, "200 OK", "two", ANSWER)
    assert isinstance(bench.event(), InviteAccepted)
    assert [line.partition(" ")[0] for line in bench.wire.take_lines()] == ["ACK"]


def test_a_target_that_answers_in_time_is_waited_for(bench: Bench, clock: HandClock) -> None:
    _, first = place_at(bench, [FIRST, SECOND])
    bench.answer(first, "100 Trying")
    clock.advance(60)
    assert bench.wire.take() == []


def test_only_503_and_a_broken_transport_lead_to_the_next_target(bench: Bench) -> None:
    number, invite = place_at(bench, [FIRST, SECOND, FIRST, SECOND])
    bench.answer(invite, "503 Service Unavailable", "one")
    _, invite = bench.wire.take()
    assert invite.startswith(f"INVITE {SECOND.uri} ")
    bench.fail_flow("refused")
    invite = invite_of(bench)
    assert invite.startswith(f"INVITE {FIRST.uri} ")
    assert header(invite, "CSeq") == "3 INVITE"
    bench.answer(invite, "486 Busy Here", "one")
    assert bench.wire.take_lines() == [f"ACK {FIRST.uri} SIP/2.0"]
    assert bench.event() == InviteRefused(number, 486, "Busy Here", "192.0.2.10:5060")
    assert gone(bench)


def test_when_all_targets_fail_the_last_one_gives_the_reason(bench: Bench, clock: HandClock) -> None:
    number, _ = place_at(bench, [FIRST, SECOND])
    clock.advance(100)
    detail = "192.0.2.11:5060 is unreachable: no response"
    assert bench.event() == InviteRefused(number, 408, "Request Timeout", detail, responded=False, unreachable=True)
    bench.wire.take()
    number, _ = place_at(bench, [FIRST])
    bench.fail_flow("connection refused")
    detail = "192.0.2.10:5060 is unreachable: connection refused"
    assert bench.event() == InviteRefused(number, 503, "Service Unavailable", detail, responded=False, unreachable=True)


def test_requests_without_a_response_to_an_unreachable_address_fail(bench: Bench) -> None:
    first, _ = place_at(bench, [FIRST])
    second, invite = place_at(bench, [SECOND])
    third, ringing = place_at(bench, [FIRST])
    bench.answer(ringing, "180 Ringing", "one")
    bench.events.clear()
    for to in (Endpoint("192.0.2.12", 5060), Endpoint(FIRST.endpoint.host, 5061)):
        bench.fail_flow("Connection refused", to)
    for _ in range(ICMP_TOLERANCE):
        bench.fail_flow("Connection refused", FIRST.endpoint)
    assert bench.events == []
    bench.fail_flow("Connection refused", FIRST.endpoint)
    refused = bench.event()
    assert isinstance(refused, InviteRefused)
    assert (refused.dialog, refused.unreachable) == (first, True)
    bench.answer(invite, "486 Busy Here", "two")
    assert bench.event() == InviteRefused(second, 486, "Busy Here", "192.0.2.11:5060")
    assert bench.dialogs.sizes["outgoing"] == 1, "the one that rings"
    bench.perform(EndDialog(third))


def test_addresses_match_in_any_spelling(bench: Bench) -> None:
    number, _ = place_at(bench, [Target("sip:bob@[2001:DB8::1]", Endpoint("2001:DB8:0::1", 5060), "udp")])
    for _ in range(ICMP_TOLERANCE + 1):
        bench.fail_flow("Connection refused", Endpoint("2001:db8::1", 5060))
    assert bench.event().dialog == number


def test_a_target_that_refuses_datagrams_is_skipped_if_there_is_another(bench: Bench) -> None:
    place_at(bench, [FIRST, SECOND])
    bench.fail_flow("Connection refused", FIRST.endpoint)
    assert invite_of(bench).startswith(f"INVITE {SECOND.uri} ")
    bench.fail_flow("Connection refused", SECOND.endpoint)
    assert bench.events == []


def test_a_hangup_between_targets_ends_it(bench: Bench, clock: HandClock) -> None:
    number, first = place_at(bench, [FIRST, SECOND])
    bench.perform(EndDialog(number))
    clock.advance(20)
    assert bench.wire.take() == []
    bench.answer(first, "503 Service Unavailable", "one")
    assert bench.wire.take_lines() == [f"ACK {FIRST.uri} SIP/2.0"]
    assert gone(bench)
    assert bench.events == []


def test_a_call_without_a_target_is_refused(bench: Bench) -> None:
    number = place(bench, uri="tel:+1555")
    assert bench.event() == InviteRefused(number, 404, "Not Found", "a tel URI names no host to call", responded=False)
    assert gone(bench)


def test_a_hangup_during_the_look_up_ends_the_call(bench: Bench) -> None:
    bench.waiting = []
    number = place(bench)
    bench.perform(EndDialog(number))
    assert gone(bench)
    for required in bench.waiting:
        bench.find_targets(required)
    bench.clock.drain()
    assert bench.wire.take() == []
    assert bench.events == []


# ── redirection ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_redirection_is_followed_to_the_contact_with_the_highest_q(bench: Bench) -> None:
    number, invite = place_at(bench, [FIRST])
    contacts = ("Contact: <sip:low@192.0.2.21>;q=0.1, <sip:high@192.0.2.22>;q=0.9", "Contact: <mailto:x@y>")
    bench.answer(invite, "302 Moved Temporarily", "one", headers=contacts)
    ack, invite = bench.wire.take()
    assert ack.startswith("ACK ")
    assert invite.startswith("INVITE sip:high@192.0.2.22 SIP/2.0\r\n")
    assert header(invite, "To") == f"<{FIRST.uri}>"
    bench.answer(invite, "503 Service Unavailable", "two")
    _, invite = bench.wire.take()
    assert invite.startswith("INVITE sip:low@192.0.2.21 SIP/2.0\r\n")
    bench.answer(invite, "200 OK", "three", ANSWER)
    accepted = bench.event()
    assert isinstance(accepted, InviteAccepted)
    assert accepted.dialog == number


def test_circular_and_endless_redirections_are_refused(bench: Bench) -> None:
    number, invite = place_at(bench, [FIRST])
    bench.answer(invite, "302 Moved", "one", headers=(f"Contact: <{FIRST.uri}>",))
    assert bench.event() == InviteRefused(number, 302, "Moved", "192.0.2.10:5060")
    bench.wire.take()
    _, invite = place_at(bench, [FIRST])
    for hop in range(5):
        bench.answer(invite, "302 Moved", "one", headers=(f"Contact: <sip:{hop}@192.0.2.9>",))
        _, invite = bench.wire.take()
    bench.answer(invite, "302 Moved", "one", headers=("Contact: <sip:6@192.0.2.9>",))
    assert isinstance(bench.event(), InviteRefused)
    assert gone(bench)


def test_a_redirection_to_an_earlier_target_is_a_circle(bench: Bench) -> None:
    number, invite = place_at(bench, [FIRST])
    bench.answer(invite, "302 Moved", "one", headers=("Contact: <sip:there@192.0.2.9>",))
    _, invite = bench.wire.take()
    assert invite.startswith("INVITE sip:there@192.0.2.9 SIP/2.0\r\n")
    bench.answer(invite, "302 Moved", "one", headers=("Contact: <sip:there@192.0.2.9>",))
    refused = bench.event()
    assert isinstance(refused, InviteRefused)
    assert (refused.dialog, refused.status) == (number, 302)
    assert bench.wire.take_lines() == ["ACK sip:there@192.0.2.9 SIP/2.0"]


@pytest.mark.parametrize("own", [None, Credentials("ann", "secret")])
@pytest.mark.parametrize(("host", "trusted"), [("192.0.2.10", True), ("192.0.2.66", False)])
def test_credentials_are_used_only_for_their_host(
    bench: Bench, host: str, trusted: bool, own: Credentials | None
) -> None:
    bench.targets = [FIRST]
    place(bench, credentials=own)
    invite = invite_of(bench)
    bench.answer(invite, "302 Moved", "one", headers=(f"Contact: <sip:else@{host}>",))
    _, invite = bench.wire.take()
    bench.answer(invite, "401 Who", "two", headers=('WWW-Authenticate: Digest realm="r", nonce="n"',))
    assert len(bench.wire.take()) == (2 if trusted else 1)


@pytest.mark.parametrize(
    ("route", "name", "kept"), [("trunk", "carrier", "carrier"), ("phone", "carrier", ""), ("uri", "", "")]
)
def test_a_redirection_leads_by_no_trunk_but_the_one_that_redirects(
    bench: Bench, route: Literal["trunk", "phone", "uri"], name: str, kept: str
) -> None:
    bench.waiting, bench.targets = [], [FIRST]
    bench.perform(SendInvite(DialogId(1), route, name, "+1", "us", "", OFFER))
    bench.find_targets(bench.waiting.pop())
    bench.clock.drain()
    bench.answer(bench.wire.take()[0], "302 Moved", "one", headers=("Contact: <sip:+1900@192.0.2.9>",))
    (required,) = bench.waiting
    assert required.invite == SendInvite(
        DialogId(1), "uri", kept, "sip:+1900@192.0.2.9", "us", "", OFFER, restricted=True
    )


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_limit_on_calls_holds_both_ways(clock: HandClock) -> None:
    bench = Bench(clock, limit=1)
    first = place(bench)
    bench.wire.take()
    second = place(bench)
    assert bench.event() == InviteRefused(second, 503, "Service Unavailable", "too many calls", responded=False)
    assert str(bench.refused(Caller().request("INVITE", OFFER))) == "503 Too Many Calls"
    assert bench.wire.take() == []
    bench.dialogs.draining = True
    bench.perform(EndDialog(first))
    bench.perform(EndDialog(place(bench)))  # for a call that runs
    bench.end_all("shutting down")
    third = place(bench)
    assert bench.event() == InviteRefused(third, 503, "Service Unavailable", "shutting down", responded=False)


def test_hanging_up_all_cancels_and_waits_for_the_end(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "180 Ringing", "them")
    bench.end_all("shutting down")
    assert bench.wire.take_lines() == [f"CANCEL {URI} SIP/2.0"]
    assert not bench.dialogs.empty
    bench.answer(invite, "487 Request Terminated", "them")
    assert bench.dialogs.empty


def test_a_call_to_ourselves_has_two_sides(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    bench.receive(invite.encode())
    assert bench.wire.take_lines() == ["100 Trying"]
    assert bench.dialogs.sizes["dialogs"] == bench.dialogs.sizes["outgoing"] == 1


def test_hundreds_of_calls_leave_nothing_behind(bench: Bench, clock: HandClock) -> None:
    for number in range(300):
        dialog, peer = establish(bench)
        if number % 2:
            bench.receive(peer.request("BYE"))
        else:
            bench.perform(EndDialog(dialog))
            bench.answer(bench.wire.take()[-1])
        bench.events.clear()
        bench.wire.take()
        clock.advance(1)
    clock.advance(100)
    assert bench.dialogs.sizes == EMPTY
    assert len(clock.timers) == 0
