"""Bans: by address and by name, and not where a phone has proved its password."""

from typing import Any

import pytest

from trunkline.config import SipSettings
from trunkline.sip.peers.bans import Bans

HERE, THERE = "203.0.113.9", "198.51.100.1"


def settings(password: str = "secret", **given: Any) -> SipSettings:
    limits = {"auth_failures": 2, "auth_failures_per_name": 4, "auth_ban": 30, **given}
    return SipSettings.model_validate({"phones": [{"user": "ann", "password": password}], **limits})


@pytest.fixture
def bans() -> Bans:
    return Bans(settings())


def test_an_address_is_banned_for_all_names_until_it_has_rested(bans: Bans) -> None:
    bans.failed("ann", HERE, 0)
    assert not bans.is_banned("ann", HERE, 0)
    bans.failed("bob", HERE, 20)
    assert bans.is_banned("ann", HERE, 49)
    assert bans.is_banned("eve", HERE, 49)
    assert not bans.is_banned("ann", THERE, 49)
    assert not bans.is_banned("ann", HERE, 50)
    bans.failed("ann", HERE, 50)
    assert not bans.is_banned("ann", HERE, 50), "counted from the beginning"


@pytest.mark.parametrize("name", ["ann", "unknown", "x" * 1000])
def test_a_name_is_banned_at_all_addresses_that_are_new_to_it(bans: Bans, name: str) -> None:
    for number in range(4):
        assert not bans.is_banned(name, HERE, 0)
        bans.failed(name, f"192.0.2.{number}", 0)
    assert bans.is_banned(name, HERE, 0)
    assert not bans.is_banned("bob", HERE, 0)


def test_where_a_phone_has_proved_its_password_only_its_own_failures_count(bans: Bans) -> None:
    bans.proved("ann", HERE)
    for _ in range(9):
        bans.failed("bob", HERE, 0)
        bans.failed("ann", THERE, 0)
    assert bans.is_banned("bob", HERE, 0)
    assert not bans.is_banned("ann", HERE, 0)
    bans.failed("ann", HERE, 1)
    bans.failed("ann", HERE, 1)
    assert bans.is_banned("ann", HERE, 1)


def test_a_new_password_has_been_proved_nowhere(bans: Bans) -> None:
    bans.proved("ann", HERE)
    for _ in range(9):
        bans.failed("bob", HERE, 0)
    bans.reconfigure(settings(auth_ban=60))
    assert not bans.is_banned("ann", HERE, 0)
    bans.reconfigure(settings("changed"))
    assert bans.is_banned("ann", HERE, 0)


def test_no_unknown_name_counts_for_a_phone_whatever_their_length(bans: Bans) -> None:
    for number in range(4):
        bans.failed("x" * 64 + "y", str(number), 0)
    assert not bans.is_banned("x" * 64, HERE, 0), "a phone may have this name"
    assert bans.is_banned("x" * 64 + "yz", HERE, 0), "no phone has a name as long, so all such are one"


def test_ten_thousand_counts_are_remembered_the_latest_of_them(bans: Bans) -> None:
    for number in range(9999):
        bans.failed("ann" if number % 2 else "bob", str(number), 0)
    bans.failed("ann", "0", 0)
    assert len(bans) == 10_000
    bans.failed("bob", "0", 0)
    assert bans.is_banned("eve", "0", 0), "of address 1, which rests longer, the count was dropped"
    bans.failed("bob", "1", 0)
    assert not bans.is_banned("eve", "1", 0)


def test_a_phone_has_its_password_proved_at_twenty_addresses(bans: Bans) -> None:
    for number in (*range(20), 0, 20):
        bans.proved("ann", str(number))
        for _ in range(3):
            bans.failed("bob", str(number), 0)
    assert [number for number in range(21) if bans.is_banned("ann", str(number), 0)] == [1], "the oldest"
