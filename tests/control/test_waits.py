"""How long a request waits for the store."""

import asyncio
import time

import pytest

from trunkline.control import waits
from trunkline.control.waits import RunningTimer, answered, written
from trunkline.errors import ResourceNotFound, Unavailable
from trunkline.store.writer import NotStored


async def test_what_is_durable_or_answered_in_time_goes_on() -> None:
    write = asyncio.get_running_loop().create_future()
    write.set_result(None)
    await written(write)
    row = asyncio.get_running_loop().create_future()
    row.set_result("row")
    assert await answered(row) == "row"


async def test_a_late_write_is_refused_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "WRITE_TIME", 0.01)
    write = asyncio.get_running_loop().create_future()
    with pytest.raises(Unavailable) as refused:
        await written(write)
    assert (refused.value.detail, refused.value.retry_after) == ("The database takes no writes at present.", 2)
    assert not write.cancelled()


async def test_a_write_that_the_store_refused_is_refused() -> None:
    write = asyncio.get_running_loop().create_future()
    write.set_exception(NotStored("closed"))
    with pytest.raises(Unavailable):
        await written(write)


async def test_a_late_read_is_cancelled_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "READ_TIME", 0.01)
    row = asyncio.get_running_loop().create_future()
    with pytest.raises(Unavailable, match="does not answer"):
        await answered(row)
    assert row.cancelled()


async def test_a_failing_database_is_unavailable_and_a_missing_row_is_not() -> None:
    row = asyncio.get_running_loop().create_future()
    row.set_exception(OSError("connection reset"))
    with pytest.raises(Unavailable):
        await answered(row)
    missing = asyncio.get_running_loop().create_future()
    missing.set_exception(ResourceNotFound())
    with pytest.raises(ResourceNotFound):
        await answered(missing)


async def test_a_timer_that_a_pause_has_delayed_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "PAUSE", 0.2)
    loop, fired = asyncio.get_running_loop(), asyncio.Event()
    RunningTimer(0.1, fired.set)
    time.sleep(0.5)  # noqa: ASYNC251 - stops this process, and all its timers
    resumed = loop.time()
    await asyncio.wait_for(fired.wait(), 30)
    assert loop.time() - resumed >= 0.099


async def test_a_timer_that_is_cancelled_fires_no_more() -> None:
    fired: list[str] = []
    RunningTimer(0.01, lambda: fired.append("cancelled")).cancel()
    later = asyncio.Event()
    RunningTimer(0.02, later.set)
    await asyncio.wait_for(later.wait(), 30)
    assert fired == []
