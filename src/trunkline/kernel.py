"""What the packet path does per packet that Python is slow at: a few functions, here in Python.

Where a C compiler was at hand when the project was installed, `kernel.pyx` takes the place of this file and does the
same in C; the other modules of the packet path (`setup.py` names them) are then compiled as they are. This file says
what is right: `tests/test_compiled.py` compares the two.
"""

import os
import select
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from struct import Struct

DATAGRAM_LIMIT = 2048
"""Bytes read of one datagram. Voice packets are far below an Ethernet frame; one that fills this may be cut short."""

_RTP_HEADER = Struct("!HHII")
_LONG = Struct("!BBH")
_NOTE = Struct("=q?HI")


def ready(epoll: select.epoll, most: int) -> list[int]:
    """Of the descriptors in this set those on which something has come: `most` of them, 64 if that is less. Does not
    wait."""
    return [fd for fd, _ in epoll.poll(0, min(most, 64))]


def receive(fd: int) -> bytes:
    """A datagram of a connected socket that does not block. Raises OSError, BlockingIOError when there is none."""
    return os.read(fd, DATAGRAM_LIMIT)


def send(fd: int, datagram: bytes) -> None:
    """A datagram to where the socket is connected to. Raises OSError."""
    os.write(fd, datagram)


unpack_rtp: Callable[[bytes], tuple[int, int, int, int]] = _RTP_HEADER.unpack_from
"""The fixed header (RFC 3550 section 5.1) of a datagram of at least twelve bytes: the first two bytes as one number,
sequence, timestamp, SSRC."""


def payload(datagram: bytes, start: int) -> bytes:
    """What begins at this byte, which is within the datagram or its end."""
    return datagram[start:]


def pack_rtp(first: int, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    """A packet with this header, the fields as in `unpack_rtp`."""
    return _RTP_HEADER.pack(first, sequence, timestamp, ssrc) + payload


def media(middle: bytes, sequence: int, chunk: int, timestamp: int, payload: bytes) -> bytes:
    """The WebSocket's `media` message (spec section 2.2), compact, its keys in the documented order. `middle`: what
    stands between sequence number and chunk, see `streaming.messages.media_middle`."""
    return b'{"event":"media","sequence_number":"%d%b%d","timestamp":"%d","payload":"%b"}}' % (
        sequence,
        middle,
        chunk,
        timestamp,
        b2a_base64(payload, newline=False),
    )


def send_text(fd: int, message: bytes) -> bytes:
    """A client's WebSocket text frame (RFC 6455 section 5.2) with a message of less than 64 kB, to a TCP socket that
    does not block. What of the frame the socket did not take, for whatever reason; mostly nothing."""
    size, key = len(message), os.urandom(4)
    head = bytes((0x81, 0x80 | size)) if size < 126 else _LONG.pack(0x81, 0x80 | 126, size)
    pad = (key * (size // 4 + 1))[:size]
    masked = (int.from_bytes(message) ^ int.from_bytes(pad)).to_bytes(size)
    frame = head + key + masked
    try:
        return frame[os.write(fd, frame) :]
    except OSError:
        return frame


_SPOKEN = (b'{"event":"media","media":{"payload":"', b'{"event": "media", "media": {"payload": "')
"""How an app's `media` message begins that holds nothing else: as JavaScript and Go write it, and as Python does."""


def spoken(message: bytes) -> bytes:
    """The audio of an app's `media` message, if this is one as nearly all are written; else nothing, which says nothing
    about the message."""
    for head in _SPOKEN:
        if message.startswith(head) and message.endswith(b'"}}'):
            encoded = message[len(head) : -3]
            try:
                payload = a2b_base64(encoded)
            except NotBase64:
                return b""
            return payload if b2a_base64(payload, newline=False) == encoded else b""
    return b""


NOTE_SIZE = _NOTE.size
"""Bytes before a frame in a journal."""


def write_note(journal: bytearray, start: int, at: int, outbound: bool, missing: int, payload: bytes) -> None:
    """Put a frame at `start`, where there is room for it, behind a note of it: the leg's time (64 bits), whether of the
    outbound track, the payload's bytes (16), the frames lost before it (32)."""
    journal[start : start + NOTE_SIZE + len(payload)] = _NOTE.pack(at, outbound, len(payload), missing) + payload


read_note: Callable[[bytearray, int], tuple[int, bool, int, int]] = _NOTE.unpack_from
"""The note that begins at an index of a journal: time, outbound, bytes of the payload, frames lost before it."""
