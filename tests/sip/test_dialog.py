"""One dialog: where its requests go, and their headers."""

from dataclasses import MISSING, fields
from typing import Any

import pytest

from sip.bench import US, HandClock, Wire, message
from trunkline.sdp.values import Endpoint
from trunkline.sip.dialog import (
    Dialog,
    DialogState,
    Hop,
    contact,
    contact_of,
    reason_of,
    reason_value,
    warning,
)
from trunkline.sip.message.validation import SipRequest
from trunkline.sip.values import DialogId

CONTACT = Endpoint("192.0.2.10", 5062)
NAT = Endpoint("203.0.113.9", 40000)


def new(**more: Any) -> Dialog:
    """A confirmed call of a phone at `CONTACT`, over UDP."""
    given: dict[str, Any] = {
        "id": DialogId(1),
        "call_id": "c",
        "local_tag": "ours",
        "remote_tag": "theirs",
        "local": "<sip:us@here>;tag=ours",
        "remote": "<sip:ann@there>;tag=theirs",
        "remote_target": "sip:ann@192.0.2.10:5062",
        "route_set": (),
        "flow": Wire(),
        "source": CONTACT,
        "state": DialogState.CONFIRMED,
        "remote_cseq": 1,
    }
    return Dialog(**{**given, **more})


def request(cseq: int = 2, via: str = "rport") -> SipRequest:
    text = f"""INFO sip:us@198.51.100.7 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKx;{via}
From: <sip:ann@there>;tag=theirs
To: <sip:us@here>;tag=ours
Call-ID: c
CSeq: {cseq} INFO"""
    made = message(text)
    assert isinstance(made, SipRequest)
    return made


def test_a_new_dialog_has_nothing_pending_agreed_or_counted() -> None:
    dialog = new()
    optional = [place.name for place in fields(dialog) if (place.default, place.default_factory) != (MISSING, MISSING)]
    values = {name: getattr(dialog, name) for name in optional}
    assert values.pop("negotiated") == (None, ())
    assert {name for name, value in values.items() if value} == {"prack_received"}


def test_a_request_continues_the_dialog() -> None:
    dialog = new()
    first = dialog.request("INFO", (("X-A", "1"),), "v=0")
    assert (first.method, first.uri, first.call_id, first.cseq) == ("INFO", "sip:ann@192.0.2.10:5062", "c", 1)
    assert (first.from_, first.to) == ("<sip:us@here>;tag=ours", "<sip:ann@there>;tag=theirs")
    assert (first.target, first.flow, first.routes) == (CONTACT, dialog.flow, ())
    assert (first.headers, first.sdp) == ((("X-A", "1"),), "v=0")
    assert dialog.request("BYE").cseq == 2
    assert dialog.request("ACK", cseq=1).cseq == 1
    assert dialog.request("INFO").cseq == 3, "an ACK takes no number"
    assert dialog.key == ("c", "theirs")


def test_with_a_loose_router_the_remote_target_is_the_request_uri() -> None:
    routes = ("<sip:192.0.2.1:5070;lr>", "<sip:192.0.2.2;lr>")
    sent = new(route_set=routes).request("BYE")
    assert (sent.uri, sent.routes, sent.target) == ("sip:ann@192.0.2.10:5062", routes, Endpoint("192.0.2.1", 5070))


def test_with_a_strict_router_the_remote_target_is_the_last_route() -> None:
    sent = new(route_set=("<sip:192.0.2.1>", "<sip:192.0.2.2;lr>")).request("BYE")
    assert sent.uri == "sip:192.0.2.1"
    assert sent.routes == ("<sip:192.0.2.2;lr>", "<sip:ann@192.0.2.10:5062>")
    assert sent.target == Endpoint("192.0.2.1", 5060)


def test_a_parameter_that_only_begins_with_lr_is_not_lr() -> None:
    assert new(route_set=("<sip:192.0.2.1;lrx>",)).request("BYE").uri == "sip:192.0.2.1;lrx"
    assert new(route_set=("<sip:192.0.2.1;LR=on>",)).request("BYE").uri == "sip:ann@192.0.2.10:5062"


@pytest.mark.parametrize(
    ("more", "symmetric", "direct"),
    [
        ({}, True, False),
        ({}, False, False),
        ({"source": Endpoint("192.0.2.10", 6000)}, True, True),
        ({"source": Endpoint("192.0.2.10", 6000)}, False, False),
        ({"source": NAT}, True, True),
        ({"source": NAT}, False, True),
        ({"source": NAT, "route_set": ("<sip:192.0.2.1;lr>",)}, True, False),
        ({"source": NAT, "flow": Wire(transport="tcp")}, True, False),
        ({"source": CONTACT, "remote_target": "sip:ann@phone.example", "hop": None}, True, True),
        (
            {"remote_target": "sip:ann@phone.example", "hop": Hop("phone.example", None, CONTACT)},
            *(True, False),
        ),
    ],
)
def test_behind_a_nat_requests_go_where_messages_come_from(more: Any, symmetric: bool, direct: bool) -> None:
    dialog = new(detoured=True, **more)
    dialog.choose_next_hop(symmetric=symmetric)
    assert (dialog.direct, dialog.detoured) == (direct, False)


