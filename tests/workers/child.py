"""A process of `workers/`, started as the server starts it, and the other end of its socket pair."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from trunkline.workers.link import Link

T = TypeVar("T")
Report = TypeVar("Report")


class Child(Generic[Report]):
    """A process, and its reports in order."""

    def __init__(self, process: asyncio.subprocess.Process, reports: Any) -> None:
        self.process = process
        self.lost = asyncio.Event()
        self._arrived: asyncio.Queue[Report] = asyncio.Queue()
        self.link: Link[Report] = Link(reports, self._arrived.put_nowait, self.lost.set)

    async def report(self, kind: type[T], wanted: Callable[[T], bool] = lambda _: True) -> T:
        """The next report of a kind; others are skipped."""
        async with asyncio.timeout(60):
            while True:
                report = await self._arrived.get()
                if isinstance(report, kind) and wanted(report):
                    return report

    async def next(self) -> Report:
        """The next report of any kind."""
        async with asyncio.timeout(60):
            return await self._arrived.get()

    async def ends(self) -> int:
        """The exit code, once our end of the link is closed."""
        self.link.close()
        async with asyncio.timeout(60):
            return await self.process.wait()


@asynccontextmanager
async def child(module: str, reports: Any) -> AsyncIterator[Child[Any]]:
    """`python -m trunkline.workers MODULE FD PARENT`; `reports` is the union that it sends."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trunkline.workers", module, str(theirs.fileno()), str(os.getpid())),
            pass_fds=[theirs.fileno()],
        )
    started: Child[Any] = Child(process, reports)
    await asyncio.get_running_loop().create_unix_connection(lambda: started.link, sock=ours)
    try:
        yield started
    finally:
        started.link.close()
        if process.returncode is None:
            process.kill()
        await process.wait()
