"""What the store promises, on SQLite and on PostgreSQL."""

import asyncio
import stat
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from trunkline.calls.views import Application, CallFilter, CallView, StreamFilter, StreamView
from trunkline.cluster.keeper import Keeper
from trunkline.cluster.lease import BEAT
from trunkline.config import StoreSettings
from trunkline.errors import ResourceNotFound, StartupError
from trunkline.ids import AccountSid, CallSid
from trunkline.media.report import LegReport
from trunkline.store.records import CallbackResult, call_row, callback_row, contacts_row, stream_row
from trunkline.store.store import READERS, STORE_ERRORS, Store, connect_sqlite
from trunkline.tasks import repeated

ONE = CallSid("v3:one")
FULL = 2
Opener = Callable[[], Awaitable[Store]]


async def save(store: Store, *views: CallView | StreamView) -> None:
    calls = [call_row(view) for view in views if isinstance(view, CallView)]
    streams = [stream_row(view) for view in views if isinstance(view, StreamView)]
    await store.write(calls, streams, [])


async def test_a_call_comes_back_as_it_was_after_reopening(open_store: Opener, make: Any) -> None:
    call = replace(make.call(ended=9.5, report=LegReport(packets_in=3, loss_percent=0.25, codec="PCMU")), codec="PCMU")
    await save(await open_store(), call)
    assert await (await open_store()).call(make.account, call.sid) == call


async def test_a_later_version_of_a_record_replaces_the_earlier(store: Store, make: Any) -> None:
    await save(store, make.call(status="ringing"), make.stream("s1"))
    await save(store, make.call(status="completed", ended=3), make.stream("s1", status="stopped"))
    assert (await store.call(make.account, ONE)).status == "completed"
    assert [stream.status for stream in await store.streams(make.account, ONE)] == ["stopped"]


async def test_another_accounts_call_and_stream_do_not_exist(store: Store, make: Any) -> None:
    await save(store, make.call(), make.stream("s1"))
    other_account = AccountSid("other-account")
    for lookup in (
        store.call(other_account, ONE),
        store.stream(other_account, ONE, "s1"),
        store.streams(other_account, ONE),
        store.call(make.account, CallSid("v3:two")),
        store.stream(make.account, CallSid("v3:two"), "s1"),
    ):
        with pytest.raises(ResourceNotFound):
            await lookup
    assert await store.calls(other_account, CallFilter(), offset=0, limit=5) == ([], False)


async def test_pages_of_calls_are_newest_first_and_say_if_there_are_more(store: Store, make: Any) -> None:
    await save(store, *(make.call(f"v3:{n}", at=n) for n in range(5)))
    first, more = await store.calls(make.account, CallFilter(), offset=0, limit=2)
    assert ([call.sid for call in first], more) == (["v3:4", "v3:3"], True)
    last, more = await store.calls(make.account, CallFilter(), offset=3, limit=2)
    assert ([call.sid for call in last], more) == (["v3:1", "v3:0"], False)


async def test_each_filter_of_calls_selects(store: Store, make: Any) -> None:
    await save(
        store,
        make.call("v3:a", at=0, status="completed", ended=10, to="+1"),
        make.call("v3:b", at=100, status="failed", ended=110, from_="+2"),
        make.call("v3:c", at=200),
    )

    async def found(where: CallFilter) -> str:
        return "".join(call.sid[-1] for call in (await store.calls(make.account, where, offset=0, limit=9))[0])

    assert await found(CallFilter()) == "cba"
    assert await found(CallFilter(status="failed")) == "b"
    assert await found(CallFilter(to="+1")) == "a"
    assert await found(CallFilter(from_="+2")) == "b"
    assert await found(CallFilter(started=(make.at(100), make.at(200)))) == "b"
    assert await found(CallFilter(started=(None, make.at(200)))) == "ba"
    assert await found(CallFilter(ended=(make.at(11), None))) == "b"


