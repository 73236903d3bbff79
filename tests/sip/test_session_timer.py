"""Session timer headers of requests and responses (RFC 4028)."""

import pytest

from sip.bench import message
from trunkline.sip.message.validation import Rejection, SipMessage, SipRequest, SipResponse
from trunkline.sip.session_timer import SessionTimer, min_se_of, negotiate_uac, negotiate_uas, request_headers


def request(*headers: str) -> SipRequest:
    found = message("\n".join(["UPDATE sip:a@b SIP/2.0", *headers]))
    assert isinstance(found, SipRequest)
    return found


def response(*headers: str) -> SipResponse:
    found = message("\n".join(["SIP/2.0 200 OK", *headers]))
    assert isinstance(found, SipResponse)
    return found


def test_the_headers_of_our_request() -> None:
    assert request_headers(0, 90) == ()
    assert request_headers(1800, 90) == (("Session-Expires", "1800"), ("Min-SE", "90"))
    assert request_headers(1800, 120, we_refresh=True) == (("Session-Expires", "1800;refresher=uac"), ("Min-SE", "120"))


@pytest.mark.parametrize(
    ("headers", "terms", "said"),
    [
        (("Supported: timer", "Session-Expires: 600"), SessionTimer(600, False), ("600;refresher=uac", "timer")),
        (("k: timer", "x: 600;refresher=uac"), SessionTimer(600, False), ("600;refresher=uac", "timer")),
        (("Require: TIMER", "Session-Expires: 600 ; refresher=UAS"), SessionTimer(600, True), ("600;refresher=uas",)),
        (("Supported: timer",), SessionTimer(1800, False), ("1800;refresher=uac", "timer")),
        (("Supported: timer", "Min-SE: 3600"), SessionTimer(3600, False), ("3600;refresher=uac", "timer")),
        ((), None, ()),
        (("Session-Expires: 600;refresher=uac",), SessionTimer(600, True), ("600;refresher=uas",)),
        (("Session-Expires: 10",), SessionTimer(90, True), ("10;refresher=uas",)),
    ],
    ids=[
        "the caller is left to refresh",
        "compact names",
        "as the caller wants",
        "we ask",
        "we ask for no less than it takes",
        "it knows nothing of it",
        "a proxy asks for one that knows nothing of it",
        "a proxy that asks for too little is not obeyed to the letter",
    ],
)
def test_the_terms_of_our_response(headers: tuple[str, ...], terms: SessionTimer | None, said: tuple[str, ...]) -> None:
    found, headers_said = negotiate_uas(request(*headers), 1800, 90)
    assert found == terms
    assert tuple(value for _, value in headers_said) == said


def test_without_a_timer_of_ours_the_peer_may_have_one() -> None:
    assert negotiate_uas(request("Supported: timer"), 0, 90) == (None, ())
    assert negotiate_uas(request("Supported: timer", "Session-Expires: 600"), 0, 90)[0] == SessionTimer(600, False)


def test_too_short_an_interval_is_422_with_min_se() -> None:
    with pytest.raises(Rejection) as refused:
        negotiate_uas(request("Supported: timer", "Session-Expires: 89"), 1800, 90)
    assert (str(refused.value), refused.value.headers) == ("422 Session Interval Too Small", (("Min-SE", "90"),))


@pytest.mark.parametrize("value", ["x", "-1", "1e3", "99999999999", "60 60"])
def test_a_malformed_interval_is_400_or_ignored(value: str) -> None:
    with pytest.raises(Rejection) as refused:
        negotiate_uas(request(f"Session-Expires: {value}"), 1800, 90)
    assert str(refused.value) == "400 Malformed Session-Expires"
    assert negotiate_uac(response(f"Session-Expires: {value}"), 90) is None
    assert min_se_of(request(f"Min-SE: {value}")) == 0


@pytest.mark.parametrize(
    ("headers", "terms"),
    [
        ((), None),
        (("Session-Expires: 600;refresher=uac",), SessionTimer(600, True)),
        (("Session-Expires: 600;refresher=uas",), SessionTimer(600, False)),
        (("Session-Expires: 600",), SessionTimer(600, True)),
        (("Session-Expires: 1;refresher=uac",), SessionTimer(90, True)),
    ],
)
def test_the_terms_of_the_peers_response(headers: tuple[str, ...], terms: SessionTimer | None) -> None:
    assert negotiate_uac(response(*headers), 90) == terms


def test_the_times_to_refresh_and_to_expire() -> None:
    assert (SessionTimer(1800, True).refresh_after, SessionTimer(1800, True).expire_after) == (900, 1768)
    assert (SessionTimer(90, True).refresh_after, SessionTimer(90, True).expire_after) == (45, 60)


def test_the_minimum_interval_of_a_response() -> None:
    found: SipMessage = response("Min-SE: 120;generic=1")
    assert min_se_of(found) == 120
    assert min_se_of(response()) == 0
