"""RTCP (RFC 3550 section 6): reports to bytes and back, and their accounting.

A datagram is a compound of packets, each with its own length in 32-bit words; the first should be a report, and need
not be (RFC 5506). Parsing checks every length and count and raises `RtcpError` for what does not add up; packet types
that we do not use are skipped, and so are empty reports.
`Reception` keeps the receiver's side of the accounting: loss per interval (appendix A.3), jitter (A.8) and, from the
peer's reports about us, its loss and the round trip (section 6.4.1).
"""

from dataclasses import dataclass
from struct import Struct

from trunkline.ids import RtpTime, Seconds, Ssrc
from trunkline.media.rtp.packet import is_rtcp, keeps_alive

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
BYE = 203
_CNAME = 1

_HEADER = Struct("!BBH")
_WORD = Struct("!I")
_SENDER = Struct("!IQIII")
_BLOCK = Struct("!IIIIII")
_SHORTEST = 8
"""Bytes: a header and the SSRC that it is about."""
_NTP_EPOCH = 2208988800
"""Seconds from 1900 to 1970."""


class RtcpError(Exception):
    """The datagram is not RTCP, or its lengths do not add up."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """A receiver's report on one source (section 6.4.1)."""

    ssrc: Ssrc
    fraction_lost: int
    """In 256ths, since the report before."""
    cumulative_lost: int
    """Signed: duplicates count as received."""
    highest_sequence: int
    """Extended by the count of wraps in the upper 16 bits."""
    jitter: int
    """RTP timestamp units."""
    last_sr: int
    """The middle 32 bits of the last sender report's NTP time; 0 = none yet."""
    delay_since_sr: int
    """1/65536 s."""


@dataclass(frozen=True, slots=True)
class Report:
    """A sender or receiver report."""

    ssrc: Ssrc
    blocks: tuple[ReportBlock, ...] = ()
    sent: "SenderInfo | None" = None
    """None in a receiver report."""


@dataclass(frozen=True, slots=True)
class SenderInfo:
    """The sender's part of a sender report."""

    ntp: int
    """64-bit NTP time: seconds since 1900 and their fraction."""
    timestamp: RtpTime
    packets: int
    octets: int
    """Payload bytes."""


@dataclass(frozen=True, slots=True)
class Bye:
    """Sources that leave (section 6.6)."""

    ssrcs: tuple[Ssrc, ...]


def parse(datagram: bytes) -> list[Report | Bye]:
    """The reports and BYEs of a compound packet, in order. Raises RtcpError."""
    found: list[Report | Bye] = []
    offset = 0
    if not datagram:
        raise RtcpError("empty")
    while offset < len(datagram):
        kind, count, body, end = _packet_at(datagram, offset)
        if not is_rtcp(kind):
            raise RtcpError("not an RTCP packet type")
        offset = end
        if kind in (SENDER_REPORT, RECEIVER_REPORT) and (body or count):
            found.append(_report(body, count, sender=kind == SENDER_REPORT))
        elif kind == BYE:
            if len(body) < 4 * count:
                raise RtcpError("BYE shorter than its sources")
            found.append(Bye(tuple(Ssrc(_WORD.unpack_from(body, 4 * i)[0]) for i in range(count))))
    return found


def _packet_at(datagram: bytes, offset: int) -> tuple[int, int, bytes, int]:
    """Type, count, body without padding, and end of the packet at `offset`."""
    if offset + 4 > len(datagram):
        raise RtcpError("cut short in a header")
    first, kind, words = _HEADER.unpack_from(datagram, offset)
    end = offset + 4 + 4 * words
    if first >> 6 != 2:
        raise RtcpError("not version 2")
    if end > len(datagram):
        raise RtcpError("longer than the datagram")
    body = datagram[offset + 4 : end]
    if first & 0x20:
        # Only the last packet of a compound may be padded (section 6.4.1).
        if not body or body[-1] == 0 or body[-1] > len(body) or end != len(datagram):
            raise RtcpError("bad padding")
        body = body[: -body[-1]]
    return kind, first & 0x1F, body, end


def _report(body: bytes, count: int, *, sender: bool) -> Report:
    start = _SENDER.size if sender else 4
    if len(body) < start + _BLOCK.size * count:
        raise RtcpError("report shorter than its blocks")
    sent = None
    if sender:
        _, ntp, timestamp, packets, octets = _SENDER.unpack_from(body)
        sent = SenderInfo(ntp, RtpTime(timestamp), packets, octets)
    blocks = tuple(_block(body, start + _BLOCK.size * i) for i in range(count))
    return Report(Ssrc(_WORD.unpack_from(body)[0]), blocks, sent)


def _block(body: bytes, offset: int) -> ReportBlock:
    ssrc, loss, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, offset)
    lost = loss & 0xFFFFFF
    return ReportBlock(
        Ssrc(ssrc), loss >> 24, lost - (1 << 24 if lost & 0x800000 else 0), highest, jitter, last_sr, delay
    )


