"""The lease at each beat, with a database that comes and goes."""

import asyncio

from structlog.testing import capture_logs

from trunkline.cluster.keeper import Keeper
from trunkline.errors import Fenced


class Database:
    """Takes beats, or fails as `failure` says."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.beats = 0

    async def beat(self) -> None:
        self.beats += 1
        if self.failure is not None:
            raise self.failure


async def test_the_lease_holds_from_the_first_beat_on() -> None:
    keeper = Keeper(Database().beat, (OSError,))
    assert not keeper.holds
    await keeper.beat()
    assert keeper.holds


async def test_an_outage_is_logged_once_and_ends_with_a_beat() -> None:
    database = Database()
    database.failure = OSError("refused")
    keeper = Keeper(database.beat, (OSError,))
    with capture_logs() as logs:
        for _ in range(3):
            await keeper.beat()
            assert not keeper.holds
        database.failure = None
        for _ in range(2):
            await keeper.beat()
            assert keeper.holds
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("lease_not_renewed", "refused"),
        ("lease_renewed", None),
    ]


async def test_a_life_that_was_declared_dead_beats_no_more() -> None:
    database = Database()
    keeper = Keeper(database.beat, (OSError,))
    await keeper.beat()
    database.failure = Fenced("buried")
    await keeper.beat()
    database.failure = None
    await keeper.beat()
    assert not keeper.holds
    assert database.beats == 2


async def test_a_database_that_is_silent_costs_one_beat_and_no_more() -> None:
    keeper = Keeper(asyncio.Event().wait, (OSError,))
    with capture_logs() as logs:
        async with asyncio.timeout(30):
            await keeper.beat()
    assert [(line["event"], line["reason"]) for line in logs] == [("lease_not_renewed", "TimeoutError")]


async def test_where_a_lock_is_the_lease_an_outage_ends_nothing() -> None:
    database = Database()
    database.failure = OSError("slow")
    keeper = Keeper(database.beat, (OSError,), locked=True)
    await keeper.beat()
    assert keeper.holds
    database.failure = Fenced("buried")
    await keeper.beat()
    assert not keeper.holds
