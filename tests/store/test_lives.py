"""How a life enters, on each database: alone, after a crash, beside a living one, after one that has left."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text, update
from structlog.testing import capture_logs

from trunkline.cluster.keeper import Keeper
from trunkline.cluster.lease import BEAT, CALM, LEASE
from trunkline.config import StoreSettings
from trunkline.errors import Fenced, StartupError
from trunkline.store.lives import POSTGRES_LOCK
from trunkline.store.store import STORE_ERRORS, Store
from trunkline.store.tables import nodes
from trunkline.tasks import repeated

Opener = Callable[[], Awaitable[Store]]


async def rows(store: Store) -> dict[str, Any]:
    async with store._engine.connect() as connection:
        return {row["id"]: row for row in (await connection.execute(select(nodes))).mappings()}


async def crash(store: Store) -> None:
    """End it as `kill -9` does: nothing is written, the lock file is let go."""
    store._entered = False
    await store.close()


async def test_a_life_that_has_left_is_over(open_store: Opener) -> None:
    first = await open_store()
    life = first.fence.life
    second = await open_store()
    found = await rows(second)
    assert found[life]["left_at"] is not None
    assert found[life]["died_at"] is None
    mine = found[second.fence.life]
    assert (mine["left_at"], mine["died_at"]) == (None, None)


async def test_after_a_crash_nothing_is_waited_for_in_the_same_directory(any_settings: StoreSettings) -> None:
    first = await Store.open(any_settings)
    await crash(first)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with capture_logs() as logs:
        second = await Store.open(any_settings)
    assert loop.time() - began < LEASE
    assert [(line["event"], line["lives"]) for line in logs] == [("lives_buried", [first.fence.life])]
    assert (await rows(second))[first.fence.life]["died_at"] is not None
    await second.close()


async def test_rows_of_lives_that_are_long_over_go(any_settings: StoreSettings) -> None:
    store = await Store.open(any_settings)
    old = datetime.now(UTC) - timedelta(days=8)
    row = {"name": "h", "version": "0", "started_at": old, "lease_until": None}
    async with store._engine.begin() as connection:
        await connection.execute(insert(nodes).values(row | {"id": "left", "left_at": old}))
        await connection.execute(insert(nodes).values(row | {"id": "dead", "died_at": old}))
    await store.close()
    store = await Store.open(any_settings)
    assert not {"left", "dead"} & set(await rows(store))
    await store.close()


@pytest.mark.peer
async def test_a_crash_elsewhere_is_waited_for_until_it_is_certain(postgres: Callable[[], str], tmp_path: Path) -> None:
    url = postgres()
    first = await Store.open(StoreSettings(directory=tmp_path / "1", url=url))
    await crash(first)
    # As if it had crashed a while ago: only the look is left to wait for.
    loop = asyncio.get_running_loop()
    began = loop.time()
    with capture_logs() as logs:
        second = await Store.open(StoreSettings(directory=tmp_path / "2", url=url))
    assert loop.time() - began >= CALM
    assert [line["event"] for line in logs] == ["store_waits_for_lease", "lives_buried"]
    with pytest.raises(Fenced):
        await first.lives.beat()
    await first.close()
    await second.close()


@pytest.mark.peer
async def test_a_server_from_before_lives_keeps_a_new_one_out(postgres: Callable[[], str], tmp_path: Path) -> None:
    url = postgres()
    old = await Store.open(StoreSettings(directory=tmp_path / "1", url=url))
    async with old._engine.connect() as session:
        assert await session.scalar(select(func.pg_try_advisory_lock(POSTGRES_LOCK)))
        await session.commit()
        with pytest.raises(StartupError, match="in use by another server"):
            await Store.open(StoreSettings(directory=tmp_path / "2", url=url))
    await old.close()


@pytest.mark.peer
async def test_a_second_server_is_kept_out_after_the_database_has_lost_its_sessions(
    postgres: Callable[[], str], tmp_path: Path
) -> None:
    url = postgres()
    first = await Store.open(StoreSettings(directory=tmp_path / "1", url=url))
    keeper = Keeper(first.lives.beat, STORE_ERRORS)
    await keeper.beat()
    async with repeated(keeper.beat, BEAT, "lease keeper"):
        other = await Store.open(StoreSettings(directory=tmp_path / "3", url=postgres()))
        async with other._engine.connect() as admin:  # as a restart of the database does
            name = url.rpartition("/")[2]
            await admin.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
            )
        async with first._engine.begin() as connection:  # and its lease is over meanwhile
            await connection.execute(update(nodes).values(lease_until=func.clock_timestamp() - timedelta(seconds=60)))
        with pytest.raises(StartupError, match=rf"in use by another server \(life {first.fence.life}, on .+\)"):
            await Store.open(StoreSettings(directory=tmp_path / "2", url=url))
        assert keeper.holds
        assert not first.fence.lost.is_set()
    await first.close()
    await other.close()
