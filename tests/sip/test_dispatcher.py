"""The library's timers on the event loop."""

import asyncio

import sippy.Time.Timeout
from structlog.testing import capture_logs

from trunkline.sip import dispatcher


async def test_a_timer_runs_once_with_its_arguments() -> None:
    dispatcher.install()
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    sippy.Time.Timeout.Timeout(done.set_result, 0.001, 1, "late")
    assert await asyncio.wait_for(done, 30) == "late"


async def test_a_periodic_timer_runs_until_it_is_cancelled() -> None:
    dispatcher.install()
    runs = asyncio.Semaphore(0)
    timer = sippy.Time.Timeout.Timeout(runs.release, 0.001, -1)
    for _ in range(3):
        await asyncio.wait_for(runs.acquire(), 30)
    timer.cancel()
    timer.cancel()
    assert [handle for handle in (timer._handle,) if handle] == []


async def test_a_cancelled_timer_does_not_run() -> None:
    dispatcher.install()
    order: list[str] = []
    done = asyncio.Event()
    sippy.Time.Timeout.Timeout(order.append, 0.001, 1, "cancelled").cancel()
    sippy.Time.Timeout.Timeout(done.set, 0.01, 1)
    await asyncio.wait_for(done.wait(), 30)
    assert order == []


async def test_a_failing_timer_is_logged_and_harms_nobody() -> None:
    dispatcher.install()
    done = asyncio.Event()

    def fail() -> None:
        done.set()
        raise RuntimeError("broken")

    with capture_logs() as lines:
        sippy.Time.Timeout.Timeout(fail, 0, 1)
        await asyncio.wait_for(done.wait(), 30)
    assert [line["event"] for line in lines] == ["sip_timer_failed"]
