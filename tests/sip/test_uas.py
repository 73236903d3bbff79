"""Reliable provisional responses of ours (RFC 3262), with a wire in memory and a clock advanced by hand."""

import pytest

from sip.bench import ANSWER, OFFER, Bench, Caller, HandClock, header
from trunkline.sip.values import AcceptInvite, DialogEnded, DialogId, InviteReceived, SendRinging

RELIABLY = ("Require: 100rel",)


def ring(bench: Bench, caller: Caller, body: str = OFFER, headers: tuple[str, ...] = RELIABLY) -> DialogId:
    bench.receive(caller.request("INVITE", body, headers))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    bench.wire.take()
    bench.perform(SendRinging(invite.dialog))
    return invite.dialog


def test_a_required_reliable_180_is_repeated_until_its_prack(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    (ringing,) = bench.wire.take()
    assert ringing.startswith("SIP/2.0 180 Ringing\r\n")
    assert (header(ringing, "Require"), header(ringing, "RSeq")) == ("100rel", "1")
    assert header(ringing, "Contact") == "<sip:198.51.100.7:5060>"
    caller.learn(ringing)
    clock.advance(1.6)
    assert bench.wire.take() == [ringing, ringing]
    for rack in ("2 1 INVITE", "1 2 INVITE", "1 1 BYE", "x", ""):
        bench.receive(caller.request("PRACK", headers=(f"RAck: {rack}",)))
        assert bench.wire.take_lines() == ["481 No Such Response"]
    bench.receive(caller.request("PRACK", OFFER, ("RAck: 1 1 INVITE",)))
    bench.receive(caller.request("PRACK", headers=("RAck: 1 1 INVITE",)))
    bench.receive(caller.request("PRACK", headers=("RAck: 1 1 INVITE",)))
    assert bench.wire.take_lines() == ["488 No Offers In PRACK", "200 OK", "481 No Such Response"]
    clock.advance(40)
    assert bench.wire.take() == []
    bench.perform(AcceptInvite(dialog, ANSWER))
    assert bench.wire.take_lines() == ["200 OK"]
    assert bench.events == []


def test_the_answer_does_not_wait_for_the_prack(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    dialog = ring(bench, caller)
    caller.learn(bench.wire.take()[0])
    bench.perform(SendRinging(dialog))
    bench.perform(AcceptInvite(dialog, ANSWER))
    assert bench.wire.take_lines() == ["200 OK"]
    bench.receive(caller.request("PRACK", headers=("RAck: 1 1 INVITE",)))
    assert bench.wire.take_lines() == ["200 OK"]
    caller.cseq = 1
    bench.receive(caller.request("ACK"))
    bench.events.clear()
    clock.advance(40)
    assert bench.wire.take() == []
    assert bench.events == []


def test_a_missing_prack_ends_the_call(bench: Bench, clock: HandClock) -> None:
    dialog = ring(bench, Caller())
    clock.advance(33)
    assert bench.wire.take_lines()[-1] == "504 No PRACK"
    assert bench.event() == DialogEnded(dialog, "error", "our 180 was not acknowledged by a PRACK")
    clock.advance(40)
    assert bench.dialogs.sizes["by_key"] == bench.dialogs.sizes["server"] == 0


@pytest.mark.parametrize("headers", [("Supported: 100rel",), ()])
def test_without_required_100rel_the_180_is_plain(bench: Bench, clock: HandClock, headers: tuple[str, ...]) -> None:
    ring(bench, Caller(), headers=headers)
    (ringing,) = bench.wire.take()
    assert "RSeq" not in ringing
    clock.advance(10)
    assert bench.wire.take() == []


def test_a_180_has_no_offer_of_ours(bench: Bench) -> None:
    ring(bench, Caller(), "")
    assert bench.wire.take() == []


def test_a_cancel_stops_the_retransmission(bench: Bench, clock: HandClock) -> None:
    caller = Caller()
    ring(bench, caller)
    bench.receive(caller.request("CANCEL", new=False))
    bench.wire.take()
    clock.advance(0.4)
    assert bench.wire.take() == []
    assert isinstance(bench.event(), DialogEnded)


def test_display_name_and_identity_headers_are_reported(bench: Bench) -> None:
    identity = ("P-Asserted-Identity: <sip:+1999@carrier>", "Diversion: <sip:+1888@carrier>;reason=no-answer")
    called = "P-Called-Party-ID: <sip:+1777@carrier>"
    bench.receive(Caller().request("INVITE", OFFER, (*identity, "Subject: x", called, "X-One: 1")))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    assert invite.called_party == "sip:+1777@carrier"
    assert [f"{name}: {value}" for name, value in invite.headers] == [*identity, "X-One: 1"]


def test_a_caller_with_a_uri_of_another_scheme_is_known_by_the_uri(bench: Bench) -> None:
    request = Caller().request("INVITE", OFFER)
    start, end = request.index(b"From: "), request.index(b";tag=caller")
    bench.receive(request[:start] + b'From: "Ann" <urn:service:sos>' + request[end:])
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    assert (invite.from_uri, invite.from_user, invite.from_name) == ("urn:service:sos", "urn:service:sos", "Ann")
