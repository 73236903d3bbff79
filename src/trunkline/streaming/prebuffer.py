"""How much of the app's audio to collect before playing it: as much as the app's own pace asks for. Pure.

Apps send in chunks of their own length, some ahead of time, some late. Had playback begun with the first chunk, a later
one would come `late` ms after the sound before it was over (negative: before). To bridge the latest of them, so much
must be queued at the start, and one chunk more, for that is what a start waits to see; and a packet, since arrivals are
seen at the leg's ticks only. What is known is the recent past, the last 32 to 64 chunks; until there is enough of it,
the bound itself is used.
"""

GAP = 500
"""Milliseconds without audio after which more of it is a new utterance, no chunk that came late."""
PERIOD = 32
"""Chunks after which the maxima begin anew, those of the period before being remembered."""
ENOUGH = 8
"""Chunks to have seen before less than the bound is tried."""

_NEVER = -(1 << 31)
"""Earlier than any chunk comes, in ms."""


class Prebuffer:
    """Times and lengths are in ms; `bound` is the most that is ever waited for."""

    __slots__ = (
        "_bound",
        "_former_latest",
        "_former_longest",
        "_last",
        "_latest",
        "_longest",
        "_received",
        "_seen",
        "_seen_before",
        "_shift",
        "_sixteenths",
    )

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._seen = self._seen_before = 0
        self._latest = self._former_latest = _NEVER
        self._longest = self._former_longest = 0
        self._last = -GAP - 1
        self._shift = 0  # the time less what had been received, when playback began
        self._received = 0
        self._sixteenths = 0

    @property
    def pace(self) -> int:
        """The time less what had been received by it, over the last chunks: the less, the further the app is ahead."""
        return self._sixteenths >> 4

    def arrived(self, at: int, received: int, afresh: bool) -> None:
        """Audio came: `received` ms in all by now. `afresh`: playback had stopped, and will start anew with this."""
        before, self._received = self._received, received
        late = at - before - self._shift
        if late <= GAP and at - self._last <= GAP:
            if self._seen == PERIOD:
                self._turn_over()
            self._seen += 1
            if late > self._latest:
                self._latest = late
            if received - before > self._longest:
                self._longest = received - before
            self._sixteenths += at - received - (self._sixteenths >> 4)
        else:
            afresh = True
            self._sixteenths = at - received << 4
        self._last = at
        if afresh:
            self._shift = at - before

    def _turn_over(self) -> None:
        self._former_latest, self._former_longest = self._latest, self._longest
        self._seen, self._seen_before, self._latest, self._longest = 0, PERIOD, _NEVER, 0

    def target(self, ptime: int) -> int:
        """What to have queued before playing."""
        if self._seen + self._seen_before < ENOUGH:
            return self._bound
        latest = max(self._latest, self._former_latest)
        longest = max(self._longest, self._former_longest)
        return min(self._bound, longest + max(0, latest + ptime))
