"""What the next socket is told of the time before it (spec section 2.4). Pure.

The last so many seconds of media are kept, whether they were sent or not: what was sent to an app that then vanished
may never have been read. Kept frames are in the fork's format, so that a leg which changes its codec meanwhile changes
nothing here. Frames that no socket was given are the newest ones; each that has to go before a socket comes is a loss,
and counted.

Key presses are kept only while there is no socket: to see one twice would be worse than not to see it, as it may be
part of a number.
"""

from collections import deque
from datetime import datetime

FRAMES_PER_SECOND = 200
"""Two tracks of 10 ms packets: bounds by number, should the frames' times stand still."""
SLACK = 50
"""Frames over the bound before the packet path looks for those that are too old."""
DIGIT_LIMIT = 256
"""Key presses kept; nobody presses more keys before a stream without a socket is given up."""

Kept = tuple[int, bool, bytes, int]
"""A frame: the leg's time (ms), whether of the outbound track, the payload in the fork's format, and how many
frames were lost before it."""


class Replay:
    """The last `seconds` of media of one stream; 0 keeps none. The oldest go first, `SLACK` at a time."""

    __slots__ = ("_frames", "_limit", "_span", "_trim_at", "_unsent", "digits", "dropped")

    def __init__(self, seconds: float) -> None:
        self._span = seconds * 1000
        self._limit = int(seconds * FRAMES_PER_SECOND)
        self._frames: deque[Kept] = deque()
        self._trim_at = SLACK
        self._unsent = 0
        self.digits: deque[tuple[str, datetime]] = deque(maxlen=DIGIT_LIMIT)
        self.dropped = 0
        """Frames that no socket was given."""

    def keep(self, frame: Kept) -> None:
        """A frame that is being sent."""
        frames = self._frames
        frames.append(frame)
        if len(frames) > self._trim_at:
            self.frames()

    def hold(self, frame: Kept) -> None:
        """A frame for which there is no socket."""
        self._frames.append(frame)
        self._unsent += 1
        self.frames()

    def unsent(self, count: int) -> None:
        """The newest `count` frames of those that were being sent did not get away before their socket went."""
        self._unsent = min(count, len(self.frames()))
        self.dropped += count - self._unsent

    def sent(self) -> None:
        """All that is kept has been given to a socket."""
        self._unsent = 0

    def frames(self) -> deque[Kept]:
        """What is kept, oldest first; not to be changed."""
        frames = self._frames
        oldest = frames[-1][0] - self._span if frames else 0
        while frames and (frames[0][0] <= oldest or len(frames) > self._limit):
            if self._unsent == len(frames):
                self._unsent -= 1
                self.dropped += 1
            frames.popleft()
        self._trim_at = len(frames) + SLACK
        return frames
