"""Which messages are accepted, refused and dropped."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.bench import OFFER, PEER, Caller, header, message
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.validation import (
    ALLOW,
    Discard,
    Rejection,
    SipRequest,
    SipResponse,
    parse,
    refusal,
    validate,
)

HEADER_LIMIT = 256

GOOD = Caller().request("INVITE", OFFER)


def refused(data: bytes, *, stream: bool = False) -> Rejection:
    request = parse(data, stream=stream)
    with pytest.raises(Rejection) as caught:
        validate(request, stream=stream)
    return caught.value


def test_a_sound_invite_passes() -> None:
    request = parse(GOOD, stream=False)
    validate(request, stream=False)
    assert isinstance(request, SipRequest)
    assert (request.method, request.cseq, request.tag("from"), request.tag("to")) == (
        "INVITE",
        (1, "INVITE"),
        "caller",
        "",
    )
    assert request.body == OFFER.encode()


def test_compact_names_folded_lines_and_bare_line_feeds_are_understood() -> None:
    request = parse(
        b"\r\nOPTIONS sip:a@b SIP/2.0\nv:SIP/2.0/UDP h;branch=1\nf: <sip:x@y>\n ;tag=1\nt: <sip:a@b>\ni: 1\n"
        b"CSeq:\t7  OPTIONS\nl: 2\n\nabcd",
        stream=False,
    )
    validate(request, stream=False)
    assert request.tag("from") == "1"
    assert request.cseq == (7, "OPTIONS")
    assert request.body == b"ab"


def test_white_space_around_a_value_is_not_part_of_it() -> None:
    request = parse(GOOD.replace(b"Max-Forwards: 70", b"Max-Forwards \t:  70 \t"), stream=False)
    assert request.value("max-forwards") == "70"
    validate(request, stream=False)


def test_one_letter_names_are_those_of_the_registry() -> None:
    """IANA SIP parameters, Header Fields: those with a compact form that the request itself does not have."""
    names = {
        "a": "accept-contact",
        "b": "referred-by",
        "e": "content-encoding",
        "k": "supported",
        "o": "event",
        "r": "refer-to",
        "s": "subject",
        "u": "allow-events",
        "x": "session-expires",
    }
    lines = "".join(f"{short}: value of {name}\r\n" for short, name in names.items())
    request = parse(GOOD.replace(b"Max-Forwards", f"{lines}Max-Forwards".encode()), stream=False)
    assert {name: request.value(name) for name in names.values()} == {
        name: f"value of {name}" for name in names.values()
    }


def test_text_that_is_not_utf_8_stays_readable() -> None:
    request = parse(GOOD.replace(b"Caller", b"C\xe4ller"), stream=False)
    assert "C\\xe4ller" in request.value("from")


@pytest.mark.parametrize(
    ("old", "new", "status", "reason"),
    [
        (b"SIP/2.0\r\n", b"SIP/7.0\r\n", 505, "Version Not Supported"),
        (b"Via: SIP/2.0/UDP 192", b"Via: SIP/2.0/UDP <192", 400, "malformed Via"),
        (b"Call-ID: call-1@192.0.2.10\r\n", b"", 400, "Missing Call-Id"),
        (b"Call-ID: call-1@", b"Call-ID: call 1@", 400, "Malformed Call-Id"),
        (b"Call-ID: call-1@", b"Call-ID: call\t1@", 400, "Malformed Call-Id"),
        (b"Max-Forwards: 70", b"Subject: a\rb", 400, "Lone carriage return in Subject"),
        (b";tag=caller", b";a=1 ?;tag=caller", 400, "From: malformed parameters"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 BYE", 400, "CSeq method does not match"),
        (b"CSeq: 1 INVITE", b"CSeq: one INVITE", 400, "Malformed CSeq"),
        (b"CSeq: 1 INVITE", b"CSeq: 2147483648 INVITE", 400, "Malformed CSeq"),
        (b"CSeq: 1 INVITE", b"CSeq: 1 INVITE\r\nCSeq: 2 INVITE", 400, "More than one Cseq"),
        (b"To: <", b'To: "<', 400, "To: malformed address"),
        (b'From: "', b"From: ", 400, "From: malformed address"),
        (b"Contact: <sip:ann@192.0.2.10:5062>\r\n", b"", 400, "INVITE needs one Contact"),
        (b"Contact: <", b"Contact: <sip:other@192.0.2.10>, <", 400, "INVITE needs one Contact"),
        (b"Contact: <sip:ann@192.0.2.10:5062>", b"Contact: *", 400, "Contact: malformed address"),
        (b"Contact: <sip:", b"Contact: <http:", 400, "Contact: URI scheme http"),
        (b"Contact: <sip:ann@192.0.2.10:5062>", b"Contact: <tel:+15550001>", 400, "Contact: no host to send to"),
        (b"Max-Forwards: 70", b"Max-Forwards: seventy", 400, "Malformed Max-Forwards"),
        (b"Max-Forwards: 70", b"Max-Forwards: 256", 400, "Malformed Max-Forwards"),
        (b"Max-Forwards: 70", b"Max-Forwards: 0", 483, "Too Many Hops"),
        (b"Max-Forwards: 70", b"this is no header", 400, "Malformed header line"),
        (b"Max-Forwards: 70", b"Expires: -1", 400, "Malformed Expires"),
        (b"Content-Length: ", b"Content-Length: 9", 400, "Body shorter than Content-Length"),
        (b"Content-Length: ", b"Content-Length: -", 400, "Malformed Content-Length"),
        (b"Max-Forwards: 70", b"Require: 100rel, nothing", 420, "Bad Extension"),
        (b"Max-Forwards: 70", b"Record-Route: nonsense nonsense", 400, "Record-Route: malformed address"),
        (b"INVITE sip:+15550002@198.51.100.7", b"INVITE http://example.com", 416, "Unsupported URI Scheme"),
        (b"INVITE sip:+15550002@198.51.100.7", b"INVITE <sip:a@b>", 400, "Malformed Request-URI"),
        (b"INVITE sip:+15550002@198.51.100.7", b"INVITE sip:a b", 400, "Malformed Request-URI"),
        (b"INVITE sip:+15550002@198.51.100.7 SIP", b"INVITE  sip:a SIP", 400, "Malformed Request-URI"),
    ],
)
def test_a_broken_invite_is_refused(old: bytes, new: bytes, status: int, reason: str) -> None:
    assert old in GOOD
    refusal = refused(GOOD.replace(old, new, 1))
    assert (refusal.status, refusal.reason) == (status, reason)


@pytest.mark.parametrize(
    "header", ["From", "To", "Call-ID", "CSeq", "Content-Length", "Content-Type", "Max-Forwards", "Expires"]
)
def test_a_header_that_may_be_there_once_is_refused_twice(header: str) -> None:
    request = GOOD.replace(b"Max-Forwards: 70", b"Max-Forwards: 70\r\nExpires: 60")
    (line,) = [line for line in request.split(b"\r\n") if line.startswith(header.encode() + b":")]
    assert refused(request.replace(line, line + b"\r\n" + line, 1)).reason == f"More than one {header.title()}"


@pytest.mark.parametrize("header", ["To", "From", "Call-ID", "CSeq"])
def test_a_request_needs_the_headers_that_name_its_transaction(header: str) -> None:
    lines = [line for line in GOOD.split(b"\r\n") if not line.startswith(header.encode() + b":")]
    assert refused(b"\r\n".join(lines)).reason == f"Missing {header.title()}"


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("REFER", 405, "Method Not Allowed"),
        *((method, 405, "Method Not Allowed") for method in ("SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE")),
        ("DANCE", 501, "Not Implemented"),
    ],
)
def test_methods_that_are_not_supported_are_refused(method: str, status: int, reason: str) -> None:
    refusal = refused(Caller().request(method))
    assert (refusal.status, refusal.reason) == (status, reason)
    assert dict(refusal.headers)["Allow"] == ", ".join(ALLOW)


def test_unknown_extensions_are_named() -> None:
    refusal = refused(Caller().request("INVITE", OFFER, ("Require: 100rel", "Require: nothing, Timer, better")))
    assert refusal.headers == (("Unsupported", "nothing, better"),)


@pytest.mark.parametrize("method", ["CANCEL", "OPTIONS"])
def test_messages_exempt_from_a_rule_pass(method: str) -> None:
    headers = ("Require: x",) if method == "CANCEL" else ()
    data = Caller().request(method, headers=headers)
    if method == "OPTIONS":
        data = data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0")
    validate(parse(data, stream=False), stream=False)


def test_on_a_stream_content_length_is_needed() -> None:
    data = Caller().request("OPTIONS").replace(b"Content-Length: 0\r\n", b"")
    assert str(refused(data, stream=True)) == "400 Missing Content-Length"
    validate(parse(data, stream=False), stream=False)


def test_headers_are_bounded_in_number() -> None:
    more = HEADER_LIMIT - GOOD.split(b"\r\n\r\n")[0].count(b"\r\n")
    validate(parse(GOOD.replace(b"\r\nVia", b"\r\nX: 1" * more + b"\r\nVia"), stream=False), stream=False)
    with pytest.raises(Discard, match="headers"):
        parse(GOOD.replace(b"\r\nVia", b"\r\nX: 1" * (more + 1) + b"\r\nVia"), stream=False)


def test_an_ack_is_never_answered() -> None:
    with pytest.raises(Discard, match="400"):
        validate(parse(Caller().request("ACK").replace(b"CSeq: 0 ACK", b"CSeq: 0 BYE"), stream=False), stream=False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\x00\x00!\x12\xa4B",
        b"hello world",
        b"hello\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        b"hel<lo world\r\nVia: SIP/2.0/UDP h\r\n\r\n",
        b"SIP/2.0 999 Nonsense\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0",
        GOOD.replace(b"Via: ", b"Not-Via: "),
        GOOD.replace(b"Max-Forwards: 70\r\n", b"X: 1\r\n" * 300),
        GOOD.replace(b"Via: ", b"Via: " + b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx," * 500),
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=1\r\n\r\n",
    ],
)
def test_requests_that_cannot_be_answered_are_dropped(data: bytes) -> None:
    with pytest.raises(Discard):
        validate(parse(data, stream=False), stream=False)


def test_a_sound_response_passes() -> None:
    response = message("""
