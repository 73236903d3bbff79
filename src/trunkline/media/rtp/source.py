"""The source of the peer's RTP and destination of ours: symmetric RTP (RFC 4961) with latching (RFC 7362). Pure.

The signalled address may be wrong behind a NAT, so the source of valid packets is learned and answered. A packet may
also come from an attacker, who need not know more than our range of ports, or from the party that the call was
transferred from. Hence:

* The signalled address is trusted at once, and takes over from any other source when it sends: for `PROBATION` after
  that source was learned at once, later when `look` is due.
* Any other source is on trial: it has to send `IN_SEQUENCE` packets in a row (one SSRC, consecutive sequence numbers,
  timestamps that fit), and for `GRACE` no better source may send; for the former source, after the signalled address
  changed, `REST`. Its packets are kept, and delivered if it is accepted. Better are a stream that continues, and a
  known or signalled host, in this order.
* The packets in a row suffice where no better source can exist: no address was signalled, or a private one (RFC 1918)
  while the packets come from a public address. Packets under the peer's SRTP key need no trial.
* An accepted source is not latched before `PROBATION` is over. Until then it stays the peer as long as it sends, and
  after `GRACE` of silence another may follow it; after `TAKEOVER` and `GRACE`, if it has sent `ESTABLISHED` packets and
  the other does not continue its stream.
* Before the answer packets are kept as they came, and examined once it is there, but for those of a signalled address.
  For a caller our answer is there when it acknowledges it. After an answer in a provisional response another fork's
  answer may follow, so no source is latched, and the packets of other sources are kept.
* A latched source is followed by another only after signalling. Any signalling (a hold, a resume, a refresh) opens
  learning again for `REOPENED`: the source that sends stays the peer as long as it sends, and after `GRACE` of silence
  another may follow it.
* Without signalling another source follows a latched one only after `TAKEOVER` of silence, and then only the signalled
  address, or a source that continues the same stream or has the SRTP key.
* With `strict` only the signalled address is the peer's.

An unspecified address (`0.0.0.0`, port 0) is no address: a hold (RFC 2543), or not known yet.
"""

from collections import deque
from enum import Enum, auto
from ipaddress import ip_address
from math import inf

from trunkline import speedups
from trunkline.ids import Seconds
from trunkline.media.rtp.jitter import MAX_MISORDER
from trunkline.media.rtp.packet import SEQUENCE_MASK, TIME_MASK
from trunkline.sdp.values import Endpoint

Address = tuple[str, int]
"""Host and port as `socket` has them."""

GRACE = Seconds(0.5)
REST = Seconds(1.0)
"""Not longer than packets are kept, so that none is lost if the former source is the peer."""
REOPENED = Seconds(2.0)
TAKEOVER = Seconds(2.0)
PROBATION = Seconds(5.0)
LOOK = Seconds(0.1)
"""How long a look at the signalled address takes: more than the longest packet time."""

IN_SEQUENCE = 4
"""Packets in a row that end a trial: more than a sweep or two over our ports, or remains of another call, have."""
ESTABLISHED = 25
"""Packets after which a source on probation is no stray one: another may follow it later than after signalling."""
FASTEST_CLOCK = 48_000
"""RTP units per second, the most of any codec."""
SLACK = 0.2
"""Seconds by which a timestamp may advance more than the time between two packets: jitter, and packets read at once."""

CONTINUES = 0
"""Rank of a source that continues the peer's stream; the best."""
CANDIDATES = 2
"""Sources on trial at once; packets of further ones are refused."""
PAUSE = Seconds(0.2)
"""A source that pauses for longer before it has sent enough packets in a row makes room for another."""
KEPT = Seconds(1.0)
"""How long packets of a source on trial are kept."""
KEPT_PACKETS = 150
"""Most packets kept of a source: 10 ms packets of one second before an answer and a trial."""

Kept = tuple[Seconds, bytes]
"""A packet and its arrival."""


