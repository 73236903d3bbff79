"""How many callbacks wait to be delivered, and for how long, for `/metrics`."""

from contextlib import suppress
from datetime import UTC, datetime

from trunkline.store.store import STORE_ERRORS, Store

INTERVAL = 10.0
"""Seconds between two looks."""


class Backlog:
    """What the last look has seen."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.pending: dict[str, int] = {}
        """Callbacks by age (`store.AGES`)."""

    async def look(self) -> None:
        """Count them; to be done every `INTERVAL` seconds. The last count stays while the database is away."""
        with suppress(*STORE_ERRORS):  # The writer reports an outage.
            self.pending = await self._store.pending_by_age(datetime.now(UTC))
