"""The outcome of an offer/answer exchange, as values that other rooms share.

`MediaParams` is what a media leg needs of a negotiation; nothing else about SDP leaves this room.
"""

from dataclasses import dataclass, field
from enum import StrEnum

TELEPHONE_EVENT = "telephone-event"
"""Key presses (RFC 4733), as the meaning of a payload type."""
COMFORT_NOISE = "CN"
"""Comfort noise (RFC 3389), as the meaning of a payload type."""


class Direction(StrEnum):
    """Our side's direction attribute (RFC 3264 section 6.1)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Whether we may send audio."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """Whether the peer may send audio."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A transport address: a literal IPv4 or IPv6 address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Encryption of one audio stream (RFC 4568); keys are master key and salt, 30 bytes."""

    suite: str
    """`AES_CM_128_HMAC_SHA1_80` or `…_32`."""
    tag: int
    """Tag of the crypto line that was taken."""
    ours: bytes = field(repr=False)
    """Key that protects what we send."""
    theirs: bytes = field(repr=False)
    """Key that protects what the peer sends."""


@dataclass(frozen=True, slots=True)
class MediaParams:
    """One negotiated audio stream, as seen from our side."""

    codec: str
    """What we send: `PCMU`, `PCMA`, `G722` or `OPUS`, one of `codecs.CALL_CODECS`."""
    payload_type: int
    """RTP payload type of what we send, of the peer's description (RFC 3264 section 5.1)."""
    ptime: int
    """Milliseconds of audio in each packet that we send."""
    remote: Endpoint
    """Media address of the peer's SDP; port 0 when not known yet (late offer), no host when its name did not
    resolve."""
    direction: Direction = Direction.SENDRECV
    dtmf_payload_type: int | None = None
    """RTP payload type of telephone-event (RFC 4733), None when not agreed."""
    remote_rtcp: Endpoint | None = None
    """From `a=rtcp` (RFC 3605); None means the port above `remote`'s."""
    rtcp_mux: bool = False
    """RTCP shares the RTP port (RFC 5761)."""
    srtp: SrtpKeys | None = None
    """None = not encrypted."""
    heard: tuple[tuple[int, str], ...] = ()
    """All that the peer may send: RTP payload types, and for each a codec, `TELEPHONE_EVENT` or `COMFORT_NOISE`. These
    are the formats of both descriptions, with the payload types of either, and formats agreed earlier in the call,
    whose packets may still arrive (RFC 3264 sections 5.1, 6.1, 8.3.2). `payload_type` and `dtmf_payload_type` are
    accepted too, unless they mean something else here."""

    @property
    def on_hold(self) -> bool:
        """The peer does not receive or does not send: its silence is no fault."""
        return self.direction is not Direction.SENDRECV


class SdpError(Exception):
    """The body is not SDP (RFC 8866), or exceeds a limit. SIP response: 400."""


class NotAcceptable(Exception):
    """Well-formed, but without acceptable audio. SIP response: 488 with the text as the Warning."""
