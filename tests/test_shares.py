"""Origins: one for all addresses that a peer can choose from; and their shares."""

import pytest

from trunkline.shares import Rate, address_of, may_take, origin_of


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


def taken(limit: int, others: int) -> int:
    """How many places one origin gets when others hold some."""
    held = 0
    while may_take(held, limit - others - held):
        held += 1
    return held


@pytest.mark.parametrize(
    ("limit", "others", "share"),
    [(1000, 0, 500), (1000, 500, 250), (1000, 750, 125), (1000, 998, 1), (1000, 999, 1), (1000, 1000, 0), (1, 0, 1)],
)
def test_an_origin_gets_half_of_what_the_others_leave(limit: int, others: int, share: int) -> None:
    assert taken(limit, others) == share


def test_several_origins_leave_places_for_one_more() -> None:
    held = 0
    for _ in range(8):
        held += taken(1000, held)
    assert held < 1000


def test_a_rate_is_shared_again_each_second() -> None:
    rate = Rate()
    assert [rate.take("a", 4, 7.1) for _ in range(4)] == [True, True, False, False]
    assert [rate.take("b", 4, 7.2) for _ in range(3)] == [True, False, False]
    assert [rate.take("c", 4, 7.9) for _ in range(2)] == [True, False]
    assert not rate.take("d", 4, 7.9), "none is left"
    assert [rate.take("a", 4, 8.0) for _ in range(3)] == [True, True, False]
