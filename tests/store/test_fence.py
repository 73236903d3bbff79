"""No write of a life that was declared dead, on each database."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text, update

from trunkline.calls.accounts import AccountView
from trunkline.config import StoreSettings
from trunkline.control.accounts import first_key
from trunkline.errors import Fenced
from trunkline.store.fence import Fence
from trunkline.store.records import call_row
from trunkline.store.store import Store
from trunkline.store.tables import nodes
from trunkline.store.writer import NotStored, Writer

Opener = Callable[[], Awaitable[Store]]


async def bury(store: Store, make: Any) -> None:
    """As another server does."""
    async with store._engine.begin() as connection:
        await connection.execute(update(nodes).where(nodes.c.id == store.fence.life).values(died_at=make.noon))


async def test_a_living_one_writes(store: Store, make: Any) -> None:
    await store.write([call_row(make.call())], [], [])
    assert [call.sid for call, _ in await store.open_calls()] == ["v3:one"]
    assert not store.fence.lost.is_set()


async def test_what_a_dead_one_writes_is_not_there(store: Store, make: Any) -> None:
    await bury(store, make)
    with pytest.raises(Fenced):
        await store.write([call_row(make.call())], [], [])
    assert store.fence.lost.is_set()
    assert await store.open_calls() == []


async def test_rare_writes_are_fenced_too(store: Store, make: Any) -> None:
    await bury(store, make)
    with pytest.raises(Fenced):
        await store.accounts.add_account(AccountView(make.account, "", make.noon), first_key(make.account), "key")
    with pytest.raises(Fenced):
        await store.prune("calls", make.noon, 1)
    assert store.accounts.by_secret("key") is None


async def test_a_beat_of_a_dead_one_finds_it_out(store: Store, make: Any) -> None:
    await store.lives.beat()
    await bury(store, make)
    with pytest.raises(Fenced):
        await store.lives.beat()
    assert store.fence.lost.is_set()


async def test_the_writer_of_a_dead_one_gives_up_at_once(store: Store, any_settings: StoreSettings, make: Any) -> None:
    stored: list[Any] = []
    writer = Writer(store, any_settings, stored.extend)
    writer.start()
    await bury(store, make)
    for _ in range(2):
        with pytest.raises(NotStored):
            await writer.submit([make.call()], callbacks=[make.callback("c1")])
    assert stored == []
    await writer.stop()


@pytest.mark.peer
async def test_a_transaction_that_stands_still_is_ended_by_postgresql(
    postgres: Callable[[], str], tmp_path: Any
) -> None:
    store = await Store.open(StoreSettings(directory=tmp_path, url=postgres()))
    async with store._engine.begin() as connection:
        await store.fence.check(connection)
        assert await connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "5s"
    async with store._engine.begin() as connection:
        assert await connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "0", "the session's is not"
    await store.close()


async def test_a_life_that_the_database_does_not_know_is_dead(store: Store, make: Any) -> None:
    unknown = Fence("AAnobody")
    async with store._engine.connect() as connection:
        with pytest.raises(Fenced):
            await unknown.check(connection)
