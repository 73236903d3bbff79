"""The distance of two frames when the RTP clock does not simply continue: a pause, or a wrong clock. Pure.

Most packets carry the timestamp of the one before plus its duration, and need no decision. Another timestamp may be
right: the peer paused (silence suppression, RFC 3551 section 4.1), or packets were lost. Or it is wrong: some clocks
count twice too fast (G.722 at 16 kHz), too slow or not at all, and jump, also in mid-stream. The arrival decides: after
a pause the packet comes later by as much.

So a pause is accepted if the arrival confirms it. One so short that it may be jitter is accepted while the clock has
been right. A clock that stays wrong is ignored: then frames follow one another by their durations, and pauses are what
the arrivals show. Time never runs backwards: if the timeline is ahead of the arrivals, frames follow at half the pace
until it is not.

Arrivals are compared with the fastest packet of the last `WINDOW`, as the others were delayed.

All times are RTP units, but for the constants.
"""

from math import inf

WINDOW = 32
"""Frames of which the fastest is the reference."""

FOLLOW_EVERY = 256
"""Frames: five seconds, in which a clock of 200 ppm drifts by one millisecond. A whole number of windows."""

SLACK_MS = 5
"""Deviation of the timeline below which it is not moved, so that a peer with a good clock has even timestamps."""

STEP_MS = 2
"""The most that drift moves the timeline at once: inaudible."""

SHORT_MS = 60
"""Pauses below this may be jitter."""

GAP_MS = 200
"""Lateness of one packet from which it is a pause, whatever its timestamp."""

LATER_MS = 100
"""Lateness of a whole window from which there was a pause before it that the clock did not count."""

UNHEARD_MS = 1000
"""How early a packet after a loss may be: after a stall packets come all at once."""

AHEAD_MS = 250
"""How far ahead of the arrivals the timeline may be before it is held back."""

WARY = 3
"""Doubts from which a short pause needs confirmation by its arrival. A stream begins with as many."""

FIRM = 10
"""Doubts from which the clock is ignored."""

FORGIVEN = 50
"""Frames without a new doubt after which all doubts are dropped."""


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
        self.held_back = 0
        self.restarted = True

    def rescale(self, units: int) -> None:
        """The stream continues with so many RTP units per ms."""
        self._floor *= units / self._units
        self._lowest = inf
        self._units = units
        self.restarted = True

    def advance(self, step: int, length: int, missing: int, late: float, frames: int) -> int:
        """Distance of the `frames`th frame from the one before, which was `length` long, with `missing` between them.

        `step`: the distance of their timestamps; `late`: how much later it came than without a pause. Sets
        `held_back`.
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
            # Only the sequence has skipped; the arrival shows no time for the missing packets.
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
        """The accepted part of a claimed pause, or the pause that the arrival shows."""
        self._disputed = frames
        short = claim < SHORT_MS * self._units
        confirmed = 0 < claim <= 2 * late <= 4 * claim
        believed = claim > 0 and ((confirmed and self._doubts < FIRM) or (short and self._doubts < WARY))
        self._doubts = max(0, self._doubts - 1) if confirmed and not short else min(self._doubts + 1, FIRM)
        if believed:
            return claim
        return round(late) if late > GAP_MS * self._units else 0

    def _hold_back(self, length: int) -> None:
        """Shorten the step if the timeline is ahead of the arrivals."""
        if self._floor >= 0 or not (self.ahead or self._doubts >= WARY):
            self.ahead = False
            return
        most = length // 2
        self.held_back = min(most, round(-self._floor))
        self._floor += self.held_back
        self.ahead = self.ahead and self.held_back == most

    def follow(self, least: float, frames: int, length: int) -> int:
        """After each `WINDOW`: how far to move the timeline. `least`: lateness of its fastest packet (negative: early);
        `length`: of the last frame."""
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
        # Once held back, until the difference is gone.
        self.ahead = self._floor < -(SLACK_MS if self.ahead else AHEAD_MS) * self._units
        return move

    def rejoin(self) -> None:
        """The timeline was anchored to an arrival."""
        self._floor, self._lowest, self.ahead = 0.0, inf, False
