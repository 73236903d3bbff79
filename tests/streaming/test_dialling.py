"""From a connected socket to a WebSocket, with peers that send exactly the bytes of the test."""

import asyncio
import base64
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest
from picows import WSFrame, WSListener, WSTransport

from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.dialling import READ_BUFFER, SocketIntake, upgrade
from trunkline.streaming.upgrade import NoUpgrade

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Heard(WSListener):
    """Records the calls of a listener."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.connected = False
        self.gone = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.connected = True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames.put_nowait(frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.gone.set()


def accept(head: bytes) -> bytes:
    """The valid answer to an upgrade (RFC 6455 section 4.2.2)."""
    key = next(
        line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
    )
    token = base64.b64encode(hashlib.sha1(key + GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n"


def text(message: bytes) -> bytes:
    """A server's text frame of less than 64 kB."""
    size = len(message)
    return (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2)) + message


@pytest.fixture
async def peer() -> AsyncIterator[Callable[[Serve], Awaitable[int]]]:
    """Starts a server; returns its port."""
    servers: list[asyncio.Server] = []

    async def start(serve: Serve) -> int:
        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        port: int = servers[-1].sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


class Owner:
    """Of an intake."""

    def frame_is_large(self) -> None:
        """See `IntakeOwner`."""
        pytest.fail("no frame is so large")


async def dial(port: int, listener: Heard, limit: int = 100_000) -> WSTransport:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    url = WebSocketUrl.parse(f"ws://127.0.0.1:{port}/app?a=b")
    async with asyncio.timeout(30):
        return await upgrade(sock, url, {"X-Own": "1"}, None, listener, limit, SocketIntake(Owner()))


@pytest.mark.parametrize("size", [0, 5, READ_BUFFER, 20_000])
async def test_frames_that_arrive_with_the_answer_are_received(
    peer: Callable[[Serve], Awaitable[int]], size: int
) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(accept(heads[-1]) + text(b"x" * size) + text(b"y"))
        await reader.read()
        writer.close()

    listener = Heard()
    transport = await dial(await peer(serve), listener)
    assert listener.connected
    async with asyncio.timeout(30):
        assert [await listener.frames.get() for _ in range(2)] == [b"x" * size, b"y"]
    assert heads[0].startswith(b"GET /app?a=b HTTP/1.1\r\n")
    assert b"X-Own: 1\r\n" in heads[0]
    transport.disconnect()
    async with asyncio.timeout(30):
        await listener.gone.wait()


@pytest.mark.parametrize("cut", [1, 20, 80])
async def test_an_answer_may_come_in_pieces(peer: Callable[[Serve], Awaitable[int]], cut: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = accept(await reader.readuntil(b"\r\n\r\n")) + text(b"hello")
        for start in range(0, len(answer), cut):
            writer.write(answer[start : start + cut])
            await writer.drain()
        await reader.read()
        writer.close()

    listener = Heard()
    transport = await dial(await peer(serve), listener)
    async with asyncio.timeout(30):
        assert await listener.frames.get() == b"hello"
    transport.disconnect()
    async with asyncio.timeout(30):
        await listener.gone.wait()


async def test_a_refusal_is_raised_and_the_socket_closed(peer: Callable[[Serve], Awaitable[int]]) -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        with suppress(ConnectionError):
            await reader.read()
        ended.set()
        writer.close()

    listener = Heard()
    port = await peer(serve)
    with pytest.raises(NoUpgrade, match="403"):
        await dial(port, listener)
    assert not listener.connected
    async with asyncio.timeout(30):
        await ended.wait()


async def test_a_cancelled_upgrade_leaves_no_socket(peer: Callable[[Serve], Awaitable[int]]) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        with suppress(ConnectionError):
            await reader.read()
        ended.set()
        writer.close()

    task = asyncio.create_task(dial(await peer(serve), Heard()))
    async with asyncio.timeout(30):
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()
