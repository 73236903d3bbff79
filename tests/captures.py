"""Reads the captures that come with sipp (Debian: sip-tester): real RTP of other software."""

import struct
from collections.abc import Iterator
from pathlib import Path

DIRECTORY = Path("/usr/share/sip-tester")


def read_capture(name: str) -> list[tuple[float, bytes]]:
    """Seconds and UDP payload of each packet of a capture of Ethernet frames."""
    return list(_packets((DIRECTORY / name).read_bytes()))


def _packets(data: bytes) -> Iterator[tuple[float, bytes]]:
    offset = 24
    while offset + 16 <= len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, offset)
        frame = data[offset + 16 : offset + 16 + length]
        offset += 16 + length
        ip = frame[14:]
        udp = ip[4 * (ip[0] & 15) :]
        (udp_length,) = struct.unpack_from("!H", udp, 4)
        yield seconds + micros / 1e6, udp[8:udp_length]
