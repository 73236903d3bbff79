"""The session description in a body."""

import contextlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.bench import OFFER, Caller
from trunkline.sip.message.bodies import pressed_key, session_description
from trunkline.sip.message.multipart import DEPTH_LIMIT
from trunkline.sip.message.validation import Rejection, SipRequest, parse

ACCEPT = "application/sdp, multipart/mixed"
PART_LIMIT = 16

MIXED = 'Content-Type: multipart/mixed; boundary="b b"'


def invite(body: str, *headers: str) -> SipRequest:
    request = parse(Caller().request("INVITE", body, headers), stream=False)
    assert isinstance(request, SipRequest)
    return request


def multipart(*parts: str) -> str:
    return "".join(f"--b b\r\n{part}\r\n" for part in parts) + "--b b--\r\n"


SDP_PART = "Content-Type: application/sdp\r\n\r\n" + OFFER
OTHER = "Content-Type: application/x\r\n"
REQUIRED = "Content-Disposition: render;handling=required\r\n"


def inner(kind: str, *parts: str) -> str:
    """A multipart as a part of another."""
    body = "".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--"
    return f"Content-Type: multipart/{kind}; boundary=b\r\n\r\n{body}"


def test_an_empty_body_has_no_description() -> None:
    assert session_description(invite("")) is None


def test_sdp_is_recognised_in_any_case_and_with_parameters() -> None:
    found = session_description(invite(OFFER, "Content-Type: Application/SDP;charset=utf-8"))
    assert found is not None
    assert found.media[0].port == 4000


@pytest.mark.parametrize(
    "body",
    [
        multipart(SDP_PART),
        multipart(OTHER + "Content-Disposition: signal;handling=optional\r\n\r\nx", SDP_PART),
        multipart(SDP_PART, OTHER + "Content-Disposition: render; handling=OPTIONAL\r\n\r\nx"),
        multipart("Content-Type: application/pidf+xml\r\nContent-ID: <a@b>\r\n\r\n<presence/>", SDP_PART),
        multipart(SDP_PART, "Content-Type: application/pidf+xml\r\nContent-Disposition: by-reference\r\n\r\n<x/>"),
        multipart("Content-Type: application/isup;version=itu-t92+\r\n\r\n\x01\0\x49\r\n\n--b", SDP_PART),
        multipart("Content-Type: application/ISUP\r\n" + REQUIRED.replace("render", "signal") + "\r\nx", SDP_PART),
        multipart("Content-Type: application/QSIG;version=iso\r\n" + REQUIRED + "\r\nx", SDP_PART),
        multipart(SDP_PART, "Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session"),
        multipart(SDP_PART, "\r\na part of the default type, text/plain"),
        multipart("content-type:APPLICATION/SDP ;charset=utf-8\r\nContent-Disposition:session\r\n\r\n" + OFFER),
        multipart("Content-Type:\r\n application/sdp\r\n\r\n" + OFFER),
        multipart("Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n\r\nv=0", SDP_PART),
        multipart(inner("mixed", OTHER + "\r\nx", SDP_PART), OTHER + "\r\ny"),
        multipart(inner("related", SDP_PART), OTHER + "\r\ny"),
        multipart(inner("alternative", "Content-Type: application/sdp\r\n\r\nv=0", SDP_PART)),
        multipart(inner("alternative", OTHER + REQUIRED + "\r\nx", SDP_PART)),
        multipart(inner("mixed", inner("mixed", SDP_PART).replace("--b", "--c").replace("=b", "=c"))),
        multipart(SDP_PART).removesuffix("--b b--\r\n"),
        multipart(SDP_PART).removesuffix("\r\n--b b--\r\n"),
        multipart(SDP_PART).removesuffix("\r\n"),
        multipart(SDP_PART).replace("\r\n--b b--", " \t\r\n--b b-- ").replace("--b b\r", "--b b \t\r"),
        multipart(SDP_PART, OTHER + "\r\nx").replace("\r\n", "\n"),
        "preamble\r\n" + multipart(SDP_PART) + "epilogue",
        "preamble\n\n" + multipart(SDP_PART) + "--b b\r\n" + OTHER + REQUIRED,
        "\r\n\r\n" + multipart(SDP_PART),
    ],
)
def test_the_sdp_part_of_a_mixed_body_is_found(body: str) -> None:
    found = session_description(invite(body, MIXED))
    assert found is not None
    assert found.media[0].port == 4000


