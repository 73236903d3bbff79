"""System calls of the packet path, for `media/engine.py` and `streaming/socket.py` alone. This file is the reference.

`sockets.pyx` does the same in C, without an exception or an object that is not needed, where the project was compiled.
"""

import os
import select
from struct import Struct

from trunkline.speedups import DATAGRAM_LIMIT

_LONG_HEADER = Struct("!BBH")


def epoll_ready(epoll: select.epoll, most: int) -> list[int]:
    """Of the descriptors in this set those on which something has come: `most` of them, 64 if that is less. Does not
    wait."""
    return [fd for fd, _ in epoll.poll(0, min(most, 64))]


def receive(fd: int) -> bytes:
    """A datagram of a connected socket that does not block. Raises OSError, BlockingIOError when there is none."""
    return os.read(fd, DATAGRAM_LIMIT)


def send(fd: int, datagram: bytes) -> None:
    """A datagram to where the socket is connected to. Raises OSError."""
    os.write(fd, datagram)


def send_text(fd: int, message: bytes) -> bytes:
    """A client's WebSocket text frame (RFC 6455 section 5.2) with a message of less than 64 kB, to a TCP socket that
    does not block. What of the frame the socket did not take, for whatever reason; mostly nothing."""
    size, key = len(message), os.urandom(4)
    head = bytes((0x81, 0x80 | size)) if size < 126 else _LONG_HEADER.pack(0x81, 0x80 | 126, size)
    pad = (key * (size // 4 + 1))[:size]
    masked = (int.from_bytes(message) ^ int.from_bytes(pad)).to_bytes(size)
    frame = head + key + masked
    try:
        return frame[os.write(fd, frame) :]
    except OSError:
        return frame
