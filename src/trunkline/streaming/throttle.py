"""How fast an app's messages are read. Pure.

One loop carries many calls. An app that sends as fast as it can would have it for itself: each of its messages costs
some microseconds, and a socket's buffer holds thousands. So each message is charged its price in time, and an app that
is more than `BURST` in debt is not read until it is out of debt. Nothing is lost: TCP makes it wait.
"""

MESSAGE_PRICE = 1e-4
"""Seconds per message: ten thousand a second are read, two hundred times what a two-way call needs."""
BYTE_PRICE = 1e-7
"""Seconds per byte: 10 MB/s."""
BURST = 0.02
"""Seconds of debt that are allowed: 200 small messages, or 200 kB, at once."""


class Throttle:
    """The account of one socket. `now` is in seconds, monotonic."""

    __slots__ = ("_even_at",)

    def __init__(self) -> None:
        self._even_at = 0.0

    def charge(self, size: int, now: float) -> bool:
        """A message of `size` bytes came; whether to stop reading."""
        # As locals they are C's numbers, as the names of the module they would be looked up, as objects.
        even_at, message, byte, burst = self._even_at, MESSAGE_PRICE, BYTE_PRICE, BURST
        self._even_at = even_at = (even_at if even_at > now else now) + message + size * byte
        return even_at - now > burst

    def rest(self, now: float) -> float:
        """Seconds until there is no debt."""
        return max(0.0, self._even_at - now)
