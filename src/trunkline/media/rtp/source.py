"""Where the peer's RTP comes from, and so where ours goes: symmetric RTP (RFC 4961). Pure.

The signalled address may be wrong behind a NAT, so the source of valid packets is learned and answered. Who speaks may
also be a unexpected_source, or the party that the call has just been taken from. Hence:

* The signalled address itself is trusted at once.
* Any other source is on trial for `GRACE`, the former one after the address has changed for `REST`. Its packets are
  kept, neither learned nor forwarded; if nobody better speaks meanwhile it is accepted, and they are delivered. Better
  are the signalled address, a stream that goes on, the host that was known or named, in this order.
* Where nobody better can come there is no trial: nothing was signalled, or what was is private (RFC 1918) and the
  packet comes from the Internet, so that who was named cannot be who speaks.
* Before the answer nothing can be judged: packets are kept as they came, and judged once it is there. After one that a
  provisional response brings another's may follow, so meanwhile nobody is latched, and the packets of others are kept.
* Once a source is latched nobody takes over but by signalling. Whatever was signalled, a hold, a resume or the same as
  before, opens learning again for `REOPENED`: who is heard stays the peer for as long as it speaks, and after `GRACE`
  of silence another may follow it.
* Without signalling another source follows a latched one only when that has been silent for `TAKEOVER`, and then only
  the signalled address, or one that goes on with the very same stream, unless `strict` forbids it.

An unspecified address (`0.0.0.0`, port 0) is no address: the old way to say hold (RFC 2543), or not known yet.
"""

from collections import deque
from enum import Enum, auto
from ipaddress import ip_address
from math import inf

from trunkline.ids import Seconds
from trunkline.sdp.values import Endpoint

Address = tuple[str, int]
"""Host and port as the socket layer gives and takes them."""

GRACE = Seconds(0.5)
REST = Seconds(1.0)
"""No more than is kept, so that nothing is lost where it was the peer after all."""
REOPENED = Seconds(2.0)
TAKEOVER = Seconds(2.0)

CANDIDATES = 2
"""Sources on trial at once; the packets of others are refused."""
KEPT = Seconds(1.0)
"""Of packets of one source, the last."""
KEPT_PACKETS = 150
"""At most, whatever their length: those of 10 ms, the shortest there are, of a second before an answer and a trial."""

Kept = tuple[Seconds, bytes]
"""A packet and its arrival."""


class SourceDecision(Enum):
    """What is to become of a packet."""

    TAKE = auto()
    KEEP = auto()
    """It has been kept."""
    REFUSE = auto()
    """It has been counted."""


def address_of(endpoint: Endpoint) -> Address | None:
    """A signalled address to send to; None when it is unspecified or no literal address."""
    try:
        host = ip_address(endpoint.host)
    except ValueError:
        return None
    if host.is_unspecified or not 0 < endpoint.port < 65536:
        return None
    return str(host), endpoint.port


def trim(kept: deque[Kept], oldest: float) -> int:
    """Drop what is older than that, or too much; how many packets these were."""
    before = len(kept)
    while kept and (kept[0][0] < oldest or len(kept) > KEPT_PACKETS):
        kept.popleft()
    return before - len(kept)


class _Candidate:
    """A source on trial."""

    __slots__ = ("due", "kept", "rank")

    def __init__(self, rank: int, due: Seconds) -> None:
        self.rank = rank
        """Who is better; 0 is best."""
        self.due = due
        """When the trial is over."""
        self.kept: deque[Kept] = deque()


