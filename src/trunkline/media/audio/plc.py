"""What to play in place of audio that did not come: the last pitch period over and over, fading (the idea of ITU-T
G.711 Appendix I, at any sample rate).

A voice hardly changes within 20 ms, so what it did last goes on: the lag at which the last 20 ms are most like what was
before them is the pitch period, or a multiple of it. That period is repeated, its end bent so that it runs into its
beginning, and the jump from the last real sample into it is smoothed out. After 10 ms it begins to fade, and at 60 ms
it is silent, since by then a guess would rather be a buzz. When audio comes again it is faded in over the stand-in.
No delay is added, and while nothing is missing nothing is computed.
"""

import numpy as np
from numpy.typing import NDArray

STEADY_MS = 10
LONGEST_MS = 60
"""From where on the stand-in is silent."""

_LIKENESS_MS = 20
_SHORTEST_LAG_MS = 5
_LONGEST_LAG_MS = 15
_OVERLAP_MS = 4
_HISTORY_MS = _LIKENESS_MS + 2 * _LONGEST_LAG_MS

Samples = NDArray[np.float64]


class Concealer:
    """One voice, in order: 16-bit little-endian mono samples at `rate`, a multiple of 8000."""

    __slots__ = ("_history", "_per_ms", "_period", "_phase", "_size", "_step")

    def __init__(self, rate: int) -> None:
        self._per_ms = rate // 1000
        self._size = 2 * _HISTORY_MS * self._per_ms
        self._history = bytes(self._size)
        self._period: Samples | None = None
        self._phase = 0
        self._step: Samples = np.zeros(0)

    @property
    def standing_in(self) -> bool:
        """Something was concealed, and nothing came since: what comes next is faded in."""
        return self._period is not None

    def heard(self, pcm: bytes) -> bytes:
        """Audio that came; the same, but for its beginning when something was concealed before it."""
        self._history = (self._history + pcm)[-self._size :]
        if self._period is None:
            return pcm
        signal = np.frombuffer(pcm, "<i2").astype(np.float64)
        count = min(len(signal), _OVERLAP_MS * self._per_ms)
        rise = np.arange(1, count + 1) / (count + 1)
        signal[:count] = signal[:count] * rise + self._stand_in(count) * (1 - rise)
        self._period = None
        return _pcm(signal)

    def conceal(self, samples: int) -> bytes:
        """As many samples in place of audio that did not come."""
        return _pcm(self._stand_in(samples))

    def _stand_in(self, count: int) -> Samples:
        period = self._period
        if period is None:
            period = self._period = self._last_period()
            self._phase = 0
        start, self._phase = self._phase, self._phase + count
        at = np.arange(start, self._phase)
        out = period[at % len(period)]
        jump = self._step[start : self._phase]
        out[: len(jump)] += jump
        fade = (LONGEST_MS - at / self._per_ms) / (LONGEST_MS - STEADY_MS)
        faded: Samples = out * np.clip(fade, 0, 1)
        return faded

    def _last_period(self) -> Samples:
        history = np.frombuffer(self._history, "<i2").astype(np.float64)
        lag = self._lag(history)
        quarter = lag // 4
        rise = np.arange(1, quarter + 1) / quarter
        period = history[-lag:].copy()
        period[-quarter:] = period[-quarter:] * (1 - rise) + history[-lag - quarter : -lag] * rise
        self._step = (history[-1] - history[-lag - 1]) * (1 - rise)
        return period

    def _lag(self, history: Samples) -> int:
        """The pitch period in samples, looked for at 8000 a second."""
        coarse = self._per_ms // 8
        signal = history[::coarse]
        size = _LIKENESS_MS * 8
        latest = signal[-size:]
        lags = np.arange(_SHORTEST_LAG_MS * 8, _LONGEST_LAG_MS * 8 + 1)
        earlier = np.lib.stride_tricks.sliding_window_view(signal, size)[len(signal) - size - lags]
        energy = np.einsum("ij,ij->i", earlier, earlier)
        likeness = (earlier @ latest) / np.sqrt(energy + 1)
        return int(lags[np.argmax(likeness)]) * coarse


def _pcm(signal: Samples) -> bytes:
    return np.clip(np.rint(signal), -32768, 32767).astype("<i2").tobytes()