SIP/2.0 200
Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1
From: <sip:a@b>;tag=1
To: <sip:c@d>;tag=2
Call-ID: x
CSeq: 1 BYE""")
    validate(response, stream=False)
    assert isinstance(response, SipResponse)
    assert response.status == 200


def response_to(data: bytes, source: Endpoint = PEER) -> tuple[str, Endpoint]:
    request = parse(data, stream=False)
    assert isinstance(request, SipRequest)
    return refusal(request, source, Rejection(400, "Bad", (("X-Why", "because"),)))


def test_a_refusal_copies_the_requests_headers_and_adds_a_constant_tag() -> None:
    text, target = response_to(GOOD)
    assert text.startswith("SIP/2.0 400 Bad\r\n")
    assert target == PEER
    assert header(text, "Via") == "SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1;received=192.0.2.10;rport=5062"
    assert header(text, "From") == 'From: "Ann \\"A\\" Caller" <sip:+15550001@192.0.2.10>;tag=caller'[6:]
    assert header(text, "CSeq") == "1 INVITE"
    assert header(text, "Call-ID") == "call-1@192.0.2.10"
    assert header(text, "X-Why") == "because"
    assert text.endswith("\r\nContent-Length: 0\r\n\r\n")
    assert ";tag=" in header(text, "To")
    assert response_to(GOOD) == (text, target)


def test_without_rport_a_refusal_goes_to_the_via_port_at_the_source_address() -> None:
    text, target = response_to(GOOD.replace(b";rport", b""), Endpoint("203.0.113.5", 1024))
    assert target == Endpoint("203.0.113.5", 5062)
    assert ";received=203.0.113.5" in header(text, "Via")


@pytest.mark.parametrize("name", ["Expires", "Max-Forwards", "Content-Length"])
@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "0x1", "1 2", "one", "\u0663", "00000000001", "9" * 30])
def test_a_number_is_ten_digits_at_most_and_nothing_else(name: str, text: str) -> None:
    data = Caller().request("OPTIONS").decode()
    data = "\r\n".join(line for line in data.split("\r\n") if not line.startswith(f"{name}:"))
    refusal = refused(data.replace("\r\nCSeq", f"\r\n{name}: {text}\r\nCSeq").encode())
    assert (refusal.status, refusal.reason) == (400, f"Malformed {name.title()}")


@pytest.mark.parametrize(
    ("name", "limit"), [("Expires", 2**32), ("Max-Forwards", 256), ("Content-Length", 2**31), ("CSeq", 2**31)]
)
def test_a_number_is_below_its_limit(name: str, limit: int) -> None:
    tail = " OPTIONS" if name == "CSeq" else ""
    data = Caller().request("OPTIONS").decode()
    data = "\r\n".join(line for line in data.split("\r\n") if not line.startswith(f"{name}:"))

    def outcome(number: int) -> str:
        request = parse(data.replace("\r\nVia", f"\r\n{name}: {number:010}{tail}\r\nVia").encode(), stream=False)
        try:
            validate(request, stream=False)
        except Rejection as refusal:
            return refusal.reason
        return "passed"

    assert outcome(limit) == f"Malformed {name.title() if name != 'CSeq' else name}"
    assert outcome(limit - 1) == ("Body shorter than Content-Length" if name == "Content-Length" else "passed")


@pytest.mark.parametrize("name", ["Expires", "Max-Forwards"])
@pytest.mark.parametrize("text", ["", "0000000007"])
def test_a_number_may_be_left_out_or_have_zeros_before_it(name: str, text: str) -> None:
    data = Caller().request("OPTIONS").replace(b"Max-Forwards: 70\r\n", b"")
    validate(parse(data.replace(b"\r\nCSeq", f"\r\n{name}: {text}\r\nCSeq".encode()), stream=False), stream=False)


PROXIES = ("SIP/2.0/UDP p1.example.com;branch=z9hG4bKp1;rport", "SIP/2.0/TCP [2001:db8::2]:5070;branch=z9hG4bKp2")
OURS_TO_TOUCH = "SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9hG4bK1"


@pytest.mark.parametrize("joined", ["\r\nVia: ", ", ", " ,\r\n ", "\r\nv:"])
def test_a_refusal_copies_every_via_and_marks_only_the_last_one(joined: str) -> None:
    vias = joined.join((OURS_TO_TOUCH, *PROXIES))
    data = GOOD.replace(OURS_TO_TOUCH.encode(), vias.encode())
    assert data != GOOD
    text, target = response_to(data, Endpoint("203.0.113.5", 1024))
    assert [line.removeprefix("Via: ") for line in text.split("\r\n") if line.startswith("Via: ")] == [
        "SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1;received=203.0.113.5;rport=1024",
        *PROXIES,
    ]
    assert target == Endpoint("203.0.113.5", 1024)


@pytest.mark.parametrize(
    ("via", "marked", "target"),
    [
        ("SIP/2.0/UDP 192.0.2.10:5062;branch=x", "", Endpoint("192.0.2.10", 5062)),
        ("SIP/2.0/UDP 192.0.2.10;branch=x", "", Endpoint("192.0.2.10", 5060)),
        ("SIP/2.0/UDP ann.lan:5070;branch=x", ";received=192.0.2.10", Endpoint("192.0.2.10", 5070)),
        ("SIP/2.0/UDP 10.0.0.1;received=10.9.9.9;branch=x", ";received=192.0.2.10", Endpoint("192.0.2.10", 5060)),
        ("SIP/2.0/UDP 10.0.0.1;branch=x; RPort = 7 ", ";received=192.0.2.10;rport=5062", PEER),
    ],
)
def test_the_last_via_gets_the_source_address_as_received_and_rport(via: str, marked: str, target: Endpoint) -> None:
    text, there = response_to(GOOD.replace(OURS_TO_TOUCH.encode(), via.encode()))
    bare = re.sub(r"; ?(received|RPort) ?=[^;]*", "", via)
    assert (header(text, "Via"), there) == (bare + marked, target)


def test_a_malformed_via_is_returned_unchanged_to_its_source() -> None:
    data = GOOD.replace(OURS_TO_TOUCH.encode(), b"SIP/2.0/UDP <10.0.0.1>;rport, " + PROXIES[0].encode())
    text, target = response_to(data)
    vias = [line for line in text.split("\r\n") if line.startswith("Via: ")]
    assert vias == ["Via: SIP/2.0/UDP <10.0.0.1>;rport", f"Via: {PROXIES[0]}"]
    assert target == PEER


def test_a_refusal_keeps_the_requests_tag_or_has_the_given_one() -> None:
    request = parse(GOOD.replace(b"To: <sip:+15550002@198.51.100.7>", b"To: <sip:a@b>;TAG=x"), stream=False)
    assert isinstance(request, SipRequest)
    assert header(refusal(request, PEER, Rejection(400, "Bad", tag="y"))[0], "To") == "<sip:a@b>;TAG=x"
    request = parse(GOOD, stream=False)
    assert isinstance(request, SipRequest)
    given_tag, made_up = (refusal(request, PEER, Rejection(400, "Bad", tag=tag))[0] for tag in ("y", None))
    assert header(given_tag, "To") == "<sip:+15550002@198.51.100.7>;tag=y"
    assert re.fullmatch(r"<sip:\+15550002@198.51.100.7>;tag=[0-9a-f]{16}", header(made_up, "To"))
    other = parse(GOOD.replace(b"z9hG4bK1", b"z9hG4bK2"), stream=False)
    assert isinstance(other, SipRequest)
    assert header(refusal(other, PEER, Rejection(400, "Bad"))[0], "To") != header(made_up, "To")


@given(
    st.binary(max_size=200)
    | st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=20)).map(lambda cut: GOOD[: cut[0]] + cut[1])
    | st.tuples(st.integers(0, len(GOOD)), st.binary(min_size=1, max_size=4)).map(
        lambda cut: GOOD[: cut[0]] + cut[1] + GOOD[cut[0] + len(cut[1]) :]
    )
)
def test_any_bytes_pass_or_are_refused_or_dropped(data: bytes) -> None:
    try:
        parsed = parse(data, stream=False)
    except Discard:
        return
    try:
        validate(parsed, stream=False)
    except Discard:
        return
    except Rejection as reason:
        refused_with = reason
    else:
        assert parsed.value("call-id")
        return
    assert isinstance(parsed, SipRequest)
    text, _ = refusal(parsed, PEER, refused_with)
    assert text.count("\r\n\r\n") == 1
    assert text.startswith(f"SIP/2.0 {refused_with.status} ")


@pytest.mark.parametrize(("line", "reason"), [("200", ""), ("200 ", ""), ("200 OK", "OK")])
def test_a_response_may_have_no_reason_phrase(line: str, reason: str) -> None:
    found = parse(f"SIP/2.0 {line}\r\nCSeq: 1 BYE\r\n\r\n".encode(), stream=False)
    assert isinstance(found, SipResponse)
    assert (found.status, found.reason) == (200, reason)
