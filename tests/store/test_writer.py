"""The writer: order, groups, outages and the end. An outage is made by holding SQLite's write lock from outside."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from trunkline.config import StoreSettings
from trunkline.ids import CallSid
from trunkline.store import store as store_module
from trunkline.store import writer as writer_module
from trunkline.store.location import database_url
from trunkline.store.records import CallbackRecord
from trunkline.store.store import Store
from trunkline.store.writer import NotStored, Writer

ONE = CallSid("v3:one")
Start = Callable[..., Writer]
DROP_ALL_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture
async def start(store: Store) -> AsyncIterator[Start]:
    """Starts a writer on the store; stops it at the end."""
    writers: list[Writer] = []

    def make(settings: StoreSettings, passed_on: list[CallbackRecord] | None = None) -> Writer:
        def on_stored(records: Sequence[CallbackRecord]) -> None:
            if passed_on is not None:
                passed_on.extend(records)

        writers.append(Writer(store, settings, on_stored))
        writers[-1].start()
        return writers[-1]

    yield make
    for writer in writers:
        await writer.stop()


@contextmanager
def outage(settings: StoreSettings) -> Iterator[None]:
    """No other connection can write while this holds the lock."""
    blocker = sqlite3.connect(settings.directory / "trunkline.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A held lock fails a transaction at once instead of after five seconds."""
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 1)


async def test_what_was_submitted_is_readable_when_its_future_is_done(
    start: Start, store: Store, any_settings: StoreSettings, make: Any
) -> None:
    await start(any_settings).submit([make.call()], [make.stream("s1")])
    assert (await store.call(make.account, ONE)).sid == ONE
    assert [stream.sid for stream in await store.streams(make.account, ONE)] == ["s1"]


async def test_the_last_version_wins_and_callbacks_are_passed_on_in_order(
    start: Start, store: Store, any_settings: StoreSettings, make: Any
) -> None:
    passed_on: list[CallbackRecord] = []
    writer = start(any_settings, passed_on)
    last = make.call(status="completed", ended=1)
    futures = [writer.submit([make.call()], [], [make.callback(f"c{n}")]) for n in range(50)]
    futures.append(writer.submit([last]))
    assert writer.pending == 51
    await asyncio.gather(*futures)
    assert writer.pending == 0
    assert await store.call(make.account, ONE) == last
    assert [record.id for record in passed_on] == [f"c{n}" for n in range(50)]
    assert [record.position for record in passed_on] == list(range(1, 51))
    stored = await store.pending_callbacks("http://a:80", after=0, limit=99)
    assert stored == passed_on


async def test_callbacks_are_passed_on_only_after_they_are_stored(
    start: Start, store: Store, any_settings: StoreSettings, make: Any
) -> None:
    passed_on: list[CallbackRecord] = []
    writer = start(any_settings, passed_on)
    done = writer.submit([], [], [make.callback("c1")])
    assert passed_on == []
    await done
    assert [record.id for record in passed_on] == ["c1"]


async def test_a_full_writer_still_takes_changes(store: Store, any_settings: StoreSettings, make: Any) -> None:
    writer = Writer(store, any_settings.model_copy(update={"queue_limit": 2}), lambda records: None)
    first = writer.submit([make.call()])
    assert not writer.full
    writer.submit([make.call()])
    assert writer.full
    last = writer.submit([make.call(status="completed", ended=1)])
    writer.start()
    await writer.stop()
    assert first.done()
    assert last.done()
    assert (await store.call(make.account, ONE)).status == "completed"
    assert not writer.full


async def test_stop_writes_what_is_waiting(start: Start, store: Store, any_settings: StoreSettings, make: Any) -> None:
    writer = start(any_settings)
    futures = [writer.submit([make.call(f"v3:{n}")]) for n in range(2500)]
    await writer.stop()
    assert all(future.done() for future in futures)
    assert len(await store.open_calls()) == 2500


async def test_a_cancelled_future_does_no_harm(
    start: Start, store: Store, any_settings: StoreSettings, make: Any
) -> None:
    writer = start(any_settings)
    writer.submit([make.call()]).cancel()
    await writer.submit([make.call("v3:two")])
    assert len(await store.open_calls()) == 2


