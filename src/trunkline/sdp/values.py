"""What an offer/answer exchange comes to: the values the other rooms share.

`MediaParams` is the whole outcome of a negotiation as a media leg needs it; nothing else about SDP leaves this room.
"""

from dataclasses import dataclass, field
from enum import StrEnum

TELEPHONE_EVENT = "telephone-event"
"""Key presses (RFC 4733), among what a payload type may stand for."""
COMFORT_NOISE = "CN"
"""Likewise (RFC 3389)."""


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
        """Whether audio may come in."""
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
    """How one audio stream is encrypted (RFC 4568); keys are master key and salt, 30 bytes."""

    suite: str
    """`AES_CM_128_HMAC_SHA1_80` or `…_32`."""
    tag: int
    """Of the crypto line that was taken."""
    ours: bytes = field(repr=False)
    """What we send with."""
    theirs: bytes = field(repr=False)
    """What the peer sends with."""


@dataclass(frozen=True, slots=True)
class MediaParams:
    """One negotiated audio stream, as seen from our side."""

    codec: str
    """What we send: `PCMU`, `PCMA`, `G722` or `OPUS`, one of `codecs.CALL_CODECS`."""
    payload_type: int
    """RTP payload type under which we send it: the peer's number (RFC 3264 section 5.1)."""
    ptime: int
    """Milliseconds of audio in each packet that we send."""
    remote: Endpoint
    """Where the peer's SDP says that media goes; port 0 when unknown yet (late offer), no host when it named one of
    which nobody knows where it is."""
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
    are the formats of both descriptions, under the numbers of either, and what was agreed earlier in the call, which
    may be on its way yet (RFC 3264 sections 5.1, 6.1, 8.3.2). `payload_type` and `dtmf_payload_type` are heard as well,
    unless they stand for something else here."""

    @property
    def on_hold(self) -> bool:
        """The peer does not want to hear us, or sends nothing: silence from it means nothing."""
        return self.direction is not Direction.SENDRECV


class SdpError(Exception):
    """The body is not SDP (RFC 8866), or breaks a bound. SIP answer: 400."""


class NotAcceptable(Exception):
    """Well-formed, but nothing in it that we can do. SIP answer: 488 with the text as the Warning."""
