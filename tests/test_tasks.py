"""Tasks end with their owner, and a fault does not end what is repeated."""

import asyncio

import pytest
from structlog.testing import capture_logs

from trunkline.errors import StartupError
from trunkline.tasks import owned, repeated


async def test_a_task_runs_until_its_owner_ends() -> None:
    begun, ended = asyncio.Event(), []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(asyncio.current_task())

    async with owned(work, "mine"):
        await begun.wait()
        assert "mine" in {task.get_name() for task in asyncio.all_tasks()}
        assert not ended
    assert len(ended) == 1
    assert "mine" not in {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize(("fault", "stack"), [(RuntimeError("oh"), True), (StartupError("no"), False)])
async def test_what_is_repeated_goes_on_after_a_fault(fault: Exception, stack: bool) -> None:
    done = asyncio.Event()
    faults = [fault]

    async def work() -> None:
        if faults:
            raise faults.pop()
        done.set()

    with capture_logs() as logs:
        async with repeated(work, 0, "again"), asyncio.timeout(30):
            await done.wait()
    assert [(line["event"], line["task"], line["reason"], line["exc_info"]) for line in logs] == [
        ("task_failed", "again", repr(fault), stack)
    ]
