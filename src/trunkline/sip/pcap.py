"""SIP messages as a pcap file, for Wireshark and others. Pure.

The classic format (draft-ietf-opsawg-pcap) with the link type RAW: IPv4 or IPv6, then UDP, whatever the transport was.
Messages of TCP and TLS become datagrams too, since nothing of their segments is known, and what was encrypted can be
read. Checksums of UDP over IPv4 are left out (RFC 768).
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address

MAGIC, VERSION, LINK_RAW = 0xA1B2C3D4, (2, 4), 101
SNAP_LENGTH = 65535
UDP = 17
DATAGRAM_LIMIT = 65535 - 8 - 40
"""Bytes of a message; what is more is cut."""
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_UDP = struct.Struct("!HHHH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")

Place = tuple[IPv4Address | IPv6Address, int]


@dataclass(frozen=True, slots=True)
class Packet:
    """One message on its way."""

    at: datetime
    source: Place
    destination: Place
    data: bytes


def place(text: str) -> Place:
    """`192.0.2.1:5060` or `[2001:db8::1]:5060` as address and port; a name, whose address is not known, as 0.0.0.0."""
    host, _, port = text.rpartition(":")
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        address = IPv4Address(0)
    return address, int(port)


def pcap(packets: Iterable[Packet]) -> bytes:
    """The file."""
    return _FILE.pack(MAGIC, *VERSION, 0, 0, SNAP_LENGTH, LINK_RAW) + b"".join(map(_record, packets))


def _record(packet: Packet) -> bytes:
    data = _ip(packet)
    seconds = int(packet.at.timestamp())
    return _RECORD.pack(seconds, packet.at.microsecond, len(data), len(data)) + data


def _ip(packet: Packet) -> bytes:
    (source, from_port), (destination, to_port) = packet.source, packet.destination
    data = packet.data[:DATAGRAM_LIMIT]
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        udp = _UDP.pack(from_port, to_port, 8 + len(data), 0) + data
        head = [0x45, 0, 20 + len(udp), 0, 0, 64, UDP, 0, source.packed, destination.packed]
        head[7] = _checksum(_IPV4.pack(*head))
        return _IPV4.pack(*head) + udp
    ends = _sixteen(source), _sixteen(destination)
    length = 8 + len(data)
    udp = _UDP.pack(from_port, to_port, length, 0) + data
    # RFC 8200 section 8.1: over IPv6 there is a checksum, of a pseudo-header too, and 0 is written as its complement.
    checksum = _checksum(ends[0] + ends[1] + struct.pack("!II", length, UDP) + udp) or 0xFFFF
    return _IPV6.pack(0x60000000, length, UDP, 64, *ends) + udp[:6] + checksum.to_bytes(2) + udp[8:]


def _sixteen(address: IPv4Address | IPv6Address) -> bytes:
    """An IPv4 address among IPv6 ones is mapped (RFC 4291 section 2.5.5.2)."""
    return address.packed if isinstance(address, IPv6Address) else b"\0" * 10 + b"\xff\xff" + address.packed


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
