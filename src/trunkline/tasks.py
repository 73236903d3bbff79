"""Tasks with an owner: each ends with it, and a fault of one reaches the log."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from trunkline.errors import TrunklineError

_log = structlog.get_logger()

Work = Callable[[], Awaitable[object]]


@asynccontextmanager
async def owned(work: Work, name: str) -> AsyncIterator[None]:
    """Do `work` meanwhile; at the end it is cancelled."""

    async def run() -> None:
        await _logged(work, name)

    task = asyncio.create_task(run(), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def repeated(work: Work, seconds: float, name: str) -> AsyncIterator[None]:
    """Do `work` meanwhile, again and again, `seconds` after it was done; also after a fault."""

    async def run() -> None:
        while True:
            await _logged(work, name)
            await asyncio.sleep(seconds)

    async with owned(run, name):
        yield


async def _logged(work: Work, name: str) -> None:
    try:
        await work()
    except Exception as error:
        _log.error("task_failed", task=name, reason=repr(error), exc_info=not isinstance(error, TrunklineError))
