"""Identifiers, numbers and units. Each is a distinct type, so that one cannot be passed where another is meant.

Nothing here draws randomness: the callers hand in the bytes (`secrets.token_bytes`), so that the call model and
its tests stay deterministic.
"""

import re
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NewType

AccountSid = NewType("AccountSid", str)
"""A UUID. Telnyx shows the same value as `user_id`."""

CallSid = NewType("CallSid", str)
"""`v3:` + url-safe base64. Telnyx shows the same value as `call_control_id`."""

CallSessionId = NewType("CallSessionId", str)
"""A UUID shared by all legs of one call."""

StreamSid = NewType("StreamSid", str)
"""A lower-case UUID. `stream_id` on the WebSocket, `sid` in REST, `StreamSid` in callbacks."""

LegId = NewType("LegId", int)
"""One media leg, unique within the control process's life."""

Ssrc = NewType("Ssrc", int)
PayloadType = NewType("PayloadType", int)
RtpTime = NewType("RtpTime", int)
"""RTP timestamp units (8000 per second for PCMU, PCMA and, by RFC 3551 section 4.5.2, G722), modulo 2**32."""

Seconds = NewType("Seconds", float)
"""A point on, or a distance along, the monotonic clock."""

Life = NewType("Life", bytes)
"""One run of a server, from its start to its end: `LIFE_BYTES`, never used again. What it makes carries them."""

LIFE_BYTES = 6
"""12 bits for a cell of servers, which is 0 so far, and 36 random ones: 8 characters of base64."""
CALL_SID_RANDOM = 34
"""Random bytes in a call sid, which has the length of Telnyx's own."""


def new_life(random: bytes) -> Life:
    """A life from 5 random bytes."""
    return Life(bytes((0, random[0] & 0x0F, *random[1:])))


def life_name(life: Life) -> str:
    """A life as it stands in the store, in logs and in call sids, `sid[3:11]`: 8 characters."""
    return urlsafe_b64encode(life).decode()


def call_sid(life: Life, random: bytes) -> CallSid:
    """A call sid from `CALL_SID_RANDOM` random bytes."""
    return CallSid("v3:" + urlsafe_b64encode(life + random).rstrip(b"=").decode())


def recording_sid(life: Life, random: bytes) -> str:
    """A version 8 UUID (RFC 9562 section 5.8), lower-case, that begins with the life; from 16 random bytes."""
    rest = bytearray(random[LIFE_BYTES:16])
    rest[0] = 0x80 | rest[0] & 0x0F
    rest[2] = 0x80 | rest[2] & 0x3F
    return str(uuid.UUID(bytes=life + bytes(rest)))


_END_EVENTS = uuid.UUID("2f1b1c1e-5d55-5e0b-8a55-6f8c7e1d9a43")


def end_event_id(sid: str) -> str:
    """The id of the event that ends a stream or a call: always the same, so that it is stored once."""
    return str(uuid.uuid5(_END_EVENTS, sid))


def random_uuid(random: bytes) -> str:
    """A version 4 UUID, lower-case, from 16 random bytes (RFC 4122 section 4.4)."""
    return str(uuid.UUID(bytes=random, version=4))


@dataclass(frozen=True, slots=True)
class Ids:
    """How a face names calls and streams."""

    call: Callable[[Life, bytes], CallSid]
    call_bytes: int
    """How many random bytes `call` takes."""
    stream: Callable[[bytes], StreamSid]
    """From 16 random bytes."""


@dataclass(frozen=True, slots=True)
class IdsOfLife:
    """Names what one life makes. All take random bytes."""

    face: Ids
    life: Life

    def call(self, random: bytes) -> CallSid:
        """From `face.call_bytes`."""
        return self.face.call(self.life, random)

    def stream(self, random: bytes) -> StreamSid:
        """From 16."""
        return self.face.stream(random)

    def recording(self, random: bytes) -> str:
        """From 16."""
        return recording_sid(self.life, random)


LEAST_DIGITS = 7
"""Of a number with separators that nothing marks as one, neither a `+` nor where it comes from: `100-200` may be a
name."""
_SEPARATORS = str.maketrans("", "", "-.() ")
_NUMBER = re.compile(r"\+?[0-9*#]*[0-9][0-9*#]*")


def plain_number(text: str, *, marked: bool = False) -> str:
    """A telephone number without what is only there to be read: `-`, `.`, brackets and spaces (RFC 3966 section 5.1.1);
    a `+` counts. A name, or an IP address, is given back as it is. `marked`: where it comes from, it is a number."""
    bare = text.translate(_SEPARATORS)
    if bare == text or not _NUMBER.fullmatch(bare):
        return text
    return bare if marked or bare[0] == "+" or (len(bare) >= LEAST_DIGITS and not _is_address(text)) else text


def matches(pattern: str, number: str) -> bool:
    """Whether a pattern matches the whole of a number. Linear in both: numbers come from untrusted peers."""
    first, *rest = pattern.split("*")
    if not rest:
        return number == first
    if not number.startswith(first):
        return False
    *middle, last = rest
    at = len(first)
    for part in middle:
        found = number.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return number.endswith(last) and at <= len(number) - len(last)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
