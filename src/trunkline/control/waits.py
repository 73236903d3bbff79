"""How long a request waits for the store, and how it is refused then."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from trunkline.errors import Unavailable
from trunkline.store.store import STORE_ERRORS
from trunkline.store.writer import NotStored

WRITE_TIME = 2.0
"""Seconds that a write is waited for: an outage of a second refuses nothing."""
READ_TIME = 5.0
"""Seconds that a read is waited for."""
RETRY = 2
"""Seconds, in `Retry-After`."""

PAUSE = 1.0
"""Seconds by which a timer is late after a pause of the process, the container or the machine."""

T = TypeVar("T")


class RunningTimer:
    """Calls a function after some seconds in which this process ran. A timer that a pause has delayed starts again: an
    answer may have arrived in the pause, and is read first."""

    def __init__(self, seconds: float, call: Callable[[], object]) -> None:
        self._seconds = seconds
        self._call = call
        self._set()

    def cancel(self) -> None:
        """Call nothing."""
        self._handle.cancel()

    def _set(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._seconds
        self._handle = loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        if asyncio.get_running_loop().time() - self._due > PAUSE:
            self._set()
        else:
            self._call()


def store_late() -> Unavailable:
    """The refusal of what the store did not take in time."""
    return Unavailable("The database takes no writes at present.", retry_after=RETRY)


async def written(write: Awaitable[None]) -> None:
    """Wait until a change is durable. It may become so later, after Unavailable was raised: a repeat does no harm."""
    try:
        async with asyncio.timeout(WRITE_TIME):
            await asyncio.shield(write)
    except (*STORE_ERRORS, NotStored):
        raise store_late() from None


async def answered(question: Awaitable[T]) -> T:
    """What the store answers. Raises Unavailable."""
    try:
        async with asyncio.timeout(READ_TIME):
            return await question
    except STORE_ERRORS:
        raise Unavailable("The database does not answer at present.", retry_after=RETRY) from None
