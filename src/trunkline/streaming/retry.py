"""When a stream reconnects, and when it gives up (docs/reference/websocket.md#limits-and-ends). Pure.

    DisconnectReason    before the first `start`    after it
    CLOSED              the end                     the end
    UNREACHABLE         try again                   try again
    FAILED              the end                     try again
    LOST                -                           try again
    GOING_AWAY          -                           try again; giving up is no error

An outage begins with the first attempt, or with a loss. It has a window in which attempts start, at growing intervals;
near its end the interval is halved until the rest of the window is shorter than the first interval. A socket that stays
open for `reconnect_delay_max` ends the outage. One that closes earlier does not, so that an app which accepts and
breaks every connection is given up too.
"""

from dataclasses import dataclass
from enum import Enum, auto

from trunkline.config import StreamSettings


class DisconnectReason(Enum):
    """The ways in which a socket is closed, or is not opened."""

    CLOSED = auto()
    """The app closed it with 1000 or without a code."""
    UNREACHABLE = auto()
    """Refused or timed out: the app may not be up yet."""
    FAILED = auto()
    """An attempt failed for any other reason."""
    LOST = auto()
    """An open socket broke, or the app closed it with another code."""
    GOING_AWAY = auto()
    """The app closed it with 1001, as servers and proxies do when they restart (RFC 6455 section 7.4.1)."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A socket was closed, or was not opened."""

    reason: DisconnectReason
    detail: str
    """The cause, for the customer."""


class Retry:
    """The policy of one stream. `now` is in seconds, monotonic. Disabled, it allows one attempt and one socket."""

    __slots__ = (
        "_deadline",
        "_delay",
        "_enabled",
        "_lost",
        "_opened",
        "_settings",
        "failed_attempts",
        "going_away",
        "last_cause",
        "reconnects",
        "started",
    )

    def __init__(self, settings: StreamSettings, *, enabled: bool) -> None:
        self._settings = settings
        self._enabled = enabled
        self._deadline = 0.0
        """End of the window."""
        self._delay = settings.reconnect_delay
        """Seconds to the next attempt."""
        self._opened: float | None = None
        """When the open socket was opened."""
        self._lost = False
        """A socket was lost before."""
        self.started = False
        """There has been a socket."""
        self.going_away = False
        """The last socket ended with `GOING_AWAY`, and no other has been lost since."""
        self.reconnects = 0
        """Sockets after the first."""
        self.failed_attempts = 0
        """Since the last socket."""
        self.last_cause = ""
        """Why the last attempt failed, or the last socket was lost."""

    def begin(self, now: float) -> None:
        """The first attempt starts."""
        self._deadline = now + self._settings.connect_timeout

    def connect_timeout(self, now: float) -> float:
        """Seconds that the attempt which starts now may take."""
        return min(self._settings.connect_timeout, max(self._deadline - now, self._settings.reconnect_delay))

    def opened(self, now: float) -> None:
        """An attempt succeeded."""
        self.reconnects += self.started
        self.failed_attempts = 0
        self._opened = now
        self.started = True

    def after(self, gone: Disconnect, now: float) -> float | None:
        """Seconds until the next attempt; None if there is none."""
        self.last_cause = gone.detail
        self.failed_attempts += self._opened is None
        if gone.reason in (DisconnectReason.LOST, DisconnectReason.GOING_AWAY):
            self.going_away = gone.reason is DisconnectReason.GOING_AWAY
        if (
            not self._enabled
            or gone.reason is DisconnectReason.CLOSED
            or (gone.reason is DisconnectReason.FAILED and not self.started)
        ):
            return None
        settings = self._settings
        if self._opened is not None:
            if not self._lost or now - self._opened >= settings.reconnect_delay_max:
                self._deadline = now + settings.reconnect_window
                self._delay = settings.reconnect_delay
            self._opened, self._lost = None, True
        rest = self._deadline - now
        if rest <= settings.reconnect_delay:
            return None
        delay = self._delay
        self._delay = min(2 * delay, settings.reconnect_delay_max)
        return delay if delay < rest else rest / 2