async def test_a_name_means_the_live_stream_else_the_newest(store: Store, make: Any) -> None:
    await save(
        store,
        make.call(),
        make.stream("s1", 1, name="ear"),
        make.stream("s2", 2, name="ear", status="stopped"),
        make.stream("s3", 3, name="mouth", status="stopped"),
        make.stream("s4", 4, name="mouth", status="failed"),
        # Named like another one's sid: the sid wins.
        make.stream("s5", 5, name="s1"),
    )

    async def found(name: str) -> str:
        return (await store.stream(make.account, ONE, name)).sid

    assert [await found(name) for name in ("ear", "mouth", "s2", "s1")] == ["s1", "s4", "s2", "s1"]
    assert [stream.sid for stream in await store.streams(make.account, ONE)] == ["s1", "s2", "s3", "s4", "s5"]


async def test_what_a_crash_left_open_is_found_after_reopening(open_store: Opener, make: Any) -> None:
    await save(
        await open_store(),
        make.call("v3:open"),
        make.call("v3:done", ended=1, status="completed"),
        make.stream("s1", call="v3:open"),
        make.stream("s2", call="v3:open", status="stopped"),
    )
    store = await open_store()
    assert [(call.sid, dialog) for call, dialog in await store.open_calls()] == [("v3:open", None)]
    assert [stream.sid for stream in await store.open_streams()] == ["s1"]


async def test_text_that_no_database_takes_is_stored_with_replacements(store: Store, make: Any) -> None:
    await save(
        store, make.call(from_="a\0b\ud800c", report=LegReport(codec="\0")), make.stream("s1", name="\ud83d\ude00")
    )
    call = await store.call(make.account, ONE)
    assert call.from_ == "a\ufffdb\ufffdc"
    assert call.report == LegReport(codec="\0")
    assert (await store.stream(make.account, ONE, "s1")).name == "\U0001f600"


async def test_callbacks_wait_in_order_until_settled(open_store: Opener, make: Any) -> None:
    store = await open_store()
    rows = [callback_row(replace(make.callback(name), position=store.next_position())) for name in ("c1", "c2", "c3")]
    other = callback_row(replace(make.callback("c4", host="http://b:80"), position=store.next_position()))
    await store.write([], [], [*rows, other])
    again = make.at(60)
    store.note_result(CallbackResult("c1", "delivered", 1, 200, None, None, make.noon))
    store.note_result(CallbackResult("c2", "pending", 2, 500, "HTTP status 500", again, None))
    await store.write_results()
    store = await open_store()
    assert sorted(await store.pending_hosts()) == ["http://a:80", "http://b:80"]
    pending = await store.pending_callbacks("http://a:80", after=0, limit=10)
    assert [(record.id, record.tries, record.next_try_at) for record in pending] == [("c2", 2, again), ("c3", 0, None)]
    assert [r.id for r in await store.pending_callbacks("http://a:80", after=pending[0].position, limit=1)] == ["c3"]
    assert store.next_position() == 5, "positions go on after a restart"


async def test_storing_a_callback_twice_keeps_what_became_of_it(store: Store, make: Any) -> None:
    row = callback_row(replace(make.callback("c1"), position=1))
    await store.write([], [], [row])
    store.note_result(CallbackResult("c1", "delivered", 1, 200, None, None, make.noon))
    await store.write_results()
    await store.write([], [], [row])
    assert await store.pending_hosts() == []


async def test_results_are_written_with_the_next_changes_and_stay_where_these_fail(store: Store, make: Any) -> None:
    await store.write([], [], [callback_row(replace(make.callback("c1"), position=1))])
    store.note_result(CallbackResult("c1", "delivered", 1, 200, None, None, make.noon))
    with pytest.raises(STORE_ERRORS):
        await store.write([call_row(make.call()) | {"status": None}], [], [])
    assert store.has_results
    assert await store.pending_hosts() == ["http://a:80"]
    await save(store, make.call())
    assert not store.has_results
    assert await store.pending_hosts() == []


async def test_only_old_settled_callbacks_are_pruned(store: Store, make: Any) -> None:
    rows = [callback_row(replace(make.callback(f"c{n}"), position=n)) for n in (1, 2, 3)]
    await store.write([], [], rows)
    store.note_result(CallbackResult("c1", "delivered", 1, 200, None, None, make.at(0)))
    store.note_result(CallbackResult("c2", "failed", 6, None, "timeout", None, make.at(10)))
    await store.write_results()
    assert await store.prune("callbacks", make.at(5), 9) == 1
    assert await store.prune("callbacks", make.noon + timedelta(days=99), 9) == 1
    assert [r.id for r in await store.pending_callbacks("http://a:80", after=0, limit=9)] == ["c3"]


