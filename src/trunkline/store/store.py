"""The store: one database, SQLite by default or PostgreSQL, read by everyone and written by one server.

Durability. A callback is sent only after it was stored, and `start_stream` answers only after its record was, so a
commit must mean "on the disk": SQLite runs in WAL mode with `synchronous=FULL`, which syncs the log at every commit
(NORMAL would lose the last commits with the power, though not with the process). `writer.py` makes that cheap by
putting everything that waits into one transaction. PostgreSQL does the same by its default `synchronous_commit`.

All writes take turns on one lock: SQLite has one writer anyway, and so a transaction never meets a busy database.
Reads wait for one of `READERS` turns, however many requests want one; so the writer always finds a connection.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, Connection, Select, and_, case, delete, event, func, or_, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from trunkline.calls.views import (
    LIVE,
    Application,
    CallbackView,
    CallFilter,
    CallView,
    RecordingFilter,
    RecordingView,
    StreamFilter,
    StreamView,
)
from trunkline.config import StoreSettings
from trunkline.errors import Fenced, ResourceNotFound, StartupError
from trunkline.ids import AccountSid, CallSid, Life, StreamSid, life_name, new_life
from trunkline.store import records, tables
from trunkline.store.accounts import StoredAccounts
from trunkline.store.commits import Commits, PostgresCommits, SqliteCommits
from trunkline.store.fence import Fence, for_writes
from trunkline.store.lives import Lives
from trunkline.store.location import (
    LOCK_FILE,
    FileLock,
    InUse,
    database_url,
    make_file_private,
    prepare_directory,
)
from trunkline.store.records import CallbackRecord, CallbackResult, Row
from trunkline.store.tables import Changes

STORE_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError, Fenced)
"""What reading and writing raise when the database does not work (TimeoutError is an OSError)."""
UNWRITABLE = (
    *(DataError, IntegrityError, sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError),
    *(sqlite3.ProgrammingError, OverflowError, TypeError, ValueError),
)
"""Of a write: the database works, and will never take these rows."""
UNWRITABLE_CLASSES = ("22", "23")
"""And of PostgreSQL: data exceptions and broken constraints, by the first two characters of SQLSTATE."""

BUSY_TIMEOUT = 5000
"""Milliseconds to wait for a lock that another process, such as a backup, holds on the SQLite file."""
READERS = 4
"""Reads at once. SQLite gains nothing by more, and the connections are kept open."""
CONNECTIONS = READERS + 2
"""And one for the writing, one for the lease."""
_UNPREPARED = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": str,  # the unnamed one, which the next replaces
}
"""Of asyncpg and SQLAlchemy: what is prepared is gone with the transaction."""
LEAVE_TIMEOUT = 1.0
"""Seconds for the last write."""
POSTGRES_TIMEOUT = 10
"""Seconds for a connection or a statement; without it a silent network would hold up the writer for hours."""


AGES = {"1m": 60, "10m": 600, "1h": 3600}
"""Of callbacks that wait: names, and seconds that they are younger than."""
OLDER = "older"

Prunable = Literal["calls", "streams", "callbacks", "sip_traces"]
"""What is deleted when it is old."""
_PRUNABLE: dict[Prunable, tuple[Column[Any], Callable[[datetime], ColumnElement[bool]]]] = {
    "calls": (tables.calls.c.sid, lambda before: tables.calls.c.ended_at < before),
    "streams": (
        tables.streams.c.sid,
        lambda before: and_(tables.streams.c.updated_at < before, tables.streams.c.status.not_in(LIVE)),
    ),
    "callbacks": (tables.callbacks.c.position, lambda before: tables.callbacks.c.finished_at < before),
    "sip_traces": (tables.sip_traces.c.call_sid, lambda before: tables.sip_traces.c.created_at < before),
}


def never_writable(error: BaseException | None) -> bool:
    """Whether a write would fail in this way however often it is tried."""
    while error is not None:
        if isinstance(error, UNWRITABLE) or str(getattr(error, "sqlstate", ""))[:2] in UNWRITABLE_CLASSES:
            return True
        error = getattr(error, "orig", None) or error.__cause__
    return False


class Store:
    """Accounts, applications, contacts, calls, streams and callbacks.

    Reading and writing raise `STORE_ERRORS` when the database fails.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        commits: Commits,
        directory: Path,
        life: Life,
        fence: Fence,
        lock: FileLock | None,
    ) -> None:
        self.directory = directory
        """Where the signing key lives, too."""
        self.life = life
        self.fence = fence
        self.lives = Lives(engine, fence, None if lock is None else lock.last)
        self._engine = engine
        self._writes = for_writes(engine)
        self._commits = commits
        self._file_lock = lock
        self._entered = False
        self._writing = asyncio.Lock()
        self._reading = asyncio.Semaphore(READERS)
        self.accounts = StoredAccounts(self._transaction)
        self._results: list[Row] = []
        self._position = 0
        self.newest_at_open = 0
        """Position of the newest callback that an earlier life of the server left."""

    @classmethod
    async def open(cls, settings: StoreSettings) -> "Store":
        """Make or open, lock and migrate. Raises StartupError with one line for the operator."""
        directory = prepare_directory(settings.directory)
        url = database_url(settings, directory)
        is_sqlite, lock = url.drivername == "sqlite+aiosqlite", None
        try:
            lock = FileLock(str(url.database) if is_sqlite else str(directory / LOCK_FILE))
        except InUse:
            if is_sqlite:
                raise
            # It proves nothing then: another database's server may hold it.
        if is_sqlite:
            make_file_private(str(url.database))
        life = new_life(secrets.token_bytes(5))
        engine, fence = _engine(url, pooler=settings.pooler), Fence(life_name(life))
        sqlite = partial(connect_sqlite, str(url.database))
        commits = SqliteCommits(sqlite, fence) if is_sqlite else PostgresCommits(engine, fence)
        store = cls(engine, commits, directory, life, fence, lock)
        try:
            await store._prepare()
        except BaseException as error:
            await store.close()
            if isinstance(error, STORE_ERRORS):
                name = url.database if is_sqlite else url.render_as_string(hide_password=True)
                raise StartupError(f"store: cannot open {name}: {_reason(error)}") from error
            raise
        return store

    async def _prepare(self) -> None:
        await self.lives.enter()
        self._entered = True
        if self._file_lock is not None:
            self._file_lock.mark(self.fence.life)
        async with self._engine.connect() as connection:
            await self.accounts.load(connection)
            self.newest_at_open = await connection.scalar(select(func.max(tables.callbacks.c.position))) or 0
            self._position = self.newest_at_open

    async def close(self) -> None:
        """Close the connections and let another server have the store."""
        if self._entered:
            with suppress(*STORE_ERRORS):  # Then the next one waits for the end of the lease.
                async with asyncio.timeout(LEAVE_TIMEOUT):
                    await self.lives.leave()
            self._entered = False
        await self._commits.close()
        await self._engine.dispose()
        if self._file_lock is not None:
            self._file_lock.release()
            self._file_lock = None

    # Applications.

    async def applications(self) -> list[Application]:
        """All of all accounts, oldest first."""
        c = tables.applications.c
        query = select(tables.applications).order_by(c.created_at, c.sid)
        return [records.application(row) for row in await self._rows(query)]

    async def put_application(self, application: Application) -> None:
        """Add an application, or replace what it was."""
        statement = tables.upsert(self._engine.dialect.name, tables.applications, by="sid")
        async with self._transaction() as connection:
            await connection.execute(statement, records.application_row(application))

    async def delete_application(self, sid: str) -> None:
        """Delete an application."""
        async with self._transaction() as connection:
            await connection.execute(delete(tables.applications).where(tables.applications.c.sid == sid))

    # Phones.

    async def contacts(self) -> dict[str, str]:
        """The contacts of each phone, as they were written."""
        return {row["user"]: row["saved"] for row in await self._rows(select(tables.contacts))}

    # Calls and streams, as `calls.control.CallControl` promises them.

    async def call(self, account: AccountSid, call: CallSid) -> CallView:
        """One call. Raises ResourceNotFound."""
        c = tables.calls.c
        return records.call_view(await self._one(select(tables.calls).where(c.sid == call, c.account_sid == account)))

    async def calls(
        self, account: AccountSid, where: CallFilter, *, offset: int, limit: int
    ) -> tuple[list[CallView], bool]:
        """One page of calls, newest first, and whether more follow. `where.started` is about `created_at`."""
        c = tables.calls.c
        query = select(tables.calls).where(c.account_sid == account)
        for column, wanted in ((c.status, where.status), (c.to, where.to), (c.from_, where.from_)):
            if wanted is not None:
                query = query.where(column == wanted)
        for column, (not_before, before) in ((c.created_at, where.started), (c.ended_at, where.ended)):
            if not_before is not None:
                query = query.where(column >= not_before)
            if before is not None:
                query = query.where(column < before)
        query = query.order_by(c.created_at.desc(), c.sid.desc()).offset(offset).limit(limit + 1)
        rows = await self._rows(query)
        return [records.call_view(row) for row in rows[:limit]], len(rows) > limit

    async def stream(self, account: AccountSid, call: CallSid, stream: str) -> StreamView:
        """One stream by sid, or by name: the live one of that name, else the newest. Raises ResourceNotFound."""
        c = tables.streams.c
        query = (
            select(tables.streams)
            .where(c.account_sid == account, c.call_sid == call, or_(c.sid == stream, c.name == stream))
            .order_by((c.sid == stream).desc(), c.status.in_(LIVE).desc(), c.created_at.desc(), c.sid.desc())
            .limit(1)
        )
        return records.stream_view(await self._one(query))

    async def streams(self, account: AccountSid, call: CallSid) -> list[StreamView]:
        """All streams of a call, oldest first. Raises ResourceNotFound for the call."""
        await self.call(account, call)
        c = tables.streams.c
        query = select(tables.streams).where(c.account_sid == account, c.call_sid == call)
        return [records.stream_view(row) for row in await self._rows(query.order_by(c.created_at, c.sid))]

    async def streams_of_account(
        self, account: AccountSid, where: StreamFilter, *, offset: int, limit: int
    ) -> tuple[list[StreamView], bool]:
        """One page of an account's streams, newest first, and whether more follow."""
        c = tables.streams.c
        query = select(tables.streams).where(c.account_sid == account)
        for column, wanted in ((c.status, where.status), (c.call_sid, where.call), (c.name, where.name)):
            if wanted is not None:
                query = query.where(column == wanted)
        query = query.order_by(c.created_at.desc(), c.sid.desc()).offset(offset).limit(limit + 1)
        rows = await self._rows(query)
        return [records.stream_view(row) for row in rows[:limit]], len(rows) > limit

    async def open_calls(self) -> list[tuple[CallView, str | None]]:
        """Calls that have not ended, oldest first, with the text of the SIP dialog of each that was answered; at start
        these are what a crash left."""
        c = tables.calls.c
        query = select(tables.calls).where(c.ended_at.is_(None)).order_by(c.created_at, c.sid)
        return [(records.call_view(row), row["dialog"]) for row in await self._rows(query)]

    async def recording(self, account: AccountSid, sid: str) -> RecordingView:
        """One recording. Raises ResourceNotFound."""
        c = tables.recordings.c
        query = select(tables.recordings).where(c.sid == sid, c.account_sid == account)
        return records.recording_view(await self._one(query))

    async def recordings(
        self, account: AccountSid, where: RecordingFilter, *, offset: int, limit: int
    ) -> tuple[list[RecordingView], bool]:
        """One page of recordings, newest first, and whether more follow."""
        c, (not_before, before) = tables.recordings.c, where.created
        query = select(tables.recordings).where(c.account_sid == account)
        if where.call is not None:
            query = query.where(c.call_sid == where.call)
        if not_before is not None:
            query = query.where(c.created_at >= not_before)
        if before is not None:
            query = query.where(c.created_at < before)
        query = query.order_by(c.created_at.desc(), c.sid.desc()).offset(offset).limit(limit + 1)
        rows = await self._rows(query)
        return [records.recording_view(row) for row in rows[:limit]], len(rows) > limit

    async def open_recordings(self) -> list[RecordingView]:
        """Recordings that have not ended, oldest first."""
        c = tables.recordings.c
        query = select(tables.recordings).where(c.ended_at.is_(None)).order_by(c.created_at, c.sid)
        return [records.recording_view(row) for row in await self._rows(query)]

    async def recordings_used(self) -> dict[AccountSid, int]:
        """Bytes that the recordings of each account take."""
        c = tables.recordings.c
        rows = await self._rows(select(c.account_sid, func.sum(c.size).label("used")).group_by(c.account_sid))
        return {AccountSid(row["account_sid"]): int(row["used"] or 0) for row in rows}

    async def old_recordings(self, before: datetime, limit: int) -> list[RecordingView]:
        """At most `limit` recordings that ended before then, oldest first."""
        c = tables.recordings.c
        query = select(tables.recordings).where(c.ended_at < before).order_by(c.ended_at).limit(limit)
        return [records.recording_view(row) for row in await self._rows(query)]

    async def recordings_of(self, calls: Sequence[CallSid]) -> list[RecordingView]:
        """The recordings of some calls."""
        query = select(tables.recordings).where(tables.recordings.c.call_sid.in_(calls))
        return [records.recording_view(row) for row in await self._rows(query)]

    async def streams_of(self, calls: Sequence[CallSid]) -> list[StreamSid]:
        """The sids of the streams of some calls."""
        c = tables.streams.c
        return [StreamSid(row["sid"]) for row in await self._rows(select(c.sid).where(c.call_sid.in_(calls)))]

    async def ended_calls_of(self, account: AccountSid, number: str, limit: int) -> list[CallSid]:
        """At most `limit` calls from or to a number that are over."""
        c = tables.calls.c
        theirs = or_(c.from_ == number, c.to == number)
        query = select(c.sid).where(c.account_sid == account, theirs, c.ended_at.is_not(None)).limit(limit)
        return [CallSid(row["sid"]) for row in await self._rows(query)]

    async def delete_calls(self, calls: Sequence[CallSid]) -> tuple[int, int]:
        """Delete calls with their streams and callbacks; the numbers of the latter two. A callback that is under way is
        not sent again."""
        async with self._transaction() as connection:
            gone = [
                (await connection.execute(delete(table).where(column.in_(calls)))).rowcount
                for table, column in (
                    (tables.streams, tables.streams.c.call_sid),
                    (tables.callbacks, tables.callbacks.c.call_sid),
                    (tables.calls, tables.calls.c.sid),
                    (tables.sip_traces, tables.sip_traces.c.call_sid),
                )
            ]
        return gone[0], gone[1]

    async def delete_recordings(self, sids: Sequence[str]) -> set[str]:
        """Delete records of recordings; the sids of those that there were."""
        c = tables.recordings.c
        async with self._transaction() as connection:
            gone = await connection.execute(delete(tables.recordings).where(c.sid.in_(sids)).returning(c.sid))
            return set(gone.scalars())

    async def open_streams(self) -> list[StreamView]:
        """Streams that have not ended, oldest first."""
        c = tables.streams.c
        query = select(tables.streams).where(c.status.in_(LIVE)).order_by(c.created_at, c.sid)
        return [records.stream_view(row) for row in await self._rows(query)]

    async def sip_trace(self, account: AccountSid, call: CallSid) -> str | None:
        """The SIP messages of a call, as they were written."""
        c = tables.sip_traces.c
        rows = await self._rows(select(c.trace).where(c.call_sid == call, c.account_sid == account))
        return str(rows[0]["trace"]) if rows else None

    # Callbacks.

    async def pending_hosts(self) -> list[str]:
        """The hosts that still have callbacks to get."""
        c = tables.callbacks.c
        return [row["host"] for row in await self._rows(select(c.host).where(c.state == "pending").distinct())]

    async def pending_callbacks(self, host: str, *, after: int, limit: int) -> list[CallbackRecord]:
        """Callbacks of a host still to be delivered, in order, from behind the position `after`."""
        c = tables.callbacks.c
        query = (
            select(tables.callbacks)
            .where(c.state == "pending", c.host == host, c.position > after)
            .order_by(c.position)
            .limit(limit)
        )
        return [records.callback_record(row) for row in await self._rows(query)]

    async def callbacks(
        self, account: AccountSid, *, offset: int, limit: int, sid: str | None = None
    ) -> tuple[list[CallbackView], bool]:
        """One page of the callbacks of an account that are kept, newest first, or the one of that sid; and whether more
        follow."""
        c = tables.callbacks.c
        wanted = [c.host.startswith(f"{account} ", autoescape=True)] + ([] if sid is None else [c.id == sid])
        query = select(tables.callbacks).where(*wanted).order_by(c.position.desc()).offset(offset).limit(limit + 1)
        found = [records.callback_view(row) for row in await self._rows(query)]
        return found[:limit], len(found) > limit

    async def pending_by_age(self, now: datetime) -> dict[str, int]:
        """How many callbacks wait to be delivered, by how long ago their events happened (`AGES`)."""
        c = tables.callbacks.c
        bounds = [(c.created_at > now - timedelta(seconds=seconds), name) for name, seconds in AGES.items()]
        age = case(*bounds, else_=OLDER).label("age")
        rows = await self._rows(select(age, func.count().label("count")).where(c.state == "pending").group_by(age))
        return dict.fromkeys((*AGES, OLDER), 0) | {row["age"]: row["count"] for row in rows}

    def note_result(self, result: CallbackResult) -> None:
        """The result of a try, which is stored with the next changes of calls, or by `write_results`."""
        self._results.append(records.result_row(result))

    @property
    def has_results(self) -> bool:
        """Whether results wait to be stored."""
        return bool(self._results)

    async def write_results(self) -> None:
        """Store the results that wait."""
        async with self._writing:
            await self._commit({})

    # For the pruner.

    async def prune(self, kind: Prunable, before: datetime, limit: int) -> int:
        """Delete at most `limit` calls or streams that ended before then, or callbacks that were delivered or given up;
        returns their number."""
        key, old = _PRUNABLE[kind]
        async with self._transaction() as connection:
            oldest = select(key).where(old(before)).limit(limit)
            gone = await connection.execute(delete(key.table).where(key.in_(oldest)))
            return gone.rowcount

    async def shrink(self, pages: int) -> bool:
        """Give at most so many free pages of an SQLite file back to the disk; whether there may be more."""
        async with self._writing:
            return await self._commits.shrink(pages)

    # For the writer.

    def next_position(self) -> int:
        """The next place in the order of callbacks."""
        self._position += 1
        return self._position

    async def write(
        self,
        calls: Sequence[Row],
        streams: Sequence[Row],
        callbacks: Sequence[Row],
        contacts: Sequence[Row] = (),
        recordings: Sequence[Row] = (),
        traces: Sequence[Row] = (),
    ) -> None:
        """One transaction: callbacks are added once, all else replaces what is there."""
        group: dict[Changes, Sequence[Row]] = {
            "calls": calls,
            "streams": streams,
            "recordings": recordings,
            "callbacks": callbacks,
            "contacts": contacts,
            "sip_traces": traces,
        }
        async with self._writing:
            await self._commit({change: rows for change, rows in group.items() if rows})

    async def _commit(self, group: dict[Changes, Sequence[Row]]) -> None:
        results = self._results.copy()
        if results:
            group["results"] = results
        if group:
            await self._commits.commit(group)
        del self._results[: len(results)]

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._writing, self._writes.begin() as connection:
            await self.fence.check(connection)
            yield connection

    async def _one(self, query: Select[Any]) -> Row:
        """The first row. Raises ResourceNotFound."""
        rows = await self._rows(query)
        if not rows:
            raise ResourceNotFound
        return rows[0]

    async def _rows(self, query: Select[Any]) -> list[Row]:
        async with self._reading, self._engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]