class _Opening(Enum):
    """Why another source may follow the learned one, if that falls silent."""

    CLOSED = auto()
    """None may: it is latched, or none is learned."""
    SIGNALLED = auto()
    """The peer has signalled and may have moved."""
    PROBATION = auto()
    """It was accepted after a trial."""
    REGAINED = auto()
    """The signalled address took over from it, maybe with a stray packet."""


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

    __slots__ = ("_at", "_sequence", "_ssrc", "_timestamp", "due", "kept", "rank", "row")

    def __init__(self, rank: int, due: Seconds) -> None:
        self.rank = rank
        """`CONTINUES` is best, higher numbers are worse."""
        self.due = due
        """When the trial ends, if enough packets came in a row."""
        self.row = 0
        """Packets in a row."""
        self._ssrc = self._sequence = self._timestamp = -1
        self._at = due
        self.kept: deque[Kept] = deque()

    def count(self, packet: bytes, now: Seconds) -> None:
        """Count a packet that follows the one before. Any other starts a new row, but for late and duplicate ones."""
        _, sequence, timestamp, ssrc = speedups.unpack_rtp(packet)
        ahead = sequence - self._sequence & SEQUENCE_MASK
        step = timestamp - self._timestamp & TIME_MASK
        if ssrc != self._ssrc:
            self.row = 1
        elif ahead == 0 or ahead > SEQUENCE_MASK - MAX_MISORDER:
            return
        elif ahead == 1 and step <= (now - self._at + SLACK) * FASTEST_CLOCK:
            self.row += 1
        else:
            self.row = 1
        self._ssrc, self._sequence, self._timestamp, self._at = ssrc, sequence, timestamp, now


