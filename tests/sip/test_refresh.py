"""Session timers (RFC 4028), with a clock advanced by hand."""

import pytest

from sip.bench import ANSWER, EMPTY, OFFER, Bench, Caller, HandClock, header, response
from sip.test_uac import callee, invite_of, place
from trunkline.sdp.session import parse
from trunkline.sip.values import (
    AcceptInvite,
    AcceptReinvite,
    DialogEnded,
    DialogId,
    EndDialog,
    InviteAccepted,
    InviteReceived,
    ReinviteReceived,
    RejectReinvite,
    SessionRefreshed,
)

WE_REFRESH = "Session-Expires: 600;refresher=uac"
THEY_REFRESH = "Session-Expires: 600;refresher=uas"
UPDATES = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE"


def call(bench: Bench, *headers: str) -> tuple[DialogId, Caller]:
    """A call of ours that is up."""
    number = place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "200 OK", "them", ANSWER, headers)
    assert isinstance(bench.event(), InviteAccepted)
    bench.wire.take()
    return number, callee(invite)


def taken(bench: Bench, *headers: str) -> tuple[DialogId, Caller, str]:
    """A call to us that is up, and our 200."""
    caller = Caller()
    bench.receive(caller.request("INVITE", OFFER, headers))
    invite = bench.event()
    assert isinstance(invite, InviteReceived)
    bench.wire.take()
    bench.perform(AcceptInvite(invite.dialog, ANSWER))
    (ok,) = bench.wire.take()
    caller.learn(ok)
    bench.receive(caller.request("ACK"))
    bench.events.clear()
    return invite.dialog, caller, ok


def test_sessions_are_refreshed_by_update_at_half_of_each_interval(bench: Bench, clock: HandClock) -> None:
    call(bench, WE_REFRESH, UPDATES)
    for cseq in (2, 3, 4):
        clock.advance(299.9)
        assert bench.wire.take() == []
        clock.advance(0.2)
        (update,) = bench.wire.take()
        assert update.startswith("UPDATE sip:bob@192.0.2.10:5062 SIP/2.0\r\n")
        assert header(update, "CSeq") == f"{cseq} UPDATE"
        assert header(update, "Session-Expires") == "600;refresher=uac"
        assert header(update, "Min-SE") == "90"
        assert header(update, "Contact") == "<sip:198.51.100.7:5060>"
        assert update.endswith("Content-Length: 0\r\n\r\n")
        bench.answer(update, headers=(WE_REFRESH,))
    assert bench.events == []
    assert bench.counters["session_refreshes"] == 3


def test_without_update_the_refresh_is_a_reinvite_with_the_same_description(bench: Bench, clock: HandClock) -> None:
    call(bench, WE_REFRESH)
    clock.advance(300)
    (invite,) = bench.wire.take()
    assert invite.startswith("INVITE sip:bob@192.0.2.10:5062 SIP/2.0\r\n")
    assert invite.endswith("\r\n\r\n" + OFFER)
    bench.answer(invite, "200 OK", "", ANSWER, (WE_REFRESH, "Contact: <sip:bob@192.0.2.88>"))
    bench.event()
    (ack,) = bench.wire.take()
    assert ack.startswith("ACK sip:bob@192.0.2.88 SIP/2.0\r\n")
    assert header(ack, "CSeq") == "2 ACK"
    bench.answer(invite, "200 OK", "", ANSWER, (WE_REFRESH, "Contact: <sip:bob@192.0.2.88>"))
    assert set(bench.wire.take()) == {ack}
    clock.advance(300)
    assert bench.wire.take_lines() == ["INVITE sip:bob@192.0.2.88 SIP/2.0"]
    assert bench.events == []