@pytest.mark.parametrize(
    "parameters",
    [
        "boundary=x",
        'Boundary="x"',
        ";boundary=x;type=a",
        'type="application/sdp" ; boundary = x ',
        'boundary="\\x"',
    ],
)
def test_the_boundary_is_found_in_any_form(parameters: str) -> None:
    body = f"--xy\r\n--x\r\n{SDP_PART}\r\n--x--"
    assert session_description(invite(body, f"Content-Type: Multipart/Mixed;{parameters}")) is not None


@pytest.mark.parametrize("boundary", ["=_(a'b)+c,d./:e=f?g", "----=_Part_0_1", "a" * 70, ".*"])
def test_any_characters_may_be_in_a_boundary(boundary: str) -> None:
    body = f"--{boundary}\r\n{SDP_PART}\r\n--{boundary}--\r\n"
    for written in (boundary, f'"{boundary}"'):
        assert session_description(invite(body, f"Content-Type: multipart/mixed;boundary={written}")) is not None


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("base64", b64encode(OFFER.encode()).decode()),
        ("Quoted-Printable", OFFER.replace("=", "=3D").replace("IP4", "IP=\r\n4")),
        ("binary", OFFER),
        ("8bit", OFFER),
    ],
)
def test_a_description_is_decoded(encoding: str, text: str) -> None:
    part = f"Content-Type: application/sdp\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{text}"
    found = session_description(invite(multipart(part), MIXED))
    assert found is not None
    assert found.media[0].port == 4000


def test_isup_signalling_alone_is_no_description() -> None:
    assert session_description(invite("\x01\0\x49", "Content-Type: application/ISUP;version=itu-t92+")) is None
    part = "Content-Type: application/ISUP\r\n" + REQUIRED.replace("render", "signal") + "\r\nx"
    assert session_description(invite(multipart(part), MIXED)) is None


def test_an_optional_body_of_another_type_is_ignored() -> None:
    headers = ("Content-Type: text/plain", "Content-Disposition: render;handling=optional")
    assert session_description(invite("hello", *headers)) is None


def deep() -> str:
    """Multiparts within multiparts."""
    body = SDP_PART
    for _ in range(DEPTH_LIMIT):
        body = f"Content-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n{body}\r\n--b--"
    return multipart(body)


@given(
    st.lists(st.sampled_from([*SDP_PART.splitlines(True), "--b b", "--b b--", "\r\n", "\n", "Content-Type: a", ":"]))
)
def test_any_pieces_are_a_description_or_refused(pieces: list[str]) -> None:
    for kind in ("mixed", "alternative"):
        with contextlib.suppress(Rejection):
            session_description(invite("".join(pieces), f'Content-Type: multipart/{kind}; boundary="b b"'))


@pytest.mark.parametrize(
    ("body", "headers", "refusal"),
    [
        ("v=1", ["Content-Type: application/sdp"], "400 the SDP does not begin with v=0"),
        (OFFER, ["Content-Type: "], "400 Missing Content-Type"),
        ("{}", ["Content-Type: application/json"], "415 Unsupported Media Type"),
        (OFFER, ["Content-Type: application/sdp", "Content-Encoding: gzip"], "415 Unsupported Media Type"),
        (multipart(OTHER + REQUIRED + "\r\nx", SDP_PART), [MIXED], "415 Unsupported Media Type"),
        (
            multipart(SDP_PART, OTHER + 'Content-Disposition: x; HANDLING = "Required"\r\n\r\nx'),
            [MIXED],
            "415 Unsupported Media Type",
        ),
        (multipart(SDP_PART, inner("mixed", OTHER + REQUIRED + "\r\nx")), [MIXED], "415 Unsupported Media Type"),
        (
            multipart(SDP_PART, "Content-Type: application/pidf+xml\r\n" + REQUIRED + "\r\n<x/>"),
            [MIXED],
            "415 Unsupported Media Type",
        ),
        (multipart(inner("alternative", OTHER + REQUIRED + "\r\nx")), [MIXED], "415 Unsupported Media Type"),
        (multipart(OTHER + "\r\nx"), [MIXED], "415 Unsupported Media Type"),
        (multipart(SDP_PART, inner("mixed", *[OTHER] * PART_LIMIT)), [MIXED], "400 More than 16 parts"),
        (
            multipart("Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\nx"),
            [MIXED],
            "400 Invalid base64",
        ),
        (deep(), [MIXED], "400 Malformed multipart body"),
        (multipart(SDP_PART), ["Content-Type: multipart/mixed"], "400 Multipart body without boundary"),
        ("no parts", [MIXED], "400 Malformed multipart body"),
        (multipart("no empty line"), [MIXED], "400 Malformed head of a part"),
        (multipart(*[SDP_PART] * (PART_LIMIT + 1)), [MIXED], "400 More than 16 parts"),
    ],
)
def test_other_bodies_are_refused(body: str, headers: list[str], refusal: str) -> None:
    with pytest.raises(Rejection) as refused:
        session_description(invite(body, *headers))
    assert str(refused.value).startswith(refusal)
    if refused.value.status == 415:
        accepted = ("Accept-Encoding", "identity") if "Content-Encoding: gzip" in headers else ("Accept", ACCEPT)
        assert refused.value.headers == (accepted,)


