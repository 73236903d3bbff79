"""SIP messages in the Homer Encapsulation Protocol, version 3 (HEP3), for Homer and other capture servers. Pure.

A packet is `HEP3`, its length, and chunks: vendor (0: the protocol's own), type, length, value (github.com/sipcapture/
HEP, revision 32).
"""

import struct
from collections.abc import Iterator
from datetime import datetime
from ipaddress import IPv6Address

from trunkline.sip.pcap import Place

PACKET_LIMIT = 65507
"""Bytes of one datagram over IPv4."""
SIP = 1
"""Protocol type."""
_HEAD = struct.Struct("!4sH")
_CHUNK = struct.Struct("!HHH")
_FAMILY, _PROTOCOL, _SOURCE_PORT, _DESTINATION_PORT, _SECONDS, _MICROSECONDS, _TYPE, _AGENT = 1, 2, 7, 8, 9, 10, 11, 12
_PASSWORD, _PAYLOAD = 14, 15
_IPV4, _IPV6 = 2, 10
_TCP, _UDP = 6, 17
_ADDRESSES = {_IPV4: (3, 4), _IPV6: (5, 6)}
"""Types of the source and the destination, by the family."""


def hep3(
    at: datetime, source: Place, destination: Place, transport: str, text: bytes, agent: int, password: str | None
) -> bytes:
    """One message as a packet. `agent` is the number of this server among those that send to one Homer. Raises
    ValueError for one that is too long."""
    chunks = b"".join(
        _CHUNK.pack(0, kind, _CHUNK.size + len(value)) + value
        for kind, value in _chunks(at, source, destination, transport, text, agent, password)
    )
    length = _HEAD.size + len(chunks)
    if length > PACKET_LIMIT:
        raise ValueError("too long for a datagram")
    return _HEAD.pack(b"HEP3", length) + chunks


def _chunks(
    at: datetime, source: Place, destination: Place, transport: str, text: bytes, agent: int, password: str | None
) -> Iterator[tuple[int, bytes]]:
    either = [address for address, _ in (source, destination)]
    family = _IPV6 if any(isinstance(address, IPv6Address) for address in either) else _IPV4
    yield _FAMILY, bytes([family])
    yield _PROTOCOL, bytes([_UDP if transport == "udp" else _TCP])
    for kind, address in zip(_ADDRESSES[family], either, strict=True):
        packed = address.packed
        mapped = family == _IPV6 and len(packed) == 4
        yield kind, b"\0" * 10 + b"\xff\xff" + packed if mapped else packed
    yield _SOURCE_PORT, struct.pack("!H", source[1])
    yield _DESTINATION_PORT, struct.pack("!H", destination[1])
    yield _SECONDS, struct.pack("!I", int(at.timestamp()))
    yield _MICROSECONDS, struct.pack("!I", at.microsecond)
    yield _TYPE, bytes([SIP])
    yield _AGENT, struct.pack("!I", agent)
    if password:
        yield _PASSWORD, password.encode()
    yield _PAYLOAD, text
