"""The operator's key, which manages accounts: the setting `http.operator_key`, else a file that the server makes, and
that the command line reads on the same machine as the same user."""

import os
from collections.abc import Callable
from pathlib import Path

from trunkline.config import Settings
from trunkline.errors import StartupError

KEY_FILE = "operator.key"
"""In `store.directory`."""


def read(settings: Settings) -> str:
    """The key that a server has already. Raises StartupError."""
    if settings.http.operator_key is not None:
        return settings.http.operator_key
    path = _path(settings)
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise StartupError(f"operator's key: cannot read {path}: {reason}; or set http.operator_key") from None
    if not key:
        raise StartupError(f"operator's key: {path} is empty")
    return key


def read_or_make(settings: Settings, make: Callable[[], str]) -> str:
    """The same; a first one is made. Raises StartupError."""
    path = _path(settings)
    if settings.http.operator_key is None and not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(make() + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        except OSError as error:
            raise StartupError(f"operator's key: cannot write {path}: {error.strerror}") from None
    return read(settings)


def _path(settings: Settings) -> Path:
    return settings.store.directory.expanduser() / KEY_FILE
