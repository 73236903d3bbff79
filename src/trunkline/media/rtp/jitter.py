"""Packets in sequence order: a reorder window that costs next to nothing while nothing is out of order.

A packet that is the next in sequence goes straight through (`accepts`). Anything else comes to `push`: a packet beyond
a gap is held until the gap fills or the window, counted from the first packet held, is over; then the gap is given up
and the next packet delivered says how many are missing before it. A packet of another SSRC, one so far off that it
cannot be reordering, or one whose timestamp says that it is not what its number says (`restarted`), starts nothing by
itself: it waits until a neighbour confirms it (the probation of RFC 3550 appendix A.1), and then the sequence restarts
there, with all that waited. It must be confirmed before the old sequence continues, so two simultaneous sources do not
alternate.

A sender that restarts a little before its last sequence number and timestamp looks like one whose packets are
duplicated. It is taken for that until `REPEATED` duplicates have come in a row and the old sequence has not continued.

The window adapts to the lateness of packets that came out of order, so it is no longer than the network needs: where
packets are lost but never reordered, packets after a gap hardly wait. It starts at its maximum and shrinks only after
`HISTORY` gaps; a packet that comes too late widens it at once.

Times are seconds of the caller's clock; an item is any object that the caller wants back in order.
"""

from typing import Any, NamedTuple

from trunkline.ids import Seconds, Ssrc

MAX_DROPOUT = 3000
"""Packets: a larger step forward is a restart, not a loss (RFC 3550 appendix A.1)."""

MAX_MISORDER = 100
"""Packets: a larger step backward is a restart, not reordering (RFC 3550 appendix A.1)."""

HELD_LIMIT = 128
"""Packets held at once: 60 ms of 20 ms packets are three; this bounds a flood."""

ON_TRIAL = 16
"""Packets that wait to be confirmed, at most; of more the oldest are dropped. They are no further apart than this."""

REPEATED = 12
"""Duplicates in a row: 240 ms, more than the delay of two paths through a network differs by."""

HISTORY = 50
"""Gaps whose lateness is remembered."""

MARGIN = 1.5
"""Times the greatest remembered lateness: the window."""

SHORTEST = Seconds(0.02)
"""The shortest window, for a network that only loses packets: about one packet time."""


class Released(NamedTuple):
    """One packet, in order."""

    item: Any
    missing: int
    """Packets before it that were given up."""
    restart: bool
    """First of a new sequence: losses before it are not known."""


class _Trial:
    """Packets that may begin another sequence."""

    __slots__ = ("after", "enough", "items", "ssrc")

    def __init__(self, ssrc: Ssrc, after: int, enough: int) -> None:
        self.ssrc = ssrc
        self.after = after
        """The next packet of the old sequence, which must not come meanwhile."""
        self.enough = enough
        """Packets in a row that confirm each other."""
        self.items: dict[int, Any] = {}
        """By sequence number."""

    def takes(self, sequence: int, ssrc: Ssrc, after: int, enough: int) -> bool:
        """Whether a packet may belong to the same beginning."""
        if ssrc != self.ssrc or after != self.after or enough != self.enough:
            return False
        return abs(signed(sequence - next(iter(self.items)))) < ON_TRIAL

    def is_confirmed(self) -> bool:
        """Whether enough of them follow one another."""
        return sum((sequence + 1) & 0xFFFF in self.items for sequence in self.items) >= self.enough - 1

    def in_order(self) -> list[tuple[int, Any]]:
        """All, in the order of sending."""
        first = next(iter(self.items))
        return sorted(self.items.items(), key=lambda item: signed(item[0] - first))


def signed(difference: int) -> int:
    """The difference of two sequence numbers, modulo 2**16, nearest to zero."""
    return ((difference + 0x8000) & 0xFFFF) - 0x8000


