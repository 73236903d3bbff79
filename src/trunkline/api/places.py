"""Who may hold the HTTP server's connections. Pure.

A connection whose last request had a valid key counts for no address: customers behind one proxy are not one peer. Of
the others one origin (`shares.py`) may hold half of the places that are free or its own. One more makes room: first a
connection that waits between two requests closes, then one whose request is incomplete, the oldest of each, and such
with a key last. A request that is being answered is never cut off. Where nothing can be closed, `reserve` further
connections get in for one request each, which must come soon: so that readiness can be asked whatever else is held.
"""

from dataclasses import dataclass
from enum import Enum, auto

from trunkline.shares import may_take


class Doing(Enum):
    """What a connection does."""

    SENDING = auto()
    """Its request is not complete."""
    WAITING = auto()
    """For its next request."""
    ANSWERED = auto()
    """A request is being answered."""


@dataclass(slots=True, eq=False)
class Standing:
    """One connection."""

    origin: str
    doing: Doing = Doing.SENDING
    authenticated: bool = False
    """Its last request had a valid key."""
    reserved: bool = False
    """It has a place of the reserve, for one request."""


class Places:
    """All connections. `limit` places, and `reserve` more."""

    def __init__(self, limit: int, reserve: int) -> None:
        self._limit = limit
        self._reserve = reserve
        self._taken: dict[Standing, None] = {}
        """Oldest first."""
        self.held: dict[str, int] = {}
        """Connections without a key, by origin."""

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, new: Standing) -> tuple[bool, Standing | None]:
        """Whether a new connection gets a place, and another that is to be closed for it. It must `leave` later."""
        held, free = self.held.get(new.origin, 0), max(0, self._limit - len(self._taken))
        if free and may_take(held, free):
            self._enter(new)
            return True, None
        of_whom = new.origin if free else None  # One that has its share makes room itself.
        other = self._victim(of_whom)
        if other is not None:
            self.leave(other)
            self._enter(new)
            return True, other
        if free or len(self._taken) >= self._limit + self._reserve:
            return False, None
        new.reserved = True
        self._enter(new)
        return True, None

    def leave(self, one: Standing) -> None:
        """It is closed. May be called again."""
        if one in self._taken:
            del self._taken[one]
            self._count(one, -1)

    def identified(self, one: Standing, *, authenticated: bool) -> None:
        """Its request had a valid key, or had none."""
        if one.authenticated is not authenticated and one in self._taken:
            self._count(one, -1)
            one.authenticated = authenticated
            self._count(one, 1)

    def _enter(self, one: Standing) -> None:
        self._taken[one] = None
        self._count(one, 1)

    def _count(self, one: Standing, change: int) -> None:
        if not one.authenticated:
            left = self.held.get(one.origin, 0) + change
            if left:
                self.held[one.origin] = left
            else:
                self.held.pop(one.origin, None)

    def _victim(self, origin: str | None) -> Standing | None:
        """The one to close, of an origin if one is given."""
        found: dict[tuple[bool, bool], Standing] = {}
        for one in self._taken:
            if one.doing is not Doing.ANSWERED and (origin is None or (one.origin == origin and not one.authenticated)):
                found.setdefault((one.authenticated, one.doing is Doing.SENDING), one)
        return found[min(found)] if found else None
