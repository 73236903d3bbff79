"""Limits the rate at which an app's messages are read. Pure.

One loop serves many calls, and an app that sends as fast as it can would block it: a message costs some microseconds,
and a socket's buffer holds thousands. So each message is charged its price in seconds, and reading from an app whose
debt exceeds `BURST` stops until the debt is paid. Nothing is lost: TCP makes the app wait.
"""

MESSAGE_PRICE = 1e-4
"""Seconds per message: 10,000 a second, two hundred times what a two-way call needs."""
BYTE_PRICE = 1e-7
"""Seconds per byte: 10 MB/s."""
BURST = 0.02
"""Allowed debt in seconds: 200 small messages, or 200 kB, at once."""


class Throttle:
    """The debt of one socket. `now` is in seconds, monotonic."""

    __slots__ = ("_even_at",)

    def __init__(self) -> None:
        self._even_at = 0.0

    def charge(self, size: int, now: float) -> bool:
        """Charge a message of `size` bytes. Returns whether to stop reading."""
        # Compiled, locals are C numbers; module names would be looked up as objects.
        even_at, message, byte, burst = self._even_at, MESSAGE_PRICE, BYTE_PRICE, BURST
        self._even_at = even_at = (even_at if even_at > now else now) + message + size * byte
        return even_at - now > burst

    def rest(self, now: float) -> float:
        """Seconds until the debt is paid."""
        return max(0.0, self._even_at - now)
