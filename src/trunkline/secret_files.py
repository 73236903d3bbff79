"""Secrets that are no text in the settings: in a file of their own, or a credential of systemd.

    api_key_file, http.operator_key_file, store.url_file, password_file of a trunk or phone: the path of a file
    $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=): files called api_key, http.operator_key, store.url,
        sip.trunks.NAME.password, sip.phones.USER.password

A line end at the end of a file is left out. Within a layer of the settings a secret has one source; a credential goes
before `trunkline.toml`, and behind variables and flags.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trunkline.errors import StartupError

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""Variable that systemd sets."""
SECRETS = frozenset({"api_key", "operator_key", "password"})
"""Settings that are never shown."""
_SINGLE = ("api_key", "http.operator_key", "store.url")
_TABLES = {"sip.trunks": "name", "sip.phones": "user"}
"""What the tables of each list are called by."""


def resolve(layer: dict[str, Any], origin: str) -> None:
    """Put what files hold into one layer of the settings, beside their paths. Raises StartupError."""
    for name in _SINGLE:
        *section, leaf = name.split(".")
        values = layer.get(section[0], {}) if section else layer
        if isinstance(values, dict):
            _resolve(values, leaf, f"{name}_file ({origin})")
    for name, key in _TABLES.items():
        for table in _tables(layer, name):
            _resolve(table, "password", f"{name} {table.get(key)!r} password_file ({origin})")


def credentials(environ: Mapping[str, str]) -> dict[str, Any]:
    """The single secrets among the credentials, as a layer of the settings. Raises StartupError."""
    found: dict[str, Any] = {}
    for name in _SINGLE:
        path = _credential(environ, name)
        if path is not None:
            *section, leaf = name.split(".")
            values = found.setdefault(section[0], {}) if section else found
            values[leaf] = _read(path, f"credential {name}")
    return found


def complete(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Give trunks and phones without a password theirs, from the credentials. Raises StartupError."""
    for name, key in _TABLES.items():
        for table in _tables(values, name):
            credential = f"{name}.{table.get(key)}.password"
            path = _credential(environ, credential)
            if path is not None:
                table.setdefault("password", _read(path, f"credential {credential}"))


def in_flags(flags: Mapping[str, str]) -> list[str]:
    """Flags that hold a secret, which every user of this machine can read while the process runs."""
    found = [name for name in ("api_key", "http.operator_key", "sip.hep.password") if name in flags]
    found += [name for name in _TABLES if '"password"' in flags.get(name, "")]
    return found + [name for name in ("store.url",) if "@" in _netloc(flags.get(name, ""))]


def without_secrets(url: str) -> str:
    """A URL as it may be shown: without user-info, query and fragment."""
    scheme, separator, rest = url.partition("://")
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    left_out = "?…" if parts.query else ""
    return f"{scheme}{separator}{parts.netloc.rpartition('@')[2]}{parts.path}{left_out}" if rest else url


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _tables(values: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The tables of a list; one that is JSON text is read. What is malformed is left to the validation."""
    section, leaf = name.split(".")
    sip = values.get(section)
    if not isinstance(sip, dict):
        return
    if isinstance(sip.get(leaf), str):
        try:
            sip[leaf] = json.loads(sip[leaf])
        except json.JSONDecodeError:
            return
    if isinstance(sip.get(leaf), list):
        yield from (table for table in sip[leaf] if isinstance(table, dict))


def _credential(environ: Mapping[str, str], name: str) -> Path | None:
    directory = environ.get(CREDENTIALS_DIRECTORY)
    if not directory or "/" in name or "\0" in name:
        return None
    path = Path(directory) / name
    return path if path.is_file() else None


def _resolve(values: dict[str, Any], name: str, words: str) -> None:
    path = values.get(f"{name}_file")
    if not isinstance(path, str):
        return
    if name in values:
        raise StartupError(f"{words}: {name} is given too, and one of them must go")
    values[name] = _read(Path(path), words)


def _read(path: Path, words: str) -> str:
    try:
        secret = path.expanduser().read_text().rstrip("\r\n")
    except OSError as error:
        raise StartupError(f"{words}: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StartupError(f"{words}: {path} is not text in UTF-8") from None
    if not secret:
        raise StartupError(f"{words}: {path} is empty")
    return secret
