"""Whatever is silent, all that a call needs of a host that answers comes as quickly as if it were alone.

The rooms are the real ones: documents, sounds, callbacks and the sockets of streams, with one look-up of names for all.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RR, A
from dnslib.server import DNSServer
from websockets.asyncio.server import ServerConnection, serve

from stream_params import stream_params
from trunkline.config import CallbackSettings, StoreSettings, StreamSettings, TexmlSettings
from trunkline.demo.watch import Watch
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.outbound import names as names_module
from trunkline.outbound.cookies import Cookies
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.names import Names
from trunkline.store.records import CallbackRecord, callback_row
from trunkline.store.store import Store
from trunkline.streaming.connection import StreamConnection
from trunkline.streaming.params import StreamIdentity
from trunkline.streaming.socket import Sender
from trunkline.streaming.stream import StreamClosed, StreamOpened
from trunkline.texml import effects
from trunkline.texml.cache import FileCache
from trunkline.texml.document import parse
from trunkline.texml.fetch import Fetcher
from trunkline.texml.sounds import Sounds
from trunkline.webhooks.delivery import Delivery
from trunkline.webhooks.payloads import record_of
from trunkline.webhooks.signing import Signer

ACCOUNT = "5f1c9d2e-0000-4000-8000-000000000001"
MARGIN = 1.0
"""Seconds for a machine that is busy with other things; each of those silent hosts would cost five at least."""
LONG = 100
"""Seconds for everything, so that what is silent stays so on such a machine."""
WAV = b"RIFF" + bytes(100)


class _Quiet:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Zone:
    """Every name is 127.0.0.1, but those in `mute.` get no answer."""

    def __init__(self, on_unanswered: Callable[[], object]) -> None:
        self.on_unanswered = on_unanswered
        self.unanswered: set[str] = set()

    def resolve(self, request: Any, handler: Any) -> Any:
        name = str(request.q.qname)
        if name.endswith(".mute."):
            self.unanswered.add(name)
            self.on_unanswered()
            raise TimeoutError  # which leaves the question without an answer
        reply = request.reply()
        if request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("127.0.0.1"), ttl=60))
        return reply


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def zone(watch: Watch) -> AsyncIterator[tuple[Zone, int]]:
    loop = asyncio.get_running_loop()
    zone = Zone(lambda: loop.call_soon_threadsafe(watch.changed))
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=_Quiet())
    server.server.handle_error = lambda *_: None
    server.start_thread()
    yield zone, server.server.server_address[1]
    server.stop()
    server.server.server_close()


class Web:
    """Answers hosts that begin with `good`; others never, or by a byte now and then if they begin with `drip`."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.port = 0
        self.answered: list[str] = []
        """Paths."""
        self.hanging: set[tuple[str, str]] = set()
        """Hosts and paths of requests that were not answered."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self.request(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether there may be another."""
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        await reader.readexactly(int(headers.get("content-length", "0")))
        host, path = headers["host"].partition(":")[0], start.split()[1]
        if host.startswith("good"):
            body = WAV if path == "/sound" else b"<Response/>"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            self.answered.append(path)
            self.watch.changed()
            return True
        self.hanging.add((host, path))
        self.watch.changed()
        closed = asyncio.create_task(reader.read())
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX: " + b"x" * 1000 if host.startswith("drip") else b"":
            writer.write(bytes([byte]))
            await asyncio.wait([closed], timeout=0.2)
            if closed.done():
                break
        await closed
        return False


