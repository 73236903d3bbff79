"""Messages of ours, byte for byte."""

from dataclasses import replace

import pytest

from sip.bench import OFFER, PEER, Wire
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.outgoing import Outgoing, message_text, request_text

BYE = Outgoing(
    "BYE", "sip:ann@192.0.2.10", "<sip:us@here>;tag=a", "<sip:ann@there>;tag=b", "call-1", 7, target=PEER, flow=Wire()
)


def test_a_request_has_what_every_request_has() -> None:
    assert request_text(BYE, "z9hG4bKx").decode().split("\r\n") == [
        "BYE sip:ann@192.0.2.10 SIP/2.0",
        "Via: SIP/2.0/UDP 198.51.100.7:5060;rport;branch=z9hG4bKx",
        "Max-Forwards: 70",
        "From: <sip:us@here>;tag=a",
        "To: <sip:ann@there>;tag=b",
        "Call-ID: call-1",
        "CSeq: 7 BYE",
        "User-Agent: Trunkline",
        "Content-Length: 0",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("transport", "host", "via"),
    [
        ("udp", "192.0.2.1", "SIP/2.0/UDP 192.0.2.1:5070;rport"),
        ("tcp", "2001:db8::1", "SIP/2.0/TCP [2001:db8::1]:5070;rport"),
        ("tls", "sip.example", "SIP/2.0/TLS sip.example:5070;rport"),
    ],
)
def test_via_has_our_address_on_the_flow(transport: str, host: str, via: str) -> None:
    flow = Wire(transport=transport, local=Endpoint(host, 5070))
    assert f"\r\nVia: {via};branch=b\r\n".encode() in request_text(replace(BYE, flow=flow), "b")


def test_routes_headers_and_a_description_come_along() -> None:
    request = replace(BYE, routes=("<sip:p1;lr>", "<sip:p2;lr>"), headers=(("Reason", "SIP"), ("X-A", "1")), sdp="v=0é")
    text = request_text(request, "b").decode()
    assert "Max-Forwards: 70\r\nRoute: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\nFrom:" in text
    head, _, body = text.partition("\r\n\r\n")
    assert head.endswith("Reason: SIP\r\nX-A: 1\r\nContent-Type: application/sdp\r\nContent-Length: 5")
    assert body == "v=0é"


def test_no_value_adds_a_header() -> None:
    request = replace(BYE, routes=("<sip:p\r\nX-Evil: 1>",), headers=(("X-A", "1\r\nX-Evil: 2\0"),))
    text = request_text(request, "b").decode()
    assert "\r\nX-Evil" not in text
    assert "X-A: 1  X-Evil: 2 \r\n" in text


def test_an_empty_description_is_sent_and_unencodable_text_is_escaped() -> None:
    text = message_text(["SIP/2.0 200 OK"], [], "")
    assert text == b"SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: 0\r\n\r\n"
    odd = message_text(["SIP/2.0 200 \udcff"], [("X", "\udc80")], "\udc80")
    assert odd == (
        b"SIP/2.0 200 \\udcff\r\nX: \\udc80\r\nContent-Type: application/sdp\r\nContent-Length: 6\r\n\r\n\\udc80"
    )
    assert message_text(["A"], [], OFFER).endswith(OFFER.encode())


def test_a_description_which_may_hold_keys_is_in_no_log() -> None:
    assert "v=0" not in repr(replace(BYE, sdp="v=0"))
