"""Apps of one account that try to make a media worker hold memory: it stays within the account's budget, they get their
errors, and a call of another account loses no frame."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from peers.called_party import Callee, Phone, sdp
from peers.harness import RecordingApp, Socket, children, happens, new_server, running
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
OPERATOR = "the-operators-key-of-this-test"
MEMORY = 16 * 1024 * 1024
STREAMS = 20
OVERHEAD = STREAMS * 200_000 + 8_000_000
"""Bytes besides: buffers of each stream, and what the allocator keeps."""
PART = 3_900_000
"""Bytes of each message that is never completed: 78 MB in all."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One worker for all streams, of which one call may have many."""
    settings: dict[str, Any] = {
        "http__operator_key": OPERATOR,
        "media__workers": 1,
        "media__players_per_leg": STREAMS,
        "streams__account_memory": MEMORY,
        "streams__per_call_limit": STREAMS,
        "streams__bidirectional_per_call": STREAMS,
        "streams__close_timeout": 1,
    }
    async with running(new_server(tmp_path_factory.mktemp("server"), **settings)) as server:
        yield server


async def hostile_account(server: ServerProcess) -> tuple[str, dict[str, str]]:
    """Another account: its sid, and the headers of its requests."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {OPERATOR}"}) as http:
        answer = await http.post(f"{server.base_url}/trunkline/accounts", json={"name": "hostile"})
    made = answer.json()["data"]
    return made["account_sid"], {"Authorization": f"Bearer {made['api_key']}"}


@asynccontextmanager
async def hostile_call(server: ServerProcess, app: RecordingApp, count: int) -> AsyncIterator[list[Socket]]:
    """A call of another account, with so many streams."""
    account, headers = await hostile_account(server)
    calls = f"{server.base_url}/texml/Accounts/{account}/Calls"
    async with httpx.AsyncClient(headers=headers, timeout=20) as http, Callee() as callee, Phone() as phone:
        to, texml = f"sip:callee@127.0.0.1:{callee.port}", '<Response><Pause length="120"/></Response>'
        placed = await http.post(calls, json={"To": to, "From": "+15550001111", "Texml": texml})
        assert placed.status_code == 200, placed.text
        await callee.gets("INVITE")
        callee.answer(sdp("127.0.0.1", phone.port))
        await callee.gets("ACK")
        streams = f"{calls}/{placed.json()['sid']}/Streams.json"
        asked = {"Url": app.url, "BidirectionalMode": "rtp", "EnableReconnect": False}
        for _ in range(count):
            answer = await http.post(streams, json=asked)
            assert answer.status_code == 200, answer.text
        await happens(app.watch, "all start", lambda: len([each for each in app.sockets if each.started]) == count)
        yield app.sockets
        await http.post(f"{calls}/{placed.json()['sid']}", json={"Status": "completed"})
        await callee.gets("BYE")


def memory(pid: int, field: str) -> int:
    """Bytes: VmRSS, or VmHWM, its peak."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def forget_peak(pid: int) -> None:
    """VmHWM is the peak from now on (proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@asynccontextmanager
async def within_budget(server: ServerProcess) -> AsyncIterator[None]:
    """Meanwhile the worker's memory grows by what the setting allows at most."""
    (worker,) = children(server)
    forget_peak(worker)
    before = memory(worker, "VmRSS")
    yield
    grown = memory(worker, "VmHWM") - before

    assert grown < MEMORY + OVERHEAD, f"{grown / 1e6:.0f} MB"


@pytest_asyncio.fixture
async def good_call(server: ServerProcess, caller: DemoCaller, app: RecordingApp) -> AsyncIterator[Socket]:
    """A call of the server's own account with its stream, which loses no frame."""
    path = f"{server.base_url}/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}/Streams.json"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as http:
        assert (await http.post(path, json={"Url": app.url, "BidirectionalMode": "rtp"})).status_code == 200
    socket = await app.socket()
    yield socket
    enough = len(socket.payloads()) + 50
    await happens(app.watch, "frames flow on", lambda: len(socket.payloads()) >= enough)
    numbers = [caller.frames.index(payload) for payload in socket.payloads()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert not socket.all("error")


async def refusals(server: ServerProcess) -> int:
    """Of the counter; the worker reports once a second."""
    name = 'trunkline_media_total{event="stream_memory_refused"} '
    async with httpx.AsyncClient() as http, asyncio.timeout(30):
        while True:
            text = (await http.get(server.base_url.replace("/v2", "/metrics"))).text
            for line in text.splitlines():
                if line.startswith(name):
                    return int(float(line.removeprefix(name)))


async def test_the_marks_of_one_account_take_no_more_than_its_budget(server: ServerProcess, good_call: Socket) -> None:
    mark = json.dumps({"event": "mark", "mark": {"name": "x" * 4090}})
    async with RecordingApp() as hostile, hostile_call(server, hostile, 8) as sockets, within_budget(server):
        for socket in sockets:
            await socket.play(b"\xff" * 8000 * 60)

        async def pour(socket: Socket) -> None:
            for _ in range(2000):
                await socket.connection.send(mark)

        await asyncio.gather(*map(pour, sockets))
        await happens(hostile.watch, "all get errors", lambda: all(socket.all("error") for socket in sockets))
        for socket in sockets:
            (payload, *_) = [message["payload"] for message in socket.all("error")]
            assert (payload["code"], payload["title"]) == (100005, "rate_limit_reached")
            assert "account_memory" in payload["detail"]
        assert all(socket.close_code is None for socket in sockets), "the streams go on"
        await sockets[0].send({"event": "clear"})
        await happens(hostile.watch, "its marks come back", lambda: len(sockets[0].all("mark")) > 100)
    assert await refusals(server) > 1000


async def test_incomplete_messages_of_one_account_take_no_more_than_its_budget(
    server: ServerProcess, good_call: Socket
) -> None:
    async with (
        RecordingApp() as hostile,
        hostile_call(server, hostile, STREAMS) as sockets,
        within_budget(server),
    ):

        async def pour(socket: Socket, fragments: bool) -> None:
            writer, piece = socket.connection, b"x" * 60_000
            if not fragments:
                writer.transport.write(b"\x81\x7f" + (PART + 1).to_bytes(8))
            with contextlib.suppress(ConnectionError, RuntimeError):
                for number in range(PART // len(piece)):
                    if fragments:
                        kind = 0 if number else 1
                        writer.transport.write(bytes((kind, 126)) + len(piece).to_bytes(2))
                    writer.transport.write(piece)
                    await writer.drain()  # until the server has read

        pouring = [asyncio.create_task(pour(socket, number % 2 == 0)) for number, socket in enumerate(sockets)]
        closed = STREAMS - MEMORY // PART
        await happens(
            hostile.watch,
            "those without room are closed with 1009",
            lambda: sum(socket.close_code == 1009 for socket in sockets) >= closed,
        )
        for task in pouring:
            task.cancel()
        await asyncio.gather(*pouring, return_exceptions=True)
        assert {socket.close_code for socket in sockets} <= {1009, None}
        for socket in sockets:
            socket.connection.transport.abort()
