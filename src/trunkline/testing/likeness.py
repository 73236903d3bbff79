"""Whether a sound is in a recording: a tone by its frequency, other audio by what it looks like piece by piece.

All PCM is 16-bit little-endian mono. A codec, a resampler and a jitter buffer change samples, levels and small shifts
in time, but not the shape of 200 ms of speech.
"""

import numpy as np
from numpy.typing import NDArray

PIECE_MS = 200
"""Length of what is compared at once."""
ALIKE = 0.6
"""Correlation from which a piece counts as found."""
ENOUGH = 0.6
"""Share of the pieces that must be found."""
QUIET = 0.1
"""Share of the average power below which a piece is no sound, and is not looked for."""
TONE_SHARE = 0.3
"""Share of the power that a tone has around its frequency."""
TONE_WIDTH = 0.03
"""Half the width of what counts as the tone, as a share of its frequency."""

Samples = NDArray[np.float64]


def samples(pcm: bytes) -> Samples:
    """PCM as numbers."""
    return np.frombuffer(pcm[: len(pcm) & ~1], "<i2").astype(np.float64)


def has_tone(pcm: bytes, rate: int, frequency: float) -> bool:
    """Whether some piece of the audio is that tone."""
    size = rate * PIECE_MS // 1000
    signal = samples(pcm)
    window = np.hanning(size)
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    near = np.abs(frequencies - frequency) <= max(frequency * TONE_WIDTH, 1.5 * rate / size)
    for start in range(0, len(signal) - size + 1, size // 2):
        power = np.abs(np.fft.rfft(signal[start : start + size] * window)) ** 2
        total = float(power.sum())
        loud = float(np.mean(signal[start : start + size] ** 2)) > 100.0**2
        if loud and float(power[near].sum()) > TONE_SHARE * total and near[int(np.argmax(power))]:
            return True
    return False


def likeness(pcm: bytes, wanted: bytes, rate: int) -> float:
    """Share of the wanted sound's pieces that are in the audio, 0 to 1."""
    size = rate * PIECE_MS // 1000
    signal, sound = samples(pcm), samples(wanted)
    pieces = [sound[start : start + size] for start in range(0, max(1, len(sound) - size + 1), size)]
    power = float(np.mean(sound * sound)) if len(sound) else 0.0
    loud = [piece for piece in pieces if len(piece) and float(np.mean(piece * piece)) > QUIET * power]
    if not loud or not len(signal):
        return 0.0
    return sum(_found(signal, piece) for piece in loud) / len(loud)


def _found(signal: Samples, piece: Samples) -> bool:
    """Whether some place of the signal has the shape of the piece."""
    if len(signal) < len(piece):
        return False
    length = 1 << (len(signal) + len(piece) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(signal, length) * np.conj(np.fft.rfft(piece, length)), length)
    product = product[: len(signal) - len(piece) + 1]
    squares = np.concatenate(([0.0], np.cumsum(signal * signal)))
    energy = squares[len(piece) :] - squares[: -len(piece)]
    # Where there is next to nothing, rounding errors would look like anything.
    floor = max(float(energy.max()) * 1e-4, 1.0)
    alike = product / np.sqrt(np.maximum(energy, floor) * float(np.sum(piece * piece)))
    return bool(float(alike.max()) >= ALIKE)
