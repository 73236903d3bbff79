"""What Linux has beyond other systems, and what takes its place there, as on a developer's Mac.

`TRUNKLINE_PORTABLE=1` hides it on Linux too, so that tests run what a Mac runs. `LINUX` is what the rest of the code
asks.
"""

import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Protocol

ENV_VAR = "TRUNKLINE_PORTABLE"
LINUX = sys.platform == "linux" and os.environ.get(ENV_VAR, "") in ("", "0")

ERRQUEUE: int | None = getattr(socket, "MSG_ERRQUEUE", None) if LINUX else None
"""The flag of recvmsg(2) for the ICMP errors that a socket has kept; None where sockets keep none."""
RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR and IPV6_RECVERR of ip(7) and ipv6(7), which Python's socket module does not name."""
LOOK = 0.25
"""Seconds between two looks at a process, where the kernel does not report its end."""
_PR_SET_PDEATHSIG = 1


class Poller(Protocol):
    """The methods of `select.epoll` that we use."""

    def register(self, fd: int, eventmask: int, /) -> None:
        """Add a descriptor."""

    def unregister(self, fd: int, /) -> None:
        """Remove a descriptor, before it is closed."""

    def poll(self, timeout: float, maxevents: int, /) -> list[tuple[int, int]]:
        """Ready descriptors with their events, waiting for `timeout` seconds at most."""

    def fileno(self) -> int:
        """The descriptor of the set; -1 if there is none."""

    def close(self) -> None:
        """The end."""


class Poll:
    """poll(2) by the methods of epoll: each look costs more, the more descriptors there are."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._turn = 0
        self.register = self._poll.register
        self.unregister = self._poll.unregister

    def poll(self, timeout: float, maxevents: int, /) -> list[tuple[int, int]]:
        """See `Poller`. If more are ready than asked for, they take turns."""
        ready = self._poll.poll(timeout * 1000)
        if len(ready) <= maxevents:
            return ready
        self._turn = (self._turn + maxevents) % len(ready)
        return (ready[self._turn :] + ready[: self._turn])[:maxevents]

    def fileno(self) -> int:
        """See `Poller`."""
        return -1

    def close(self) -> None:
        """See `Poller`."""


def poller() -> Poller:
    """An empty set of descriptors to wait for: epoll(7), else poll(2)."""
    if sys.platform == "linux" and LINUX:
        return select.epoll()
    return Poll()


def keep_errors(sock: socket.socket, keep: bool = True) -> None:
    """Have the socket keep ICMP errors of its datagrams, also while it is not connected, where the system can."""
    if ERRQUEUE is not None:
        sock.setsockopt(*RECVERR[sock.family], keep)


def drop_errors(sock: socket.socket) -> None:
    """Read all errors that a socket has kept: until then it counts as ready. Raises BlockingIOError when none is left,
    and OSError."""
    while ERRQUEUE is not None:
        sock.recvmsg(0, 0, ERRQUEUE)


def signal_parents_death() -> None:
    """The kernel sends this process SIGTERM when its parent dies, where it can."""
    if LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class OtherProcess:
    """Another process: on Linux by a descriptor (pidfd_open(2)), so that its number cannot become that of a third one;
    elsewhere by its number. Raises OSError if there is none, or if an old kernel has no descriptors. Close it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = -1
        if sys.platform == "linux" and LINUX:
            self._descriptor = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Send it a signal. Raises OSError."""
        if sys.platform == "linux" and LINUX:
            signal.pidfd_send_signal(self._descriptor, number)
        else:
            os.kill(self._pid, number)

    def wait(self, still: Callable[[], bool]) -> None:
        """Block until it has ended; `still` says whether it runs, for where the kernel does not report its end."""
        if self._descriptor >= 0:
            ended = select.poll()
            ended.register(self._descriptor, select.POLLIN)
            ended.poll()
            return
        while still():
            time.sleep(LOOK)

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
