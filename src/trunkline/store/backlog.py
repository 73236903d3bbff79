"""Watches how many callbacks wait to be delivered, and for how long, for `/metrics`."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from trunkline.store.store import STORE_ERRORS, Store

INTERVAL = 10.0
"""Seconds between two looks."""


class Backlog:
    """One task. Use as an async context manager."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.pending: dict[str, int] = {}
        """Callbacks by age (`store.AGES`), as of the last look that succeeded."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="callback backlog")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            with suppress(*STORE_ERRORS):  # The writer reports an outage.
                self.pending = await self._store.pending_by_age(datetime.now(UTC))
            await asyncio.sleep(INTERVAL)
