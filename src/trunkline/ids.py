"""Identifiers and units. Each is a distinct type, so that one cannot be passed where another is meant.

Nothing here draws randomness: the callers hand in the bytes (`secrets.token_bytes`), so that the call model and
its tests stay deterministic.
"""

import uuid
from base64 import urlsafe_b64encode
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

CALL_SID_BYTES = 38
"""Random bytes in a call sid: the length of Telnyx's own."""


def call_sid(random: bytes) -> CallSid:
    """A call sid from `CALL_SID_BYTES` random bytes."""
    return CallSid("v3:" + urlsafe_b64encode(random).rstrip(b"=").decode())


def random_uuid(random: bytes) -> str:
    """A version 4 UUID, lower-case, from 16 random bytes (RFC 4122 section 4.4)."""
    return str(uuid.UUID(bytes=random, version=4))
