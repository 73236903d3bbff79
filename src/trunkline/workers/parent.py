"""A process that ends with the one that started it, whatever happens to either: for media workers and decoders.

The kernel signals its parent's death to a child by SIGTERM (prctl(2), PR_SET_PDEATHSIG), and a thread waits for it
besides (pidfd_open(2)), since a process that is held up takes no signals. From then on there are `GOODBYE` seconds, for
the messages to the apps; then the kernel ends the process by SIGALRM. Any other SIGTERM is ignored, as are SIGINT and
SIGHUP: terminals and service managers send them to every process, and it is the parent that says good-bye first.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable

from trunkline import portable
from trunkline.confinement import no_new_privileges

GOODBYE = 5
"""Seconds."""


class Parent:
    """The one of this process, which says by the number `pid` who it is. Made before all else, in the main thread; ends
    the process if its parent is gone already."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._said = False
        self._tell: Callable[[], object] | None = None
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, self._terminated)
        no_new_privileges()
        portable.signal_parents_death()
        if os.getppid() != pid:
            sys.exit(1)  # it died before the kernel knew its child
        threading.Thread(target=self._wait, name="parent", daemon=True).start()

    def when_gone(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the running loop, once."""
        loop = asyncio.get_running_loop()
        self._tell = lambda: loop.call_soon_threadsafe(callback)
        if self._said:
            self._tell()

    def gone(self) -> None:
        """Its end of the link has closed, or it is dead: what is left of this process ends in time."""
        if not self._said:
            self._said = True
            signal.alarm(GOODBYE)
            if self._tell is not None:
                self._tell()

    def _terminated(self, *_: object) -> None:
        if os.getppid() != self._pid:
            self.gone()

    def _wait(self) -> None:
        def runs() -> bool:
            return os.getppid() == self._pid

        try:
            parent = portable.OtherProcess(self._pid)
        except OSError:
            if not runs():
                self.gone()
            return  # an old kernel: the signal must do
        if runs():  # else the number may be another's by now
            parent.wait(runs)
        self.gone()
