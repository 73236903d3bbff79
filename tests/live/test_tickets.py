"""Tickets: one use, half a minute, bounded."""

import itertools

import pytest

from trunkline.errors import TooManyRequests
from trunkline.ids import Seconds
from trunkline.live import tickets as module
from trunkline.live.tickets import KEPT_OF_ONE, Tickets


def at(seconds: float) -> Seconds:
    return Seconds(seconds)


def new_tickets() -> Tickets[str]:
    numbers = itertools.count(1)
    return Tickets(lambda: f"ticket {next(numbers)}")


def test_a_ticket_is_good_once() -> None:
    tickets = new_tickets()
    ticket = tickets.issue("key", "owner", at(0))
    assert tickets.use("another", at(1)) is None
    assert tickets.use(ticket, at(1)) == "key"
    assert tickets.use(ticket, at(1)) is None


@pytest.mark.parametrize(("later", "found"), [(29.9, "key"), (30.0, None)])
def test_a_ticket_is_good_for_half_a_minute(later: float, found: str | None) -> None:
    tickets = new_tickets()
    assert tickets.use(tickets.issue("key", "owner", at(5)), at(5 + later)) == found


def test_unused_tickets_are_bounded_for_each_owner_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = new_tickets()
    for _ in range(KEPT_OF_ONE):
        tickets.issue("key", "owner", at(0))
    with pytest.raises(TooManyRequests):
        tickets.issue("key", "owner", at(1))
    tickets.issue("key", "another", at(1))
    monkeypatch.setattr(module, "KEPT", KEPT_OF_ONE + 1)
    with pytest.raises(TooManyRequests):
        tickets.issue("key", "third", at(1))
    tickets.issue("key", "owner", at(30))
