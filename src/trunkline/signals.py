"""What an operator asks of the running server by signals.

SIGINT, SIGTERM   end: the first begins a drain, one more ends the drain
SIGUSR1           drain, however often it comes (`trunkline drain`)
SIGHUP            read the settings again; if the server's terminal was closed: end
"""

import asyncio
import os
import signal
from collections.abc import Callable


class Signals:
    """`on_stop` is called once, at the first signal to end or drain; `on_reload` for each SIGHUP that asks for it."""

    def __init__(self, on_stop: Callable[[], object], on_reload: Callable[[], object]) -> None:
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        """The server is to end; and not to wait for calls."""
        self._on_stop, self._on_reload = on_stop, on_reload
        self._had_terminal = _has_terminal()
        self._ends = 0

    def install(self) -> None:
        """Receive them on the running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGUSR1, self._drain)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _end(self) -> None:
        self._ends += 1
        if self._ends > 1:
            self.hurry.set()
        self._drain()

    def _drain(self) -> None:
        if not self.stop.is_set():
            self.stop.set()
            self._on_stop()

    def _hang_up(self) -> None:
        if self._had_terminal and not _has_terminal():
            self._drain()
        else:
            self._on_reload()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
