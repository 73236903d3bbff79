"""Targets of calls to a URI."""

import pytest

from trunkline.sdp.values import Endpoint
from trunkline.sip.targets import Unreachable, uri_target


@pytest.mark.parametrize(
    ("uri", "endpoint", "transport"),
    [
        ("sip:bob@192.0.2.1", Endpoint("192.0.2.1", 5060), "udp"),
        ("sip:bob@192.0.2.1:5070;transport=TCP", Endpoint("192.0.2.1", 5070), "tcp"),
        ("sip:bob@[2001:db8::1]:5070", Endpoint("2001:db8::1", 5070), "udp"),
        ("sip:example.com;transport=tls", Endpoint("example.com", 5061), "tls"),
        ("sips:bob@example.com", Endpoint("example.com", 5061), "tls"),
    ],
)
def test_a_uri_is_called_at_its_host(uri: str, endpoint: Endpoint, transport: str) -> None:
    found = uri_target(uri)
    assert isinstance(found, tuple)
    (target,) = found
    assert (target.uri, target.endpoint, target.transport) == (uri, endpoint, transport)


def test_headers_of_a_uri_do_not_go_into_the_request_uri() -> None:
    found = uri_target("sip:bob@192.0.2.1?Subject=x")
    assert isinstance(found, tuple)
    assert found[0].uri == "sip:bob@192.0.2.1"


@pytest.mark.parametrize(
    ("uri", "status"),
    [("tel:+15550001", 404), ("bob", 404), ("mailto:bob@example.com", 404), ("sip:bob@192.0.2.1;transport=ws", 503)],
)
def test_uris_that_cannot_be_called_have_a_reason(uri: str, status: int) -> None:
    found = uri_target(uri)
    assert isinstance(found, Unreachable)
    assert found.status == status
    assert found.detail
