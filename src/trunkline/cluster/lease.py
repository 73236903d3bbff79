"""Who is alive, as rules. Pure: what the database said and `now` in, verdicts out.

A life beats every `BEAT` seconds, and each beat gives it a lease of `LEASE` seconds by the database's clock. A life
measures its own lease by its monotonic clock, from when the beat was sent, and takes `MARGIN` off, so that it stops
before others may think it dead.

A life that finds another's lease over does not bury it at once: after an outage of the database none could renew.
It looks for `CALM` seconds, in which a living one would have beaten (`Arrival`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

BEAT = 1.0
LEASE = 5.0
MARGIN = 0.5
CALM = LEASE + 2.0


@dataclass(slots=True)
class Lease:
    """A life's own."""

    renewed_at: float = -inf
    """When the last good beat was sent."""
    lost: bool = False
    """Declared dead; there is no way back."""
    locked: bool = False
    """A lock that the kernel keeps is the lease: it needs no beat."""

    def holds(self, now: float) -> bool:
        """Whether work that the database does not guard may be begun."""
        return not self.lost and (self.locked or now < self.renewed_at + LEASE - MARGIN)


@dataclass(frozen=True, slots=True)
class OtherLife:
    """Another life that has neither left nor been declared dead."""

    id: str
    name: str
    """Its host's."""
    lease_left: float
    """Seconds, by the database's clock; negative: over for so long."""
    beat: object
    """Another value after each beat."""
    gone: bool = False
    """Its process has ended: this one holds the lock that it held."""


@dataclass(slots=True)
class Arrival:
    """A new life's way in, by what it sees of the others."""

    _first: dict[str, tuple[object, float]] = field(default_factory=dict)
    """Of each other: its beat, and when it was seen first."""

    def observed(self, others: Sequence[OtherLife], now: float) -> Literal["enter", "wait"] | OtherLife:
        """`enter`: all these are dead, bury them. Another life: it lives, so there is no room for a second."""
        verdict: Literal["enter", "wait"] = "enter"
        for other in others:
            if other.gone:
                continue
            beat, since = self._first.setdefault(other.id, (other.beat, now))
            if other.beat != beat:
                return other
            if other.lease_left > 0 or now - since < CALM:
                verdict = "wait"
        return verdict
