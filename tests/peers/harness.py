"""What the peer tests share: a running server, an app that records, a phone's RTP socket.

The server is always the real `trunkline serve` in a process of its own (`preloaded.py`); nothing here knows its inside.
"""

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from preloaded import PreloadedServer
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.caller import PCMU, Heard, parse_rtp
from trunkline.demo.server import ServerProcess
from trunkline.demo.watch import Watch

if TYPE_CHECKING:
    from telnyx import AsyncTelnyx  # takes seconds to import, and many that need no SDK use this file
    from telnyx.types.texml.accounts.call_resource import CallResource

GLANCE = 0.02
"""Seconds between two looks at what reports no change: the other tests need the CPU."""
ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM")
"""Put before a command, ends it when this process dies."""
UNHURRIED: dict[str, Any] = {"streams__prebuffer": 500}
"""Settings of a server that plays every frame of an app which a busy machine delays. By default late audio is left out,
see `test_stalls.py`."""


async def happens(watch: Watch, what: str, predicate: Any, timeout: float = 30) -> None:  # noqa: ASYNC109 - fails the test
    """Wait for a condition; the test fails, naming it, when it does not come."""
    assert await watch.until(predicate, timeout), f"within {timeout:g} s this did not happen: {what}"


def new_server(directory: Path, *, media_ports: int = 40, host: str = "127.0.0.1", **settings: Any) -> ServerProcess:
    """A server that is not started yet; settings by their names with `__` for the dot."""
    return PreloadedServer(
        directory,
        account_sid=str(uuid.uuid4()),
        api_key=secrets.token_urlsafe(24),
        host=host,
        media_ports=media_ports,
        settings={name.replace("__", "."): value for name, value in settings.items()},
    )


@asynccontextmanager
async def running(server: ServerProcess) -> AsyncIterator[ServerProcess]:
    """The server, started; at the end it must stop with exit code 0 and must not have shown a traceback."""
    try:
        await server.start()
        yield server
    finally:
        await server.stop_if_started()
        sys.stderr.write(server.log)  # pytest shows it when the test fails
    assert server.process.returncode == 0, f"exit code {server.process.returncode}"
    assert "Traceback" not in server.log


def children(server: ServerProcess) -> list[int]:
    """The process ids of the server's media workers."""
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


@asynccontextmanager
async def held(server: ServerProcess) -> AsyncIterator[list[int]]:
    """The server's media workers, which stand still: for less than the time after which they count as dead."""
    workers = children(server)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        while any(_state(pid) != "T" for pid in workers):  # noqa: ASYNC110 - the kernel notifies only the parent
            await asyncio.sleep(GLANCE)
        yield workers
    finally:
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def takes_calls(server: ServerProcess) -> None:
    """Wait until it does: what a test before has sent may still keep its media worker late."""
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=server.base_url.removesuffix("/v2")) as http:
        while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(GLANCE)


async def no_call_left(client: "AsyncTelnyx", account_sid: str) -> None:
    """Wait until none is listed as in progress: one that a test before has ended may still be."""
    async with asyncio.timeout(30):
        while any(  # noqa: ASYNC110 - nothing reports it
            call.status == "in-progress"
            for call in (await client.texml.accounts.calls.retrieve_calls(account_sid)).calls or []
        ):
            await asyncio.sleep(GLANCE)


async def listed_calls(client: "AsyncTelnyx", account_sid: str, status: str, sid: str = "") -> list["CallResource"]:
    """The account's calls of that status, as soon as there is one, or the one with that sid: the list is documented as
    eventually consistent."""
    async with asyncio.timeout(30):
        while True:
            calls = (await client.texml.accounts.calls.retrieve_calls(account_sid)).calls or []
            found = [call for call in calls if call.status == status]
            if found and (not sid or sid in [call.sid for call in found]):
                return found
            await asyncio.sleep(GLANCE)


@dataclass(slots=True)
class Socket:
    """One WebSocket connection of the server to the app."""

    connection: ServerConnection
    path: str
    headers: dict[str, str]
    messages: list[dict[str, Any]] = field(default_factory=list)
    """All, in order of arrival."""
    close_code: int | None = None

    def all(self, event: str) -> list[dict[str, Any]]:
        """The messages of one kind."""
        return [message for message in self.messages if message["event"] == event]

    def payloads(self, track: str = "inbound") -> list[bytes]:
        """The audio of one track."""
        media = (message["media"] for message in self.all("media"))
        return [base64.b64decode(each["payload"]) for each in media if each["track"] == track]

    @property
    def started(self) -> bool:
        """`start` came."""
        return bool(self.all("start"))

    async def play(self, payload: bytes) -> None:
        """Send one `media` message."""
        await self.send({"event": "media", "media": {"payload": base64.b64encode(payload).decode()}})

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        await self.connection.send(json.dumps(message))


