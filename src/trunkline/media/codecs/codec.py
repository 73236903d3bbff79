"""A codec's encoder and decoder, as the modules of this folder give them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Convert = Callable[[bytes], bytes]


class UndecodablePacket(ValueError):
    """A payload that its codec cannot decode."""


def repeated(pattern: bytes, bytes_per_ms: int) -> Callable[[int], bytes]:
    """Silence of a repeated `pattern`, whose length divides that of every payload."""
    return lambda ptime: pattern * (bytes_per_ms * ptime // len(pattern))


@dataclass(frozen=True, slots=True)
class Codec:
    """One format of a codec: a codec that has several sample rates or byte orders has a format for each."""

    name: str
    """The codec's name; of a codec with several sample rates with the rate, and with the byte order unless it is
    little: `PCMU`, `L16/16000`, `L16/16000/big`."""
    sample_rate: int
    """Of the audio, in Hz."""
    clock_rate: int
    """Of RTP timestamps, in Hz; `sample_rate` of `media_format`."""
    bytes_per_ms: int
    """0: not a whole number, or a payload is a packet; payloads cannot be joined and cut."""
    silence: Callable[[int], bytes]
    """A payload of so many ms of silence."""
    decoder: Callable[[], Convert]
    """Makes payload -> PCM. What it makes may raise UndecodablePacket."""
    encoder: Callable[[], Convert]
    """Makes PCM -> payload."""
    queued_as: str | None = None
    """The format in which this one's audio is joined and cut, when it cannot be itself."""
    samples: Callable[[bytes], int] | None = None
    """Samples in a payload, where a payload is a packet. May raise UndecodablePacket."""
    remembers: bool = False
    """A payload depends on those before it, so that none can be made or left out without a trace."""
    tables: Mapping[str, bytes] = field(default_factory=dict)
    """Formats to which a payload converts byte by byte: tables for `bytes.translate`."""
