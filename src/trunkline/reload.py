"""What a reload changes: pure. Some settings take force while the server runs, the others at its next start."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trunkline.config import Settings
from trunkline.settings import leaves, value_of, with_value

TABLES = {"applications": "name", "numbers": "pattern", "sip.trunks": "name", "sip.phones": "user"}
"""Lists of tables, and what the tables of each are called by."""
CERTIFICATES = frozenset(
    {
        *("sip.tls_certificate_file", "sip.tls_key_file", "sip.tls_client_ca_file", "sip.tls_ca_file"),
        "streams.ca_file",
    }
)
"""Read again by each reload, whether their names have changed or not."""
RELOADABLE = (
    CERTIFICATES
    | TABLES.keys()
    | {
        "stream",
        *("log.level", "log.format", "log.mask_numbers", "log.mask_digits"),
        *("egress.private", "egress.allow", "egress.deny"),
    }
)
"""Dotted names of settings that take force at once."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new in some settings."""

    settings: Settings
    """To be in force: those before, and of the new ones what can be reloaded."""
    changed: tuple[str, ...]
    """In words, without values."""
    restart: tuple[str, ...]
    """The names of those that take force at the next start."""


def compare(before: Settings, after: Settings) -> Changes:
    """What is new in `after`."""
    names = [name for name in leaves() if value_of(before, name) != value_of(after, name)]
    changed = [name for name in names if name in RELOADABLE]
    words = [_in_words(name, value_of(before, name), value_of(after, name)) for name in changed]
    settings = before
    for name in changed:
        settings = with_value(settings, name, value_of(after, name))
    return Changes(settings, tuple(words), tuple(name for name in names if name not in RELOADABLE))


def _in_words(name: str, before: Any, after: Any) -> str:
    return f"{name}: {', '.join(_differences(before, after, TABLES[name]))}" if name in TABLES else name


def _differences(before: Any, after: Any, called: str) -> Iterator[str]:
    old, new = ({getattr(one, called): one for one in tables} for tables in (before, after))
    yield from (f"{name} added" for name in new if name not in old)
    yield from (f"{name} changed" for name in new if name in old and new[name] != old[name])
    yield from (f"{name} removed" for name in old if name not in new)
    if old == new:
        yield "order"
