"""How late an app's audio is played because playback ran dry, and what may be taken out again. Pure.

A queue that runs dry puts silence in place of audio; where that audio comes after all, everything behind it is later by
as much, for as long as the app speaks. Whether it comes after all, or the app made a pause, is told by the app's pace:
what it has sent, less the time that went by. An app that is back at its former pace has sent what the silence stood in
for; one that made a pause never will.

    late by = silence since playback first ran dry - what was taken out since - how far the app is behind its pace

What is too much is taken out in one of two ways. Where our own clock was held up, at once: that much audio was missed
and is skipped. Where the app, or the network, was late, out of sight: frames that nobody hears, and where there are
none a little of what repeats itself (`squeeze`). Never more is taken out than silence was put in.

All times are the leg's, in ms.
"""

import numpy as np
from numpy.typing import NDArray

FAINT = -50
"""dB below full scale (RMS) under which nobody hears that a frame is left out."""
SPACING = 20
"""Packets between two that are squeezed, of which at most one packet is taken out: 5 %."""
ECHO = 300
"""Milliseconds after our clock was held up in which playback may run dry by it: what the app answers to comes to it
late too, and its answer as much later as it is far away."""
LAPSE = 5000
"""Milliseconds of silence after which nothing is caught up with: whatever comes then is news."""
SETTLE = 250
"""Milliseconds from audio that comes again until the app's pace is measured: what has piled up comes first."""
WINDOW = 1000
"""Milliseconds over which the pace is measured."""
STEADY = 150
"""Milliseconds by which the app's pace may differ within a window: who sends faster than he is played is ahead on
purpose."""
PATIENCE = 4000
"""The same where playback runs dry again and again: what was taken out was needed."""
AGAIN = 3000
"""Milliseconds from what was taken out to a queue that runs dry which make it so."""
LEAST = 10
"""Milliseconds that are too little to be taken out."""
CALM = 3
"""Windows without anything to take out after which nothing is looked at any more."""

_LONG_AGO = -(1 << 31)


class CatchUp:
    """One stream's account. `due`: milliseconds to be taken out now, out of sight."""

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
        self._held_from = self._held_until = _LONG_AGO
        self._missed = self._held_pace = 0
        self.forget()

    def forget(self) -> None:
        """What comes next has nothing to do with what was."""
        self._pace: int | None = None
        """Of the app before playback first ran dry: the time less what it had sent."""
        self._silent_since: int | None = None
        self._came = False
        """Audio came since then."""
        self._inserted = self._removed = self._excused = self.due = self._calm = 0
        self._removed_at = _LONG_AGO
        self._settles_at = 0
        self._window_at: int | None = None
        self._window = WINDOW
        self._paces = self._count = self._quickest = self._slowest = 0

    def held_up(self, at: int, milliseconds: int, pace: int) -> None:
        """Our clock was: what is asked for from `at` on, for so long, is asked for late, or never. `pace` was the app's
        before."""
        if self._excused:
            self._excused += milliseconds
        self._held_from, self._held_until, self._missed, self._held_pace = at, at + milliseconds, milliseconds, pace

    def ran_dry(self, at: int, pace: int) -> None:
        """There is silence from `at` on; `pace` was the app's of late."""
        self.started(at)
        ours = self._held_from <= at <= self._held_until + ECHO
        if self._pace is None:
            # While our clock is behind, the app seems to be ahead.
            self._pace = self._held_pace if ours else pace
        self._window = min(2 * self._window, PATIENCE) if at - self._removed_at < AGAIN else WINDOW
        self._window_at = None
        self._silent_since, self._came, self.due = at, False, 0
        if ours:
            self._excused = self._missed

    def goes_on(self, at: int) -> bool:
        """Audio came. False: it is the next utterance, and nothing else is to be asked here."""
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
        """It was our clock that made playback run dry."""
        return self._excused > 0

    def missed(self, at: int, pace: int) -> int:
        """Milliseconds to be skipped of what has come, as our own clock missed them; `pace` is the app's now."""
        if at > self._held_until + 2 * ECHO:
            self._excused = 0
        return max(0, min(self._excused, self._late_by(at, pace)))

    def skipped(self, milliseconds: int) -> None:
        """It was done."""
        self._excused -= milliseconds
        self._removed += milliseconds

    def started(self, at: int) -> None:
        """Playback starts again."""
        if self._silent_since is not None:
            self._inserted += at - self._silent_since
            self._silent_since = None

    def measure(self, at: int, pace: int) -> bool:
        """Audio came while playback goes on; `pace` is the app's now. False: there is nothing left to be done."""
        if at < self._settles_at:
            return True
        if self._window_at is None:
            self._window_at, self._paces, self._count = at, 0, 0
            self._quickest = self._slowest = pace
        self._paces += pace
        self._count += 1
        self._quickest, self._slowest = min(self._quickest, pace), max(self._slowest, pace)
        if at - self._window_at < self._window or self._count < 2:
            return True
        late = self._late_by(at, round(self._paces / self._count))
        self._window_at = None
        self.due = late if late >= LEAST and self._slowest - self._quickest <= STEADY else 0
        self._calm = 0 if self.due else self._calm + 1
        return self._calm < CALM

    def removed(self, at: int, milliseconds: int) -> None:
        """So much was taken out, out of sight."""
        self._removed += milliseconds
        self._removed_at = at
        self.due = max(0, self.due - milliseconds)

    def _late_by(self, at: int, pace: int) -> int:
        """Nothing when the app is further ahead than it was: that is no audio that comes late, but more of it."""
        silent = 0 if self._silent_since is None else at - self._silent_since
        behind = 0 if self._pace is None else pace - self._pace
        return 0 if behind < -STEADY else self._inserted + silent - self._removed - max(0, behind)


def squeeze(pcm: NDArray[np.int16], packet: int, most: int) -> tuple[NDArray[np.int16], int]:
    """One packet of samples made of two, and how many samples less it is than what it stands for: from half a packet to
    a whole one, and at most `most`. Joined where the audio repeats itself best, so that a voice keeps its pitch."""
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
