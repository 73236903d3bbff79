"""Origins: one for all addresses that a peer can choose from."""

import pytest

from trunkline.sip.peers.origin import address_of, origin_of


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_ipv6_addresses_of_one_network_are_one_origin(host: str, origin: str) -> None:
    assert origin_of(host) == origin


def test_a_name_has_no_address() -> None:
    with pytest.raises(ValueError, match="example"):
        address_of("example.org")
