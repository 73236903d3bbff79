"""`trunkline db`, for people and for machines."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trunkline.cli import app
from trunkline.store.schema import NEWEST

pytestmark = pytest.mark.process  # SQLite's thread


def run(tmp_path: Path, *words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(app, ["db", *words, "--store.directory", str(tmp_path / "store"), "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout)


def test_the_schema_is_shown_and_upgraded_and_backed_up(tmp_path: Path) -> None:
    assert run(tmp_path, "current", code=1) == {"database": None, "version": NEWEST}
    assert run(tmp_path, "upgrade") == {"database": NEWEST}
    assert run(tmp_path, "current") == {"database": NEWEST, "version": NEWEST}
    file = tmp_path / "copy.db"
    assert run(tmp_path, "backup", str(file)) == {"file": str(file), "bytes": file.stat().st_size}
