"""Shared by the tests of streaming: one stream's identity, and real WebSocket servers."""

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from trunkline.config import StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.audio.decoding import decode
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.connection import StreamConnection
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Refusal
from trunkline.streaming.params import StreamIdentity, StreamParams
from trunkline.streaming.socket import Sender
from trunkline.streaming.stream import StreamClosed, StreamOpened


@pytest.fixture
def identity() -> StreamIdentity:
    """A stream of a call."""
    return StreamIdentity(
        stream_sid=StreamSid("32de0dea-53cb-4b21-89a4-9e1819c043bc"),
        account_sid=AccountSid("3f2b7e52-0f6d-4a0e-9d5b-6f1f8a3f1c11"),
        call_sid=CallSid("v3:MdI91X4lWFEs7IgbBEOT9M4AigoY08M0WWZFISt1Yw2axZ_IiE4pqg"),
        call_session_id=CallSessionId("428c31b6-7af4-4bcb-b7f5-5013ef9657c1"),
        from_="+13129457420",
        to="+13129457421",
    )


@dataclass
class Stream:
    """A connection under test, and the events that it reports."""

    connection: StreamConnection
    facts: list[StreamOpened | StreamClosed]
    started: asyncio.Event
    ended: asyncio.Event
    pressed: list[str]
    """The keys, as its messages had them."""

    async def open(self) -> None:
        """Start, and wait until `start` was sent."""
        self.connection.start()
        async with asyncio.timeout(30):
            await self.started.wait()

    async def end(self) -> StreamClosed:
        """Wait for the end; there is exactly one, the last fact."""
        async with asyncio.timeout(30):
            await self.ended.wait()
            await self.connection.wait_closed()
        assert [type(fact) for fact in self.facts].count(StreamClosed) == 1
        last = self.facts[-1]
        assert isinstance(last, StreamClosed)
        return last


class Decoder:
    """A `FileDecoder` that decodes at once and answers in the next turn of the loop."""

    def __init__(self) -> None:
        self._answers: dict[int, asyncio.Handle] = {}

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        """See `FileDecoder`."""
        number = len(self._answers)
        work = decode(data, codec, room)
        while True:
            try:
                next(work)
            except StopIteration as done:
                self._answers[number] = asyncio.get_running_loop().call_soon(answer, done.value)
                return number

    def cancel(self, job: int) -> None:
        """See `FileDecoder`."""
        self._answers[job].cancel()


@pytest.fixture
def make_stream(identity: StreamIdentity) -> Callable[..., Stream]:
    """`make_stream(url, **fields of StreamParams, settings=…, encoding=…)`. Without `enable_reconnect=True` a stream
    has one try and one socket."""

    def make(url: str, *, settings: StreamSettings | None = None, encoding: str = "PCMU", **params: Any) -> Stream:
        facts: list[StreamOpened | StreamClosed] = []
        started, ended = asyncio.Event(), asyncio.Event()

        def on_fact(fact: StreamOpened | StreamClosed) -> None:
            facts.append(fact)
            (started if isinstance(fact, StreamOpened) else ended).set()

        pressed: list[str] = []

        def press(digits: str) -> None:
            pressed.append(digits)

        connection = StreamConnection(
            StreamParams(WebSocketUrl.parse(url), **{"enable_reconnect": False, **params}),
            identity,
            encoding,
            settings or StreamSettings(),
            on_fact,
            Decoder(),
            press,
            Sender(),
        )
        return Stream(connection, facts, started, ended, pressed)

    return make


@dataclass
class App:
    """A customer's WebSocket server."""

    url: str
    server: Server
    connections: asyncio.Queue[ServerConnection] = field(default_factory=asyncio.Queue)

    async def connection(self) -> ServerConnection:
        """The next connection that came in."""
        async with asyncio.timeout(30):
            return await self.connections.get()


AppFactory = Callable[..., contextlib.AbstractAsyncContextManager[App]]


@pytest.fixture
def run_app() -> AppFactory:
    """`async with run_app(port=…, **arguments of websockets.serve) as app`: a server whose connections the test
    drives."""

    @contextlib.asynccontextmanager
    async def run(*, context: ssl.SSLContext | None = None, port: int = 0, **arguments: Any) -> AsyncIterator[App]:
        queue: asyncio.Queue[ServerConnection] = asyncio.Queue()
        release = asyncio.Event()

        async def handler(connection: ServerConnection) -> None:
            queue.put_nowait(connection)
            await release.wait()

        arguments = {"ping_interval": None, "max_size": None, **arguments}
        async with serve(handler, "127.0.0.1", port, ssl=context, **arguments) as server:
            port = server.sockets[0].getsockname()[1]
            scheme = "wss" if context else "ws"
            try:
                yield App(f"{scheme}://127.0.0.1:{port}", server, queue)
            finally:
                release.set()

    return run


@pytest.fixture
async def app(run_app: AppFactory) -> AsyncIterator[App]:
    """A plain server."""
    async with run_app() as running:
        yield running


@dataclass
class RawPeer:
    """A TCP server that sends exactly the bytes of the test."""

    port: int
    peers: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=asyncio.Queue)

    async def accept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """The next connection and the head of its request."""
        async with asyncio.timeout(30):
            reader, writer = await self.peers.get()
            return reader, writer, await reader.readuntil(b"\r\n\r\n")

    async def upgrade(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The next connection, upgraded to a WebSocket."""
        reader, writer, head = await self.accept()
        key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))
        accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # RFC 6455 section 1.3
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        return reader, writer


@pytest.fixture
async def raw_peer() -> AsyncIterator[RawPeer]:
    """Listens on loopback."""
    queue: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        queue.put_nowait((reader, writer))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    yield RawPeer(server.sockets[0].getsockname()[1], queue)
    server.close()
    for writer in writers:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    await server.wait_closed()
