"""When a stream reconnects, and when it gives up (docs/reference/websocket.md#limits-and-ends). Pure.

    how the socket went    before the first `start`    after it
    CLOSED                 the end                     the end
    UNREACHABLE            try again                   try again
    FAILED                 give up                     try again: it worked a moment ago
    LOST                   -                           try again
    LEFT                   -                           try again; nobody who comes is no error

A trouble begins with the first try or with a loss, and has a window in which tries are made, at growing distance; near
the window's end the distance is halved until what is left is shorter than the first one. A socket that stays open for
`longest_delay` ends the trouble. One that goes earlier does not, so that an app which takes every connection and breaks
it is not dialled for ever.
"""

from dataclasses import dataclass
from enum import Enum, auto

from trunkline.config import StreamSettings


class DisconnectReason(Enum):
    """The ways in which a socket goes, or does not come."""

    CLOSED = auto()
    """The app closed it with 1000 or no code: it wants no more."""
    UNREACHABLE = auto()
    """Refused or timed out: nobody is there, maybe not yet."""
    FAILED = auto()
    """No socket for any other cause."""
    LOST = auto()
    """It was open."""
    LEFT = auto()
    """The app closed it with 1001, which servers and the proxies before them say when they restart (RFC 6455 section
    7.4.1)."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """There is no socket (any more)."""

    how: DisconnectReason
    words: str
    """The cause, for the customer."""


class Retry:
    """One stream's policy. `now` is in seconds, monotonic; disabled, it makes one try and allows one socket."""

    __slots__ = (
        "_deadline",
        "_delay",
        "_enabled",
        "_lost",
        "_opened",
        "_settings",
        "left",
        "started",
    )

    def __init__(self, settings: StreamSettings, *, enabled: bool) -> None:
        self._settings = settings
        self._enabled = enabled
        self._deadline = 0.0
        self._delay = settings.reconnect_delay
        self._opened: float | None = None
        self._lost = False
        self.started = False
        """There has been a socket."""
        self.left = False
        """The last socket went as `LEFT`, and there has been none since."""

    def begin(self, now: float) -> None:
        """The first try begins."""
        self._deadline = now + self._settings.connect_timeout

    def connect_timeout(self, now: float) -> float:
        """Seconds that the try which begins now may take."""
        return min(self._settings.connect_timeout, max(self._deadline - now, self._settings.reconnect_delay))

    def opened(self, now: float) -> None:
        """A try was successful."""
        self._opened = now
        self.started = True

    def after(self, gone: Disconnect, now: float) -> float | None:
        """Seconds until the next try; None: it is over."""
        if gone.how in (DisconnectReason.LOST, DisconnectReason.LEFT):
            self.left = gone.how is DisconnectReason.LEFT
        if (
            not self._enabled
            or gone.how is DisconnectReason.CLOSED
            or (gone.how is DisconnectReason.FAILED and not self.started)
        ):
            return None
        settings = self._settings
        if self._opened is not None:
            if not self._lost or now - self._opened >= settings.reconnect_delay_max:
                self._deadline = now + settings.reconnect_window
                self._delay = settings.reconnect_delay
            self._opened, self._lost = None, True
        left = self._deadline - now
        if left <= settings.reconnect_delay:
            return None
        delay = self._delay
        self._delay = min(2 * delay, settings.reconnect_delay_max)
        return delay if delay < left else left / 2
