"""Waiting for something to become true, without polling.

The owner of a state calls `changed()` after each change; a waiter gives a predicate over that state. One event loop,
no locks.
"""

import asyncio
from collections.abc import Callable


class Watch:
    """Wakes those who wait for a predicate over changing state."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def changed(self) -> None:
        """Look at every predicate again."""
        for predicate, future in list(self._waiting):
            if not future.done() and predicate():
                future.set_result(None)

    async def until(self, predicate: Callable[[], bool], timeout: float) -> bool:  # noqa: ASYNC109 - returns, not raises
        """Wait until `predicate()` holds; False when it does not within `timeout` seconds."""
        if predicate():
            return True
        entry = (predicate, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            # `wait_for` loses a cancellation, Ctrl-C among them, in the moment of success (Python before 3.12).
            async with asyncio.timeout(timeout):
                await entry[1]
        except TimeoutError:
            return False
        finally:
            self._waiting.remove(entry)
        return True