class JitterBuffer:
    """One source's packets; a gap is held for `limit` at most. The counters are plain attributes, read by the leg's
    report."""

    __slots__ = {
        "_base": "First extended sequence number since the sequence (re)started.",
        "_expected": "Next sequence number in order, 16 bits; -1: not started.",
        "_given_up": "Extended sequence numbers given up, with the time since when each was waited for.",
        "_held": "Packets beyond a gap, with arrival, by extended sequence number.",
        "_lateness": "Lateness at the last gaps, in seconds.",
        "_limit": "Longest window, in seconds.",
        "_next": "Next extended sequence number in order.",
        "_surplus": "Packets received minus positions passed.",
        "_trial": "Packets that may begin another sequence; None: none.",
        "duplicate": "Packets that came twice.",
        "late": "Packets that came after they were given up.",
        "lost": "Packets given up.",
        "reordered": "Packets that came out of order, within the window.",
        "restarts": "New beginnings of the sequence, without the first.",
        "ssrc": "SSRC of the sequence; -1: not started.",
        "stray": "Packets of another sequence that was not confirmed.",
        "window": "How long a gap is held open, in seconds.",
    }

    def __init__(self, limit: Seconds) -> None:
        self._limit = limit
        self._lateness: list[float] = []
        self.window = limit
        self.ssrc = Ssrc(-1)
        self._expected = -1  # the next sequence number as it is in the packet; -1 = not started
        self._next = 0  # the same, extended by the wraps
        self._base = 0
        self._held: dict[int, tuple[Any, Seconds]] = {}
        self._given_up: dict[int, Seconds] = {}  # position, and since when it was waited for
        self._trial: _Trial | None = None
        self._surplus = 0  # received packets more than positions passed
        self.lost = 0
        self.late = 0
        self.duplicate = 0
        self.reordered = 0
        self.stray = 0
        self.restarts = 0

    @property
    def received(self) -> int:
        """Packets that came since the sequence (re)started, duplicates and late ones included."""
        return self._next - self._base + self._surplus

    @property
    def expected(self) -> int:
        """Packets that should have come since the sequence (re)started."""
        return max(self._held, default=self._next - 1) + 1 - self._base

    @property
    def highest(self) -> int:
        """Extended highest sequence number received."""
        return max(self._held, default=self._next - 1)

    @property
    def deadline(self) -> Seconds | None:
        """When `expire` gives up a gap; None while there is none."""
        if not self._held:
            return None
        return Seconds(self._oldest() + self.window)

    def _oldest(self) -> Seconds:
        return min(arrived for _, arrived in self._held.values())

    def accepts(self, sequence: int, ssrc: int) -> bool:
        """Whether this packet is the next in order, with nothing held: then it counts as delivered."""
        if sequence != self._expected or ssrc != self.ssrc or self._held:
            return False
        self._next = position = self._next + 1
        self._expected = position & 0xFFFF
        return True

    def step(self, sequence: int, ssrc: int) -> int | None:
        """Distance of a packet from the next in order; None when it is of another sequence, or none has begun."""
        step = signed(sequence - self._expected)
        return step if self._expected >= 0 and ssrc == self.ssrc and -MAX_MISORDER <= step < MAX_DROPOUT else None

    def push(self, sequence: int, ssrc: Ssrc, item: Any, now: Seconds, *, restarted: bool = False) -> list[Released]:
        """Take a packet; return what is in order now. `restarted`: its timestamp contradicts its sequence number."""
        if self._expected < 0:
            return self._start(ssrc, sequence, item)
        step = self.step(sequence, ssrc)
        if step is None or restarted:
            return self._probation(ssrc, sequence, item, now, 2) + self.expire(now)
        self._surplus += 1
        position = self._next + step
        if step < 0:
            if self._past(position, now):
                return self._probation(ssrc, sequence, item, now, REPEATED) + self.expire(now)
        elif position in self._held:
            self.duplicate += 1
        else:
            return self._hold(position, item, now) + self.expire(now)
        return self.expire(now)

    def expire(self, now: Seconds) -> list[Released]:
        """Give up the gaps that timed out; return the packets after them."""
        released: list[Released] = []
        while (deadline := self.deadline) is not None and deadline <= now:
            released += self._give_up()
        return released

    def flush(self) -> list[Released]:
        """Give up all gaps; return everything held."""
        released: list[Released] = []
        while self._held:
            released += self._give_up()
        return released

    def reset(self) -> list[Released]:
        """Everything held; the next packet starts a new sequence without probation."""
        released = self.flush()
        self._expected = -1
        self._trial = None
        return released

    def _hold(self, position: int, item: Any, now: Seconds) -> list[Released]:
        """A packet that fills a gap, or is beyond one."""
        overtaken_at = min((arrived for other, (_, arrived) in self._held.items() if other > position), default=None)
        if overtaken_at is not None:
            self.reordered += 1
            self._learn(now - overtaken_at)
        self._held[position] = (item, now)
        released = self._drain(0)
        if len(self._held) > HELD_LIMIT:
            released += self._give_up()
        return released

    def _past(self, position: int, now: Seconds) -> bool:
        """Count a packet from before the next one, which was given up, or delivered (True)."""
        missed_at = self._given_up.pop(position, None)
        if missed_at is None:
            self.duplicate += 1
            return True
        self.late += 1
        self._learn(now - missed_at)
        return False

    def _learn(self, lateness: float) -> None:
        self._lateness.append(lateness)
        del self._lateness[:-HISTORY]
        if len(self._lateness) == HISTORY:
            self.window = Seconds(min(self._limit, max(SHORTEST, MARGIN * max(self._lateness))))

    def _drain(self, missing: int) -> list[Released]:
        """What follows without a gap."""
        released: list[Released] = []
        while (found := self._held.pop(self._next, None)) is not None:
            released.append(Released(found[0], missing, restart=False))
            missing = 0
            self._next += 1
            self._surplus -= 1
        self._expected = self._next & 0xFFFF
        return released

    def _give_up(self) -> list[Released]:
        first = min(self._held)
        missing = first - self._next
        self.lost += missing
        # Numbers further back than MAX_MISORDER are not looked up again.
        self._given_up = {p: since for p, since in self._given_up.items() if p >= first - MAX_MISORDER}
        self._given_up.update(dict.fromkeys(range(max(self._next, first - MAX_MISORDER), first), self._oldest()))
        self._learn(0.0)
        self._next = first
        self._surplus -= missing
        return self._drain(missing)

    def _probation(self, ssrc: Ssrc, sequence: int, item: Any, now: Seconds, enough: int) -> list[Released]:
        trial = self._trial
        if trial is None or not trial.takes(sequence, ssrc, self._next, enough):
            if trial is not None and trial.enough < REPEATED:
                self.stray += len(trial.items)
            trial = self._trial = _Trial(ssrc, self._next, enough)
        trial.items.setdefault(sequence, item)
        if not trial.is_confirmed():
            return []
        self._trial = None
        if enough == REPEATED:
            self.duplicate -= len(trial.items)
        (first, first_item), *others = trial.in_order()
        released = self.flush() + self._start(ssrc, first, first_item)
        for number, other in others:
            released += self.push(number, ssrc, other, now)
        return released

    def _start(self, ssrc: Ssrc, sequence: int, item: Any) -> list[Released]:
        if self.ssrc >= 0:
            self.restarts += 1
        self.ssrc = ssrc
        self._base = sequence
        self._next = sequence + 1
        self._expected = self._next & 0xFFFF
        self._given_up.clear()
        self._surplus = 0
        return [Released(item, 0, restart=True)]