@pytest.fixture
async def web(watch: Watch) -> AsyncIterator[Web]:
    web = Web(watch)
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(web.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    yield web
    server.close()
    for task in list(connections):
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


class NoDecoder:
    """The streams here play nothing."""

    def decode(self, *_: object) -> Any:
        raise NotImplementedError

    def cancel(self, job: int) -> None:
        raise NotImplementedError


class House:
    """The four rooms that ask customers' hosts for something."""

    def __init__(self, directory: Path, store: Store, name_server: int) -> None:
        self.store = store
        self.dialler = Dialler(Names(("127.0.0.1", name_server)))
        self.signer = Signer.load(directory)
        settings = TexmlSettings(fetch_timeout=LONG, sound_timeout=LONG)
        self.fetcher = Fetcher(settings, self.signer, self.dialler, parse)
        self.sounds = Sounds(settings, FileCache(directory / "cache", 10**7), directory / "tones", self.dialler)
        self.delivery = Delivery(CallbackSettings(timeout=LONG), store, self.signer, self.dialler)
        self.sender = Sender(self.dialler)
        self.streams: list[StreamConnection] = []
        self.number = 0

    async def document(self, base: str) -> None:
        """For one call."""
        request = effects.DocumentRequest(base + "/document", "POST", ())
        await self.fetcher.document(
            effects.Fetch(1, request, None), (("AccountSid", ACCOUNT), ("CallSid", "c")), Cookies()
        )

    async def sound(self, base: str) -> None:
        """Likewise."""
        await self.sounds.file(ACCOUNT, base + "/sound")

    async def callback(self, base: str) -> None:
        """Likewise; it is under way then."""
        self.number += 1
        number, account = self.number, AccountSid(ACCOUNT)
        target, form, now = (base + "/callback", "POST"), [("a", "b")], datetime.now(UTC)
        record = record_of(f"id-{number}", target, form, now, account, CallSid(f"v3:{number}"))
        assert record is not None
        placed: CallbackRecord = replace(record, position=self.store.next_position())
        await self.store.write([], [], [callback_row(placed)])
        self.delivery.deliver([placed])

    async def stream(self, url: str) -> None:
        """Likewise; returns when `start` was sent."""
        reported: asyncio.Queue[StreamOpened | StreamClosed] = asyncio.Queue()
        identity = StreamIdentity(
            StreamSid("s"), AccountSid(ACCOUNT), CallSid("v3:c"), CallSessionId("x"), "+1555", "+1556"
        )
        params, settings = (
            stream_params(url, enable_reconnect=False),
            StreamSettings(connect_timeout=LONG),
        )
        stream = StreamConnection(
            params, identity, "PCMU", settings, reported.put_nowait, NoDecoder(), lambda digits: None, self.sender
        )
        self.streams.append(stream)
        stream.start()
        fact = await reported.get()
        assert isinstance(fact, StreamOpened), fact

    async def stop(self) -> None:
        """All of it."""
        await self.delivery.stop(0)
        await self.fetcher.stop()
        await self.sounds.stop()
        for stream in self.streams:
            stream.close("the test is over")
        await asyncio.gather(*(stream.wait_closed() for stream in self.streams))
        await self.dialler.stop()


@pytest.fixture
async def house(tmp_path: Path, zone: tuple[Zone, int], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(names_module, "LOOKUP_TIMEOUT", LONG)
    store = await Store.open(StoreSettings(directory=tmp_path))
    house = House(tmp_path, store, zone[1])
    await house.delivery.start()
    yield house
    await house.stop()
    await store.close()


async def quick(house: House, web: Web, name: str, port: int) -> dict[str, float]:
    """Seconds that each of what a call needs takes from a host that answers."""
    base, took = f"http://{name}.test:{web.port}", {}

    async def callback() -> None:
        seen = len(web.answered)
        await house.callback(base)
        assert await web.watch.until(lambda: "/callback" in web.answered[seen:], 30)

    works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "document": lambda: house.document(base),
        "sound": lambda: house.sound(base),
        "callback": callback,
        "stream": lambda: house.stream(f"ws://{name}.test:{port}"),
    }
    for what, work in works.items():
        before = time.perf_counter()
        async with asyncio.timeout(30):
            await work()
        took[what] = time.perf_counter() - before
    return took


KINDS = {"name server": "silent{}.mute", "web server": "silent{}.test", "drip-feeding web server": "drip{}.test"}


@pytest.mark.parametrize("count", [12, 200])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_that_answers_is_asked_as_quickly_as_if_it_were_alone(
    house: House, zone: tuple[Zone, int], web: Web, kind: str, count: int
) -> None:
    async def app(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(app, "127.0.0.1", 0) as sockets:
        port = sockets.sockets[0].getsockname()[1]
        alone = await quick(house, web, "good1", port)
        works: list[asyncio.Task[None]] = []
        for number in range(count):
            base = f"{KINDS[kind].format(number)}:{web.port}"
            works += [asyncio.create_task(work(f"http://{base}")) for work in (house.document, house.sound)]
            works.append(asyncio.create_task(house.stream(f"ws://{base}/socket")))
            await house.callback(f"http://{base}")
        if kind == "name server":
            assert await web.watch.until(lambda: len(zone[0].unanswered) == count, 60)
        else:
            assert await web.watch.until(lambda: len(web.hanging) == 4 * count, 60)
        # One that has answered before, and one that has not been asked yet.
        for name in ("good1", "good2"):
            beside = await quick(house, web, name, port)
            for what, seconds in beside.items():
                figures = f"{seconds * 1000:.0f} ms, alone {alone[what] * 1000:.0f} ms"
                sys.stdout.write(f"{count} x silent {kind}, {name}: {what} {figures}\n")
            assert all(seconds < alone[what] + MARGIN for what, seconds in beside.items()), beside
        assert not any(work.done() for work in works), "they were silent all the while"
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
