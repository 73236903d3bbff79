"""RTP packets (RFC 3550 section 5.1): bytes to fields and back.

The fixed header is twelve bytes; contributing sources, an extension and padding may follow it and are skipped here,
with every length checked against the datagram. Nothing raises: a datagram that is not RTP gives None. The fast path
reads the fixed header by `speedups.unpack_rtp` and uses this file only for headers with more.
"""

from dataclasses import dataclass
from struct import Struct

from trunkline import speedups
from trunkline.ids import PayloadType, RtpTime, Ssrc

HEADER_LENGTH = 12
PLAIN = 0x80
"""The first byte of a packet of version 2 with no CSRC, no extension and no padding."""

MARKER = 0x80
"""In the second byte."""

SEQUENCE_MASK = 0xFFFF
TIME_MASK = 0xFFFFFFFF
FIRST_SEQUENCE_MASK = 0x7FFF
"""The first sequence number is in the lower half, so that an SRTP receiver that misses the first packets does not
take a wrap for a start (RFC 3711 section 3.3.1)."""
_EXTENSION = Struct("!HH")


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet's fields; `payload` is without header, extension and padding."""

    payload_type: PayloadType
    marker: bool
    sequence: int
    timestamp: RtpTime
    ssrc: Ssrc
    payload: bytes


def payload_of(datagram: bytes) -> bytes | None:
    """The payload of an RTP packet; None when the datagram is not RTP version 2 or its lengths do not add up."""
    end = len(datagram)
    if end < HEADER_LENGTH or datagram[0] >> 6 != 2 or end >= speedups.DATAGRAM_LIMIT:
        return None
    flags = datagram[0]
    start = HEADER_LENGTH + 4 * (flags & 0x0F)
    if flags & 0x10:
        if start + 4 > end:
            return None
        start += 4 + 4 * _EXTENSION.unpack_from(datagram, start)[1]
    if start > end:
        return None
    if flags & 0x20:
        padding = datagram[-1]
        if padding == 0 or start + padding > end:
            return None
        end -= padding
    return datagram[start:end]


def parse(datagram: bytes) -> RtpPacket | None:
    """A datagram's fields, or None when it is not RTP."""
    payload = payload_of(datagram)
    if payload is None:
        return None
    first, sequence, timestamp, ssrc = speedups.unpack_rtp(datagram)
    return RtpPacket(PayloadType(first & 0x7F), bool(first & MARKER), sequence, RtpTime(timestamp), Ssrc(ssrc), payload)


def build(packet: RtpPacket) -> bytes:
    """The datagram of a packet, with no CSRC, extension or padding."""
    first = PLAIN << 8 | packet.payload_type | (MARKER if packet.marker else 0)
    return speedups.pack_rtp(first, packet.sequence, packet.timestamp, packet.ssrc, packet.payload)


def keeps_alive(datagram: bytes, shortest: int = HEADER_LENGTH) -> bool:
    """Whether a datagram that is neither RTP nor RTCP is a keep-alive for a NAT (RFC 6263 section 4): shorter than the
    `shortest` packet of the protocol, blank, of RTP version 0, or STUN. Other first bytes belong to protocols that
    expect an answer, such as DTLS and ZRTP (RFC 7983)."""
    return len(datagram) < shortest or datagram[0] < 4 or not datagram.strip()


def is_rtcp(second: int) -> bool:
    """Whether a datagram with this second byte is RTCP where both share a port (RFC 5761 section 4)."""
    return 192 <= second <= 223
