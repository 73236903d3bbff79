"""The codecs: a table with a row each, and the way from any to any.

Between two codecs lies 16-bit little-endian mono PCM at the codec's own sample rate. Equal codecs need nothing and the
two laws of G.711 convert code by code; the rest is decoded, brought to the other rate and encoded. A transcoder
keeps the state that its codecs and filters need, so each direction of each stream has one of its own. Each payload
gives exactly one payload of the same duration; Opus, which has no packets of 30 and 50 ms, gives one for two of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from trunkline.media.codecs import g711, g722, l16, opus
from trunkline.media.codecs.opus import UndecodablePacket
from trunkline.media.codecs.resample import resampler

__all__ = ["CODECS", "Codec", "Transcoder", "UndecodablePacket", "socket_codec", "transcoder"]

Convert = Callable[[bytes], bytes]


def _repeat(pattern: bytes, bytes_per_ms: int) -> Callable[[int], bytes]:
    """Silence is `pattern`, whose length divides every payload's, over and over."""
    return lambda ptime: pattern * (bytes_per_ms * ptime // len(pattern))


@dataclass(frozen=True, slots=True)
class Codec:
    """One row."""

    name: str
    """The RTP payload name, which is also the API's spelling. L16 is a row per rate and byte order."""
    sample_rate: int
    """Of the audio, per second."""
    clock_rate: int
    """Of RTP timestamps, per second, and what `media_format` shows; 8000 for G722 too (RFC 3551 section 4.5.2)."""
    bytes_per_ms: int
    """0: not a whole number, or a payload is a packet; cannot be joined and cut."""
    silence: Callable[[int], bytes]
    """A payload of so many ms of silence."""
    decoder: Callable[[], Convert]
    """Makes payload -> PCM. What it makes may raise UndecodablePacket."""
    encoder: Callable[[], Convert]
    """Makes PCM -> payload."""
    queued_as: str | None = None
    """The codec in which this one's audio is joined and cut, when it cannot be itself."""
    samples: Callable[[bytes], int] | None = None
    """How many a payload holds, where a payload is a packet. May raise UndecodablePacket."""
    remembers: bool = False
    """What a payload means depends on those before it, so that none can be made anew or left out unnoticed."""


def _l16(rate: int, order: Literal["little", "big"]) -> Codec:
    convert: Convert = bytes if order == "little" else l16.swap
    return Codec(
        f"L16/{rate}" if order == "little" else f"L16/{rate}/big",
        sample_rate=rate,
        clock_rate=rate,
        bytes_per_ms=0 if rate % 1000 else rate // 500,
        silence=lambda ptime: bytes(rate * ptime // 1000 * 2),
        decoder=(lambda: l16.joiner(convert)) if rate % 1000 else lambda: convert,
        encoder=lambda: convert,
        queued_as="L16/24000" if rate % 1000 else None,
    )


CODECS = {
    codec.name: codec
    for codec in (
        Codec(
            "PCMU",
            sample_rate=8000,
            clock_rate=8000,
            bytes_per_ms=8,
            silence=_repeat(b"\xff", 8),
            decoder=lambda: g711.decoder(g711.ULAW_LEVELS),
            encoder=lambda: g711.encoder(g711.ULAW_CODES),
        ),
        Codec(
            "PCMA",
            sample_rate=8000,
            clock_rate=8000,
            bytes_per_ms=8,
            silence=_repeat(b"\xd5", 8),
            decoder=lambda: g711.decoder(g711.ALAW_LEVELS),
            encoder=lambda: g711.encoder(g711.ALAW_CODES),
        ),
        Codec(
            "G722",
            sample_rate=16000,
            clock_rate=8000,
            bytes_per_ms=8,
            silence=_repeat(g722.SILENCE, 8),
            decoder=g722.decoder,
            encoder=g722.encoder,
            remembers=True,
        ),
        Codec(
            "OPUS",
            sample_rate=opus.RATE,
            clock_rate=opus.RATE,
            bytes_per_ms=0,
            silence=opus.silence,
            decoder=opus.decoder,
            encoder=opus.encoder,
            queued_as="L16/48000",
            samples=opus.samples,
            remembers=True,
        ),
        *(_l16(rate, order) for rate in (8000, 16000, 22050, 24000, 48000) for order in ("little", "big")),
    )
}
"""By name."""

_DIRECT = {("PCMU", "PCMA"): g711.ULAW_TO_ALAW, ("PCMA", "PCMU"): g711.ALAW_TO_ULAW}


def socket_codec(name: str, endian: Literal["little", "big"]) -> str:
    """The row for what a stream's format calls `name`: `L16/8000` may mean either byte order."""
    return f"{name}/big" if endian == "big" and name.startswith("L16/") else name


@dataclass(frozen=True, slots=True)
class Transcoder:
    """The way from one codec to another."""

    convert: Convert
    """One payload in, one payload out; in order, as state is kept."""


def converter(src: str, dst: str) -> Convert | None:
    """A `transcoder`'s way; None where there is nothing to do, which then costs nothing."""
    return None if CODECS[src] is CODECS[dst] else transcoder(src, dst).convert


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
    resample = resampler(source.sample_rate, target.sample_rate)
    return Transcoder(lambda payload: encode(resample(decode(payload))))
