"""Runs of the command line to their end (`preloaded.py`)."""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryFile

from preloaded import Order, launcher

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
"""The environment without our settings."""


def trunkline(cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `trunkline` to its end, with CLEAN and `env` as its environment and nothing on standard input."""
    with TemporaryFile("r+") as stdout, TemporaryFile("r+") as stderr:
        order = Order(list(arguments), CLEAN | (env or {}), str(cwd))
        code = launcher().launch(order, stdout.fileno(), stderr.fileno()).result().ended()
        said = [(output.seek(0), output.read())[1] for output in (stdout, stderr)]
    return subprocess.CompletedProcess(["trunkline", *arguments], code, *said)