@pytest.mark.parametrize("ours", [True, False], ids=["a call of ours", "a call to us"])
def test_the_answer_to_our_reinvite_is_reported(bench: Bench, clock: HandClock, ours: bool) -> None:
    number = call(bench, WE_REFRESH)[0] if ours else taken(bench, "Supported: timer", THEY_REFRESH)[0]
    moved = ANSWER.replace("4000", "4242") + "a=inactive\r\n"
    for answer in (ANSWER, moved):
        clock.advance(300)
        (invite,) = bench.wire.take()
        assert invite.startswith("INVITE ")
        ok = response(invite, "200 OK", "", answer, (WE_REFRESH,))
        bench.receive(ok)
        bench.receive(ok)
        refreshed = bench.event()
        assert isinstance(refreshed, SessionRefreshed)
        assert (refreshed.dialog, refreshed.answer) == (number, parse(answer.encode()))
        bench.wire.take()


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        ("200 OK", "", ()),
        ("200 OK", "nonsense", ()),
        ("200 OK", "{}", ("Content-Type: application/json",)),
        ("200 OK", "v=0\r\n", ("Content-Type: application/sdp", "Content-Encoding: gzip")),
        ("488 Not Acceptable Here", ANSWER, ()),
        ("415 Unsupported Media Type", "", ()),
        ("600 Busy Everywhere", "", ()),
        ("302 Moved", "", ("Contact: <sip:else@192.0.2.9>",)),
    ],
)
def test_a_refresh_without_an_sdp_answer_leaves_the_call_as_it_was(
    bench: Bench, clock: HandClock, status: str, body: str, headers: tuple[str, ...]
) -> None:
    call(bench, WE_REFRESH)
    clock.advance(300)
    (invite,) = bench.wire.take()
    bench.answer(invite, status, "", body, (*headers, WE_REFRESH))
    assert bench.events == []
    assert bench.dialogs.sizes["dialogs"] == 1
    clock.advance(300 if status == "200 OK" else 30)
    assert bench.wire.take()[-1].startswith("INVITE "), "and on"


def test_the_answer_to_a_refresh_is_not_reported_after_our_end(bench: Bench, clock: HandClock) -> None:
    number, _ = call(bench, WE_REFRESH)
    clock.advance(300)
    (invite,) = bench.wire.take()
    bench.perform(EndDialog(number))
    bench.answer(invite, "200 OK", "", ANSWER, (WE_REFRESH,))
    assert bench.events == []


@pytest.mark.parametrize("headers", [(), (WE_REFRESH, UPDATES)], ids=["no timer", "a timer"])
def test_a_session_lasts_as_long_as_it_is_refreshed(bench: Bench, clock: HandClock, headers: tuple[str, ...]) -> None:
    call(bench, *headers)
    for _ in range(30):
        clock.advance(300)
        for update in bench.wire.take():
            bench.answer(update, headers=(WE_REFRESH,))
    assert bench.events == []
    assert bench.dialogs.sizes["dialogs"] == 1


def test_a_session_that_the_peer_does_not_refresh_expires(bench: Bench, clock: HandClock) -> None:
    number, peer = call(bench, THEY_REFRESH)
    clock.advance(560)
    bench.receive(peer.request("UPDATE", headers=("Supported: timer", WE_REFRESH)))
    (ok,) = bench.wire.take()
    assert ok.startswith("SIP/2.0 200 OK")
    assert header(ok, "Session-Expires") == "600;refresher=uac"
    clock.advance(567)
    assert bench.events == []
    clock.advance(2)
    assert bench.event() == DialogEnded(number, "error", "session expired")
    bye = bench.wire.take()[0]
    assert header(bye, "Reason") == 'SIP;cause=408;text="session expired"'
    bench.answer(bye)
    clock.advance(100)
    assert bench.dialogs.sizes == EMPTY


def test_the_caller_refreshes_if_it_supports_timers(bench: Bench, clock: HandClock) -> None:
    number, caller, ok = taken(bench, "Supported: timer")
    assert header(ok, "Session-Expires") == "1800;refresher=uac"
    assert header(ok, "Require") == "timer"
    clock.advance(1700)
    bench.receive(caller.request("INVITE", OFFER, ("Supported: timer", "Session-Expires: 1800;refresher=uac")))
    assert isinstance(bench.event(), ReinviteReceived)
    bench.perform(AcceptReinvite(number, ANSWER))
    assert header(bench.wire.take()[1], "Session-Expires") == "1800;refresher=uac"
    bench.receive(caller.request("ACK"))
    bench.events.clear()
    clock.advance(1767)
    assert bench.events == []
    clock.advance(2)
    assert bench.event() == DialogEnded(number, "error", "session expired")


