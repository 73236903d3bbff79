"""How much of the app's audio to queue before playback starts, learnt from the app's arrivals. Pure.

Apps send chunks of any length, early or late. If playback had started with the first chunk, a later one would arrive
`late` ms after the audio before it had ended (negative: before). To bridge the latest, that much must be queued at the
start, plus what the start waits for (a chunk, or all that begins this utterance, as chunks may come together), plus a
packet, as arrivals are seen at the leg's ticks only. The last 32 to 64 chunks are considered; before there are
`ENOUGH`, the bound is used.
"""

GAP = 500
"""Milliseconds without audio after which more audio is a new utterance, not a late chunk."""
PERIOD = 32
"""Chunks in a period; the maxima of this period and the one before count."""
ENOUGH = 8
"""Chunks to see before less than the bound is used."""
PACE_MS = 3000
"""Milliseconds of arrivals after which their speed is known."""
UNSTEADY = 8
"""A period whose speed differs by more than one in so many from that of those before begins a new measurement."""

_NEVER = -(1 << 31)
"""Earlier than any chunk arrives, in ms."""


class Prebuffer:
    """Times and lengths are in ms; `bound` is the longest wait."""

    __slots__ = (
        "_bound",
        "_counted_from",
        "_first",
        "_former_latest",
        "_former_longest",
        "_last",
        "_latest",
        "_longest",
        "_received",
        "_received_from",
        "_seen",
        "_seen_before",
        "_shift",
        "_sixteenths",
        "_smoothed",
        "_steady_came",
        "_steady_seen",
        "_steady_took",
    )

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._seen = self._seen_before = 0
        self._latest = self._former_latest = _NEVER
        self._longest = self._former_longest = self._first = 0
        self._last = -GAP - 1
        self._shift = 0  # the time less what had been received, when playback began
        self._received = 0
        self._sixteenths, self._smoothed = 0, 0
        # The first arrival of this period, or after a pause; and the periods before in which audio came as steadily.
        self._counted_from = self._received_from = 0
        self._steady_came = self._steady_took = self._steady_seen = 0

    @property
    def pace(self) -> int:
        """The time less the audio received by then, smoothed over the last chunks: less if the app is ahead."""
        return self._sixteenths >> 4

    @property
    def percent(self) -> int:
        """Speed at which audio comes, without the pauses, of that at which it is played; -1 when it does not come
        steadily, or has not for long."""
        took = self._steady_took + self._last - self._counted_from
        if took < PACE_MS or self._steady_seen + self._seen < ENOUGH:
            return -1
        return (self._steady_came + self._received - self._received_from) * 100 // took

    def arrived(self, at: int, received: int, afresh: bool) -> None:
        """Audio arrived: `received` ms in all by now. `afresh`: playback had stopped, and starts again with this."""
        before, self._received = self._received, received
        late = at - before - self._shift
        if late <= GAP and at - self._last <= GAP:
            if self._seen == PERIOD:
                self._turn_over(at, received)
            self._seen += 1
            if late > self._latest:
                self._latest = late
            if received - before > self._longest:
                self._longest = received - before
            if self._smoothed < 16:
                # The mean of the first chunks: the very first may have been later than all others.
                self._smoothed += 1
                self._sixteenths += ((at - received << 4) - self._sixteenths) // self._smoothed
            else:
                self._sixteenths += at - received - (self._sixteenths >> 4)
        else:
            afresh = True
            self._sixteenths, self._smoothed = at - received << 4, 1
            self._counted_from, self._received_from = at, received
        self._last = at
        if afresh:
            self._shift, self._first = at - before, received - before

    def _turn_over(self, at: int, received: int) -> None:
        self._former_latest, self._former_longest = self._latest, self._longest
        self._seen, self._seen_before, self._latest, self._longest = 0, PERIOD, _NEVER, 0
        took, came = at - self._counted_from, received - self._received_from
        if took < GAP // 2:
            return  # most of the period was before a pause
        if abs(self._steady_came * took - came * self._steady_took) * UNSTEADY > self._steady_came * took:
            self._steady_came = self._steady_took = self._steady_seen = 0
        self._steady_came += came
        self._steady_took += took
        self._steady_seen += PERIOD
        self._counted_from, self._received_from = at, received

    def target(self, ptime: int) -> int:
        """Milliseconds to queue before playback starts, with packets of `ptime` ms."""
        if self._seen + self._seen_before < ENOUGH:
            return self._bound
        latest = max(self._latest, self._former_latest)
        longest = max(self._longest, self._former_longest, self._first)
        return min(self._bound, longest + max(0, latest + ptime))
