"""Where the server of this user runs: `server.json` in its store's directory, which holds while the server holds its
lock there (`drain.py`). Commands find the server of their directory by it, else the last that `trunkline dev` has
started; flags and variables go before what they find, and it before `trunkline.toml`.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkline.config import Settings
from trunkline.drain import find
from trunkline.errors import StartupError
from trunkline.settings import Loaded, with_value

FILE = "server.json"
DEV_PREFIX = "trunkline-dev-"
"""Of the folders in the system's folder for temporary files that `trunkline dev` makes."""
PLACE = ("http.host", "http.port", "http.operators_host", "http.operators_port", "sip.host", "sip.port", "sip.tls_port")
"""Settings that say where the server is."""
TRUSTED = "http.tls_certificate_file"
DIRECTORY = "store.directory"
ASKED = ("flag", "environment")
"""Origins of settings that hold whatever runs."""


def write(settings: Settings, actual: Mapping[str, object]) -> None:
    """Say where this server runs: by its settings, and by `actual` where these leave a port to the system."""
    directory = settings.store.directory.expanduser()
    place: dict[str, object] = {name: _plain(settings, name) for name in (*PLACE, TRUSTED)} | dict(actual)
    fresh = directory / f"{FILE}.{os.getpid()}"
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(place, file)
        fresh.rename(directory / FILE)
    except OSError as error:
        raise StartupError(f"cannot write {directory / FILE}: {error.strerror}") from None


def adopted(loaded: Loaded) -> Settings:
    """The settings, with those of the running server where nothing says otherwise."""
    settings = loaded.settings
    own = settings.store.directory.expanduser()
    place = _place(own)
    if place is None and loaded.origins[DIRECTORY] not in ASKED:
        places = filter(None, map(_place, _dev_directories()))
        place = max(places, key=lambda one: one.started, default=None)
    if place is None:
        return settings
    for name, value in place.values.items():
        if loaded.origins[name] not in ASKED:
            settings = with_value(settings, name, value)
    return settings


def _plain(settings: Settings, name: str) -> object:
    section, _, leaf = name.partition(".")
    value = getattr(getattr(settings, section), leaf)
    return str(Path(value).absolute()) if isinstance(value, Path) else value


def _dev_directories() -> Iterator[Path]:
    for folder in Path(tempfile.gettempdir()).glob(f"{DEV_PREFIX}*"):
        # Another user's could name another server, which would then get our key.
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and not folder.is_symlink():
                yield folder


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a server runs."""

    started: float
    values: dict[str, Any]
    """Settings by their dotted names."""


def _place(directory: Path) -> _Place | None:
    """That of the server of a store's directory, if it runs."""
    file = directory / FILE
    try:
        find(directory)
        given = json.loads(file.read_text())
        values = {name: given[name] for name in PLACE} | {DIRECTORY: directory}
        if given[TRUSTED] is not None:
            values[TRUSTED] = Path(given[TRUSTED])
        return _Place(file.stat().st_mtime, values)
    except (OSError, ValueError, KeyError, TypeError, StartupError):
        return None