class Source:
    """One leg's peer. `strict`: see above."""

    __slots__ = (
        "_candidates",
        "_early",
        "_final",
        "_former",
        "_latches_at",
        "_opened",
        "_reopened",
        "_strict",
        "awaiting",
        "dropped",
        "latched",
        "learned",
        "refused",
        "signalled",
        "unexpected_at",
        "unexpected_source",
    )

    def __init__(self, signalled: Endpoint, *, strict: bool = False) -> None:
        self._strict = strict
        self.signalled = address_of(signalled)
        self.awaiting = signalled.port == 0
        """There is no answer yet."""
        self.learned: Address | None = None
        self.latched = False
        self._early = False
        """There is an answer, and what came before it is still to be judged."""
        self._final = True
        """No other answer may follow."""
        self._opened = Seconds(-inf)
        self._reopened = False
        """Signalling has opened learning again: another may follow who is learned."""
        self._latches_at = Seconds(-inf)
        self._former: tuple[Address, Address | None] | None = None
        """Whom the peer followed: learned, and signalled then."""
        self._candidates: dict[Address, _Candidate] = {}
        self.dropped = 0
        """Packets that were kept and then given up: too much, or the call ended first."""
        self.refused = 0
        """Packets from others than the peer."""
        self.unexpected_source: Address | None = None
        """The last of these."""
        self.unexpected_at = Seconds(0.0)

    @property
    def destination(self) -> Address | None:
        """Where our packets go; None while nothing is known."""
        return self.learned or self.signalled

    def signal(self, endpoint: Endpoint, now: Seconds, *, early: bool = False) -> bool:
        """The peer signalled this address, in a provisional response if `early`; True when it is a new one, so that
        nobody is learned any more."""
        if self.awaiting and endpoint.port:
            self.awaiting, self._early = False, True
        address = address_of(endpoint)
        self._opened, self._final = now, not early
        for candidate in self._candidates.values():
            candidate.due = max(candidate.due, Seconds(now + GRACE))
        if address is None or address == self.signalled:
            self._reopen(now)
            return False
        before, self.signalled = self.signalled, address
        if self.learned is None:
            if self._former is not None and self._former[1] == address:
                self.learned, self._former = self._former[0], None  # taken back
                self._reopen(now)
            return False
        if self.learned == address:
            if self._final:
                self._settle()
            else:
                self._reopen(now)
            return False
        self._former = self.learned, before
        self.learned = None
        self._reopen(now)
        return True

    def _reopen(self, now: Seconds) -> None:
        if self.learned is not None or self._former is not None:
            self.latched, self._reopened = False, True
            self._latches_at = Seconds(now + REOPENED)

    # ------------------------------------------------------------------ packets

    def keep_early(self, address: Address, datagram: bytes, now: Seconds) -> None:
        """A datagram from before the answer."""
        self._keep(address, datagram, now, 0)

    def take_early(self) -> list[tuple[Seconds, Address, bytes]]:
        """These, in order of arrival, to be judged by `admit`, once there is an answer."""
        if not self._early:
            return []
        self._early = False
        for candidate in self._candidates.values():
            self.dropped += trim(candidate.kept, self._opened - KEPT)
        early = [
            (at, address, datagram)
            for address, candidate in self._candidates.items()
            for at, datagram in candidate.kept
        ]
        self._candidates.clear()
        return sorted(early, key=lambda one: one[0])

    def admit(
        self, address: Address, packet: bytes, now: Seconds, heard: Seconds | None, *, continues: bool = False
    ) -> SourceDecision:
        """What becomes of a valid packet from `address`; learns. `heard`: when the peer was heard last; `continues`:
        the packet goes on with its stream. When `learned` is another afterwards, `accepted` has what was kept."""
        silence = inf if heard is None else now - heard
        if address == self.learned:
            if self._final and (self.latched or now >= self._latches_at):
                self._settle()
            return SourceDecision.TAKE
        if address == self.signalled and (not self.latched or silence >= TAKEOVER):
            self._learn(address)
            self.latched, self._reopened = self._final, False
            return SourceDecision.TAKE
        if self.learned is not None and self._final and not self._reopened:
            if self._strict or not continues:
                self.refuse(address, now)
                return SourceDecision.REFUSE
            if silence >= TAKEOVER:
                self._learn(address)
                return SourceDecision.TAKE
        elif self.learned is None and self._nobody_better_than(address):
            self._learn(address)
            self._latches_at = max(self._latches_at, Seconds(now + GRACE))
            return SourceDecision.TAKE
        return self._keep(address, packet, now, self._rank(address, continues))

    def decide(self, now: Seconds, heard: Seconds | None) -> bool:
        """Accept the best source on trial if the time has come; True when it has."""
        if self.due(heard) > now:
            return False
        self._learn(self._best()[0])
        self.latched = self._final and now >= self._latches_at
        return True

    def due(self, heard: Seconds | None) -> Seconds:
        """When `decide` may have something to accept; infinite while there is nothing on trial."""
        if not self._candidates or self.awaiting or self._early:
            return Seconds(inf)
        due = self._best()[1].due
        if self.learned is None or heard is None:
            return due
        return max(due, Seconds(heard + GRACE)) if self._reopened and self._final else Seconds(inf)

    def accepted(self) -> deque[Kept]:
        """What was kept of the learned source, in order; what was kept of the others is refused."""
        mine = self._candidates.pop(self.learned, None) if self.learned else None
        self._refuse_candidates()
        return mine.kept if mine else deque()

    def may_be(self, host: str) -> bool:
        """Whether the peer may turn out to be at this host."""
        return self.awaiting or any(host == address[0] for address in self._candidates)

    def refuse(self, address: Address, now: Seconds, count: int = 1) -> None:
        """Count packets from somebody else."""
        self.refused += count
        self.unexpected_source, self.unexpected_at = address, now

    def close(self) -> None:
        """The call is over: what is still kept is dropped."""
        self.dropped += sum(len(candidate.kept) for candidate in self._candidates.values())
        self._candidates.clear()

    # ------------------------------------------------------------------ trials

    def _learn(self, address: Address) -> None:
        self.learned = address
        self._former = None

    def _settle(self) -> None:
        self.latched, self._reopened = True, False
        if self._candidates:
            self._refuse_candidates()

    def _refuse_candidates(self) -> None:
        for address, candidate in self._candidates.items():
            if candidate.kept:
                self.refuse(address, candidate.kept[-1][0], len(candidate.kept))
        self._candidates.clear()

    def _nobody_better_than(self, address: Address) -> bool:
        if self._former is not None and self._former[0] == address:
            return False
        if self.signalled is None:
            return True
        return ip_address(address[0]).is_global and not ip_address(self.signalled[0]).is_global

    def _rank(self, address: Address, continues: bool) -> int:
        former = self._former[0] if self._former else None
        if address == former:
            return 3
        known = (self.learned, self.signalled, former)
        return 0 if continues else 1 if address[0] in {one[0] for one in known if one} else 2

    def _best(self) -> tuple[Address, _Candidate]:
        return min(self._candidates.items(), key=lambda item: (item[1].rank, item[1].due))

    def _keep(self, address: Address, packet: bytes, now: Seconds, rank: int) -> SourceDecision:
        candidate = self._candidates.get(address)
        if candidate is None:
            if len(self._candidates) >= CANDIDATES and not self._make_room(now):
                self.refuse(address, now)
                return SourceDecision.REFUSE
            trial = REST if self._former is not None and self._former[0] == address else GRACE
            candidate = _Candidate(rank, Seconds(max(now, self._opened) + trial))
            self._candidates[address] = candidate
        candidate.kept.append((now, packet))
        # A trial that follows an answer is bounded itself, so nothing that was kept when it began is lost by it.
        since = now if self.awaiting or self.learned else self._opened
        self.dropped += trim(candidate.kept, since - KEPT)
        return SourceDecision.KEEP

    def _make_room(self, now: Seconds) -> bool:
        """Forget a source of which nothing has come for longer than is kept."""
        for address, candidate in self._candidates.items():
            if candidate.kept[-1][0] < now - KEPT:
                self.refuse(address, candidate.kept[-1][0], len(candidate.kept))
                del self._candidates[address]
                return True
        return False