@pytest.mark.parametrize("any_settings", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("impatient")
async def test_changes_outlive_an_outage_which_is_logged_once(
    any_settings: StoreSettings,
    open_store: Any,
    make: Any,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await open_store()
    passed_on: list[CallbackRecord] = []
    failures = asyncio.Event()
    writes = 0
    write = store.write

    async def watched(*rows: Any) -> None:
        nonlocal writes
        writes += 1
        if writes >= 3:
            failures.set()
        await write(*rows)

    monkeypatch.setattr(store, "write", watched)
    writer = Writer(store, any_settings, passed_on.extend)
    with outage(any_settings):
        writer.start()
        done = writer.submit([make.call()], [], [make.callback("c1")])
        async with asyncio.timeout(30):
            await failures.wait()
        assert not done.done()
        assert passed_on == []
    async with asyncio.timeout(30):
        await done
    assert [record.id for record in passed_on] == ["c1"]
    await writer.stop()
    logged = "".join(capfd.readouterr())
    assert logged.count("store_unavailable") == 1
    assert logged.count("store_recovered") == 1


@pytest.mark.parametrize("any_settings", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("impatient")
async def test_an_outage_at_the_end_fails_the_waiting_and_ends(
    any_settings: StoreSettings, open_store: Any, make: Any
) -> None:
    writer = Writer(await open_store(), any_settings, lambda records: None)
    with outage(any_settings):
        writer.start()
        waited_for, ignored = writer.submit([make.call()]), writer.submit([make.call("v3:two")])
        async with asyncio.timeout(30):
            await writer.stop()
    with pytest.raises(NotStored, match="does not take writes"):
        await waited_for
    assert isinstance(ignored.exception(), NotStored)
    with pytest.raises(NotStored, match="closed"):
        await writer.submit([make.call()])


@pytest.mark.peer
@pytest.mark.parametrize("any_settings", ["postgresql"], indirect=True)
async def test_postgres_dropping_every_connection_loses_nothing(
    start: Start, store: Store, any_settings: StoreSettings, make: Any
) -> None:
    passed_on: list[CallbackRecord] = []
    writer = start(any_settings, passed_on)
    await writer.submit([make.call("v3:0")])
    outsider = create_async_engine(database_url(any_settings, any_settings.directory))
    for n in range(1, 4):
        done = writer.submit([make.call(f"v3:{n}")], [], [make.callback(f"c{n}")])
        async with outsider.connect() as connection:
            await connection.execute(DROP_ALL_OTHERS)
        async with asyncio.timeout(20):
            await done
    await outsider.dispose()
    assert len(await store.open_calls()) == 4
    assert [record.id for record in passed_on] == ["c1", "c2", "c3"]


async def test_a_receiver_that_breaks_does_not_end_the_writing(
    store: Store, any_settings: StoreSettings, make: Any
) -> None:
    def broken(records: Sequence[CallbackRecord]) -> None:
        raise RuntimeError("oh")

    writer = Writer(store, any_settings, broken)
    writer.start()
    await writer.submit([], [], [make.callback("c1")])
    await writer.submit([make.call()])
    assert [call.sid for call, _ in await store.open_calls()] == [ONE]
    assert await store.pending_hosts() == ["http://a:80"]
    await writer.stop()


async def test_a_change_that_can_never_be_written_is_set_aside_and_blocks_nothing(
    start: Start, store: Store, any_settings: StoreSettings, make: Any
) -> None:
    writer = start(any_settings)
    unwritable = replace(make.call(), sid=CallSid("v3:bad"), sip_status=2**70)
    with capture_logs() as lines:
        before = writer.submit([make.call()])
        bad = writer.submit([unwritable])
        after = writer.submit([], [make.stream("s1")])
        await before
        await after
        with pytest.raises(NotStored):
            await bad
    assert [stream.sid for stream in await store.streams(make.account, ONE)] == ["s1"]
    assert [(line["event"], line["call_sid"]) for line in lines] == [("store_change_set_aside", ["v3:bad"])]
    assert writer.counters["set_aside"] == 1
    assert writer.pending == 0


async def test_a_change_that_waits_too_long_is_late(
    start: Start, any_settings: StoreSettings, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LATE", 0)
    writer = start(any_settings)
    assert not writer.late
    done = writer.submit([make.call()])
    assert writer.late
    await done
    assert not writer.late
