"""Groups of changes as transactions of SQLite: all of a group or nothing, and what happens after a failure."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trunkline.config import StoreSettings
from trunkline.store.commits import SqliteCommits
from trunkline.store.fence import Fence
from trunkline.store.records import call_row, stream_row
from trunkline.store.store import STORE_ERRORS, Store, connect_sqlite


@pytest.fixture
async def fence(tmp_path: Path) -> Fence:
    """Of a life in a database with all tables, which is not open."""
    store = await Store.open(StoreSettings(directory=tmp_path))
    await store.close()
    return store.fence


@pytest.fixture
def database(fence: Fence, tmp_path: Path) -> Path:
    return tmp_path / "trunkline.db"


@pytest.fixture
async def commits(database: Path, fence: Fence) -> AsyncIterator[SqliteCommits]:
    made = SqliteCommits(lambda: connect_sqlite(str(database)), fence)
    yield made
    await made.close()


def rows(database: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(database)) as reading:
        return reading.execute(query).fetchall()


async def test_a_group_is_there_for_others_when_it_returns(commits: SqliteCommits, database: Path, make: Any) -> None:
    await commits.commit(
        {"calls": [call_row(make.call("v3:a")), call_row(make.call("v3:b"))], "streams": [stream_row(make.stream("s"))]}
    )
    assert rows(database, "SELECT sid, created_at FROM calls ORDER BY sid") == [
        ("v3:a", "2026-03-01 12:00:00.123456"),
        ("v3:b", "2026-03-01 12:00:00.123456"),
    ]
    assert rows(database, "SELECT sid, call_sid FROM streams") == [("s", "v3:one")]
    await commits.commit({"calls": [call_row(make.call("v3:a", status="completed"))]})
    assert rows(database, "SELECT status FROM calls ORDER BY sid") == [("completed",), ("in-progress",)]


async def test_of_a_group_that_fails_nothing_is_written_and_the_next_is(
    commits: SqliteCommits, database: Path, make: Any
) -> None:
    broken = stream_row(make.stream("s")) | {"url": None}
    with pytest.raises(sqlite3.IntegrityError):
        await commits.commit({"calls": [call_row(make.call())], "streams": [broken]})
    assert rows(database, "SELECT * FROM calls") == []
    await commits.commit({"calls": [call_row(make.call())]})
    assert len(rows(database, "SELECT * FROM calls")) == 1


async def test_a_database_that_cannot_be_opened_is_tried_again(database: Path, fence: Fence, make: Any) -> None:
    failures = [sqlite3.OperationalError("unable to open")]

    def connect() -> sqlite3.Connection:
        if failures:
            raise failures.pop()
        return connect_sqlite(str(database))

    commits = SqliteCommits(connect, fence)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await commits.commit({"calls": [call_row(make.call())]})
    await commits.commit({"calls": [call_row(make.call())]})
    assert len(rows(database, "SELECT * FROM calls")) == 1
    for _ in range(2):
        await commits.close()


async def test_a_cancelled_write_is_over_only_when_its_commit_is(settings: StoreSettings, make: Any) -> None:
    store = await Store.open(settings)
    database = settings.directory / "trunkline.db"
    try:
        with closing(connect_sqlite(str(database))) as other:
            other.execute("BEGIN IMMEDIATE")
            write = asyncio.create_task(store.write([call_row(make.call())], [], []))
            next_one = asyncio.create_task(store.put_application(make.application("a")))
            for _ in range(3):
                await asyncio.wait({write}, timeout=0.05)
                write.cancel()
            assert not (await asyncio.wait({write, next_one}, timeout=0.05))[0]
            assert rows(database, "SELECT * FROM calls") == []
            other.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await write
        assert len(rows(database, "SELECT * FROM calls")) == 1
        await next_one
        await store.write([call_row(make.call("v3:b"))], [], [])
        assert len(rows(database, "SELECT * FROM calls")) == 2
    finally:
        await store.close()


async def test_after_a_close_it_opens_again(commits: SqliteCommits, database: Path, make: Any) -> None:
    await commits.commit({"calls": [call_row(make.call("v3:a"))]})
    await commits.close()
    assert not database.with_name("trunkline.db-wal").exists(), "the last connection has gone"
    await commits.commit({"calls": [call_row(make.call("v3:b"))]})
    assert len(rows(database, "SELECT * FROM calls")) == 2


async def test_what_fails_is_an_error_of_the_store(commits: SqliteCommits, database: Path, make: Any) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("DROP TABLE calls")
    with pytest.raises((sqlite3.Error, *STORE_ERRORS)):
        await commits.commit({"calls": [call_row(make.call())]})
