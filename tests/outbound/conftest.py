"""Web servers whose answers the test gives byte for byte, and a dialler."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from dnslib import QTYPE, RR, A
from dnslib.server import DNSServer

from trunkline.outbound.dialler import Dialler
from trunkline.outbound.names import Names


@dataclass
class Asked:
    """One request."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Reply = bytes | None | Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Web:
    """`reply` gives the whole answer; None: the connection is closed without one."""

    reply: Callable[[Asked], Reply] = lambda asked: ok()
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        number = len(self.writers)
        self.writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, target, _ = start.split(" ")
                asked = Asked(number, method, target, headers, body)
                self.asked.append(asked)
                reply = self.reply(asked)
                if reply is None:
                    break
                if isinstance(reply, bytes):
                    writer.write(reply)
                    await writer.drain()
                else:
                    await reply(writer)
        writer.close()


def ok(body: bytes = b"", *headers: str, status: int = 200) -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Web]]]:
    """Starts servers, on 127.0.0.1 and any port unless said otherwise."""
    servers: list[asyncio.Server] = []
    webs: list[Web] = []

    async def start(host: str = "127.0.0.1", port: int = 0) -> Web:
        web = Web()
        webs.append(web)
        servers.append(await asyncio.start_server(web.serve, host, port))
        web.url = f"http://{host}:{servers[-1].sockets[0].getsockname()[1]}"
        return web

    yield start
    for server in servers:
        server.close()
    for web in webs:
        for writer in web.writers:
            writer.transport.abort()
    for server in servers:
        await server.wait_closed()


@pytest.fixture
async def web(serve: Callable[[], Awaitable[Web]]) -> Web:
    return await serve()


@pytest.fixture
async def dialler() -> AsyncIterator[Dialler]:
    dialler = Dialler(Names())
    yield dialler
    await dialler.stop()


class Rebinding:
    """A name server that says 127.0.0.2 the first time, and from then on 127.0.0.1; no answer may be kept."""

    def __init__(self) -> None:
        self.asked = 0
        self.server = DNSServer(self, address="127.0.0.1", port=0, logger=self)
        self.port: int = self.server.server.server_address[1]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("log_"):
            return lambda *_: None
        raise AttributeError(name)

    def resolve(self, request: Any, handler: Any) -> Any:
        """See `dnslib`."""
        reply = request.reply()
        if request.q.qtype == QTYPE.A:
            self.asked += 1
            address = "127.0.0.2" if self.asked == 1 else "127.0.0.1"
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(address), ttl=0))
        return reply


@pytest.fixture
def rebinding() -> Iterator[Rebinding]:
    name_server = Rebinding()
    name_server.server.start_thread()
    yield name_server
    name_server.server.stop()
    name_server.server.server.server_close()