async def test_a_second_server_on_the_same_store_is_refused(
    open_store: Opener, any_settings: StoreSettings, tmp_path: Path
) -> None:
    keeper = Keeper((await open_store()).lives.beat, STORE_ERRORS)
    await keeper.beat()
    async with repeated(keeper.beat, BEAT, "lease keeper"):
        # Another directory: on PostgreSQL the database itself must refuse.
        second = (
            any_settings if any_settings.url is None else StoreSettings(directory=tmp_path / "2", url=any_settings.url)
        )
        with pytest.raises(StartupError, match="in use by another server"):
            await Store.open(second)
        # The refused one has not taken the first one's lock away.
        with pytest.raises(StartupError, match="in use by another server"):
            await Store.open(second)


async def test_the_directory_is_made_for_its_owner_only(settings: StoreSettings) -> None:
    await (await Store.open(settings)).close()
    assert stat.S_IMODE(settings.directory.stat().st_mode) == 0o700


async def test_a_file_that_is_no_database_is_one_clear_line(settings: StoreSettings) -> None:
    settings.directory.mkdir()
    (settings.directory / "trunkline.db").write_bytes(b"This is a letter to my aunt." * 100)
    with pytest.raises(StartupError, match=r"^store: cannot open .*trunkline\.db: it is not a database$"):
        await Store.open(settings)


async def test_postgres_that_is_not_there_is_one_clear_line_without_the_password(settings: StoreSettings) -> None:
    settings = StoreSettings(directory=settings.directory, url="postgresql://me:hush@127.0.0.1:1/x")
    with pytest.raises(StartupError, match=r"^store: cannot open postgresql.*\n?") as failure:
        await Store.open(settings)
    assert "hush" not in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.peer
@pytest.mark.parametrize("database", ["missing", "template0"])
async def test_a_postgres_database_that_does_not_let_us_in_is_one_clear_line(
    settings: StoreSettings, postgres: Callable[[], str], database: str
) -> None:
    url = f"{postgres().rpartition('/')[0]}/{database}"
    with pytest.raises(StartupError, match=r"^store: cannot open postgresql\+asyncpg://.*: database .*") as failure:
        await Store.open(StoreSettings(directory=settings.directory, url=url))
    assert "\n" not in str(failure.value)


async def test_sqlite_syncs_every_commit_to_the_disk(settings: StoreSettings) -> None:
    store = await Store.open(settings)
    async with store._engine.connect() as connection:
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA synchronous")) == FULL
    await store.close()
    with closing(connect_sqlite(str(settings.directory / "trunkline.db"))) as connection_of_commits:
        assert connection_of_commits.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection_of_commits.execute("PRAGMA synchronous").fetchone() == (FULL,)


async def test_a_group_that_fails_leaves_nothing_and_the_next_is_written(store: Store, make: Any) -> None:
    with pytest.raises(STORE_ERRORS):
        await store.write([call_row(make.call())], [stream_row(make.stream("s1")) | {"url": None}], [])
    assert await store.open_calls() == []
    await save(store, make.call(), make.stream("s1"))
    assert [stream.sid for stream in await store.streams(make.account, ONE)] == ["s1"]


async def test_streams_of_all_calls_are_newest_first_and_filtered(store: Store, make: Any) -> None:
    await save(
        store,
        make.stream("s1", at=1, name="tap"),
        make.stream("s2", at=2, call="v3:two", status="stopped"),
        make.stream("s3", at=3, call="v3:two"),
        make.stream("s4", at=4, account="other-account"),
    )

    async def found(where: StreamFilter, offset: int = 0, limit: int = 9) -> tuple[list[str], bool]:
        streams, more = await store.streams_of_account(make.account, where, offset=offset, limit=limit)
        return [stream.sid for stream in streams], more

    assert await found(StreamFilter(), limit=2) == (["s3", "s2"], True)
    assert await found(StreamFilter(), offset=2, limit=2) == (["s1"], False)
    assert await found(StreamFilter(status="in-progress")) == (["s3", "s1"], False)
    assert await found(StreamFilter(call=CallSid("v3:two"))) == (["s3", "s2"], False)
    assert await found(StreamFilter(name="tap")) == (["s1"], False)


