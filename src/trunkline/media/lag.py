"""How late packets leave: the delays of the clock's slots, averaged over the time since the last look. Pure."""


class Lag:
    """The delays of one engine."""

    __slots__ = ("_since", "_sum")

    def __init__(self, now: float) -> None:
        self._since = now
        self._sum = 0.0
        """Of the delays of all moments since then, in square seconds."""

    def held_up(self, seconds: float) -> None:
        """The clock is behind by that much: the first of its moments is late by all of it, the last by nothing."""
        self._sum += seconds * seconds / 2

    def take(self, now: float) -> float:
        """Seconds of delay on average since the last call."""
        elapsed = now - self._since
        lag = self._sum / elapsed if elapsed > 0 else 0.0
        self._since, self._sum = now, 0.0
        return lag
