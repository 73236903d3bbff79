"""Calls come and go for ten minutes, each streamed both ways: none fails, and the server does not grow."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, children, new_server, running
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = [pytest.mark.peer, pytest.mark.long]

SECONDS = 600
AT_ONCE = 8
FRAMES = 100
"""Of a call: what it speaks, and about what it hears before it hangs up."""
WARM_UP = 240
"""Seconds, about a thousand calls, until caches and allocators have their size: 144 MB after 100 calls, then 152 MB."""
GROWTH = 4
"""MB that all processes may grow by after that: 3 kB a call."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """With ports for calls that have just ended, too."""
    async with running(new_server(tmp_path, media_ports=400)) as server:
        yield server


def megabytes(server: ServerProcess) -> float:
    """Private memory of the server and of its workers."""
    pids = [server.process.pid, *children(server)]
    lines = "\n".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


async def test_calls_that_come_and_go_for_ten_minutes_leave_nothing_behind(
    server: ServerProcess, client: AsyncTelnyx
) -> None:
    frames, numbers = speech(FRAMES), count()
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS

    async def call() -> None:
        async with RecordingApp() as app, DemoCaller(server.sip_address, frames) as caller:
            app.echo = True
            await caller.call()
            await client.texml.accounts.calls.streams_json(
                caller.call_sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
            )
            assert await caller.watch.until(lambda: len(caller.heard) >= FRAMES, 30)
            app.echo = False  # an echo into a socket that closes would end the app before it has read `stop`
            await caller.hang_up()
            assert await app.watch.until(lambda: app.sockets[0].close_code is not None, 30)
            assert app.sockets[0].messages[-1]["event"] == "stop"
        next(numbers)

    async def line() -> None:
        while loop.time() < end:
            await call()

    async def size_after_warm_up() -> float:
        await asyncio.sleep(WARM_UP)
        return megabytes(server)

    async with asyncio.TaskGroup() as group:
        before = group.create_task(size_after_warm_up())
        for _ in range(AT_ONCE):
            group.create_task(line())
    assert next(numbers) > SECONDS
    assert megabytes(server) < before.result() + GROWTH