def build(report: Report, cname: str, *, bye: bool = False) -> bytes:
    """A compound packet: the report, a source description with `cname` (at most 255 bytes), and a BYE if asked."""
    blocks = b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.cumulative_lost & 0xFFFFFF,
            block.highest_sequence,
            block.jitter,
            block.last_sr,
            block.delay_since_sr,
        )
        for block in report.blocks
    )
    count = len(report.blocks)
    if report.sent is None:
        first = _packet(RECEIVER_REPORT, count, _WORD.pack(report.ssrc) + blocks)
    else:
        sent = report.sent
        sender = _SENDER.pack(report.ssrc, sent.ntp, sent.timestamp, sent.packets, sent.octets)
        first = _packet(SENDER_REPORT, count, sender + blocks)
    name = cname.encode()
    # The item list ends with at least one zero byte and fills up to 32 bits (section 6.5).
    items = bytes((_CNAME, len(name))) + name
    items += bytes(4 - len(items) % 4)
    described = _packet(SOURCE_DESCRIPTION, 1, _WORD.pack(report.ssrc) + items)
    return first + described + (_packet(BYE, 1, _WORD.pack(report.ssrc)) if bye else b"")


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return _HEADER.pack(0x80 | count, kind, len(body) // 4) + body


def ntp_time(unix: float) -> int:
    """Seconds since 1970 as a 64-bit NTP time."""
    return int((unix + _NTP_EPOCH) * 2**32) % 2**64


def middle(ntp: int) -> int:
    """The middle 32 bits of an NTP time, as in `last_sr`, in 1/65536 s."""
    return ntp >> 16 & 0xFFFFFFFF


class Reception:
    """RTCP accounting of one leg: our reports on the peer's stream, and the peer's reports on ours.

    `now` is the monotonic clock; adding `wall` to it gives Unix time, which sender reports carry.
    """

    __slots__ = (
        "_about_us",
        "_expected_before",
        "_first_sequence",
        "_last_sr",
        "_last_sr_at",
        "_received_before",
        "_senders",
        "_wall",
        "keepalives",
        "malformed",
        "ours",
        "peer_expected",
        "peer_jitter",
        "peer_lost",
        "received",
        "round_trip",
    )

    def __init__(self, ours: Ssrc, first_sequence: int, wall: float) -> None:
        """`first_sequence` is the number of the first packet that we send."""
        self.ours = ours
        self._first_sequence = first_sequence
        self._wall = wall
        self._expected_before = 0
        self._received_before = 0
        self._last_sr = 0
        self._last_sr_at = 0.0
        self._senders: tuple[Ssrc, ...] = ()
        self._about_us = False
        self.received = 0
        self.malformed = self.keepalives = 0
        self.peer_lost = 0
        """Cumulative loss of our packets at the peer."""
        self.peer_expected = 0
        """Packets of ours that the peer expected; 0 = not known."""
        self.peer_jitter = 0
        """RTP timestamp units."""
        self.round_trip: Seconds | None = None
        """None until the peer has reported on a report of ours."""

    def restart(self) -> None:
        """The peer's stream has restarted or has another SSRC: its counts start from zero."""
        self._expected_before = 0
        self._received_before = 0
        self._last_sr = 0

    def sent(self, timestamp: RtpTime, packets: int, octets: int, now: Seconds) -> SenderInfo:
        """The sender's part of a report made now; `timestamp` is what the RTP clock shows now."""
        return SenderInfo(ntp_time(now + self._wall), timestamp, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF)

    def block(
        self, ssrc: Ssrc, *, expected: int, received: int, highest: int, jitter: float, now: Seconds
    ) -> ReportBlock:
        """The report on the peer's source; `expected` and `received` count packets since the source began (A.3)."""
        expected_now = expected - self._expected_before
        lost_now = expected_now - (received - self._received_before)
        self._expected_before, self._received_before = expected, received
        fraction = (lost_now << 8) // expected_now if expected_now > 0 and lost_now > 0 else 0
        lost = min(max(expected - received, -0x800000), 0x7FFFFF)
        delay = int((now - self._last_sr_at) * 65536) & 0xFFFFFFFF if self._last_sr else 0
        return ReportBlock(ssrc, min(fraction, 255), lost, highest & 0xFFFFFFFF, int(jitter), self._last_sr, delay)

    def receive(self, datagram: bytes, now: Seconds) -> bool:
        """Process a datagram of the peer; False when it is malformed. A BYE does not end the call: signalling does."""
        if keeps_alive(datagram, _SHORTEST):
            self.keepalives += 1
            return True
        try:
            packets = parse(datagram)
        except RtcpError:
            self.malformed += 1
            return False
        self.received += 1
        reports = [packet for packet in packets if isinstance(packet, Report)]
        self._senders = tuple(report.ssrc for report in reports)
        self._about_us = any(block.ssrc == self.ours for report in reports for block in report.blocks)
        for report in reports:
            self._hear(report, now)
        return True

    def is_from(self, peer: Ssrc) -> bool:
        """Whether the last datagram shows knowledge of the session: it is of this SSRC, or reports on ours."""
        return self._about_us or peer in self._senders

    def _hear(self, report: Report, now: Seconds) -> None:
        if report.sent is not None:
            self._last_sr = middle(report.sent.ntp)
            self._last_sr_at = now
        for block in report.blocks:
            if block.ssrc != self.ours:
                continue
            self.peer_lost = block.cumulative_lost
            self.peer_expected = max(0, block.highest_sequence - self._first_sequence + 1)
            self.peer_jitter = block.jitter
            if block.last_sr:
                units = (middle(ntp_time(now + self._wall)) - block.last_sr - block.delay_since_sr) & 0xFFFFFFFF
                # Clock granularity can make this slightly negative: a round trip of zero.
                self.round_trip = Seconds(0.0 if units >= 0x80000000 else units / 65536)
