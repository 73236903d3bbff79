"""Lives in the database: how one enters, beats and leaves. `cluster/lease.py` has the rules.

On PostgreSQL a life is known to be dead when its lease is over and it does not beat. Where this server holds the lock
file that the other held (SQLite's, or that of the same `store.directory`), the kernel has proved that the other is
gone, and nothing is waited for.
"""

import asyncio
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, extract, func, insert, inspect, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from trunkline import __version__
from trunkline.cluster.lease import LEASE, Arrival, OtherLife
from trunkline.errors import StartupError
from trunkline.store.fence import Fence, for_writes
from trunkline.store.schema import migrate
from trunkline.store.tables import nodes

LOOK = 0.5
"""Seconds between two looks at the other lives."""
KEEP = timedelta(days=7)
"""How long the row of a life that is over is kept, for people who look."""
POSTGRES_LOCK = 0x7472756E6B6C696E
"""Key of the advisory lock that servers before schema 0007 held, and that entering takes for its transaction:
`trunklin` in ASCII."""
_IN_USE = "store: the database is in use by another server"

log = structlog.get_logger()


class Lives:
    """This life among the others."""

    def __init__(self, engine: AsyncEngine, fence: Fence, last: str | None) -> None:
        """`last` is the life that held the lock file before; None: there is none, or no lock."""
        self._engine = engine
        self._writes = for_writes(engine)
        self._fence = fence
        self._last = last
        self._postgres = engine.dialect.name == "postgresql"
        self.locked = not self._postgres
        """The lock file is the lease: the kernel keeps it as long as this process is there."""

    async def enter(self) -> None:
        """Migrate, declare dead what is dead, and be alive. Waits for leases that may still be renewed. Raises
        StartupError if another server lives."""
        arrival, waiting = Arrival(), False
        while not await self._enter(arrival):
            if not waiting:
                log.warning("store_waits_for_lease", reason="another server has used the database until lately")
            waiting = True
            await asyncio.sleep(LOOK)

    async def _enter(self, arrival: Arrival) -> bool:
        async with self._writes.begin() as connection:
            if self._postgres and not await connection.scalar(select(func.pg_try_advisory_xact_lock(POSTGRES_LOCK))):
                raise StartupError(_IN_USE)
            others: Sequence[OtherLife] = ()
            if await connection.run_sync(lambda sync: inspect(sync).has_table(nodes.name)):
                others = await self._others(connection)
                verdict = arrival.observed(others, asyncio.get_running_loop().time())
                if isinstance(verdict, OtherLife):
                    raise StartupError(f"{_IN_USE} (life {verdict.id}, on {verdict.name})")
                if verdict == "wait":
                    return False
            await connection.run_sync(migrate)
            await self._bury(connection, [other.id for other in others])
            await connection.execute(insert(nodes).values(self._row()))
            return True

    async def _others(self, connection: AsyncConnection) -> list[OtherLife]:
        left: Any = literal(0)
        if self._postgres:
            left = extract("epoch", nodes.c.lease_until - func.clock_timestamp())
        query = select(nodes.c.id, nodes.c.name, nodes.c.lease_until, left.label("left"))
        rows = await connection.execute(query.where(nodes.c.died_at.is_(None), nodes.c.left_at.is_(None)))
        return [
            OtherLife(id_, name, float(left or 0), beat, gone=not self._postgres or id_ == self._last)
            for id_, name, beat, left in rows
        ]

    async def _bury(self, connection: AsyncConnection, dead: Sequence[str]) -> None:
        now = datetime.now(UTC)
        c = nodes.c
        await connection.execute(update(nodes).where(c.id.in_(dead)).values(died_at=now))
        await connection.execute(delete(nodes).where((c.died_at < now - KEEP) | (c.left_at < now - KEEP)))
        if dead:
            log.warning("lives_buried", lives=list(dead))

    def _row(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        until = func.clock_timestamp() + timedelta(seconds=LEASE) if self._postgres else None
        return {
            "id": self._fence.life,
            "name": socket.gethostname(),
            "version": __version__,
            "started_at": now,
            "lease_until": until,
            "left_at": None,
            "died_at": None,
        }

    async def beat(self) -> None:
        """Renew the lease; on SQLite, whose lock file is the lease, see whether it still holds. Raises Fenced."""
        if not self._postgres:
            async with self._engine.connect() as connection:
                await self._fence.check(connection)
            return
        renewed = func.clock_timestamp() + timedelta(seconds=LEASE)
        mine = (nodes.c.id == self._fence.life) & nodes.c.died_at.is_(None)
        async with self._writes.begin() as connection:
            # Not worth a disk sync: a lease that a crash of the database forgets is renewed a second later.
            await connection.execute(text("SET LOCAL synchronous_commit = off"))
            beaten = await connection.execute(update(nodes).where(mine).values(lease_until=renewed))
        if not beaten.rowcount:
            self._fence.fail()

    async def leave(self) -> None:
        """Say that all is done: the next server need not wait."""
        mine = (nodes.c.id == self._fence.life) & nodes.c.died_at.is_(None)
        async with self._writes.begin() as connection:
            await connection.execute(update(nodes).where(mine).values(left_at=datetime.now(UTC)))
