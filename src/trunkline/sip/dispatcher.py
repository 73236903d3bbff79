"""The SIP library's timers on our event loop (driver).

The library asks one module-wide dispatcher for its timers; this one hands them to `loop.call_later` of whatever loop
is running, so that servers in several loops, or several in one, do not meet.
"""

import asyncio
from collections.abc import Callable

import sippy.Time.Timeout
import structlog

log = structlog.get_logger()


class Timer:
    """One timer: runs `callback` after `interval` seconds, `ticks` times, -1 = for ever."""

    __slots__ = ("_arguments", "_callback", "_handle", "_interval", "_ticks")

    def __init__(
        self, callback: Callable[..., object], interval: float, ticks: int, arguments: tuple[object, ...]
    ) -> None:
        self._callback = callback
        self._interval = interval
        self._ticks = ticks
        self._arguments = arguments
        self._handle: asyncio.TimerHandle | None = None

    def go(self) -> None:
        """Start."""
        self._handle = asyncio.get_running_loop().call_later(self._interval, self._run)

    def cancel(self) -> None:
        """Stop; harmless when it has run."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        if self._ticks > 0:
            self._ticks -= 1
        if self._ticks != 0:
            self.go()
        try:
            self._callback(*self._arguments)
        except Exception:
            log.exception("sip_timer_failed")


class LoopDispatcher:
    """The part of the library's dispatcher that its timers need, under the library's names."""

    def regTimer(  # noqa: N802 (the library's name)
        self,
        callback: Callable[..., object],
        interval: float,
        ticks: int = 1,
        absolute: bool = False,
        *arguments: object,
    ) -> Timer:
        """A timer, not yet started. Absolute times are never asked for by what we use of the library."""
        assert not absolute
        return Timer(callback, interval, ticks, arguments)


def install() -> None:
    """Make the library use our timers; once per process is enough, again does no harm."""
    sippy.Time.Timeout.ED2 = LoopDispatcher()
