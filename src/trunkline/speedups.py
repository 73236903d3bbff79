"""Bytes to bytes: per-packet work that is slow in Python. This file is the reference.

In a compiled project (`setup.py`) `speedups.pyx` replaces it: the same in C. `tests/test_compiled.py` compares the two.
System calls are in `sockets.py`.
"""

from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from struct import Struct

DATAGRAM_LIMIT = 2048
"""Bytes read of one datagram. Voice packets are shorter than an Ethernet frame; one that fills this may be cut."""

_RTP_HEADER = Struct("!HHII")
_ENTRY = Struct("=q?HI")


unpack_rtp: Callable[[bytes], tuple[int, int, int, int]] = _RTP_HEADER.unpack_from
"""The fixed header (RFC 3550 section 5.1) of a datagram of at least twelve bytes: the first two bytes as one number,
sequence, timestamp, SSRC."""


def payload(datagram: bytes, start: int) -> bytes:
    """The bytes from `start` on, which is within the datagram or its end."""
    return datagram[start:]


def pack_rtp(first: int, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    """An RTP packet with this header; fields as in `unpack_rtp`."""
    return _RTP_HEADER.pack(first, sequence, timestamp, ssrc) + payload


def encode_media(prefix: bytes, sequence: int, chunk: int, timestamp: int, payload: bytes) -> bytes:
    """The WebSocket's `media` message (docs/reference/websocket.md#media) without spaces. `prefix`: what stands between
    sequence number and chunk, see `streaming.messages.media_prefix`."""
    return b'{"event":"media","sequence_number":"%d%b%d","timestamp":"%d","payload":"%b"}}' % (
        sequence,
        prefix,
        chunk,
        timestamp,
        b2a_base64(payload, newline=False),
    )


_MEDIA_HEADS = (b'{"event":"media","media":{"payload":"', b'{"event": "media", "media": {"payload": "')
"""The beginning of an app's plain `media` message, as JavaScript and Go write it, and as Python does."""


def decode_media_fast(message: bytes) -> bytes:
    """Fast path: payload of a plain `media` message; b"" means: use the full decoder."""
    for head in _MEDIA_HEADS:
        if message.startswith(head) and message.endswith(b'"}}'):
            encoded = message[len(head) : -3]
            try:
                payload = a2b_base64(encoded)
            except NotBase64:
                return b""
            return payload if b2a_base64(payload, newline=False) == encoded else b""
    return b""


ENTRY_SIZE = _ENTRY.size
"""Bytes of an entry's header in a journal."""


def pack_entry(journal: bytearray, start: int, at: int, outbound: bool, missing: int, payload: bytes) -> None:
    """Write an entry at `start`, where there is room for it: header and payload. The header is the leg's time (64
    bits), whether of the outbound track, the length of the payload (16 bits), the frames lost before it (32 bits)."""
    journal[start : start + ENTRY_SIZE + len(payload)] = _ENTRY.pack(at, outbound, len(payload), missing) + payload


unpack_entry: Callable[[bytearray, int], tuple[int, bool, int, int]] = _ENTRY.unpack_from
"""The header of the entry at an index of a journal: time, outbound, length of the payload, frames lost before it."""
