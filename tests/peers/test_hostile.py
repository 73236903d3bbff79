"""Hostile peers on every port of a running server, while one good call is streamed: it must not lose a frame, the
server must not show a traceback nor grow, and its gauges must return to what is really there."""

import asyncio
import contextlib
import secrets
import socket as sockets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from peers.harness import RecordingApp, Socket, children, happens, new_server, running
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
LEFT_OVER = 40
"""Megabytes by which a process may have grown after an attack: bounded caches, and what the allocator keeps."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServerProcess]:
    """One worker, so that all streams share its loop, and few SIP connections."""
    async with running(
        new_server(tmp_path_factory.mktemp("server"), media__workers=1, sip__connection_limit=50)
    ) as server:
        yield server


async def start(server: ServerProcess, caller: DemoCaller, app: RecordingApp) -> Socket:
    """A bidirectional stream of the call; the app's side of it."""
    path = f"{server.base_url}/texml/Accounts/{server.account_sid}/Calls/{caller.call_sid}/Streams.json"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}) as http:
        answer = await http.post(path, json={"Url": app.url, "BidirectionalMode": "rtp"})
    assert answer.status_code == 200, answer.text
    return await app.socket()


ONE_OF_EACH = ('trunkline_calls_active{direction="inbound"}', 'trunkline_streams_active{mode="rtp"}')


async def metrics(server: ServerProcess) -> Counter[str]:
    """All samples of `/metrics`."""
    async with httpx.AsyncClient(timeout=20) as http:
        text = (await http.get(server.base_url.replace("/v2", "/metrics"))).text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return Counter({name: int(float(value)) for name, _, value in lines})


def memory(server: ServerProcess) -> int:
    """Megabytes that the server's processes hold."""
    total = 0
    for pid in (server.process.pid, *children(server)):
        status = Path(f"/proc/{pid}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return total // 1024


@pytest.fixture
async def good_call(server: ServerProcess, caller: DemoCaller, app: RecordingApp) -> AsyncIterator[Socket]:
    """A call with its stream. At the end it must go on with nothing lost, and nothing else be left."""
    socket = await start(server, caller, app)
    held = memory(server)
    yield socket
    enough = len(socket.payloads()) + 50
    await happens(app.watch, "frames flow on", lambda: len(socket.payloads()) >= enough)
    numbers = [caller.frames.index(payload) for payload in socket.payloads()]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert caller.up
    async with asyncio.timeout(60):  # the workers report once a second
        while [(await metrics(server))[gauge] for gauge in ONE_OF_EACH] != [1, 1]:
            pass
    assert memory(server) < held + LEFT_OVER


@asynccontextmanager
async def pouring(data: bytes, socket: Socket) -> AsyncIterator[None]:
    """Meanwhile the app sends WebSocket frames of its own making, as fast as it is read, and throws away answers."""
    transport = socket.connection.transport

    async def pour() -> None:
        with contextlib.suppress(ConnectionError):
            while not transport.is_closing():
                transport.write(data)
                await socket.connection.drain()  # until the server has read

    task = asyncio.create_task(pour())
    yield
    transport.abort()
    await asyncio.gather(task, return_exceptions=True)


def text_frame(text: bytes, *, first: int = 0x81) -> bytes:
    """An unmasked frame of at most 125 bytes."""
    return bytes((first, len(text))) + text


@pytest.mark.parametrize(
    "frames",
    [
        text_frame(b'{"event":"media","media":{"payload":"/w=="}}') * 500,
        text_frame(b'{"event":"mark","mark":{"name":"x"}}') * 500,
        text_frame(b"{nope") * 1000,
        b"\x89\x00" * 2000,
    ],
    ids=["tiny media", "marks", "garbage", "pings"],
)
async def test_an_app_that_floods_its_socket_costs_other_calls_nothing(
    server: ServerProcess, good_call: Socket, app: RecordingApp, frames: bytes
) -> None:
    async with RecordingApp() as flooding, DemoCaller(server.sip_address, speech(500)) as second:
        await second.call()
        async with pouring(frames, await start(server, second, flooding)):
            enough = len(good_call.payloads()) + 100
            await happens(app.watch, "100 frames in the midst of it", lambda: len(good_call.payloads()) >= enough)
        await second.hang_up()


def requests(count: int, method: str, host: str, port: int, to_tag: str = "") -> Iterator[bytes]:
    """SIP requests that each are new; with a To tag, of a dialog that does not exist."""
    for _ in range(count):
        yield "\r\n".join(
            (
                f"{method} sip:x@{host} SIP/2.0",
                f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{secrets.token_hex(6)}",
                "Max-Forwards: 70",
                f"From: <sip:a@{host}>;tag={secrets.token_hex(4)}",
                f"To: <sip:x@{host}>{to_tag and ';tag='}{to_tag}",
                f"Call-ID: {secrets.token_hex(8)}",
                f"CSeq: 1 {method}",
                f"Contact: <sip:a@{host}:{port}>",
                "Content-Length: 0",
                "",
                "",
            )
        ).encode()


async def test_forged_dialogs_and_giant_heads_are_refused_and_cost_no_call(
    server: ServerProcess, good_call: Socket
) -> None:
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as sender:
        sender.bind((server.host, 0))
        port = sender.getsockname()[1]
        for method in ("INVITE", "BYE", "ACK", "CANCEL", "OPTIONS", "INFO"):
            for number, request in enumerate(requests(500, method, server.host, port, "forged")):
                sender.sendto(request, server.sip_address)
                if number % 10 == 0:
                    await metrics_turn(server)
        async with asyncio.timeout(60):  # the kernel drops what finds the socket's buffer full
            while not (counted := await metrics(server))['trunkline_sip_total{event="dropped"}']:
                (request,) = requests(1, "INVITE", server.host, port)
                via = b"Via: " + b",".join([b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx"] * 1500) + b"\r\n"
                sender.sendto(request.replace(b"Max-Forwards", via + b"Max-Forwards"), server.sip_address)
    assert counted['trunkline_sip_total{event="refused_481"}'] > 100
    async with DemoCaller(server.sip_address, speech(10)) as honest:
        await honest.call()


async def metrics_turn(server: ServerProcess) -> None:
    """Give the server time to read its socket: as long as it takes to answer another one."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
    writer.close()
    await writer.wait_closed()


async def test_silent_and_slow_connections_keep_no_peer_out(server: ServerProcess, good_call: Socket) -> None:
    held = [await asyncio.open_connection(*server.sip_address) for _ in range(80)]
    for _, writer in held[::2]:
        writer.write(b"INVITE sip:x SIP/2.0\r\nVia:")
    slow = [await asyncio.open_connection("127.0.0.1", server.http_port) for _ in range(1100)]
    for _, writer in slow:
        writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
    reader, honest = await asyncio.open_connection(*server.sip_address)
    async with asyncio.timeout(30):
        (options,) = requests(1, "OPTIONS", server.host, 9)
        honest.write(options.replace(b"/UDP", b"/TCP"))
        assert (await reader.readline()).startswith(b"SIP/2.0 200 ")
    after = await metrics(server)
    assert after['trunkline_sip_total{event="connections_refused"}'] >= 31
    assert after['trunkline_api_total{event="connections_over_limit"}'] >= 100
    for writer in (honest, *(writer for _, writer in (*held, *slow))):
        writer.transport.abort()