class Source:
    """The source of one leg's peer. `strict`: the setting `media.strict_source`."""

    __slots__ = (
        "_answered",
        "_candidates",
        "_early",
        "_final",
        "_former",
        "_latches_at",
        "_named",
        "_opened",
        "_opening",
        "_strict",
        "_taken",
        "_taken_at",
        "dropped",
        "latched",
        "learned",
        "listening",
        "refused",
        "signalled",
        "unexpected_at",
        "unexpected_source",
    )

    def __init__(self, signalled: Endpoint, *, strict: bool = False, answered: bool = True) -> None:
        """`answered`: False for a caller until `confirm`."""
        self._strict = strict
        self.signalled = address_of(signalled)
        self._answered = answered
        self._named = signalled.port != 0
        """The peer's description has come."""
        self.learned: Address | None = None
        self.latched = False
        self.listening = True
        """The negotiated direction lets the peer send: else no trial ends, and a hold is no time to take over."""
        self._early = False
        """An answer has come, and packets from before it are still to be examined."""
        self._final = True
        """No answer of another fork may follow."""
        self._opened = Seconds(-inf)
        self._opening = _Opening.CLOSED
        self._latches_at = Seconds(-inf)
        self._former: tuple[Address, Address | None] | None = None
        """The former source, and the address that was signalled then."""
        self._candidates: dict[Address, _Candidate] = {}
        self._taken = 0
        """Packets of the learned source that `admit` took."""
        self._taken_at = Seconds(-inf)
        """Arrival of the last one; it may be held, so that it is not heard yet."""
        self.dropped = 0
        """Packets that were kept and then dropped: too many or too old, or the call ended first."""
        self.refused = 0
        """Packets from other sources than the peer."""
        self.unexpected_source: Address | None = None
        """The last of these sources."""
        self.unexpected_at = Seconds(0.0)

    @property
    def awaiting(self) -> bool:
        """No answer has come yet; ours to a caller comes with its ACK."""
        return not (self._answered and self._named)

    @property
    def destination(self) -> Address | None:
        """Destination of our packets; None while no address is known."""
        return self.learned or self.signalled

    def signal(self, endpoint: Endpoint, now: Seconds, *, early: bool = False) -> bool:
        """The peer signalled this address, in a provisional response if `early`; True when it is a new one, so that no
        source is learned any more."""
        if endpoint.port:
            self._end_wait(self._answered, True)
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

    def confirm(self, now: Seconds) -> None:
        """The caller has our answer."""
        self._opened = now
        self._end_wait(True, self._named)

    def look(self, now: Seconds) -> None:
        """Unlatch for a moment, so that the signalled address takes over if it sends, where another was learned."""
        if self.latched and self.signalled not in (None, self.learned):
            self.latched, self._latches_at = False, Seconds(now + LOOK)

    def _end_wait(self, answered: bool, named: bool) -> None:
        awaiting, self._answered, self._named = self.awaiting, answered, named
        self._early = self._early or (awaiting and not self.awaiting)

    def _reopen(self, now: Seconds) -> None:
        if self.learned is not None or self._former is not None:
            self._open(_Opening.SIGNALLED, max(self._latches_at, Seconds(now + REOPENED)))

    def _open(self, opening: _Opening, until: Seconds) -> None:
        self.latched, self._opening, self._latches_at = False, opening, until

    # ------------------------------------------------------------------ packets

    def keep_early(self, address: Address, datagram: bytes, now: Seconds) -> None:
        """Keep a datagram from before the answer."""
        self._keep(address, datagram, now, CONTINUES)

    def is_early(self, address: Address) -> bool:
        """Whether packets from this address are kept for the answer."""
        return self.awaiting and address != self.signalled

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
        self,
        address: Address,
        packet: bytes,
        now: Seconds,
        heard: Seconds | None,
        *,
        continues: bool = False,
        proven: bool = False,
    ) -> SourceDecision:
        """Decide on a valid RTP packet from `address`; may learn. `heard`: arrival of the peer's last packet;
        `continues`: the packet continues its stream; `proven`: the packet was encrypted with its key. If `learned` has
        changed afterwards, `accepted` returns what was kept."""
        decision = self._decision(address, packet, now, now - self._last(heard), continues, proven)
        if decision is SourceDecision.TAKE:
            self._taken += 1
            self._taken_at = now
        return decision

    def _decision(
        self, address: Address, packet: bytes, now: Seconds, silence: float, continues: bool, proven: bool
    ) -> SourceDecision:
        if address == self.learned:
            regained = self._opening is _Opening.REGAINED and self._taken >= IN_SEQUENCE
            if self._final and (self.latched or now >= self._latches_at or regained):
                self._settle()
            return SourceDecision.TAKE
        if address == self.signalled and (not self.latched or silence >= TAKEOVER):
            self._take_over(address, now)
            return SourceDecision.TAKE
        if self._strict:
            self.refuse(address, now)
            return SourceDecision.REFUSE
        if self.learned is not None and self._final and self._opening is _Opening.CLOSED:
            if not (continues or proven):
                self.refuse(address, now)
                return SourceDecision.REFUSE
            if silence >= TAKEOVER:
                self._learn(address)
                return SourceDecision.TAKE
        elif proven and not self._is_former(address) and (self.learned is None or (self._final and silence >= GRACE)):
            self._accept(address, now)
            return SourceDecision.TAKE
        return self._keep(address, packet, now, self._rank(address, continues), counts=True)

    def decide(self, now: Seconds, heard: Seconds | None) -> bool:
        """Accept the best source on trial if its trial is over; True if one was accepted."""
        best = self._best()
        if best is None or self.due(heard) > now:
            return False
        self._accept(best[0], now)
        return True

    def due(self, heard: Seconds | None) -> Seconds:
        """When `decide` may accept a source; infinite while none can be."""
        best = self._best()
        if best is None or not self.listening:
            return Seconds(inf)
        due, rank = best[1].due, best[1].rank
        if self.learned is None:
            return due
        if self._opening is _Opening.CLOSED or not self._final:
            return Seconds(inf)
        proved = self._opening is _Opening.PROBATION and self._taken >= ESTABLISHED and rank != CONTINUES
        return max(due, Seconds(self._last(heard) + (TAKEOVER + GRACE if proved else GRACE)))

    def _last(self, heard: Seconds | None) -> Seconds:
        """Arrival of the peer's last packet."""
        return self._taken_at if heard is None else max(heard, self._taken_at)

    def accepted(self) -> deque[Kept]:
        """Packets kept of the learned source, in order; those of other sources are refused."""
        mine = self._candidates.pop(self.learned, None) if self.learned else None
        self._refuse_candidates()
        if mine is None:
            return deque()
        self._taken += len(mine.kept)
        self._taken_at = max(self._taken_at, mine.kept[-1][0])
        return mine.kept

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
        self._taken = 0

    def _accept(self, address: Address, now: Seconds) -> None:
        """Learn a source that was not signalled."""
        self._learn(address)
        self._open(_Opening.PROBATION, Seconds(now + PROBATION))

    def _take_over(self, address: Address, now: Seconds) -> None:
        """Learn the signalled address. If it sends no more, the source from which it took over may follow again."""
        before = self.learned
        self._learn(address)
        if before is None:
            self.latched, self._opening = self._final, _Opening.CLOSED
        else:
            self.refuse(before, now, 0)
            self._open(_Opening.REGAINED, Seconds(now + REOPENED))

    def _settle(self) -> None:
        self.latched, self._opening = True, _Opening.CLOSED
        if self._candidates:
            self._refuse_candidates()

    def _refuse_candidates(self) -> None:
        for address, candidate in self._candidates.items():
            if candidate.kept:
                self.refuse(address, candidate.kept[-1][0], len(candidate.kept))
        self._candidates.clear()

    def _is_best_possible(self, address: Address) -> bool:
        if self._is_former(address):
            return False
        if self.signalled is None:
            return True
        return ip_address(address[0]).is_global and not ip_address(self.signalled[0]).is_global

    def _is_former(self, address: Address) -> bool:
        return self._former is not None and self._former[0] == address

    def _rank(self, address: Address, continues: bool) -> int:
        former = self._former[0] if self._former else None
        if address == former:
            return 3
        known = (self.learned, self.signalled, former)
        return CONTINUES if continues else 1 if address[0] in {one[0] for one in known if one} else 2

    def _best(self) -> tuple[Address, _Candidate] | None:
        """The best source of those that sent enough packets in a row."""
        fit = (item for item in self._candidates.items() if item[1].row >= IN_SEQUENCE)
        return min(fit, key=lambda item: (item[1].rank, item[1].due), default=None)

    def _keep(
        self, address: Address, packet: bytes, now: Seconds, rank: int, *, counts: bool = False
    ) -> SourceDecision:
        candidate = self._candidates.get(address)
        if candidate is None:
            if len(self._candidates) >= CANDIDATES and not self._make_room(now, rank):
                self.refuse(address, now)
                return SourceDecision.REFUSE
            candidate = _Candidate(rank, Seconds(max(now, self._opened) + self._trial(address)))
            self._candidates[address] = candidate
        candidate.kept.append((now, packet))
        if counts:  # before the answer none does: it may be encrypted, and no trial ends
            candidate.count(packet, now)
        # A trial after an answer is bounded, so packets kept when it began stay.
        since = now if self.awaiting or self.learned else max(self._opened, now - REST)
        self.dropped += trim(candidate.kept, since - KEPT)
        return SourceDecision.KEEP

    def _trial(self, address: Address) -> Seconds:
        if self._is_former(address):
            return REST
        return Seconds(0.0) if self._is_best_possible(address) else GRACE

    def _make_room(self, now: Seconds, rank: int) -> bool:
        """Drop a source that has been silent for longer than packets are kept, or than a peer that talks ever is; for a
        stream that continues any other."""
        for address, candidate in self._candidates.items():
            longest = KEPT if self.awaiting or candidate.row >= IN_SEQUENCE else PAUSE
            continues = rank == CONTINUES and candidate.rank > rank
            if continues or candidate.kept[-1][0] < now - longest:
                self.refuse(address, candidate.kept[-1][0], len(candidate.kept))
                del self._candidates[address]
                return True
        return False
