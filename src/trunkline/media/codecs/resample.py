"""Resampling, frame by frame, with exactly as many samples out as the duration has.

Rates whose ratio is L/M in lowest terms repeat their pattern each M samples in and L samples out. One such block of
output is a product of the input around it and a fixed matrix: a column per output sample, holding a low-pass filter (a
windowed sinc, `_SPAN` periods of the lower rate to either side) shifted by that sample's fraction of a period. All the
blocks of a frame are one matrix product. General resamplers return samples in lumps of 100 ms when given 20 ms at a
time, which a packet path cannot use.

Between 8, 16, 24 and 48 kHz each whole millisecond, and each Opus frame of 2.5 ms, is a whole number of blocks: n ms in
give n ms out in the same call. Otherwise what is short of a block waits for the next call. The delay is 16 periods of
the lower rate, 2 ms at 8 kHz; the pass band reaches 88 % of half the lower rate, and what would alias is down by 60 dB.
"""

from collections.abc import Callable
from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

_SPAN = 16
"""Periods of the lower rate that the filter reaches to either side."""
_BETA = 6.0
"""Of the Kaiser window: 60 dB."""


def _filters(up: int, down: int) -> NDArray[np.float64]:
    """Rows: the input samples that a block of output needs, the block's own `down` samples last. Columns: outputs."""
    period = max(1.0, down / up)  # of the lower rate, in input samples
    half = _SPAN * period
    # The last output of a block may lean on no sample behind the block.
    rows = ceil(half) + ceil(half + 1 - down / up) + down
    time = np.arange(up) * (down / up) + ceil(half) - np.arange(rows)[:, None]
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (time / half) ** 2, 0, None)))
    taps = np.where(np.abs(time) < half, np.sinc(time / period) * window, 0.0)
    filters: NDArray[np.float64] = taps / taps.sum(0)
    return filters


def resampler(source: int, target: int) -> Callable[[bytes], bytes]:
    """16-bit little-endian mono samples at `source` a second to `target`. Keeps the end of each frame for the next."""
    common = gcd(source, target)
    up, down = target // common, source // common
    filters = _filters(up, down)
    rows = len(filters)
    kept = np.zeros(rows - down)

    def resample(pcm: bytes) -> bytes:
        nonlocal kept
        signal = np.concatenate((kept, np.frombuffer(pcm, "<i2")), dtype=np.float64)
        blocks = (len(signal) - rows) // down + 1
        kept = signal[blocks * down :]
        around = np.ndarray((blocks, rows), np.float64, signal, 0, (8 * down, 8))
        samples: NDArray[np.int16] = np.clip(np.rint(np.dot(around, filters)), -32768, 32767).astype("<i2")
        return samples.tobytes()

    return resample
