"""What a check of `trunkline doctor` is given, and what it finds."""

from dataclasses import dataclass
from typing import Literal

from trunkline.config import Settings

Severity = Literal["ok", "warning", "error"]
"""error: calls fail by it; warning: something works worse, or will fail."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that is as it should be, or not."""

    severity: Severity
    """How bad it is."""
    text: str
    """What is so."""
    change: str = ""
    """What to do about it; empty for `ok`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined."""

    settings: Settings
    """Those of the server; with the ports that it has got, if it runs."""
    pid: int | None
    """Of the server that runs on `store.directory`."""
