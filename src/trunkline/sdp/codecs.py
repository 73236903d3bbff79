"""The codecs that our SDP can describe: one row each."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SdpCodec:
    """How a codec is called in SDP."""

    name: str
    """Its name in `media.codecs`."""
    payload_type: int
    """The static payload type (RFC 3551 section 6); from `DYNAMIC` on, the one that we offer."""
    encoding: str
    """Encoding name, RTP clock and channels, as `a=rtpmap` has them."""
    ptimes: tuple[int, ...] = (10, 20, 30, 40, 50, 60)
    """Milliseconds that we put into a packet: whole frames of 10 ms, up to what fits easily into one datagram."""


DYNAMIC = 96
"""Payload types from here on mean what `a=rtpmap` says and nothing without it."""

CODECS = {
    codec.name: codec
    for codec in (
        SdpCodec("PCMU", 0, "PCMU/8000"),
        SdpCodec("PCMA", 8, "PCMA/8000"),
        # The clock is 8000, though it samples at 16000 (RFC 3551 section 4.5.2).
        SdpCodec("G722", 9, "G722/8000"),
        # Always 48000 and two channels, whatever is in the packets (RFC 7587 section 7).
        SdpCodec("OPUS", 111, "opus/48000/2", (10, 20, 40, 60)),
    )
}

TELEPHONE_EVENTS = {8000: (101, "telephone-event/8000"), 48000: (110, "telephone-event/48000")}
"""RFC 4733, by the clock, which should be the audio's: the payload type that we offer, and what it is called. 101 is
what nearly everybody has."""


def telephone_event(codec: SdpCodec) -> tuple[int, str]:
    """The row of `TELEPHONE_EVENTS` whose clock is the codec's."""
    return TELEPHONE_EVENTS[int(codec.encoding.split("/")[1])]


def _spellings() -> Iterator[tuple[str, str]]:
    for encoding in [*(codec.encoding for codec in CODECS.values()), *(one for _, one in TELEPHONE_EVENTS.values())]:
        yield encoding, encoding
        if encoding.count("/") == 1:
            yield encoding.partition("/")[0], encoding
            yield f"{encoding}/1", encoding
    # The rate at which it samples, for the clock.
    yield from (("G722/16000", "G722/8000"), ("G722/16000/1", "G722/8000"))


_CANONICAL: dict[str, str] = {}
for _spelling, _encoding in _spellings():
    _CANONICAL.setdefault(_spelling.lower(), _encoding)


def canonical(encoding: str) -> str:
    """The value of an `a=rtpmap` without its payload type, as our tables write it, however a device may: in another
    case, with one channel named, without the clock, or with G.722's rate as its clock. What is in no table stays."""
    return _CANONICAL.get("".join(encoding.split()).lower().removesuffix("/"), encoding)
