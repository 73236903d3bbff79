"""The source of the peer's RTP and destination of ours: symmetric RTP (RFC 4961) with latching (RFC 7362). Pure.

The signalled address may be wrong behind a NAT, so the source of valid packets is learned and answered. A packet may
also come from an attacker, or from the party that the call was transferred from. Hence:

* The signalled address is trusted at once.
* Any other source is on trial for `GRACE`; the former source, after the signalled address changed, for `REST`. Its
  packets are kept, not delivered. If no better source sends meanwhile, it is accepted and they are delivered. Better
  are the signalled address, a stream that continues, and a known or signalled host, in this order.
* There is no trial where no better source can exist: no address was signalled, or a private one (RFC 1918) while the
  packet comes from a public address.
* Before the answer packets are kept as they came, and examined once it is there. After an answer in a provisional
  response another fork's answer may follow, so no source is latched, and the packets of other sources are kept.
* A latched source is followed by another only after signalling. Any signalling (a hold, a resume, a refresh) opens
  learning again for `REOPENED`: the source that sends stays the peer as long as it sends, and after `GRACE` of silence
  another may follow it.
* Without signalling another source follows a latched one only after `TAKEOVER` of silence, and then only the signalled
  address, or a source that continues the same stream unless `strict` forbids it.

An unspecified address (`0.0.0.0`, port 0) is no address: a hold (RFC 2543), or not known yet.
"""

from collections import deque
from enum import Enum, auto
from ipaddress import ip_address
from math import inf

from trunkline.ids import Seconds
from trunkline.sdp.values import Endpoint

Address = tuple[str, int]
"""Host and port as `socket` has them."""

GRACE = Seconds(0.5)
REST = Seconds(1.0)
"""Not longer than packets are kept, so that none is lost if the former source is the peer."""
REOPENED = Seconds(2.0)
TAKEOVER = Seconds(2.0)

CANDIDATES = 2
"""Sources on trial at once; packets of further ones are refused."""
KEPT = Seconds(1.0)
"""How long packets of a source on trial are kept."""
KEPT_PACKETS = 150
"""Most packets kept of a source: 10 ms packets of one second before an answer and a trial."""

Kept = tuple[Seconds, bytes]
"""A packet and its arrival."""


class SourceDecision(Enum):
    """The decision on a packet."""

    TAKE = auto()
    KEEP = auto()
    """It has been kept."""
    REFUSE = auto()
    """It has been counted."""


def address_of(endpoint: Endpoint) -> Address | None:
    """A signalled address as a destination; None when it is unspecified or not a literal address."""
    try:
        host = ip_address(endpoint.host)
    except ValueError:
        return None
    if host.is_unspecified or not 0 < endpoint.port < 65536:
        return None
    return str(host), endpoint.port


def trim(kept: deque[Kept], oldest: float) -> int:
    """Drop packets older than `oldest`, or above `KEPT_PACKETS`; return how many."""
    before = len(kept)
    while kept and (kept[0][0] < oldest or len(kept) > KEPT_PACKETS):
        kept.popleft()
    return before - len(kept)


class _Candidate:
    """A source on trial."""

    __slots__ = ("due", "kept", "rank")

    def __init__(self, rank: int, due: Seconds) -> None:
        self.rank = rank
        """0 is best."""
        self.due = due
        """When the trial ends."""
        self.kept: deque[Kept] = deque()


class Source:
    """The source of one leg's peer. `strict`: the setting `media.strict_source`."""

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
        """No answer has come yet."""
        self.learned: Address | None = None
        self.latched = False
        self._early = False
        """An answer has come, and packets from before it are still to be examined."""
        self._final = True
        """No answer of another fork may follow."""
        self._opened = Seconds(-inf)
        self._reopened = False
        """Signalling has opened learning again: another source may follow the learned one."""
        self._latches_at = Seconds(-inf)
        self._former: tuple[Address, Address | None] | None = None
        """The former source, and the address that was signalled then."""
        self._candidates: dict[Address, _Candidate] = {}
        self.dropped = 0
        """Packets that were kept and then dropped: too many or too old, or the call ended first."""
        self.refused = 0
        """Packets from other sources than the peer."""
        self.unexpected_source: Address | None = None
        """The last of these sources."""
        self.unexpected_at = Seconds(0.0)

    @property
    def destination(self) -> Address | None:
        """Destination of our packets; None while no address is known."""
        return self.learned or self.signalled

    def signal(self, endpoint: Endpoint, now: Seconds, *, early: bool = False) -> bool:
        """The peer signalled this address, in a provisional response if `early`; True when it is a new one, so that no
        source is learned any more."""
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
                self.learned, self._former = self._former[0], None  # the change was cancelled
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
        """Keep a datagram from before the answer."""
        self._keep(address, datagram, now, 0)

    def take_early(self) -> list[tuple[Seconds, Address, bytes]]:
        """Datagrams from before the answer, in order of arrival, for `admit`; none until the answer has come."""
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
        """Decide on a valid packet from `address`; may learn. `heard`: arrival of the peer's last packet; `continues`:
        the packet continues its stream. If `learned` has changed afterwards, `accepted` returns what was kept."""
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
        elif self.learned is None and self._is_best_possible(address):
            self._learn(address)
            self._latches_at = max(self._latches_at, Seconds(now + GRACE))
            return SourceDecision.TAKE
        return self._keep(address, packet, now, self._rank(address, continues))

    def decide(self, now: Seconds, heard: Seconds | None) -> bool:
        """Accept the best source on trial if its trial is over; True if one was accepted."""
        if self.due(heard) > now:
            return False
        self._learn(self._best()[0])
        self.latched = self._final and now >= self._latches_at
        return True

    def due(self, heard: Seconds | None) -> Seconds:
        """When `decide` may accept a source; infinite while none is on trial."""
        if not self._candidates or self.awaiting or self._early:
            return Seconds(inf)
        due = self._best()[1].due
        if self.learned is None or heard is None:
            return due
        return max(due, Seconds(heard + GRACE)) if self._reopened and self._final else Seconds(inf)

    def accepted(self) -> deque[Kept]:
        """Packets kept of the learned source, in order; those of other sources are refused."""
        mine = self._candidates.pop(self.learned, None) if self.learned else None
        self._refuse_candidates()
        return mine.kept if mine else deque()

    def may_be(self, host: str) -> bool:
        """Whether this host may prove to be the peer's."""
        return self.awaiting or any(host == address[0] for address in self._candidates)

    def refuse(self, address: Address, now: Seconds, count: int = 1) -> None:
        """Count packets of another source."""
        self.refused += count
        self.unexpected_source, self.unexpected_at = address, now

    def close(self) -> None:
        """The call has ended: drop what is kept."""
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

    def _is_best_possible(self, address: Address) -> bool:
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
        # A trial after an answer is bounded, so packets kept when it began stay.
        since = now if self.awaiting or self.learned else self._opened
        self.dropped += trim(candidate.kept, since - KEPT)
        return SourceDecision.KEEP

    def _make_room(self, now: Seconds) -> bool:
        """Drop a source that has been silent for longer than packets are kept."""
        for address, candidate in self._candidates.items():
            if candidate.kept[-1][0] < now - KEPT:
                self.refuse(address, candidate.kept[-1][0], len(candidate.kept))
                del self._candidates[address]
                return True
        return False
