"""The codecs: a table with a row each, and the way from any to any.

Between two codecs lies 16-bit little-endian mono PCM at the codec's own sample rate. Equal codecs need nothing and the
two laws of G.711 convert code by code; the rest is decoded, brought to the other rate and encoded. A transcoder
keeps the state that its codecs and filters need, so each direction of each stream has one of its own. Each payload
gives exactly one payload of the same duration.
"""

from collections.abc import Callable
from dataclasses import dataclass

from trunkline.media.codecs import g711, g722
from trunkline.media.codecs.halfband import doubler, halver

Convert = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Codec:
    """One row."""

    name: str
    """The RTP payload name, which is also the API's spelling."""
    payload_type: int
    """Static RTP payload type (RFC 3551 section 6)."""
    sample_rate: int
    """Of the audio, per second."""
    clock_rate: int
    """Of RTP timestamps, per second; 8000 for G722 too (RFC 3551 section 4.5.2)."""
    bytes_per_ms: int
    silence_pattern: bytes
    """Silence is this, repeated; its length divides every payload's."""
    decoder: Callable[[], Convert]
    """Makes payload -> PCM."""
    encoder: Callable[[], Convert]
    """Makes PCM -> payload."""

    def silence(self, ptime: int) -> bytes:
        """A payload of `ptime` ms of silence."""
        return self.silence_pattern * (self.bytes_per_ms * ptime // len(self.silence_pattern))


CODECS = {
    codec.name: codec
    for codec in (
        Codec(
            "PCMU",
            payload_type=0,
            sample_rate=8000,
            clock_rate=8000,
            bytes_per_ms=8,
            silence_pattern=b"\xff",
            decoder=lambda: g711.decoder(g711.ULAW_LEVELS),
            encoder=lambda: g711.encoder(g711.ULAW_CODES),
        ),
        Codec(
            "PCMA",
            payload_type=8,
            sample_rate=8000,
            clock_rate=8000,
            bytes_per_ms=8,
            silence_pattern=b"\xd5",
            decoder=lambda: g711.decoder(g711.ALAW_LEVELS),
            encoder=lambda: g711.encoder(g711.ALAW_CODES),
        ),
        Codec(
            "G722",
            payload_type=9,
            sample_rate=16000,
            clock_rate=8000,
            bytes_per_ms=8,
            silence_pattern=g722.SILENCE,
            decoder=g722.decoder,
            encoder=g722.encoder,
        ),
    )
}
"""By name."""

_DIRECT = {("PCMU", "PCMA"): g711.ULAW_TO_ALAW, ("PCMA", "PCMU"): g711.ALAW_TO_ULAW}

_RESAMPLERS: dict[tuple[int, int], Callable[[], Convert]] = {(8000, 16000): doubler, (16000, 8000): halver}


@dataclass(frozen=True, slots=True)
class Transcoder:
    """The way from one codec to another."""

    convert: Convert
    """One payload in, one payload out; in order, as state is kept."""


def transcoder(src: str, dst: str) -> Transcoder:
    """From codec `src` to codec `dst`, by name. Raises KeyError for a name that is not in `CODECS`."""
    source, target = CODECS[src], CODECS[dst]
    if source is target:
        return Transcoder(bytes)
    if (src, dst) in _DIRECT:
        table = _DIRECT[src, dst]
        return Transcoder(lambda payload: payload.translate(table))
    decode, encode = source.decoder(), target.encoder()
    if source.sample_rate == target.sample_rate:
        return Transcoder(lambda payload: encode(decode(payload)))
    resample = _RESAMPLERS[source.sample_rate, target.sample_rate]()
    return Transcoder(lambda payload: encode(resample(decode(payload))))
