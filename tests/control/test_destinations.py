"""Literal addresses in requests: refused at once, by the field that has them."""

from typing import Any

import pytest

from stream_params import stream_params
from trunkline.calls.commands import CallRequest, Command, EndCall, Instructions, Route, SetStatusCallback
from trunkline.control.destinations import Destinations
from trunkline.errors import InvalidRequest, InvalidUrl
from trunkline.ids import AccountSid
from trunkline.outbound.egress import Egress, EgressRules

ACCOUNT = AccountSid("a")
PRIVATE, PUBLIC, NAMED = "http://10.0.0.1/x", "http://8.8.8.8/x", "http://localhost/x"
OURS = "https://10.0.0.9/voice"


@pytest.fixture
def destinations() -> Destinations:
    places = ((str(ACCOUNT), "10.0.0.9", 443),)
    return Destinations(Egress(EgressRules(private=False, configured=places)))


def request(**given: Any) -> CallRequest:
    return CallRequest(to="1", from_="2", caller_name="", **given)


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"instructions": Instructions(url=PRIVATE)}, "/Url"),
        ({"instructions": Instructions(url=PUBLIC, fallback_url=PRIVATE)}, "/FallbackUrl"),
        ({"instructions": Instructions(texml="<Response/>"), "status_callback": PRIVATE}, "/StatusCallback"),
    ],
)
def test_a_call_with_a_url_that_may_not_be_dialled(
    destinations: Destinations, given: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(InvalidUrl, match=r"10\.0\.0\.1 may not be dialled: .*egress\.private") as refused:
        destinations.check_call(ACCOUNT, request(**given))
    assert refused.value.pointer == pointer


def test_names_public_addresses_and_what_is_configured_pass(destinations: Destinations) -> None:
    for url in (PUBLIC, NAMED, OURS, "no URL"):
        given = Instructions(url=url, fallback_url=url)
        destinations.check_call(ACCOUNT, request(instructions=given, status_callback=url))
        destinations.check_command(ACCOUNT, SetStatusCallback(url, "POST"))
    destinations.check_call(ACCOUNT, request())
    destinations.check_command(ACCOUNT, EndCall("over"))
    with pytest.raises(InvalidUrl):
        destinations.check_urls(AccountSid("other"), {"voice_url": OURS})


@pytest.mark.parametrize(
    "command", [SetStatusCallback(PRIVATE, "POST"), SetStatusCallback("http://[::ffff:a9fe:a9fe]/", "GET")]
)
def test_a_status_callback_that_may_not_be_dialled(destinations: Destinations, command: Command) -> None:
    with pytest.raises(InvalidUrl, match="StatusCallback: "):
        destinations.check_command(ACCOUNT, command)


def test_a_stream_that_may_not_be_dialled(destinations: Destinations) -> None:
    destinations.check_stream(ACCOUNT, stream_params("ws://localhost:9000/"))
    with pytest.raises(InvalidUrl, match="Url: ") as refused:
        destinations.check_stream(ACCOUNT, stream_params("wss://[fd00::1]:9000/"))
    assert refused.value.pointer == "/Url"
    with pytest.raises(InvalidUrl, match="StatusCallback: "):
        destinations.check_stream(ACCOUNT, stream_params("ws://8.8.8.8/", status_callback=PRIVATE))


def test_a_sip_uri_that_may_not_be_called(destinations: Destinations) -> None:
    for to in ("sip:x@10.0.0.1", "sips:x@[::1]:5061;transport=tls", "sip:169.254.169.254:80;transport=tcp"):
        with pytest.raises(InvalidRequest, match=r"To: .* may not be dialled: ") as refused:
            destinations.check_route(Route("uri", "", to))
        assert refused.value.pointer == "/To"
    for to in ("sip:x@8.8.8.8", "sip:x@pbx.lan", "sip:broken@@", "nothing"):
        destinations.check_route(Route("uri", "", to))
    for kind in ("phone", "trunk"):
        destinations.check_route(Route(kind, "sip:x@10.0.0.1", "sip:x@10.0.0.1"))
