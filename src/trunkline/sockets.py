"""System calls of the packet path, for `media/engine.py` and `streaming/socket.py` only. This file is the reference.

In a compiled project `sockets.pyx` replaces it: the same in C, without unneeded exceptions and objects.
"""

import os
from struct import Struct

from trunkline.portable import Poller
from trunkline.speedups import DATAGRAM_LIMIT

_LONG_HEADER = Struct("!BBH")


def ready(poller: Poller, most: int) -> list[int]:
    """Descriptors of this set that are ready, at most `most` and at most 64. Does not wait."""
    return [fd for fd, _ in poller.poll(0, min(most, 64))]


def receive(fd: int) -> bytes:
    """A datagram of a connected non-blocking socket. Raises OSError; BlockingIOError when there is none."""
    return os.read(fd, DATAGRAM_LIMIT)


def send(fd: int, datagram: bytes) -> None:
    """Send a datagram on a connected socket. Raises OSError."""
    os.write(fd, datagram)


def send_text(fd: int, message: bytes) -> bytes:
    """Send a message of less than 64 kB as a masked WebSocket text frame (RFC 6455 section 5.2) on a non-blocking TCP
    socket. Returns the part of the frame that was not sent, for any reason; mostly empty."""
    size, key = len(message), os.urandom(4)
    head = bytes((0x81, 0x80 | size)) if size < 126 else _LONG_HEADER.pack(0x81, 0x80 | 126, size)
    pad = (key * (size // 4 + 1))[:size]
    masked = (int.from_bytes(message) ^ int.from_bytes(pad)).to_bytes(size)
    frame = head + key + masked
    try:
        return frame[os.write(fd, frame) :]
    except OSError:
        return frame
