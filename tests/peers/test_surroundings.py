"""The server and what surrounds it: who reads its log, who kills it, who signals it."""

import asyncio
import fcntl
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from peers.harness import RecordingApp, children, happens, new_server
from peers.test_endings import start
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import Caller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


def family(server: ServerProcess) -> list[int]:
    """The server's media workers and their decoders."""
    workers = children(server)
    found = subprocess.run(
        ["pgrep", "-P", ",".join(map(str, workers))], capture_output=True, text=True, timeout=30, check=False
    )
    return workers + [int(pid) for pid in found.stdout.split()]


@asynccontextmanager
async def all_end(pids: list[int], within: float) -> AsyncIterator[None]:
    """At the end, all of these have ended in time, or the test fails; each is killed anyway."""
    watched = {pid: os.pidfd_open(pid) for pid in pids}
    try:
        yield
        loop, over = asyncio.get_running_loop(), dict.fromkeys(pids, False)
        done = asyncio.Event()

        def ended(pid: int) -> None:
            loop.remove_reader(watched[pid])
            over[pid] = True
            if all(over.values()):
                done.set()

        for pid, descriptor in watched.items():
            loop.add_reader(descriptor, ended, pid)
        try:
            await asyncio.wait_for(done.wait(), within)
        finally:
            for descriptor in watched.values():
                loop.remove_reader(descriptor)
    finally:
        for descriptor in watched.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Both ends; it holds no more than the least that a pipe can."""
    ends = list(os.pipe())
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        os.close(end)


async def dropped(server: ServerProcess) -> int:
    """Lines of the log, as the metrics tell."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{server.http_port}/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith('trunkline_log_total{event="dropped"}')]
    return int(float(line.split()[-1]))


REDIRECTED = {
    "closed": ("sh", "-c", 'exec "$@" >&- 2>&-', "sh"),
    "full": ("sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh"),
    "its reader gone": (),
    "not read": (),
}


@pytest.mark.parametrize("stderr", list(REDIRECTED))
async def test_calls_go_on_and_the_server_ends_in_order_whatever_becomes_of_its_log(
    tmp_path: Path, pipe: list[int], stderr: str, app: RecordingApp, callbacks: CallbackReceiver
) -> None:
    server = ServerProcess(
        tmp_path,
        account_sid="4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e",
        api_key="KEYsecret",
        media_ports=80,
        output=None if REDIRECTED[stderr] else pipe[1],
        wrapper=REDIRECTED[stderr],
    )
    if stderr == "its reader gone":
        os.close(pipe[0])
        pipe[0] = os.open(os.devnull, os.O_RDONLY)
    await server.start()
    pids = family(server)
    async with all_end(pids, 10):
        for _ in range(12):  # each is worth some 400 bytes of log
            async with Caller(server.sip_address, speech(50)) as caller:
                await caller.call()
                await start(server, caller, app.url, callbacks)
                assert await caller.hang_up()
        if stderr != "not read":  # where the last lines wait for room
            assert await dropped(server) > 30
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(server.process.wait(), 10) == 0


async def test_workers_and_decoders_end_with_a_server_that_is_killed_and_apps_are_told(
    tmp_path: Path, callbacks: CallbackReceiver
) -> None:
    server = new_server(tmp_path, media__workers=1)
    await server.start()
    pids = family(server)
    assert len(pids) == 2
    async with all_end(pids, 5), RecordingApp() as app, Caller(server.sip_address, speech(500)) as caller:
        await caller.call()
        await start(server, caller, app.url, callbacks)
        socket = await app.socket()
        for pid in pids:
            os.kill(pid, signal.SIGTERM)  # as a service manager does, to all of a group: the server says when
            os.kill(pid, signal.SIGHUP)
        await happens(app.watch, "it goes on", lambda: len(socket.all("media")) > 50)
        await server.kill()
        await happens(app.watch, "the app is told", lambda: socket.all("stop"))


async def test_a_worker_whose_app_never_closes_ends_by_itself_after_the_server(
    tmp_path: Path, callbacks: CallbackReceiver
) -> None:
    server = new_server(tmp_path, streams__close_timeout=1000)
    await server.start()
    async with all_end(family(server), 10), RecordingApp() as app, Caller(server.sip_address, speech(500)) as caller:
        app.reads = False
        await caller.call()
        await start(server, caller, app.url, callbacks)
        await happens(app.watch, "the app is dialled", lambda: app.sockets)
        await server.kill()
