"""The session description in a body."""

import pytest

from sip.bench import OFFER, Caller
from trunkline.sip.bodies import PART_LIMIT, pressed_key, session_description
from trunkline.sip.screen import Refused, Request, parse

MIXED = 'Content-Type: multipart/mixed; boundary="b b"'


def invite(body: str, *headers: str) -> Request:
    request = parse(Caller().request("INVITE", body, headers), stream=False)
    assert isinstance(request, Request)
    return request


def multipart(*parts: str) -> str:
    return "".join(f"--b b\r\n{part}\r\n" for part in parts) + "--b b--\r\n"


SDP_PART = "Content-Type: application/sdp\r\n\r\n" + OFFER
OTHER = "Content-Type: application/isup;version=x\r\n"


def test_no_body_is_no_description() -> None:
    assert session_description(invite("")) is None


def test_sdp_by_any_case_and_parameter() -> None:
    found = session_description(invite(OFFER, "Content-Type: Application/SDP;charset=utf-8"))
    assert found is not None
    assert found.media[0].port == 4000


@pytest.mark.parametrize(
    "body",
    [
        multipart(SDP_PART),
        multipart(OTHER + "Content-Disposition: signal;handling=optional\r\n\r\nx", SDP_PART),
        "preamble\r\n" + multipart(SDP_PART) + "epilogue",
    ],
)
def test_the_sdp_part_of_a_mixed_body_is_found(body: str) -> None:
    found = session_description(invite(body, MIXED))
    assert found is not None
    assert found.media[0].port == 4000


def test_an_optional_body_of_another_type_may_be_passed_over() -> None:
    headers = ("Content-Type: text/plain", "Content-Disposition: render;handling=optional")
    assert session_description(invite("hello", *headers)) is None


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("v=1", ["Content-Type: application/sdp"], 400),
        (OFFER, ["Content-Type: "], 400),
        ("{}", ["Content-Type: application/json"], 415),
        (OFFER, ["Content-Type: application/sdp", "Content-Encoding: gzip"], 415),
        (multipart(OTHER + "\r\nx", SDP_PART), [MIXED], 415),
        (multipart(SDP_PART), ["Content-Type: multipart/mixed"], 400),
        ("no parts", [MIXED], 400),
        (multipart("no empty line"), [MIXED], 400),
        (multipart(*[SDP_PART] * (PART_LIMIT + 1)), [MIXED], 400),
        (multipart(SDP_PART).removesuffix("--b b--\r\n"), [MIXED], 400),
    ],
)
def test_other_bodies_are_refused(body: str, headers: list[str], status: int) -> None:
    with pytest.raises(Refused) as refused:
        session_description(invite(body, *headers))
    assert refused.value.status == status


def test_415_says_what_would_do() -> None:
    with pytest.raises(Refused) as refused:
        session_description(invite("{}", "Content-Type: application/json"))
    assert refused.value.headers == (("Accept", "application/sdp, multipart/mixed"),)


RELAY = "Content-Type: application/dtmf-relay"
BARE = "Content-Type: application/dtmf"


def info(body: str, *headers: str) -> Request:
    request = parse(Caller().request("INFO", body, headers), stream=False)
    assert isinstance(request, Request)
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
        ("7", BARE, "7"),
        ("12\r\n", BARE, "A"),
        ("!", BARE, None),
        ("", "Subject: keep-alive", None),
    ],
)
def test_the_key_of_an_info(body: str, header: str, key: str | None) -> None:
    assert pressed_key(info(body, header)) == key


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("Duration=160", [RELAY], 400),
        ("Signal=99", [RELAY], 400),
        ("Signal=55555", [RELAY], 400),
        ("12345", [BARE], 400),
        ("5 6", [BARE], 400),
        ("<media_control/>", ["Content-Type: application/media_control+xml"], 415),
        ("x", ["Content-Type: application/x", "Info-Package: x"], 469),
    ],
)
def test_an_info_without_a_key_is_refused(body: str, headers: list[str], status: int) -> None:
    with pytest.raises(Refused) as refused:
        pressed_key(info(body, *headers))
    assert refused.value.status == status