def test_as_uas_we_refresh_if_the_uac_asks_for_it(bench: Bench, clock: HandClock) -> None:
    _, _, ok = taken(bench, "Supported: timer", THEY_REFRESH, UPDATES)
    assert header(ok, "Session-Expires") == "600;refresher=uas"
    clock.advance(300)
    (update,) = bench.wire.take()
    assert update.startswith("UPDATE sip:ann@192.0.2.10:5062 SIP/2.0\r\n")
    assert header(update, "From").startswith("<sip:+15550002@198.51.100.7>;tag=")


def test_a_caller_without_timer_support_has_no_session_timer(bench: Bench, clock: HandClock) -> None:
    _, _, ok = taken(bench)
    assert "Session-Expires" not in ok
    clock.advance(100_000)
    assert bench.events == []


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_too_short_an_interval_is_422(bench: Bench, method: str) -> None:
    short = ("Supported: timer", "Session-Expires: 60")
    bench.receive(Caller().request("INVITE", OFFER, short))
    (refusal,) = bench.wire.take()
    assert refusal.startswith("SIP/2.0 422 Session Interval Too Small\r\n")
    assert header(refusal, "Min-SE") == "90"
    assert bench.events == []
    _, peer = call(bench)
    bench.receive(peer.request(method, headers=short))
    assert bench.wire.take_lines()[-1] == "422 Session Interval Too Small"
    assert bench.events == []


