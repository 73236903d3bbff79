"""The database is away for a while: live calls go on, new work waits for its record or is refused, nothing is lost."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from telnyx import AsyncTelnyx, InternalServerError

from peers.harness import GLANCE, RecordingApp, ended, events, happens, new_server, running
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import DemoCaller
from trunkline.demo.errors import CallFailed
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


@pytest.fixture
def server(own_server: ServerProcess) -> ServerProcess:
    """Each test takes its server's database away."""
    return own_server


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """No other process can write to the database of a server."""
    (file,) = directory.glob("*.db")
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


async def readiness(server: ServerProcess, path: str = "") -> tuple[int, str | None]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(server.base_url.replace("/v2", "/readyz") + path)
    return answer.status_code, json.loads(answer.text)["reason"]


async def stream(server: ServerProcess, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver) -> str:
    async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client:
        started = await client.texml.accounts.calls.streams_json(
            caller.call_sid, account_sid=server.account_sid, url=app.url, status_callback=callbacks.url
        )
    assert started.sid
    return started.sid


async def calls_opening(server: ServerProcess, count: int) -> None:
    """Wait until so many INVITEs have come: the metrics are asked until they say so."""
    wanted = f'trunkline_control_total{{event="calls_opening"}} {count}.0'
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while wanted not in (await client.get(server.base_url.replace("/v2", "/metrics"))).text:
            pass


async def test_a_call_and_a_stream_wait_for_a_database_that_is_back_soon(
    server: ServerProcess, client: AsyncTelnyx, app: RecordingApp, callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    async with DemoCaller(server.sip_address, speech(1000)) as caller:
        with locked(tmp_path):
            calling = loop.create_task(caller.call())
            await calls_opening(server, 1)
            assert not calling.done(), "no 200 before the record"
        await calling
        path = f"/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}/media.json"
        with locked(tmp_path):
            starting = loop.create_task(stream(server, caller, app, callbacks))
            async with asyncio.timeout(30):
                while not (await client.get(path, cast_to=dict[str, Any]))["streams"]:  # noqa: ASYNC110
                    await asyncio.sleep(GLANCE)
            assert not app.sockets, "no socket before the record"
            assert not starting.done()
        sid = await starting
        await app.socket()
        await caller.hang_up()
        assert (await ended(callbacks, sid))["StreamEvent"] == "stream-stopped"


async def test_new_work_is_refused_and_live_calls_go_on_where_the_database_stays_away(
    server: ServerProcess, caller: DemoCaller, app: RecordingApp, callbacks: CallbackReceiver, tmp_path: Path
) -> None:
    sid = await stream(server, caller, app, callbacks)
    socket = await app.socket()
    await happens(callbacks.watch, "stream-started", lambda: events(callbacks) == ["stream-started"])
    assert await readiness(server) == (200, None)
    with locked(tmp_path):
        async with DemoCaller(server.sip_address, speech(10)) as other:
            with pytest.raises(CallFailed, match="503"):
                await other.call()
        with pytest.raises(InternalServerError) as refused:
            await stream(server, caller, app, callbacks)
        assert (refused.value.status_code, refused.value.response.headers["retry-after"]) == (503, "2")
        assert await readiness(server) == (503, "the store is behind")
        assert await readiness(server, "/api") == (200, None)
        frames = len(socket.payloads())
        await happens(app.watch, "50 more frames", lambda: len(socket.payloads()) >= frames + 50)
        assert len(app.sockets) == 1
        await caller.hang_up()
        assert events(callbacks) == ["stream-started"]
    assert (await ended(callbacks, sid))["StreamEvent"] == "stream-stopped"


async def test_a_call_that_came_during_an_outage_leaves_nothing_when_the_server_dies(tmp_path: Path) -> None:
    killed = new_server(tmp_path)
    await killed.start()
    async with DemoCaller(killed.sip_address, speech(10)) as caller:
        with locked(tmp_path):
            calling = asyncio.get_running_loop().create_task(caller.call(timeout=3))
            await calls_opening(killed, 1)
            await killed.kill()
        with pytest.raises(CallFailed, match="no answer"):
            await calling
    again = ServerProcess(tmp_path, account_sid=killed.account_sid, api_key=killed.api_key, media_ports=40)
    async with running(again), AsyncTelnyx(api_key=again.api_key, base_url=again.base_url) as client:
        assert not (await client.texml.accounts.calls.retrieve_calls(again.account_sid)).calls
