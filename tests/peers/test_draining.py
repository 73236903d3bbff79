"""A server that is asked to end takes no new calls, and lets those that run go on for a while."""

import asyncio
import signal
import socket as sockets
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from telnyx import APIStatusError, AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, happens, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.errors import CallFailed
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer


async def drain_command(server: ServerProcess) -> asyncio.subprocess.Process:
    """`trunkline drain` for the server."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trunkline", "drain"),
        *("--store.directory", str(server.setting("store.directory"))),
    )


async def options(server: ServerProcess) -> str:
    """The response to an OPTIONS outside of any call."""
    with sockets.socket(type=sockets.SOCK_DGRAM) as phone:
        phone.setblocking(False)
        phone.bind(("127.0.0.1", 0))
        phone.connect(server.sip_address)
        own, number = "{}:{}".format(*phone.getsockname()), time.monotonic_ns()
        request = (
            f"OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:a@{own}>;tag=a\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: {number}\r\nCSeq: 1 OPTIONS\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(phone, request.encode())
        return (await asyncio.wait_for(loop.sock_recv(phone, 4096), 30)).decode()


async def drains(server: ServerProcess) -> dict[str, Any]:
    """Wait until the server says that it is not ready; what it says."""
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while (answer := await client.get(server.base_url.replace("/v2", "/readyz"))).status_code == 200:
            pass
        assert (await client.get(server.base_url.replace("/v2", "/readyz/api"))).status_code == 200
        return dict(answer.json())


async def test_draining_refuses_new_calls_and_lets_one_that_runs_stream_and_dial(
    app: RecordingApp, callee: Callable[..., SippRun], tmp_path: Path
) -> None:
    accepting = (steps.called(), steps.accepts(steps.sdp(steps.PCMU_LINES)), steps.byed())
    async with (
        running(new_server(tmp_path, drain__timeout=600)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        DemoCaller(server.sip_address, speech(3000)) as caller,
        DemoCaller(server.sip_address, []) as refused,
        callee(*accepting) as dialled,
    ):
        await caller.call()
        command = await drain_command(server)
        assert await drains(server) == {"ready": False, "reason": "draining"}
        with pytest.raises(CallFailed, match="503"):
            await refused.call()
        response = await options(server)
        assert response.startswith("SIP/2.0 503 ")
        assert "\r\nRetry-After: 5\r\n" in response
        calls = client.texml.accounts.calls
        to = f"sip:x@127.0.0.1:{dialled.port}"
        with pytest.raises(APIStatusError) as not_placed:
            await calls.calls(server.account_sid, body={"to": to, "from_": "1", "texml": "<Response/>"})
        assert not_placed.value.status_code == 503
        assert not_placed.value.response.headers["retry-after"] == "5"
        server.process.send_signal(signal.SIGTERM)  # what a service manager may do besides: the drain goes on
        await calls.streams_json(caller.call_sid, account_sid=server.account_sid, url=app.url)
        await app.socket()
        document = f"<Response><Dial><Sip>sip:bob@127.0.0.1:{dialled.port}</Sip></Dial></Response>"
        await calls.update(caller.call_sid, account_sid=server.account_sid, texml=document)
        await dialled.answered()
        await caller.hang_up()
        await dialled.succeeds()
        assert await asyncio.wait_for(server.process.wait(), 30) == 0
        assert await asyncio.wait_for(command.wait(), 30) == 0


async def test_a_second_signal_ends_the_drain_in_good_order(app: RecordingApp, tmp_path: Path) -> None:
    async with (
        running(new_server(tmp_path, drain__timeout=600)) as server,
        AsyncTelnyx(api_key=server.api_key, base_url=server.base_url, max_retries=0) as client,
        DemoCaller(server.sip_address, speech(3000)) as caller,
    ):
        await caller.call()
        await client.texml.accounts.calls.streams_json(caller.call_sid, account_sid=server.account_sid, url=app.url)
        socket = await app.socket()
        server.process.send_signal(signal.SIGTERM)
        await drains(server)
        assert caller.up
        server.process.send_signal(signal.SIGTERM)
        await happens(caller.watch, "the phone gets BYE", lambda: caller.ended_by_server)
        await happens(app.watch, "the socket is closed", lambda: socket.close_code is not None)
        assert (socket.messages[-1]["event"], socket.close_code) == ("stop", 1000)
        assert await asyncio.wait_for(server.process.wait(), 30) == 0


async def test_a_database_that_does_not_answer_holds_up_the_end_for_three_seconds(tmp_path: Path) -> None:
    server = new_server(tmp_path)
    await server.start()
    async with DemoCaller(server.sip_address, speech(3000)) as caller:
        await caller.call()
        with closing(sqlite3.connect(tmp_path / "trunkline.db", isolation_level=None)) as database:
            database.execute("BEGIN EXCLUSIVE")
            code = await server.stop(timeout=3.5)
    assert caller.ended_by_server
    assert code == 1, "killed after three seconds" if code < 0 else ""
    assert "server_end_overdue" in server.log
    assert "Traceback" not in server.log