def test_a_422_to_our_invite_is_followed_three_times(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    for least in (2000, 3000, 4000):
        bench.answer(invite, "422 Too Small", "them", headers=(f"Min-SE: {least}",))
        ack, invite = bench.wire.take()
        assert ack.startswith("ACK ")
        assert header(invite, "Session-Expires") == header(invite, "Min-SE") == str(least)
    bench.answer(invite, "422 Too Small", "them", headers=("Min-SE: 5000",))
    assert type(bench.event()).__name__ == "InviteRefused"


def test_refreshes_have_the_min_se_of_a_422_to_our_invite(bench: Bench, clock: HandClock) -> None:
    """RFC 4028 section 7.4: as long as the dialog lasts."""
    place(bench)
    bench.answer(invite_of(bench), "422 Too Small", "them", headers=("Min-SE: 2000",))
    _, invite = bench.wire.take()
    bench.answer(invite, "200 OK", "them", ANSWER, ("Session-Expires: 2000;refresher=uac", UPDATES))
    bench.wire.take()
    for _ in range(2):
        clock.advance(1000)
        (update,) = bench.wire.take()
        assert (header(update, "Session-Expires"), header(update, "Min-SE")) == ("2000;refresher=uac", "2000")
        bench.answer(update, headers=("Session-Expires: 2000;refresher=uac",))


@pytest.mark.parametrize(
    ("status", "headers", "seconds", "line"),
    [
        ("422 Too Small", ("Min-SE: 700",), 0.0, "UPDATE sip:bob@192.0.2.10:5062 SIP/2.0"),
        ("405 Not Allowed", (), 0.0, "INVITE sip:bob@192.0.2.10:5062 SIP/2.0"),
        ("491 Request Pending", (), 3.0, "UPDATE sip:bob@192.0.2.10:5062 SIP/2.0"),
        ("500 Oops", (), 30.0, "UPDATE sip:bob@192.0.2.10:5062 SIP/2.0"),
    ],
)
def test_a_refresh_that_fails_is_tried_again(
    bench: Bench, clock: HandClock, status: str, headers: tuple[str, ...], seconds: float, line: str
) -> None:
    call(bench, WE_REFRESH, UPDATES)
    clock.advance(300)
    (update,) = bench.wire.take()
    bench.answer(update, status, headers=headers)
    clock.advance(max(0, seconds - 0.1))
    assert seconds == 0 or bench.wire.take() == []
    clock.advance(0.1)
    assert bench.wire.take_lines() == [line]


@pytest.mark.parametrize("silent", [True, False])
def test_a_peer_that_is_gone_gets_a_bye(bench: Bench, clock: HandClock, silent: bool) -> None:
    number, _ = call(bench, WE_REFRESH, UPDATES)
    clock.advance(300)
    (update,) = bench.wire.take()
    if silent:
        clock.advance(33)
    else:
        bench.answer(update, "481 Who")
    ended = bench.event()
    assert isinstance(ended, DialogEnded)
    assert (ended.dialog, ended.cause) == (number, "error")
    assert "the peer is gone" in ended.detail
    assert any(text.startswith("BYE ") for text in bench.wire.take())


def test_our_refresh_and_an_offer_of_the_peer_do_not_cross(bench: Bench, clock: HandClock) -> None:
    _, peer = call(bench, WE_REFRESH)
    clock.advance(300)
    (invite,) = bench.wire.take()
    for method in ("INVITE", "UPDATE"):
        bench.receive(peer.request(method, OFFER))
        assert bench.wire.take_lines() == ["491 Request Pending"]
        bench.receive(peer.request("ACK", new=False))
    bench.answer(invite, "491 Request Pending")
    bench.wire.take()
    bench.receive(peer.request("INVITE", OFFER))
    assert isinstance(bench.event(), ReinviteReceived)
    bench.wire.take()
    clock.advance(3.1)
    assert bench.wire.take() == [], "ours waits for theirs"


@pytest.mark.parametrize("at_once", [True, False])
def test_an_update_with_an_offer_is_answered_when_the_application_does(bench: Bench, at_once: bool) -> None:
    number, peer = call(bench)
    accept = AcceptReinvite(number, ANSWER)
    bench.react = lambda _event: bench.perform(accept) if at_once else None
    update = peer.request("UPDATE", OFFER, ("Contact: <sip:bob@192.0.2.77>",))
    bench.receive(update)
    event = bench.event()
    assert isinstance(event, ReinviteReceived)
    assert event.offer is not None
    if not at_once:
        bench.receive(update)
        bench.receive(peer.request("OPTIONS"))
        assert bench.wire.take_lines() == ["200 OK"], "to the OPTIONS"
        bench.perform(accept)
    (ok,) = bench.wire.take()
    assert ok.startswith("SIP/2.0 200 OK\r\n")
    assert ok.endswith("\r\n\r\n" + ANSWER)
    bench.receive(update)
    assert bench.wire.take() == [ok]
    assert bench.events == []
    bench.perform(EndDialog(number))
    assert bench.wire.take_lines() == ["BYE sip:bob@192.0.2.77 SIP/2.0"]


def test_a_rejected_update_leaves_the_call_up(bench: Bench) -> None:
    number, peer = call(bench)
    bench.react = lambda _event: bench.perform(RejectReinvite(number, 488, "Not Acceptable Here"))
    bench.receive(peer.request("UPDATE", OFFER))
    assert bench.wire.take_lines() == ["488 Not Acceptable Here"]
    bench.receive(peer.request("UPDATE", "nonsense"))
    assert bench.wire.take_lines()[0].startswith("400 ")
    assert bench.dialogs.sizes["dialogs"] == 1


def test_updates_before_the_answer_are_answered(bench: Bench) -> None:
    place(bench)
    invite = invite_of(bench)
    bench.answer(invite, "183 Session Progress", "them", ANSWER)
    bench.events.clear()
    peer = callee(invite)
    bench.receive(peer.request("UPDATE"))
    bench.receive(peer.request("UPDATE", OFFER))
    assert bench.wire.take_lines() == ["200 OK", "500 Another INVITE Is Pending"]
    assert bench.events == []
