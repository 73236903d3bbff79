"""How `trunkline drain` finds the server: by a lock on a file in the store's directory, and asks it: by a signal.

A record lock (fcntl(2), F_SETLK): the kernel drops it with the process, and says which process holds it now (F_GETLK).
A number in a file may be that of another process by the time it is read, or in another container. And a signal rather
than a request: no account's API key may end the calls of all accounts, and it works when HTTP does not.
"""

import fcntl
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from trunkline.errors import StartupError
from trunkline.portable import OtherProcess

LOCK_FILE = "server.lock"
_FLOCK, _TYPE, _PID = (struct.Struct("@hhqqi"), 0, 4) if sys.platform == "linux" else (struct.Struct("@qqihh"), 3, 2)
"""struct flock of fcntl(2): type, whence, start, length, process; on BSD systems start, length, process, type, whence.
And the places of type and process in it."""

_log = structlog.get_logger()


class NotRunning(StartupError):
    """No server runs on a store's directory."""


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
    """The process id of the server of a store's directory. Raises StartupError; NotRunning is one."""
    path = directory.expanduser() / LOCK_FILE
    request = [0] * 5
    request[_TYPE] = fcntl.F_WRLCK
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotRunning(f"no server runs on {directory} (store.directory)") from None
    except OSError as error:
        raise StartupError(f"store.directory: cannot open {path}: {error.strerror}") from None
    try:
        lock = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, _FLOCK.pack(*request)))
    finally:
        os.close(file)
    if lock[_TYPE] == fcntl.F_UNLCK:
        raise NotRunning(f"no server runs on {directory} (store.directory)")
    if lock[_PID] <= 0:
        raise StartupError(f"the server of {directory} runs in another container or on another host: send it SIGTERM")
    return int(lock[_PID])


def drain(directory: Path, announce: Callable[[int], None]) -> None:
    """Ask the server of a store's directory to drain; return when it has ended. `announce` gets its process id. Raises
    StartupError."""
    pid = find(directory)
    try:
        process = OtherProcess(pid)
    except OSError as error:
        raise StartupError(f"process {pid} cannot be reached: {error.strerror}") from None
    try:
        # Again, now that the number cannot become another process's.
        if find(directory) != pid:
            raise StartupError(f"the server of {directory} has just ended")
        process.signal(signal.SIGUSR1)
        announce(pid)
        process.wait(lambda: _runs(directory, pid))
    except OSError as error:
        raise StartupError(f"process {pid} cannot be signalled: {error.strerror}") from None
    finally:
        process.close()


def _runs(directory: Path, pid: int) -> bool:
    try:
        return find(directory) == pid
    except StartupError:
        return False
