"""Schema, upgrade and backup of each database, as an operator asks for them."""

import asyncio
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trunkline.calls.views import CallView
from trunkline.config import StoreSettings
from trunkline.errors import StartupError
from trunkline.store.maintenance import backup, current, upgrade
from trunkline.store.records import call_row
from trunkline.store.schema import NEWEST
from trunkline.store.store import Store


async def test_a_database_is_made_and_upgraded_without_a_server(any_settings: StoreSettings) -> None:
    if any_settings.url is None:
        assert await current(any_settings) is None
    await upgrade(any_settings)
    assert await current(any_settings) == NEWEST
    await upgrade(any_settings)


async def test_an_upgrade_while_a_server_runs_is_refused(settings: StoreSettings) -> None:
    store = await Store.open(settings)
    with pytest.raises(StartupError, match="in use by another server"):
        await upgrade(settings)
    await store.close()


async def test_what_is_no_database_is_one_line(settings: StoreSettings) -> None:
    settings.directory.mkdir()
    (settings.directory / "trunkline.db").write_bytes(b"This is a letter to my aunt." * 100)
    with pytest.raises(StartupError, match=r"^store: cannot read .*trunkline\.db: file is not a database$"):
        await current(settings)


async def test_sqlite_is_copied_while_a_server_writes(settings: StoreSettings, tmp_path: Path, make: Any) -> None:
    store = await Store.open(settings)
    await store.write([call_row(make.call())], [], [])
    copy = tmp_path / "copy.db"
    copying = asyncio.create_task(asyncio.to_thread(backup, settings, copy))
    for n in range(20):
        await store.write([call_row(make.call(f"v3:{n}"))], [], [])
    await copying
    await store.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as copied:
        assert copied.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (tmp_path / "new").mkdir()
    copy.rename(tmp_path / "new/trunkline.db")
    await has_the_call(StoreSettings(directory=tmp_path / "new"), make.call())


async def has_the_call(settings: StoreSettings, call: CallView) -> None:
    """The store that a backup was restored to is opened, and serves it."""
    store = await Store.open(settings)
    found = await store.call(call.account_sid, call.sid)
    assert (found.sid, found.status) == (call.sid, call.status)
    await store.close()


def test_a_backup_writes_over_nothing(settings: StoreSettings, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("precious")
    with pytest.raises(StartupError, match=f"cannot make {there}: File exists"):
        backup(settings, there)
    assert there.read_text() == "precious"


def test_a_backup_that_fails_leaves_no_file(settings: StoreSettings, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with pytest.raises(StartupError, match="cannot copy"):
        backup(settings, copy)
    assert not copy.exists()


@pytest.mark.peer
def test_postgresql_is_dumped_by_its_own_program(postgres: Callable[[], str], tmp_path: Path, make: Any) -> None:
    settings = StoreSettings(directory=tmp_path, url=postgres())

    async def fill() -> None:
        store = await Store.open(settings)
        await store.write([call_row(make.call())], [], [])
        await store.close()

    asyncio.run(fill())
    archive = tmp_path / "archive"
    backup(settings, archive)
    restored = postgres()
    restore = ["pg_restore", "--no-owner", "--exit-on-error", "--dbname", restored, str(archive)]
    subprocess.run(restore, check=True, capture_output=True)
    asyncio.run(has_the_call(StoreSettings(directory=tmp_path / "new", url=restored), make.call()))


@pytest.mark.process
@pytest.mark.parametrize("missing", [True, False])
def test_a_dump_that_cannot_be_made_is_one_line(missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing:
        monkeypatch.setenv("PATH", str(tmp_path))
    elif shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    settings = StoreSettings(directory=tmp_path, url="postgresql://me:hush@127.0.0.1:1/x")
    with pytest.raises(StartupError, match=r"^pg_dump") as failed:
        backup(settings, tmp_path / "archive")
    assert "hush" not in str(failed.value)
    assert "\n" not in str(failed.value)
    assert not (tmp_path / "archive").exists()