async def test_many_reads_at_once_take_turns_and_leave_a_connection_to_the_writer(store: Store, make: Any) -> None:
    opened: list[object] = []
    event.listen(store._engine.sync_engine, "connect", lambda connection, _record: opened.append(connection))
    await asyncio.gather(*(store.open_calls() for _ in range(60)), store.write([call_row(make.call())], [], []))
    assert len(await store.open_calls()) == 1
    assert len(opened) <= READERS + 1


async def test_applications_come_back_as_they_were_until_deleted(open_store: Opener, make: Any) -> None:
    first = Application(
        sid="1293384261075731499",
        account_sid=make.account,
        friendly_name="caf\u00e9",
        voice_url="https://a.example/?b=%20",
        voice_method="GET",
        voice_fallback_url=None,
        status_callback="https://a.example/status",
        status_callback_method="POST",
        active=False,
        created_at=make.at(1),
        updated_at=make.at(2),
        other={"tags": ["a", "\0"], "inbound": {"channel_limit": None}},
    )
    second = replace(first, sid="2", account_sid=AccountSid("acc-2"), created_at=make.at(0), other={})
    store = await open_store()
    await store.put_application(first)
    await store.put_application(second)
    assert await (await open_store()).applications() == [second, first]
    changed = replace(first, active=True, status_callback=None, updated_at=make.at(3), other={})
    store = await open_store()
    await store.put_application(changed)
    await store.delete_application("2")
    await store.delete_application("2")
    assert await (await open_store()).applications() == [changed]


async def test_the_last_contacts_of_each_phone_come_back(open_store: Opener) -> None:
    store = await open_store()
    await store.write([], [], [], [contacts_row("ann", "[1]"), contacts_row("bob", "[2]")])
    await store.write([], [], [], [contacts_row("ann", "[]")])
    assert await (await open_store()).contacts() == {"ann": "[]", "bob": "[2]"}


async def test_callbacks_that_wait_are_counted_by_their_age(store: Store, make: Any) -> None:
    ages = {"c1": 5, "c2": 59, "c3": 61, "c4": 599, "c5": 3500, "c6": 3700}
    rows = [
        callback_row(replace(make.callback(sid), created_at=make.at(-age), position=n))
        for n, (sid, age) in enumerate(ages.items())
    ]
    rows.append(callback_row(replace(make.callback("done"), position=9)) | {"state": "delivered"})
    assert await store.pending_by_age(make.noon) == {"1m": 0, "10m": 0, "1h": 0, "older": 0}
    await store.write([], [], rows)
    assert await store.pending_by_age(make.noon) == {"1m": 2, "10m": 2, "1h": 1, "older": 1}


async def test_writes_of_two_connections_wait_for_each_other(settings: StoreSettings, make: Any) -> None:
    store, done = await Store.open(settings), threading.Event()

    def commit_meanwhile() -> int:
        commits = 0
        with closing(connect_sqlite(str(settings.directory / "trunkline.db"))) as other:
            while not done.wait(0.001):  # the lock of SQLite is not given in turn
                other.execute("INSERT OR REPLACE INTO contacts VALUES ('u', 's')")
                commits += 1
        return commits

    committing = asyncio.create_task(asyncio.to_thread(commit_meanwhile))
    try:
        for n in range(100):
            await store.put_application(make.application(str(n)))
    finally:
        done.set()
    assert await committing > 0
    assert len(await store.applications()) == 100
    await store.close()


async def test_a_connection_is_made_while_another_process_writes(
    settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(settings)
    monkeypatch.setattr("trunkline.store.store.BUSY_TIMEOUT", 0)
    file = str(settings.directory / "trunkline.db")
    with closing(connect_sqlite(file)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        with closing(connect_sqlite(file)) as another:
            assert another.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        await store._engine.dispose()
        assert await store.applications() == []
    await store.close()