def test_a_415_has_the_accepted_types() -> None:
    with pytest.raises(Rejection) as refused:
        session_description(invite("{}", "Content-Type: application/json"))
    assert refused.value.headers == (("Accept", ACCEPT),)


RELAY = "Content-Type: application/dtmf-relay"
BARE = "Content-Type: application/dtmf"
NORTEL = "Content-Type: application/vnd.nortelnetworks.digits"


def info(body: str, *headers: str) -> SipRequest:
    request = parse(Caller().request("INFO", body, headers), stream=False)
    assert isinstance(request, SipRequest)
    return request


@pytest.mark.parametrize(
    ("body", "header", "key"),
    [
        ("Signal=5\r\nDuration=160\r\n", RELAY, "5"),
        ("Signal= *\nDuration= 250\n", RELAY, "*"),
        ("signal=#", RELAY, "#"),
        ("Signal=10\r\n", RELAY, "*"),
        ("Signal=11\r\n", RELAY, "#"),
        ("Signal=d\r\nDuration=100", RELAY, "D"),
        ("Signal=16\r\n", RELAY, None),
        ("Duration=160\r\nSignal=5\r\n", RELAY, "5"),
        ("\r\nVersion=1\r\nDuration = 160\r\n  SIGNAL = 05 \r\n\r\n", RELAY, "5"),
        ("Signal=5;Duration=160", RELAY, "5"),
        ("Duration=160;Signal=12", RELAY, "A"),
        ("Signal: 5\rDuration: 160\r", RELAY, "5"),
        ('Signal="#"\nDuration="100"', RELAY, "#"),
        ("Signal=0\r\nDuration=1\r\n", RELAY, "0"),
        ("5", RELAY, "5"),
        ("5\r\nDuration=160\r\n", RELAY, "5"),
        ("Signal=b", f"{RELAY};charset=utf-8", "B"),
        ("Signal=9", RELAY.upper(), "9"),
        ("Signal=!", RELAY, None),
        (" 7 \n", BARE, "7"),
        ("5\0", BARE, "5"),
        ("*", BARE, "*"),
        ("10", BARE, "*"),
        ("a\r\n", BARE, "A"),
        ("Signal=5\r\nDuration=160\r\n", BARE, "5"),
        ("p=Digit-Collection\r\ny=Digits\r\n\r\nd=8\r\nd2=2\r\n", NORTEL, "8"),
        ("3", "Content-Type: audio/telephone-event", "3"),
        ("7", BARE, "7"),
        ("12\r\n", BARE, "A"),
        ("!", BARE, None),
        ("", "Subject: keep-alive", None),
    ],
)
def test_the_key_of_an_info(body: str, header: str, key: str | None) -> None:
    assert pressed_key(info(body, header)) == key


@pytest.mark.parametrize(
    ("body", "headers", "refusal"),
    [
        ("Duration=160", [RELAY], "400 No Key In The Body"),
        ("Signal=", [RELAY], "400 No Key In The Body"),
        ("Signal=5\r\nSignal=6", [RELAY], "400 No Key In The Body"),
        ("Signal=-5", [RELAY], "400 No Key In The Body"),
        ("Signal=\u0665".encode().decode("latin-1"), [RELAY], "400 No Key In The Body"),
        ("5\r\n6", [BARE], "400 No Key In The Body"),
        ("Signal=99", [RELAY], "400 No Key In The Body"),
        ("Signal=55555", [RELAY], "400 No Key In The Body"),
        ("12345", [BARE], "400 No Key In The Body"),
        ("5 6", [BARE], "400 No Key In The Body"),
        ("<media_control/>", ["Content-Type: application/media_control+xml"], "415 Unsupported Media Type"),
        ("x", ["Content-Type: application/x", "Info-Package: x"], "469 Bad Info Package"),
    ],
)
def test_an_info_without_a_key_is_refused(body: str, headers: list[str], refusal: str) -> None:
    with pytest.raises(Rejection) as refused:
        pressed_key(info(body, *headers))
    assert str(refused.value) == refusal
    assert (
        refused.value.headers
        == {
            400: (),
            415: (("Accept", "application/dtmf-relay, application/dtmf"),),
            469: (("Recv-Info", ""),),
        }[refused.value.status]
    )
