"""The fence: no write of a life that was declared dead (`cluster/lease.py`).

Each transaction that writes asks first whether this life's row still says that it lives, and locks the row against
the one change that would end it. So a burial comes before the whole of a transaction or after it, never between.
PostgreSQL's `KEY SHARE` leaves the beat, which changes no key, its way; SQLite has one writer anyway.

A process that is stopped inside a transaction would hold that lock for ever: PostgreSQL ends such a transaction after
`IDLE_LIMIT`. It is set inside the transaction, since a pooler such as pgbouncer forgets what a session has set.
"""

import asyncio
import sqlite3
from typing import NoReturn

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from trunkline.cluster.lease import LEASE
from trunkline.errors import Fenced

IDLE_LIMIT = LEASE
"""Seconds that a transaction may be idle."""
_POSTGRES = text(
    "SELECT set_config('idle_in_transaction_session_timeout', :limit, true) FROM nodes"
    " WHERE id = :life AND died_at IS NULL FOR KEY SHARE"
)
_REASON = "another server has declared this one dead and has taken the database over"
_SQLITE = "SELECT 1 FROM nodes WHERE id = :life AND died_at IS NULL"


def for_writes(engine: AsyncEngine) -> AsyncEngine:
    """The same engine and connections, whose transactions are marked as such that write."""
    return engine.execution_options(writes=True)


class Fence:
    """Of one life, named as `ids.life_name` does."""

    def __init__(self, life: str) -> None:
        self.life = life
        self.lost = asyncio.Event()
        """Set once the fence has stopped a write, or a beat has found this life dead."""

    async def check(self, connection: AsyncConnection) -> None:
        """First in a transaction that writes. Raises Fenced."""
        if connection.dialect.name == "postgresql":
            found = await connection.execute(_POSTGRES, {"life": self.life, "limit": f"{IDLE_LIMIT:g}s"})
        else:
            found = await connection.execute(text(_SQLITE), {"life": self.life})
        if found.first() is None:
            self.fail()

    def check_sqlite(self, connection: sqlite3.Connection) -> None:
        """The same on a bare connection, in a thread; it leaves `lost` to the caller. Raises Fenced."""
        if connection.execute(_SQLITE, {"life": self.life}).fetchone() is None:
            raise Fenced(_REASON)

    def fail(self) -> NoReturn:
        """This life is dead. Raises Fenced."""
        self.lost.set()
        raise Fenced(_REASON)