class RecordingApp:
    """A WebSocket server that keeps every message of every socket."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.sockets: list[Socket] = []
        self.watch = Watch()
        """Changes with every message, opening and close."""
        self.echo = False
        """Send each inbound payload back."""
        self.reads = True
        """False: new sockets are never read."""
        self._host = host

    async def __aenter__(self) -> Self:
        self._closing = asyncio.Event()
        self._server: Server = await serve(self._serve, self._host, 0, compression=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where the app listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"ws://{host}:{next(iter(self._server.sockets)).getsockname()[1]}/app"

    async def socket(self, timeout: float = 30) -> Socket:  # noqa: ASYNC109 - fails the test
        """The first socket, once it has got `start`."""
        await happens(self.watch, "a stream starts", lambda: bool(self.sockets) and self.sockets[0].started, timeout)
        return self.sockets[0]

    async def _serve(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        socket = Socket(connection, request.path, {name.lower(): value for name, value in request.headers.items()})
        self.sockets.append(socket)
        self.watch.changed()
        if not self.reads:
            await self._closing.wait()
        try:
            async for text in connection:
                await self._received(socket, json.loads(text))
        except ConnectionClosed:
            pass  # its code is recorded below
        finally:
            socket.close_code = connection.close_code
            self.watch.changed()

    async def _received(self, socket: Socket, message: dict[str, Any]) -> None:
        socket.messages.append(message)
        if self.echo and message["event"] == "media" and message["media"]["track"] == "inbound":
            await socket.send({"event": "media", "media": {"payload": message["media"]["payload"]}})
        self.watch.changed()


class RtpEndpoint(asyncio.DatagramProtocol):
    """A phone's RTP socket: keeps what comes, sends frames on request. Use as an async context manager."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.heard: list[Heard] = []
        self.watch = Watch()
        """Changes with every packet."""
        self.seal: Callable[[bytes], bytes] = bytes
        """What is done to each packet before it is sent, and after it came: encryption."""
        self.unseal: Callable[[bytes], bytes] = bytes
        self._host = host
        self._ssrc = secrets.token_bytes(4)
        self._next = 0
        self._speaking: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._transport, _ = await self._loop.create_datagram_endpoint(lambda: self, local_addr=(self._host, 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        self._transport.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """One packet."""
        packet = parse_rtp(self.unseal(data), self._loop.time())
        if packet is not None:
            self.heard.append(packet)
            self.watch.changed()

    def speak(self, frames: Sequence[bytes], port: int, payload_type: int = PCMU) -> None:
        """Send frames every 20 ms from now on."""
        began = self._loop.time()
        first, self._next = self._next, self._next + len(frames)

        def send(number: int) -> None:
            at = first + number
            header = bytes((0x80, payload_type)) + at.to_bytes(2, "big") + (at * 160).to_bytes(4, "big")
            self.send(header + self._ssrc + frames[number], port)
            if number + 1 < len(frames):
                self._speaking = self._loop.call_at(began + (number + 1) * 0.02, send, number + 1)

        send(0)

    def send(self, packet: bytes, port: int) -> None:
        """Send one packet."""
        self._transport.sendto(self.seal(packet), (self._host, port))

    def stop(self) -> None:
        """Send no more."""
        if self._speaking:
            self._speaking.cancel()


async def ended(callbacks: CallbackReceiver, stream_sid: str, timeout: float = 30) -> dict[str, str]:  # noqa: ASYNC109
    """The callback that ends a stream; the test fails when none comes."""
    ends = ("stream-stopped", "stream-error")
    await happens(
        callbacks.watch,
        f"stream {stream_sid} ends; so far {events(callbacks)}",
        lambda: any(event in ends for event in events(callbacks, stream_sid)),
        timeout,
    )
    fields = [callback.fields for callback in callbacks.received]
    return next(each for each in fields if each["StreamSid"] == stream_sid and each["StreamEvent"] in ends)


def events(callbacks: CallbackReceiver, stream_sid: str | None = None) -> list[str]:
    """The stream events received so far, of one stream or of all."""
    fields = [callback.fields for callback in callbacks.received]
    return [each["StreamEvent"] for each in fields if stream_sid in (None, each["StreamSid"])]
