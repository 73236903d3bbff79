"""Whom a leg takes for its peer."""

import pytest

from trunkline.ids import Seconds
from trunkline.media.source import FORMER_REST, GRACE, Source, address_of
from trunkline.sdp.values import Endpoint

SIGNALLED = ("192.0.2.1", 4000)
NATTED = ("198.51.100.7", 61234)
STRANGER = ("203.0.113.9", 5555)


def at(seconds: float) -> Seconds:
    return Seconds(seconds)


def test_until_somebody_is_heard_we_send_where_signalling_says() -> None:
    assert Source(Endpoint(*SIGNALLED)).destination == SIGNALLED


def test_the_signalled_address_is_settled_at_once() -> None:
    source = Source(Endpoint(*SIGNALLED))
    assert source.admit(SIGNALLED, at(0))
    assert source.settled
    assert not source.admit(STRANGER, at(0))


def test_another_first_source_is_answered_and_settled_after_the_grace() -> None:
    source = Source(Endpoint(*SIGNALLED))
    assert source.admit(NATTED, at(0))
    assert source.destination == NATTED
    assert not source.admit(STRANGER, at(0.1))
    assert not source.settled
    assert source.admit(NATTED, at(GRACE))
    assert source.settled
    assert not source.admit(SIGNALLED, at(GRACE))


def test_the_signalled_address_takes_over_from_a_stranger_within_the_grace() -> None:
    source = Source(Endpoint(*SIGNALLED))
    assert source.admit(STRANGER, at(0))
    assert source.admit(SIGNALLED, at(0.1))
    assert source.destination == SIGNALLED
    assert source.settled
    assert not source.admit(STRANGER, at(0.2))


def test_a_changed_address_opens_learning_and_the_former_source_waits() -> None:
    source = Source(Endpoint(*SIGNALLED))
    source.admit(SIGNALLED, at(0))
    assert source.signal(Endpoint("192.0.2.2", 4002), at(10))
    assert (source.settled, source.destination) == (False, ("192.0.2.2", 4002))
    assert not source.admit(SIGNALLED, at(10 + FORMER_REST - 0.01))
    assert source.admit(SIGNALLED, at(10 + FORMER_REST))


@pytest.mark.parametrize("same", [Endpoint(*SIGNALLED), Endpoint("0.0.0.0", 4000), Endpoint("192.0.2.1", 0)])
def test_the_same_address_or_none_changes_nothing(same: Endpoint) -> None:
    source = Source(Endpoint(*SIGNALLED))
    source.admit(NATTED, at(0))
    assert not source.signal(same, at(1))
    assert source.destination == NATTED


def test_a_change_to_the_learned_source_settles_it() -> None:
    source = Source(Endpoint(*SIGNALLED))
    source.admit(NATTED, at(0))
    assert not source.signal(Endpoint(*NATTED), at(0.1))
    assert source.settled


def test_addresses_that_are_no_destination() -> None:
    assert address_of(Endpoint("0.0.0.0", 4000)) is None
    assert address_of(Endpoint("::", 4000)) is None
    assert address_of(Endpoint("192.0.2.1", 0)) is None
    assert address_of(Endpoint("media.example.com", 4000)) is None
    assert address_of(Endpoint("2001:DB8:0::1", 4000)) == ("2001:db8::1", 4000)
