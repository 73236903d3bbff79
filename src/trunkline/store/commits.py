"""How a group of changes becomes one transaction: the store's hot path, apart from everything that is rare.

SQLite gets a connection of its own in a thread of its own, and a whole transaction is one call into that thread.
Through SQLAlchemy and an asyncio driver BEGIN, each statement and COMMIT are a call each, with a greenlet switched
around it: that was half of the CPU of a call. PostgreSQL's statements are round trips anyway and go through SQLAlchemy.

The statements are SQLAlchemy's for both (`tables.py`), and so are the conversions of values.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from trunkline.errors import Fenced
from trunkline.store import tables
from trunkline.store.fence import Fence
from trunkline.store.records import Row
from trunkline.store.tables import Changes

T = TypeVar("T")
Group = Mapping[Changes, Sequence[Row]]
"""The rows of each kind of change, each with at least one."""


class Commits(Protocol):
    """Makes groups durable, one at a time."""

    async def commit(self, group: Group) -> None:
        """One transaction, durable when this returns. Raises STORE_ERRORS; then nothing of it was written. `Fenced` is
        one of them."""

    async def shrink(self, pages: int) -> bool:
        """Give at most so many free pages of the file back; whether there may be more. Raises STORE_ERRORS."""

    async def close(self) -> None:
        """Give the connection back."""


class PostgresCommits:
    """By the engine's connections."""

    def __init__(self, engine: AsyncEngine, fence: Fence) -> None:
        self._engine = engine
        self._fence = fence
        self._statements = tables.changes("postgresql")

    async def commit(self, group: Group) -> None:
        """See `Commits`."""
        async with self._engine.begin() as connection:
            await self._fence.check(connection)
            for change, rows in group.items():
                await connection.execute(self._statements[change], rows)

    async def shrink(self, pages: int) -> bool:
        """See `Commits`. PostgreSQL does so by itself."""
        return False

    async def close(self) -> None:
        """See `Commits`."""


class SqliteCommits:
    """By one thread; `connect` opens its connection there, in autocommit mode and with `synchronous=FULL`."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], fence: Fence) -> None:
        self._connect = connect
        self._fence = fence
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._statements = {change: _Prepared(clause) for change, clause in tables.changes("sqlite").items()}

    async def commit(self, group: Group) -> None:
        """See `Commits`."""
        try:
            await self._done(self._commit, group)
        except Fenced:
            self._fence.lost.set()
            raise

    async def shrink(self, pages: int) -> bool:
        """See `Commits`."""
        return await self._done(self._shrink, pages)

    async def close(self) -> None:
        """See `Commits`."""
        # The thread itself ends with this object, so that a store may be closed twice.
        await self._done(self._close)

    async def _done(self, work: Callable[..., T], *arguments: object) -> T:
        """What the thread makes of it. A thread cannot be cancelled: a caller who is waits for its end all the same,
        since the lock on writes that the caller holds must not be free before."""
        job = asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *arguments))
        cancelled = None
        while not job.done():
            try:
                await asyncio.wait({job})
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            job.exception()  # Marked as seen.
            raise cancelled
        return job.result()

    def _commit(self, group: Group) -> None:
        if self._connection is None:
            self._connection = self._connect()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._fence.check_sqlite(self._connection)
            for change, rows in group.items():
                statement = self._statements[change]
                self._connection.executemany(statement.sql, map(statement.converted, rows))
            self._connection.execute("COMMIT")
        except BaseException:
            self._close()  # which rolls back, whatever state it is in
            raise

    def _shrink(self, pages: int) -> bool:
        if self._connection is None:
            self._connection = self._connect()
        (before,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        # `execute` would end it after one page.
        self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")
        (left,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return 0 < int(left) < int(before)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Prepared:
    """The SQL of a statement for sqlite3, and how its values are written."""

    def __init__(self, clause: tables.Change) -> None:
        dialect = sqlite.dialect(paramstyle="named")
        compiled = clause.compile(dialect=dialect)
        self.sql = str(compiled)
        self._processors: dict[str, Callable[[Any], object]] = {}
        for name, parameter in compiled.binds.items():
            processor = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if processor is not None:
                self._processors[name] = processor

    def converted(self, row: Row) -> Row:
        """The row as sqlite3 takes it."""
        return row | {name: processor(row[name]) for name, processor in self._processors.items()}