def test_there_are_two_next_hops_over_udp_and_one_otherwise() -> None:
    dialog = new(source=NAT, direct=True)
    assert dialog.next_hops == (NAT, CONTACT)
    dialog.direct = False
    assert dialog.next_hops == (CONTACT, NAT)
    assert new().next_hops == (CONTACT,)
    assert new(source=NAT, flow=Wire(transport="tcp")).next_hops == (CONTACT,)


def test_the_other_next_hop_is_used_once() -> None:
    dialog = new(source=NAT, direct=True)
    assert dialog.detour()
    assert dialog.request("BYE").target == CONTACT
    assert not dialog.detour()
    assert dialog.next_hops == (CONTACT, NAT)
    assert not new().detour(), "there is none"


def test_a_message_from_another_address_moves_the_next_hop() -> None:
    dialog, flow = new(), Wire()
    dialog.update_remote(request(), NAT, flow)
    assert (dialog.source, dialog.direct) == (NAT, True)
    assert dialog.flow is flow
    dialog.update_remote(request(cseq=0), CONTACT, Wire())
    assert dialog.source == NAT, "an old request says nothing"
    dialog.update_remote(request(), CONTACT, Wire(transport="tcp"))
    assert (dialog.source, dialog.flow) == (NAT, flow)
    dialog.detoured = True
    dialog.update_remote(request(), NAT, flow)
    assert dialog.detoured, "nothing has changed"


@pytest.mark.parametrize(("via", "direct"), [("rport", True), ("x=y", False)])
def test_another_source_port_counts_if_rport_is_present(via: str, direct: bool) -> None:
    dialog = new()
    dialog.update_remote(request(via=via), Endpoint("192.0.2.10", 7000), dialog.flow)
    assert dialog.direct is direct


@pytest.mark.parametrize(
    ("uri", "more", "moved"),
    [
        ("sip:ann@192.0.2.10:5062;transport=udp", {}, True),
        ("sip:bob@192.0.2.10:5062", {}, False),
        ("sip:ann@192.0.2.11:5062", {}, False),
        ("sip:ann@192.0.2.10", {}, False),
        ("sip:ann@192.0.2.10:5062", {"route_set": ("<sip:192.0.2.1;lr>",)}, False),
        ("sip:ann@192.0.2.10:5062", {"flow": Wire(transport="tcp")}, False),
    ],
)
def test_a_register_of_the_same_contact_moves_the_source(uri: str, more: Any, moved: bool) -> None:
    dialog, flow = new(**more), Wire()
    dialog.contact_registered(uri, NAT, flow)
    assert (dialog.source == NAT, dialog.flow is flow, dialog.direct) == (moved, moved, moved)


def test_hosts_of_the_peer_are_recognised() -> None:
    dialog = new(source=NAT, route_set=("<sip:192.0.2.1;lr>",))
    for host in (NAT.host, "192.0.2.10", "192.0.2.1"):
        assert dialog.is_peer(Endpoint(host, 1))
    assert not dialog.is_peer(Endpoint("192.0.2.2", 5062))


def test_the_default_port_is_that_of_the_transport() -> None:
    for transport, port in (("udp", 5060), ("tcp", 5060), ("tls", 5061)):
        dialog = new(flow=Wire(transport=transport), remote_target="sip:ann@192.0.2.10")
        assert dialog.next_hops[0] == Endpoint("192.0.2.10", port)


def test_the_timers_of_a_dialog_stop() -> None:
    clock, rung = HandClock(), []
    dialog = new(timers=[clock.timers.after(1, lambda: rung.append(1)), clock.timers.after(2, lambda: rung.append(2))])
    clock.advance(1)
    dialog.cancel_timers()
    clock.advance(5)
    assert (rung, dialog.timers) == ([1], [])


@pytest.mark.parametrize(
    ("flow", "user", "value"),
    [
        (Wire(), "", "<sip:198.51.100.7:5060>"),
        (Wire(transport="tcp"), "+49 30", "<sip:+49%2030@198.51.100.7:5060;transport=tcp>"),
        (
            Wire(transport="tls", local=Endpoint("2001:db8::1", 5061)),
            "a@b",
            "<sip:a%40b@[2001:db8::1]:5061;transport=tls>",
        ),
    ],
)
def test_our_contact(flow: Wire, user: str, value: str) -> None:
    assert contact(flow, user) == ("Contact", value)


@pytest.mark.parametrize(
    ("line", "uri"),
    [
        ('Contact: "Ann" <sip:ann@h>;q=1, <sip:other@h>', "sip:ann@h"),
        ("Contact: sip:h", "sip:h"),
        ("Contact: <tel:+49>", None),
        ("Contact: <mailto:a@b>", None),
        ("Contact: <sip:", None),
        ("X-Other: 1", None),
    ],
)
def test_the_contact_of_a_message(line: str, uri: str | None) -> None:
    assert contact_of(message(f"SIP/2.0 200 OK\n{line}")) == uri


def test_warning_and_reason_texts_are_headers_of_one_line() -> None:
    assert warning(Wire(), None) == ()
    assert warning(Wire(), 'no "codec"\r\n') == (("Warning", f'399 {US} "no \\"codec\\"  "'),)
    assert reason_value(480, "gone") == 'SIP;cause=480;text="gone"'
    assert reason_of(message("BYE sip:a SIP/2.0\nReason: Q.850;cause=16")) == "Q.850;cause=16"
    assert reason_of(message("BYE sip:a SIP/2.0\nReason: " + "x" * 300)) == "x" * 200
    assert reason_of(message("BYE sip:a SIP/2.0")) == ""
