"""Where the database is, and the guard that only one server uses it.

Two servers on one store would send every callback twice and take each other's live calls for the remains of a crash.
A lock on a file guards SQLite: the kernel drops it with the process, so a crash leaves nothing to clean up. On
PostgreSQL, which servers of many machines reach, the lives in the database decide (`lives.py`); a lock in
`store.directory` only proves that the life which held it before is over, so that a restart need not wait.
"""

import fcntl
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import structlog
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from trunkline.config import StoreSettings
from trunkline.errors import StartupError

log = structlog.get_logger()

FOLDERS = ("cache", "recordings", "tones")
"""In `store.directory`."""
DATABASE_FILE = "trunkline.db"
LOCK_FILE = "postgresql"
"""In `store.directory`, with the suffix."""
LOCK_SUFFIX = ".lock"
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


def prepare_directory(directory: Path) -> Path:
    """Make the store's directory. Its files are its owner's only, whatever their modes were. Raises StartupError."""
    directory = directory.expanduser().absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"store.directory: cannot make {directory}: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StartupError(f"store.directory: cannot write in {directory}")
    for folder in (directory, *(directory / name for name in FOLDERS)):
        make_private(folder)
    return directory


def make_private(folder: Path) -> None:
    """Let only its owner use a folder, if it is there, and the files in it. What cannot be changed is logged: it is
    another user's, which is no reason not to start."""
    if folder.is_dir():
        _only_owner((folder,), 0o700)
        _only_owner((Path(entry) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)), 0o600)


def make_file_private(database: str) -> None:
    """The same for an SQLite database, which may be anywhere."""
    _only_owner((Path(database + suffix) for suffix in ("", "-wal", "-shm", "-journal")), 0o600)


def _only_owner(paths: Iterable[Path], mode: int) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                try:
                    path.chmod(mode)
                except OSError as error:
                    log.warning("file_not_private", path=str(path), reason=error.strerror)


def database_url(settings: StoreSettings, directory: Path) -> URL:
    """The URL with the driver that we use; SQLite in `directory` by default. Raises StartupError."""
    if settings.url is None:
        return URL.create("sqlite+aiosqlite", database=str(directory / DATABASE_FILE))
    try:
        url = make_url(settings.url)
    except (ArgumentError, ValueError) as error:
        # Without the text: it may hold a password.
        raise StartupError("store.url: not a database URL") from error
    if url.drivername not in _DRIVERS:
        raise StartupError(f"store.url: {url.drivername} is not supported, only sqlite and postgresql are")
    url = url.set(drivername=_DRIVERS[url.drivername])
    if url.drivername == "sqlite+aiosqlite" and url.database in (None, "", ":memory:"):
        raise StartupError("store.url: SQLite needs a file; a store in memory would not survive a restart")
    if url.drivername == "postgresql+asyncpg" and find_spec("asyncpg") is None:
        raise StartupError("store.url: PostgreSQL needs the extra `postgres` of Trunkline: pip install asyncpg")
    return url


class InUse(StartupError):
    """Another server holds the lock."""


class FileLock:
    """An exclusive lock on `name`.lock, held while the object is open. Raises StartupError; InUse is one.

    The file has the process id and the life of who holds it, or held it last, a line each.
    """

    def __init__(self, name: str) -> None:
        path = name + LOCK_SUFFIX
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartupError(f"store: cannot open {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = (self._lines() or ["unknown"])[0]
            os.close(self._file)
            raise InUse(f"store: {name} is in use by another server (process {owner})") from error
        self.last = dict(enumerate(self._lines())).get(1)
        """The life that held it before; None if the file does not say."""
        self.mark(self.last or "")

    def _lines(self) -> list[str]:
        return os.pread(self._file, 100, 0).decode("ascii", "replace").split()

    def mark(self, life: str) -> None:
        """Note who holds it."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n{life}\n".encode(), 0)

    def release(self) -> None:
        """Let another server have the store."""
        os.close(self._file)
