"""Keeps this life's lease: the loop around `lease.py`."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from trunkline.cluster.lease import BEAT, Lease
from trunkline.errors import Fenced

BEAT_TIMEOUT = 1.0
"""Seconds for the database to take a beat."""

log = structlog.get_logger()


class Keeper:
    """One task. `beat` renews the lease in the database; it raises Fenced once this life was declared dead."""

    def __init__(
        self, beat: Callable[[], Awaitable[None]], failures: tuple[type[Exception], ...], *, locked: bool = False
    ) -> None:
        """`failures` is what `beat` raises when the database is away; `locked` as in `Lease`."""
        self._beat = beat
        self._failures = failures
        self._lease = Lease(locked=locked)
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    @property
    def holds(self) -> bool:
        """Whether work that the database does not guard, such as a request to a customer's host, may be begun."""
        return self._lease.holds(asyncio.get_running_loop().time())

    async def start(self) -> None:
        """Renew the lease from now on."""
        await self._try()
        self._task = asyncio.create_task(self._run(), name="lease keeper")

    async def stop(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while not self._lease.lost:
            await asyncio.sleep(BEAT)
            await self._try()

    async def _try(self) -> None:
        sent = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(BEAT_TIMEOUT):
                await self._beat()
        except Fenced:
            self._lease.lost = True
        except self._failures as error:
            if not self._failing:
                log.warning("lease_not_renewed", reason=str(error) or type(error).__name__)
            self._failing = True
        else:
            if self._failing:
                log.warning("lease_renewed")
            self._lease.renewed_at, self._failing = sent, False
