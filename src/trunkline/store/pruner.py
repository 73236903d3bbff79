"""Deletes what is older than the settings keep: in batches, so that no write waits long for its turn."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from trunkline.calls.views import RecordingView
from trunkline.config import StoreSettings
from trunkline.store.store import STORE_ERRORS, Prunable, Store

INTERVAL = 3600.0
"""Seconds from one round to the next."""
BATCH_TIME = 0.05
"""Seconds that a batch is to take; the next is larger or smaller accordingly."""
PAGES = 250
"""Of 4 KiB, given back at once."""
FIRST_BATCH, LARGEST_BATCH = 100, 20_000
"""Rows."""

log = structlog.get_logger()


class Pruner:
    """What the settings keep, and the rounds."""

    def __init__(
        self,
        store: Store,
        settings: StoreSettings,
        delete_recordings: Callable[[Sequence[RecordingView]], Awaitable[None]],
        prune_captures: Callable[[datetime], Awaitable[int]],
    ) -> None:
        """`delete_recordings` deletes files and records; `prune_captures` files that are older."""
        self._store = store
        self._delete_recordings = delete_recordings
        self._prune_captures = prune_captures
        self._keep_recordings = settings.keep_recordings
        self._keep: dict[Prunable, float] = {
            "calls": settings.keep_calls,
            "streams": settings.keep_calls,
            "callbacks": settings.keep_callbacks,
            "sip_traces": settings.keep_calls,
        }

    async def prune(self, now: datetime) -> int:
        """One round: delete all that is too old; the number of rows. Raises STORE_ERRORS."""
        gone = 0
        for kind, days in self._keep.items():
            if days:
                gone += await self._prune(kind, now - timedelta(days=days))
        if self._keep_recordings:
            before = now - timedelta(days=self._keep_recordings)
            gone += await self._prune_recordings(before)
            await self._prune_captures(before)
        loop, more = asyncio.get_running_loop(), gone > 0
        while more:
            began = loop.time()
            more = await self._store.shrink(PAGES)
            await asyncio.sleep(loop.time() - began)
        return gone

    async def _prune(self, kind: Prunable, before: datetime) -> int:
        loop, limit, gone = asyncio.get_running_loop(), FIRST_BATCH, 0
        while True:
            began = loop.time()
            count = await self._store.prune(kind, before, limit)
            took = loop.time() - began
            gone += count
            if count < limit:
                return gone
            limit = max(1, min(LARGEST_BATCH, 2 * limit, int(limit * BATCH_TIME / max(took, 0.001))))
            await asyncio.sleep(took)  # half of the time is the writer's
            await self._store.shrink(PAGES)

    async def _prune_recordings(self, before: datetime) -> int:
        loop, gone = asyncio.get_running_loop(), 0
        while old := await self._store.old_recordings(before, FIRST_BATCH):
            began = loop.time()
            await self._delete_recordings(old)
            gone += len(old)
            await asyncio.sleep(loop.time() - began)
        return gone

    async def run(self) -> None:
        """One round, logged; to be done every `INTERVAL` seconds."""
        try:
            gone = await self.prune(datetime.now(UTC))
        except STORE_ERRORS as error:  # OSError also where a recording's file cannot be deleted
            log.warning("store_prune_failed", reason=str(error))
        else:
            if gone:
                log.info("store_pruned", rows=gone)
