"""The codecs' formats with their encoders and decoders, and the conversion from any to any.

Between two formats lies 16-bit little-endian mono PCM at the format's own sample rate. Equal formats need no conversion
and the two laws of G.711 convert byte by byte; other audio is decoded, resampled and encoded. A transcoder keeps the
state of its codecs and filters, so each direction of each stream has one of its own. Each payload gives exactly one
payload of the same duration; Opus, which has no packets of 30 and 50 ms, gives one for two of them.

What a codec is called and where it may be used stands in `trunkline/codecs.py`; each of its rows names the module of
this folder that implements it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from trunkline.codecs import CODEC_TABLE
from trunkline.media.codecs.codec import Codec, Convert, UndecodablePacket
from trunkline.media.codecs.resample import resampler

__all__ = ["CODECS", "Codec", "Transcoder", "UndecodablePacket", "socket_codec", "transcoder"]


def _formats() -> Iterator[Codec]:
    for row in CODEC_TABLE.values():
        yield from import_module(f"{__name__}.{row.module}").implement(row)


CODECS = {codec.name: codec for codec in _formats()}
"""By name."""


def socket_codec(name: str, endian: Literal["little", "big"]) -> str:
    """The format for what a stream calls `name`: `L16/8000` has two byte orders."""
    big = f"{name}/big"
    return big if endian == "big" and big in CODECS else name


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
    if (table := source.tables.get(dst)) is not None:
        return Transcoder(lambda payload: payload.translate(table))
    decode, encode = source.decoder(), target.encoder()
    if source.sample_rate == target.sample_rate:
        return Transcoder(lambda payload: encode(decode(payload)))
    resample = resampler(source.sample_rate, target.sample_rate)
    return Transcoder(lambda payload: encode(resample(decode(payload))))
