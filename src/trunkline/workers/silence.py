"""How long another process has said nothing, as the process that listens to it counts. Pure.

Time in which the listener did not run itself, because the machine was moved, its container frozen or the process
stopped, is no silence of the other: it stood still as well, or its words wait to be read.
"""


class Silence:
    """The listener calls `passed` about once in `tick` seconds, and `heard` upon each word."""

    __slots__ = ("_tick", "seconds")

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self.seconds = 0.0
        """So far."""

    def heard(self) -> None:
        """The other has said something."""
        self.seconds = 0.0

    def passed(self, seconds: float) -> None:
        """So many seconds since the last call, or since the last word. Of more than two ticks the rest was a pause."""
        self.seconds += min(seconds, 2 * self._tick)
