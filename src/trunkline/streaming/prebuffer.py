"""How much of the app's audio to collect before playing it: as much as the app's own pace asks for. Pure.

Apps send in chunks of their own length, some ahead of time, some late. Had playback begun with the first chunk, a later
one would come `late` ms after the sound before it was over (negative: before). To bridge the latest of them, so much
must be queued at the start, and one chunk more, for that is what a start waits to see; and a packet, since arrivals are
seen at the leg's ticks only. What is known is the recent past; until there is enough of it, the bound itself is used.
"""

from collections import deque
from collections.abc import MutableSequence

GAP = 500
"""Milliseconds without audio after which more of it is a new utterance, no chunk that came late."""
WINDOW = 64
"""Chunks remembered."""
ENOUGH = 8
"""Chunks to have seen before less than the bound is tried."""


class Prebuffer:
    """Times and lengths are in ms; `bound` is the most that is ever waited for."""

    __slots__ = ("_base", "_began", "_bound", "_last", "_received", "_seen")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._seen: MutableSequence[tuple[int, int]] = []
        """A list until audio comes, as most apps send none and an empty deque takes 760 bytes."""
        self._began = 0
        self._last = -GAP - 1
        self._base = 0
        self._received = 0

    def arrived(self, at: int, received: int, *, afresh: bool) -> None:
        """Audio came: `received` ms in all by now. `afresh`: playback had stopped, and will start anew with this."""
        before, self._received = self._received, received
        late = (at - self._began) - (before - self._base)
        if late <= GAP and at - self._last <= GAP:
            self._seen.append((late, received - before))
        else:
            afresh = True
        self._last = at
        if afresh:
            self._began, self._base = at, before
            if not self._seen:
                self._seen = deque(maxlen=WINDOW)

    def target(self, ptime: int) -> int:
        """What to have queued before playing."""
        if len(self._seen) < ENOUGH:
            return self._bound
        latest = max(late for late, _ in self._seen)
        longest = max(length for _, length in self._seen)
        return min(self._bound, longest + max(0, latest + ptime))
