"""The loop that keeps a lease, with a database that comes and goes."""

import asyncio

from structlog.testing import capture_logs

from trunkline.cluster import keeper as keeper_module
from trunkline.cluster.keeper import Keeper
from trunkline.errors import Fenced


class Database:
    """Takes beats, or fails as `failure` says."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.beaten = asyncio.Event()

    async def beat(self) -> None:
        self.beaten.set()
        if self.failure is not None:
            raise self.failure

    async def next_beat(self) -> None:
        self.beaten.clear()
        async with asyncio.timeout(30):
            await self.beaten.wait()


async def test_the_lease_holds_from_the_first_beat_on() -> None:
    database = Database()
    keeper = Keeper(database.beat, (OSError,))
    assert not keeper.holds
    await keeper.start()
    assert keeper.holds
    await database.next_beat()
    assert keeper.holds
    await keeper.stop()


async def test_an_outage_is_logged_once_and_ends_with_a_beat() -> None:
    database = Database()
    database.failure = OSError("refused")
    keeper = Keeper(database.beat, (OSError,))
    with capture_logs() as logs:
        await keeper.start()
        await database.next_beat()
        await database.next_beat()
        assert not keeper.holds
        database.failure = None
        await database.next_beat()
        assert keeper.holds
        await keeper.stop()
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("lease_not_renewed", "refused"),
        ("lease_renewed", None),
    ]


async def test_a_life_that_was_declared_dead_beats_no_more() -> None:
    database = Database()
    keeper = Keeper(database.beat, (OSError,))
    await keeper.start()
    database.failure = Fenced("buried")
    async with asyncio.timeout(30):
        assert keeper._task is not None
        await keeper._task
    assert not keeper.holds
    await keeper.stop()


async def test_a_database_that_is_silent_costs_one_beat_and_no_more() -> None:
    class Silent(Database):
        async def beat(self) -> None:
            self.beaten.set()
            await asyncio.Event().wait()

    database = Silent()
    keeper = Keeper(database.beat, (OSError,))
    with capture_logs() as logs:
        async with asyncio.timeout(keeper_module.BEAT_TIMEOUT + 20):
            await keeper.start()
    assert [(line["event"], line["reason"]) for line in logs] == [("lease_not_renewed", "TimeoutError")]
    await keeper.stop()


async def test_where_a_lock_is_the_lease_an_outage_ends_nothing() -> None:
    database = Database()
    database.failure = OSError("slow")
    keeper = Keeper(database.beat, (OSError,), locked=True)
    await keeper.start()
    assert keeper.holds
    database.failure = Fenced("buried")
    async with asyncio.timeout(30):
        assert keeper._task is not None
        await keeper._task
    assert not keeper.holds
