"""How `trunkline drain` finds the server: by a lock on a file in the store's directory, and asks it: by a signal.

A record lock (fcntl(2), F_SETLK): the kernel drops it with the process, and says which process holds it now (F_GETLK).
A number in a file may be that of another process by the time it is read, or in another container. And a signal rather
than a request: no account's API key may end the calls of all accounts, and it works when HTTP does not.
"""

import fcntl
import os
import select
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import structlog

from trunkline.errors import StartupError

LOCK_FILE = "server.lock"
_FLOCK = "@hhqqi"
"""struct flock of fcntl(2): type, whence, start, length, process."""

_log = structlog.get_logger()


class DrainLock:
    """Marks this process as the server of a store's directory, until `release`."""

    def __init__(self, directory: Path) -> None:
        path = directory.expanduser() / LOCK_FILE
        self._file = -1
        self.held = False
        """No other server has it."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except OSError as error:
            # Two servers may share a directory if their databases differ; signals reach both.
            _log.warning("drain_lock_not_taken", path=str(path), reason=error.strerror)

    def release(self) -> None:
        """Let another server have it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def find(directory: Path) -> int:
    """The process id of the server of a store's directory. Raises StartupError."""
    path = directory.expanduser() / LOCK_FILE
    request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StartupError(f"no server runs on {directory} (store.directory)") from None
    except OSError as error:
        raise StartupError(f"store.directory: cannot open {path}: {error.strerror}") from None
    try:
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, request))
    finally:
        os.close(file)
    if kind == fcntl.F_UNLCK:
        raise StartupError(f"no server runs on {directory} (store.directory)")
    if pid <= 0:
        raise StartupError(f"the server of {directory} runs in another container or on another host: send it SIGTERM")
    return int(pid)


def drain(directory: Path, announce: Callable[[int], None]) -> None:
    """Ask the server of a store's directory to drain; return when it has ended. `announce` gets its process id. Raises
    StartupError."""
    pid = find(directory)
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        raise StartupError(f"process {pid} cannot be reached: {error.strerror}") from None
    try:
        # Again, now that the number cannot become another process's.
        if find(directory) != pid:
            raise StartupError(f"the server of {directory} has just ended")
        signal.pidfd_send_signal(process, signal.SIGUSR1)
        announce(pid)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        ended.poll()
    except OSError as error:
        raise StartupError(f"process {pid} cannot be signalled: {error.strerror}") from None
    finally:
        os.close(process)