def _engine(url: URL, *, pooler: bool) -> AsyncEngine:
    if url.drivername != "sqlite+aiosqlite":
        wanted: dict[str, Any] = {"timeout": POSTGRES_TIMEOUT, "command_timeout": POSTGRES_TIMEOUT}
        if pooler:
            wanted |= _UNPREPARED
        return create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, pool_pre_ping=True, connect_args=wanted)
    engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # Python's sqlite3 opens a transaction only before data changes, not before CREATE TABLE; we open them all.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA page_count")
        if cursor.fetchone() == (0,):  # Later it would write the file at each connection, for nothing.
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in _pragmas():
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first, as the fence does, and then writes fails at once where another has written
        # in between: so one that is to write waits for its turn from the beginning.
        writes = connection.get_execution_options().get("writes")
        connection.execute(text("BEGIN IMMEDIATE" if writes else "BEGIN"))

    return engine


def connect_sqlite(database: str) -> sqlite3.Connection:
    """A connection for commits, in autocommit mode."""
    connection = sqlite3.connect(database, isolation_level=None)
    for pragma in _pragmas():
        connection.execute(pragma)
    return connection


def _pragmas() -> tuple[str, ...]:
    return (
        f"PRAGMA busy_timeout={BUSY_TIMEOUT}",
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
    )


def _reason(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.DatabaseError) and "not a database" in str(cause):
        return "it is not a database"
    return (str(cause) or type(cause).__name__).splitlines()[0]
