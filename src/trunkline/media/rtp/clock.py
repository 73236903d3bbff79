"""What lies between two frames when the RTP clock does not simply go on: a pause, or a clock that is wrong. Pure.

Most packets carry the timestamp of the one before and its duration; nobody asks here then. Where a timestamp says
something else, it may be right: the peer made a pause (silence suppression, RFC 3551 section 4.1), or packets were
lost. Or it is wrong: clocks are counted twice too fast (G.722 at 16 kHz), too slow or not at all, and jump, also in
mid-stream. Who is right shows when the packet comes: after a pause it comes later by as much.

So a pause is believed if the arrival confirms it. One so short that jitter may look like it is believed as long as the
clock has been right, and no longer. A clock that goes on being wrong is given up: then frames follow one another by
their durations, and pauses are what the arrivals show. Whatever is done, time does not run backwards: if the timeline
turns out to be ahead of the arrivals, frames follow at half the pace until it is not.

What arrivals are compared with is the fastest packet of the last `WINDOW`, as only the others were delayed.

All times are RTP units, but for the constants.
"""

from math import inf

WINDOW = 32
"""Frames whose fastest one is compared with."""

FOLLOW_EVERY = 256
"""Frames: five seconds, in which a clock of 200 ppm drifts by one millisecond. A whole number of windows."""

SLACK_MS = 5
"""How far off the timeline may be before it is moved, so that a peer with a good clock has even timestamps."""

STEP_MS = 2
"""The most that the timeline is moved at once by drift: less than anybody hears."""

SHORT_MS = 60
"""Pauses that jitter may look like."""

GAP_MS = 200
"""Lateness of one packet that is a pause, whatever the clock says."""

LATER_MS = 100
"""Lateness of a whole window that is a pause before it, which the clock did not count."""

UNHEARD_MS = 1000
"""How early a packet may be that says that others were lost before it: after a stall they come all at once."""

AHEAD_MS = 250
"""How far ahead of the arrivals the timeline may be before it is held back."""

WARY = 3
"""Doubts from which a short pause is not believed without its arrival. A stream begins with as many."""

FIRM = 10
"""Doubts from which the clock is believed nothing."""

FORGIVEN = 50
"""Frames without a doubt after which there are none."""


class Clock:
    """The clock of one peer."""

    __slots__ = {
        "_disputed": "Number of the last frame whose timestamp was disputed.",
        "_doubts": "Doubts in the peer's clock, from 0 to `FIRM`.",
        "_floor": "How late the fastest packet of the last window was on the timeline.",
        "_lowest": "Least lateness since the timeline was last moved.",
        "_units": "RTP units per ms.",
        "ahead": "The timeline is being held back: `advance` must be called for each frame.",
        "held_back": "What the last `advance` took off.",
        "restarted": "The next timestamp has no relation to the last one.",
    }

    def __init__(self, units: int) -> None:
        """`units`: of RTP time per ms."""
        self._units = units
        self._doubts = WARY
        self._disputed = 0
        self._floor = 0.0
        self._lowest = inf
        self.ahead = False
        """The timeline is being held back: `advance` must be asked about each frame."""
        self.held_back = 0
        """What `advance` took off."""
        self.restarted = True
        """The next timestamp has nothing to do with the last one."""

    def rescale(self, units: int) -> None:
        """The stream goes on with so many units per ms."""
        self._floor *= units / self._units
        self._lowest = inf
        self._units = units
        self.restarted = True

    def advance(self, step: int, length: int, missing: int, late: float, frames: int) -> int:
        """How far the `frames`th frame is from the one before, which was `length` long, with `missing` between them.

        `step` says its timestamp; `late` is how much later it came than it would be on the timeline if nothing but
        those missing were between them. Sets `held_back`.
        """
        expected = length * (missing + 1)
        self.held_back = 0
        if self.restarted:
            self.restarted = False
            self._begin(frames)
            paused = late > SHORT_MS * self._units or not frames
            return expected + (round(late) if paused and late > 0 else 0)
        late -= self._floor
        if frames - self._disputed > FORGIVEN:
            self._doubts = 0
        claim = step - expected
        plausible = 8 * abs(claim) <= expected  # durations need not be whole units, nor do senders round alike
        early = UNHEARD_MS * self._units if plausible else (expected - length) / 2
        if missing and late < -early:
            # Only the sequence has skipped: of the time of those missing the arrival knows nothing.
            late += expected - length
            claim += expected - length
            expected, plausible = length, False
        advance = step if plausible else expected + self._pause(claim, late, frames)
        self._hold_back(length)
        return advance - self.held_back

    def _begin(self, frames: int) -> None:
        self._doubts, self._disputed = WARY, frames
        self._floor, self._lowest, self.ahead = 0.0, inf, False

    def _pause(self, claim: int, late: float, frames: int) -> int:
        """What of a claimed pause is believed; where nothing is, the one that the arrival shows."""
        self._disputed = frames
        short = claim < SHORT_MS * self._units
        confirmed = 0 < claim <= 2 * late <= 4 * claim
        believed = claim > 0 and ((confirmed and self._doubts < FIRM) or (short and self._doubts < WARY))
        self._doubts = max(0, self._doubts - 1) if confirmed and not short else min(self._doubts + 1, FIRM)
        if believed:
            return claim
        return round(late) if late > GAP_MS * self._units else 0

    def _hold_back(self, length: int) -> None:
        """Take something off, if the timeline is ahead of the arrivals."""
        if self._floor >= 0 or not (self.ahead or self._doubts >= WARY):
            self.ahead = False
            return
        most = length // 2
        self.held_back = min(most, round(-self._floor))
        self._floor += self.held_back
        self.ahead = self.ahead and self.held_back == most

    def follow(self, least: float, frames: int, length: int) -> int:
        """After each `WINDOW`: how much the timeline is to be moved. `least`: how late the fastest packet of it was
        (negative: early); `length`: of the last frame."""
        self._lowest = min(self._lowest, least)
        move = 0
        if least > LATER_MS * self._units:
            move = round(least)
        elif not frames % FOLLOW_EVERY:
            # The next frame is nearly half a frame on at least, so time does not run backwards.
            step = min(STEP_MS * self._units, length // 4)
            if abs(self._lowest) > SLACK_MS * self._units:
                move = round(max(-step, min(step, self._lowest)))
            self._lowest = inf
        self._floor = least - move
        # What is being held back is so to the end.
        self.ahead = self._floor < -(SLACK_MS if self.ahead else AHEAD_MS) * self._units
        return move

    def rejoin(self) -> None:
        """The timeline was set to an arrival."""
        self._floor, self._lowest, self.ahead = 0.0, inf, False
