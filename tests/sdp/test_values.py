"""What the values of a negotiation say."""

import pytest

from trunkline.sdp.values import Direction, Endpoint, MediaParams, SrtpKeys


@pytest.mark.parametrize(
    ("direction", "sends", "receives", "on_hold"),
    [
        ("sendrecv", True, True, False),
        ("sendonly", True, False, True),
        ("recvonly", False, True, True),
        ("inactive", False, False, True),
    ],
)
def test_a_direction_sends_receives_or_holds(direction: str, sends: bool, receives: bool, on_hold: bool) -> None:
    ours = Direction(direction)
    assert (ours.sends, ours.receives) == (sends, receives)
    params = MediaParams("PCMU", 0, 20, Endpoint("192.0.2.1", 4000), ours)
    assert params.on_hold is on_hold
    assert str(ours) == direction


def test_a_direction_is_both_ways_unless_said() -> None:
    params = MediaParams("PCMU", 0, 20, Endpoint("192.0.2.1", 4000))
    assert not params.on_hold
    assert (params.rtcp_mux, params.srtp, params.heard) == (False, None, ())


@pytest.mark.parametrize(
    ("host", "shown"), [("192.0.2.1", "192.0.2.1:4000"), ("2001:db8::1", "[2001:db8::1]:4000"), ("", ":4000")]
)
def test_an_address_is_shown_as_in_a_url(host: str, shown: str) -> None:
    assert str(Endpoint(host, 4000)) == shown


def test_keys_are_not_shown() -> None:
    keys = SrtpKeys("AES_CM_128_HMAC_SHA1_80", 1, b"our secret", b"their secret")
    assert "secret" not in repr(keys)
    assert "AES_CM_128_HMAC_SHA1_80" in repr(keys)
