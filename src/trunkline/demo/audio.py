"""The demo's sound: distinguishable speech-like µ-law frames, and finding tones and frames in received audio.

Every frame of `speech` carries its own number in the low bits of its first bytes, a change no ear notices, so that a
frame is recognised anywhere by equality of its 160 bytes. G.711 µ-law: ITU-T G.711 table 2.
"""

import os
import tempfile
import wave
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

RATE = 8000
"""Samples, and bytes of µ-law, per second."""
FRAME_MS = 20
FRAME_BYTES = RATE * FRAME_MS // 1000
TONE_HZ = 440.0
_NUMBER_BITS = 16


def _expand(code: int) -> int:
    """One µ-law code to a 16-bit sample."""
    inverted = ~code & 0xFF
    magnitude = ((((inverted & 0x0F) << 3) + 0x84) << (inverted >> 4 & 0x07)) - 0x84
    return -magnitude if inverted & 0x80 else magnitude


_EXPANDED = np.array([_expand(code) for code in range(256)], dtype=np.float64)
_CODES = np.array(sorted((code for code in range(256) if code != 0x7F), key=_expand), dtype=np.uint8)
"""All codes by rising sample; 0x7F is the second zero."""
_MIDDLES = (_EXPANDED[_CODES][1:] + _EXPANDED[_CODES][:-1]) / 2


def decode(payload: bytes) -> Samples:
    """µ-law bytes to samples of ±32124."""
    return _EXPANDED[np.frombuffer(payload, dtype=np.uint8)]


def encode(samples: Samples) -> bytes:
    """Samples of ±32124 to the nearest µ-law bytes."""
    return _CODES[np.searchsorted(_MIDDLES, samples)].tobytes()


def split(payload: bytes) -> list[bytes]:
    """Whole frames of a longer payload."""
    return [payload[at : at + FRAME_BYTES] for at in range(0, len(payload) - FRAME_BYTES + 1, FRAME_BYTES)]


def speech(frames: int) -> list[bytes]:
    """So many 20 ms frames of babble: gliding harmonics through three moving formants, in syllables, no two alike.

    At most 65536, for the number that each carries.
    """
    t = np.arange(frames * FRAME_BYTES) / RATE
    pitch = 120 + 25 * np.sin(2 * np.pi * 0.31 * t) + 8 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = (
        (550 + 200 * np.sin(2 * np.pi * 1.7 * t), 90, 1.0),
        (1500 + 500 * np.sin(2 * np.pi * 1.1 * t), 140, 0.5),
        (2600 + 200 * np.sin(2 * np.pi * 0.7 * t), 200, 0.25),
    )
    voice = np.zeros_like(t)
    for harmonic in range(1, 25):
        hertz = harmonic * pitch
        gain = sum(weight / (1 + ((hertz - centre) / width) ** 2) for centre, width, weight in formants)
        voice += gain * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3.8 * t) + 0.4 * np.sin(2 * np.pi * 0.9 * t), 0, 1)
    loud = encode(12000 * voice * syllables / max(1e-9, float(np.abs(voice).max(initial=0))))
    return [_numbered(frame, number) for number, frame in enumerate(split(loud))]


def _numbered(frame: bytes, number: int) -> bytes:
    """The frame with its number in the low bits of its first 16 bytes."""
    low = bytes((frame[bit] & 0xFE) | (number >> bit & 1) for bit in range(_NUMBER_BITS))
    return low + frame[_NUMBER_BITS:]


def tone(milliseconds: int, hertz: float = TONE_HZ) -> bytes:
    """A sine at half of full scale, µ-law."""
    t = np.arange(RATE * milliseconds // 1000) / RATE
    return encode(16000 * np.sin(2 * np.pi * hertz * t))


def level(payload: bytes) -> float:
    """Root mean square of a µ-law payload in dB below full scale; -96 for silence."""
    rms = float(np.sqrt(np.mean(decode(payload) ** 2))) if payload else 0.0
    return max(-96.0, 20 * float(np.log10(max(rms, 1e-3) / 32124)))


def is_tone(frame: bytes, hertz: float = TONE_HZ) -> bool:
    """Whether nearly all of an audible frame's power is at `hertz` (one bin of a Fourier transform, as Goertzel's)."""
    samples = decode(frame)
    power = float(np.sum(samples**2))
    if power < len(samples) * 500**2:
        return False
    wave = np.exp(-2j * np.pi * hertz / RATE * np.arange(len(samples)))
    return 2 * abs(complex(np.dot(samples, wave))) ** 2 / (len(samples) * power) > 0.9


def dominant_frequency(samples: Samples, rate: int = RATE) -> float:
    """The strongest frequency in Hz, to a fraction of a bin by a parabola through the peak; 0 for silence."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n=8 * len(samples)))
    peak = int(np.argmax(spectrum))
    if not 0 < peak < len(spectrum) - 1:
        return 0.0
    left, middle, right = spectrum[peak - 1 : peak + 2]
    return (peak + 0.5 * float((left - right) / (left - 2 * middle + right))) * rate / (8 * len(samples))


@dataclass(frozen=True, slots=True)
class Tones:
    """Tone bursts found in a row of frames."""

    bursts: int
    hertz: float
    """Of the longest burst, 0 when there is none."""


def find_tones(frames: Iterable[bytes], *, least: int = 5, hertz: float = TONE_HZ) -> Tones:
    """Bursts of at least `least` frames in a row of tone."""
    bursts: list[bytes] = []
    run: list[bytes] = []
    for frame in (*frames, b"\xff" * FRAME_BYTES):
        if is_tone(frame, hertz):
            run.append(frame)
            continue
        if len(run) >= least:
            bursts.append(b"".join(run))
        run = []
    longest = max(bursts, key=len, default=b"")
    return Tones(len(bursts), dominant_frequency(decode(longest)) if longest else 0.0)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0-1) of `values` lie; 0 for none."""
    return float(np.quantile(values, share)) if values else 0.0


def save(payloads: Iterable[bytes]) -> Path:
    """The sound of µ-law payloads as a wav file of 16 bits, in the system's folder for temporary files."""
    descriptor, name = tempfile.mkstemp(prefix="trunkline-demo-", suffix=".wav")
    with os.fdopen(descriptor, "wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(decode(b"".join(payloads)).astype("<i2").tobytes())
    return Path(name)
