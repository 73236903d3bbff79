"""G.711 by tables (ITU-T G.711): every code to its 16-bit value, every 16-bit sample to its code.

A code is sign, three bits of segment and four of mantissa. Mu-law works on 14 bits with a bias of 33 that makes the
segments continuous; A-law on 13 bits, with its even bits inverted on the line. The values here are those levels,
left-justified in 16 bits, as in the ITU's own reference software (G.191).
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from trunkline.codecs import CodecRow
from trunkline.media.codecs.codec import Codec, repeated

_SAMPLES = np.arange(-32768, 32768, dtype=np.int32)


def _segment(magnitude: NDArray[np.int32], lowest: int) -> NDArray[np.int32]:
    """How many of the thresholds `lowest`, 2 `lowest`, 4 `lowest`, … each magnitude has reached, 7 at most."""
    thresholds = lowest << np.arange(7, dtype=np.int32)
    return np.searchsorted(thresholds, magnitude, side="right").astype(np.int32)


def _ulaw_codes() -> NDArray[np.uint8]:
    negative = _SAMPLES < 0
    # G.191 takes the ones' complement of negative samples, which makes the characteristic symmetric about -1/2.
    magnitude = np.minimum((np.where(negative, ~_SAMPLES, _SAMPLES) >> 2) + 33, 0x1FFF).astype(np.int32)
    segment = _segment(magnitude, 64)
    mantissa = (magnitude >> (segment + 1)) & 0x0F
    codes: NDArray[np.uint8] = (~(segment << 4 | mantissa | np.where(negative, 0x80, 0)) & 0xFF).astype(np.uint8)
    return codes


def _alaw_codes() -> NDArray[np.uint8]:
    negative = _SAMPLES < 0
    magnitude = (np.where(negative, ~_SAMPLES, _SAMPLES) >> 4).astype(np.int32)
    segment = _segment(magnitude, 32)
    segment = np.where(magnitude >= 16, segment + 1, 0).astype(np.int32)
    mantissa = np.where(segment > 1, magnitude >> np.maximum(segment - 1, 0), magnitude) & 0x0F
    return ((segment << 4 | mantissa | np.where(negative, 0, 0x80)) ^ 0x55).astype(np.uint8)


def _ulaw_levels() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    level = (((2 * (code & 0x0F) + 33) << (code >> 4 & 7)) - 33) << 2
    return np.where(code & 0x80, -level, level).astype(np.int16)


def _alaw_levels() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = code >> 4 & 7
    mantissa = 2 * (code & 0x0F) + 1
    level = np.where(segment == 0, mantissa, (mantissa + 32) << np.maximum(segment - 1, 0)) << 3
    return np.where(code & 0x80, level, -level).astype(np.int16)


def _by_bits(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes in the order of the samples' bit patterns taken as unsigned: 0…32767, -32768…-1."""
    return np.roll(codes, 32768)


ULAW_LEVELS = _ulaw_levels()
"""16-bit value of each mu-law code."""
ALAW_LEVELS = _alaw_levels()
"""16-bit value of each A-law code."""
ULAW_CODES = _by_bits(_ulaw_codes())
"""Mu-law code of each 16-bit sample, by its bit pattern."""
ALAW_CODES = _by_bits(_alaw_codes())
"""A-law code of each 16-bit sample, by its bit pattern."""

ULAW_TO_ALAW = ALAW_CODES[ULAW_LEVELS.view(np.uint16)].tobytes()
"""For bytes.translate."""
ALAW_TO_ULAW = ULAW_CODES[ALAW_LEVELS.view(np.uint16)].tobytes()
"""For bytes.translate."""


def decoder(levels: NDArray[np.int16]) -> Callable[[bytes], bytes]:
    """Codes to 16-bit little-endian samples."""
    table = levels.astype("<i2")
    return lambda payload: table[np.frombuffer(payload, np.uint8)].tobytes()


def encoder(codes: NDArray[np.uint8]) -> Callable[[bytes], bytes]:
    """16-bit little-endian samples to codes."""
    return lambda pcm: codes[np.frombuffer(pcm, "<u2")].tobytes()


_LAWS = {
    "PCMU": (ULAW_LEVELS, ULAW_CODES, b"\xff", {"PCMA": ULAW_TO_ALAW}),
    "PCMA": (ALAW_LEVELS, ALAW_CODES, b"\xd5", {"PCMU": ALAW_TO_ULAW}),
}


def implement(row: CodecRow) -> Iterator[Codec]:
    """The codec of this row."""
    levels, codes, silence, tables = _LAWS[row.name]
    yield Codec(
        row.name,
        row.sample_rates[0],
        row.clock_rate(),
        bytes_per_ms=8,
        silence=repeated(silence, 8),
        decoder=lambda: decoder(levels),
        encoder=lambda: encoder(codes),
        tables=tables,
    )
