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

CALL_SID_BYTES = 40
"""Random bytes in a call sid: the length of Telnyx's own."""


def call_sid(random: bytes) -> CallSid:
    """A call sid from `CALL_SID_BYTES` random bytes."""
    return CallSid("v3:" + urlsafe_b64encode(random).rstrip(b"=").decode())


def random_uuid(random: bytes) -> str:
    """A version 4 UUID, lower-case, from 16 random bytes (RFC 4122 section 4.4)."""
    return str(uuid.UUID(bytes=random, version=4))


@dataclass(frozen=True, slots=True)
class Ids:
    """How a face names calls and streams. Both functions take random bytes."""

    call: Callable[[bytes], CallSid]
    call_bytes: int
    """How many bytes `call` takes."""
    stream: Callable[[bytes], StreamSid]
    """From 16 bytes."""


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
