"""The codecs that our SDP can describe: one row each (RFC 3551 section 6)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SdpCodec:
    """How a codec is called in SDP."""

    name: str
    """Encoding name, also its name in `media.codecs`."""
    payload_type: int
    """The static payload type."""
    clock_rate: int
    """RTP clock in Hz; for G722 this is 8000 by RFC 3551 section 4.5.2, though it samples at 16000."""


CODECS = {
    codec.name: codec
    for codec in (
        SdpCodec("PCMU", 0, 8000),
        SdpCodec("PCMA", 8, 8000),
        SdpCodec("G722", 9, 8000),
    )
}

TELEPHONE_EVENT = SdpCodec("telephone-event", 101, 8000)
"""RFC 4733. It has no static payload type: 101 is what we offer, and what nearly everybody does."""
