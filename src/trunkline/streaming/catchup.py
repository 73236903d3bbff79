"""The delay that underruns add to an app's audio, and how much of it may be removed again. Pure.

An underrun plays silence in place of audio. If that audio arrives after all, everything behind it is delayed by as much
until the app pauses. Whether it arrived late or the app made a pause shows in the app's pace: the time that passed less
the audio that it has sent. An app that is back at its former pace has sent what the silence replaced; after a pause it
is behind for good.

    delay = silence since the first underrun - audio removed since - how far the app is behind its former pace

Delay is removed in two ways. If our own clock was delayed, at once: that much audio is skipped. If the app or the
network was late, inaudibly: faint frames are left out, and if there are none, a little of the audio is compressed
(`squeeze`). Never more is removed than silence was inserted.

All times are the leg's, in ms.
"""

import numpy as np
from numpy.typing import NDArray

FAINT = -50
"""Level in dB of full scale (RMS) below which leaving a frame out is inaudible."""
SPACING = 20
"""Packets between two that are squeezed; each removes at most one packet, so 5 %."""
ECHO = 300
"""Milliseconds after a delay of our clock in which an underrun is put down to it: the app heard the call late too, and
its answer is later by the round-trip time."""
LAPSE = 5000
"""Milliseconds of silence after which no delay is removed: the audio behind them is a new utterance."""
SETTLE = 250
"""Milliseconds from the first audio after an underrun until the pace is measured: a backlog arrives first."""
WINDOW = 1000
"""Milliseconds over which the pace is measured."""
STEADY = 150
"""Milliseconds by which the pace may vary within a window: an app that sends faster than it is played is ahead on
purpose."""
LONGEST_WINDOW = 4000
"""The window doubles up to this after each removal that was followed by an underrun: the removed delay was needed."""
AGAIN = 3000
"""Milliseconds within which an underrun follows a removal in that sense."""
LEAST = 10
"""Milliseconds of delay that are too little to remove."""
CALM = 3
"""Windows without delay after which measuring stops."""

_LONG_AGO = -(1 << 31)


class CatchUp:
    """The delay of one stream. `due`: milliseconds to remove inaudibly."""

    __slots__ = (
        "_calm",
        "_came",
        "_count",
        "_excused",
        "_held_from",
        "_held_pace",
        "_held_until",
        "_inserted",
        "_missed",
        "_pace",
        "_paces",
        "_quickest",
        "_removed",
        "_removed_at",
        "_settles_at",
        "_silent_since",
        "_slowest",
        "_window",
        "_window_at",
        "due",
    )

    def __init__(self) -> None:
        self.forget()
        self.held_up(_LONG_AGO, 0, 0)

    def forget(self) -> None:
        """Reset: the audio that comes next is unrelated to what came before."""
        self._pace: int | None = None
        """The app's pace before the first underrun."""
        self._silent_since: int | None = None
        self._came = False
        """Audio has arrived since then."""
        self._inserted = self._removed = self._excused = self.due = self._calm = 0
        self._removed_at = _LONG_AGO
        self._settles_at = 0
        self._window_at: int | None = None
        self._window = WINDOW
        self._paces = self._count = self._quickest = self._slowest = 0

    def held_up(self, at: int, milliseconds: int, pace: int) -> None:
        """Our clock was delayed from `at` on for so many milliseconds, in which frames are asked for late, or never.
        `pace`: the app's before."""
        if self._excused:
            self._excused += milliseconds
        self._held_from, self._held_until, self._missed, self._held_pace = at, at + milliseconds, milliseconds, pace

    def ran_dry(self, at: int, pace: int) -> None:
        """Playback is silent from `at` on. `pace`: the app's recent one."""
        self.started(at)
        ours = self._held_from <= at <= self._held_until + ECHO
        if self._pace is None:
            # While our clock is behind, the app seems to be ahead.
            self._pace = self._held_pace if ours else pace
        self._window = min(2 * self._window, LONGEST_WINDOW) if at - self._removed_at < AGAIN else WINDOW
        self._window_at = None
        self._silent_since, self._came, self.due = at, False, 0
        if ours:
            self._excused = self._missed

    def goes_on(self, at: int) -> bool:
        """Audio arrived. False: it is a new utterance, and nothing is to be removed."""
        since = self._silent_since
        if since is None or self._came:
            return True
        self._came = True
        held = max(0, min(at, self._held_until) - max(since, self._held_from))
        if at - since - held > LAPSE:
            self.forget()
            return False
        self._settles_at = at + SETTLE
        return True

    @property
    def excused(self) -> bool:
        """A delay of our clock caused the underrun."""
        return self._excused > 0

    def missed(self, at: int, pace: int) -> int:
        """Milliseconds to skip of the audio that arrived, because our clock missed them. `pace`: the app's now."""
        if at > self._held_until + 2 * ECHO:
            self._excused = 0
        return max(0, min(self._excused, self._late_by(at, pace)))

    def skipped(self, milliseconds: int) -> None:
        """So much was skipped."""
        self._excused -= milliseconds
        self._removed += milliseconds

    def started(self, at: int) -> None:
        """Playback starts again."""
        if self._silent_since is not None:
            self._inserted += at - self._silent_since
            self._silent_since = None

    def measure(self, at: int, pace: int) -> bool:
        """Audio arrived during playback. `pace`: the app's now. False: no more measuring is needed."""
        if at < self._settles_at:
            return True
        if self._window_at is None:
            self._window_at, self._paces, self._count = at, 0, 0
            self._quickest = self._slowest = pace
        self._paces += pace
        self._count += 1
        self._quickest, self._slowest = min(self._quickest, pace), max(self._slowest, pace)
        if at - self._window_at < self._window:
            return True
        late = self._late_by(at, round(self._paces / self._count))
        self._window_at = None
        jitter = self._slowest - self._quickest
        # Both paces are means of a few chunks, so of a delay within the jitter nothing is known.
        self.due = late if late >= max(LEAST, jitter // 2) and jitter <= STEADY else 0
        self._calm = 0 if self.due else self._calm + 1
        return self._calm < CALM

    def removed(self, at: int, milliseconds: int) -> None:
        """So much was removed inaudibly."""
        self._removed += milliseconds
        self._removed_at = at
        self.due = max(0, self.due - milliseconds)

    def _late_by(self, at: int, pace: int) -> int:
        """The delay. 0 if the app is further ahead than it was: it sends more audio, not late audio."""
        silent = 0 if self._silent_since is None else at - self._silent_since
        behind = 0 if self._pace is None else pace - self._pace
        return 0 if behind < -STEADY else self._inserted + silent - self._removed - max(0, behind)


def squeeze(pcm: NDArray[np.int16], packet: int, most: int) -> tuple[NDArray[np.int16], int]:
    """Compresses two packets into one. Returns its samples, and how many samples were removed: from half a packet to a
    whole one, at most `most`. Joins at the best match of the waveform, so that a voice keeps its pitch."""
    shortest, longest = packet // 2, min(packet, most)
    first = pcm[:packet].astype(np.float64)
    rest = pcm[: longest + packet].astype(np.float64)
    likeness = np.correlate(rest[shortest:], first, "valid")
    energies = np.cumsum(np.concatenate(([0.0], rest * rest)))
    shifts = np.arange(shortest, longest + 1)
    power = energies[shifts + packet] - energies[shifts]
    shift = shortest + int(np.argmax(likeness / np.sqrt(power + 1)))
    rise = np.linspace(0, 1, packet)
    joined = first * (1 - rise) + rest[shift : shift + packet] * rise
    return np.rint(joined).astype(np.int16), shift
