"""What systemd is informed of, where it has started the server as a service of `Type=notify` (sd_notify(3)).

`READY=1` once everything listens, `WATCHDOG=1` twice in each `WatchdogSec` from the control process's loop,
`STOPPING=1` when the end begins. A loop that stands still sends none, and systemd starts the server again.
"""

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext

import structlog

from trunkline.tasks import repeated

_log = structlog.get_logger()


class Systemd:
    """The connection to systemd; without one nothing happens. `environment` is the process's."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace (unix(7)).
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._interval = _watchdog_seconds(environment) / 2
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def ready(self) -> None:
        """Everything listens."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1")

    @asynccontextmanager
    async def watchdog(self) -> AsyncIterator[None]:
        """Give signs of life meanwhile, where systemd waits for them; then the connection is closed."""
        alive = repeated(self._live, self._interval, "systemd watchdog") if self._interval else nullcontext()
        async with alive:
            yield
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _live(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(state.encode(), self._address)
        except OSError as error:
            _log.warning("systemd_not_notified", reason=error.strerror)


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Of `WatchdogSec`; 0 without a watchdog, or one of another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    micros = environment.get("WATCHDOG_USEC", "0")
    return int(micros) / 1_000_000 if micros.isdecimal() else 0.0
