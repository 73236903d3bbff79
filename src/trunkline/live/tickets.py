"""Tickets: what a browser shows, which cannot send `Authorization` with a WebSocket. Once, within `LIFETIME`. Pure.

A ticket stands for the key that asked for it, and is worth no more: a key that was revoked meanwhile admits no one.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from trunkline.errors import TooManyRequests
from trunkline.ids import Seconds

T = TypeVar("T")
LIFETIME = Seconds(30.0)
KEPT = 1000
"""Tickets that are not used yet, of all accounts."""
KEPT_OF_ONE = 50
"""And of one owner."""


class Tickets(Generic[T]):
    """`make` makes a new secret."""

    def __init__(self, make: Callable[[], str], lifetime: Seconds = LIFETIME) -> None:
        self._make = make
        self._lifetime = lifetime
        self._kept: OrderedDict[str, tuple[T, str, Seconds]] = OrderedDict()

    def issue(self, value: T, owner: str, now: Seconds) -> str:
        """A new ticket for that value. Raises TooManyRequests where its owner, or all, have too many unused."""
        self._expire(now)
        owned = sum(one == owner for _, one, _ in self._kept.values())
        if owned >= KEPT_OF_ONE or len(self._kept) >= KEPT:
            raise TooManyRequests("Too many tickets are not used yet", retry_after=round(self._lifetime))
        ticket = self._make()
        self._kept[ticket] = value, owner, now
        return ticket

    def use(self, ticket: str, now: Seconds) -> T | None:
        """What a ticket is for, this once; None if it is unknown, used or too old."""
        self._expire(now)
        found = self._kept.pop(ticket, None)
        return None if found is None else found[0]

    def _expire(self, now: Seconds) -> None:
        while self._kept:
            ticket, (_, _, since) = next(iter(self._kept.items()))
            if now - since < self._lifetime:
                return
            del self._kept[ticket]
