"""Keeps this life's lease: what is done around `lease.py` at each beat."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from trunkline.cluster.lease import Lease
from trunkline.errors import Fenced

BEAT_TIMEOUT = 1.0
"""Seconds for the database to take a beat."""

log = structlog.get_logger()


class Keeper:
    """The state of the lease. `renew` renews it in the database; it raises Fenced once this life was declared dead."""

    def __init__(
        self, renew: Callable[[], Awaitable[object]], failures: tuple[type[Exception], ...], *, locked: bool = False
    ) -> None:
        """`failures` is what `renew` raises when the database is away; `locked` as in `Lease`."""
        self._renew = renew
        self._failures = failures
        self._lease = Lease(locked=locked)
        self._failing = False

    @property
    def holds(self) -> bool:
        """Whether work that the database does not guard, such as a request to a customer's host, may be begun."""
        return self._lease.holds(asyncio.get_running_loop().time())

    async def beat(self) -> None:
        """Try to renew the lease; to be done every `lease.BEAT` seconds, and once before anything relies on it."""
        if self._lease.lost:
            return
        sent = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(BEAT_TIMEOUT):
                await self._renew()
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
