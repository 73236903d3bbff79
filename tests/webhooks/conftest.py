"""A store with callbacks in it, and a receiver whose answers the test gives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import pytest

from trunkline.calls.views import (
    CALL_EVENTS,
    CallEvent,
    CallEventKind,
    CallStatus,
    CallView,
    StreamEvent,
    StreamView,
)
from trunkline.config import StoreSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.names import Names
from trunkline.store.records import CallbackRecord, callback_row
from trunkline.store.store import Store

Kind = Literal["stream-started", "stream-stopped", "stream-error"]


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        text = self.body.decode() if self.method == "POST" else urlsplit(self.target).query
        return dict(parse_qsl(text, keep_blank_values=True))


@dataclass
class Receiver:
    """A bare HTTP server. `answer` is asked for each request's raw answer; None = never answer."""

    answer: Callable[[Request], bytes | None] = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    closes_on: int = 0
    """The number of a request upon which the connection is closed."""
    open_requests: int = 0
    most_open: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, target, _ = head[0].split(" ")
                request = Request(method, target, headers, body)
                self.open_requests += 1
                self.most_open = max(self.most_open, self.open_requests)
                self.requests.append(request)
                async with self._changed:
                    self._changed.notify_all()
                try:
                    if len(self.requests) == self.closes_on:
                        break
                    answer = self.answer(request)
                    if answer is None:
                        await reader.read()
                        break
                    writer.write(answer)
                    await writer.drain()
                finally:
                    self.open_requests -= 1
        writer.close()

    async def got(self, count: int, seconds: float = 10) -> list[Request]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)
        return self.requests


def status(code: int, headers: str = "", body: str = "") -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


@pytest.fixture
def reply() -> Callable[..., bytes]:
    return status


@pytest.fixture
async def listen() -> AsyncIterator[Callable[[], "asyncio.Future[Receiver]"]]:
    """Starts receivers, each on a port of its own."""
    servers: list[asyncio.Server] = []
    connections: set[asyncio.Task[None]] = set()

    async def start() -> Receiver:
        receiver = Receiver()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await receiver.serve(reader, writer)
            finally:
                connections.discard(task)
                writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        receiver.url = f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
        return receiver

    def begin() -> "asyncio.Future[Receiver]":
        return asyncio.ensure_future(start())

    yield begin
    for server in servers:
        server.close()
    for task in list(connections):
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


@pytest.fixture
async def receiver(listen: Callable[[], "asyncio.Future[Receiver]"]) -> Receiver:
    return await listen()


@pytest.fixture
def stream_of() -> Callable[..., StreamView]:
    """A stream with a status callback."""

    def make(url: str | None, sid: str = "0b9e4b0e-0000-4000-8000-000000000001", method: str = "POST") -> StreamView:
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        return StreamView(
            sid=StreamSid(sid),
            account_sid=AccountSid("5f1c9d2e-0000-4000-8000-000000000001"),
            call_sid=CallSid("v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"),
            name=None,
            url="wss://app.example/",
            track="inbound_track",
            status="in-progress",
            created_at=noon,
            updated_at=noon,
            status_callback=url,
            status_callback_method=method,
        )

    return make


@pytest.fixture
def event_of(stream_of: Callable[..., StreamView]) -> Callable[..., StreamEvent]:
    def make(
        kind: Kind = "stream-started", url: str | None = "http://r/cb", *, error: str | None = None, **stream: str
    ) -> StreamEvent:
        return StreamEvent(kind, stream_of(url, **stream), datetime(2026, 3, 1, 12, 0, 5, 120, tzinfo=UTC), error)

    return make


@pytest.fixture
def call_event_of() -> Callable[..., CallEvent]:
    """An event of a call that was placed at noon, answered 5 s later and ended 65.4 s after that, up to its kind."""

    def make(kind: CallEventKind = "initiated", **changes: Any) -> CallEvent:
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        happened = CALL_EVENTS.index(kind)
        at = (noon, noon + timedelta(seconds=1), noon + timedelta(seconds=5), noon + timedelta(seconds=70.4))
        statuses: tuple[CallStatus, ...] = ("queued", "ringing", "in-progress", "completed")
        call = CallView(
            sid=CallSid("v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"),
            account_sid=AccountSid("5f1c9d2e-0000-4000-8000-000000000001"),
            session_id=CallSessionId("5f1c9d2e-0000-4000-8000-000000000002"),
            direction="outbound",
            from_="+13120001234",
            to="+13121230000",
            caller_name="me",
            status=statuses[happened],
            created_at=noon,
            updated_at=at[happened],
            answered_at=at[2] if happened >= 2 else None,
            ended_at=at[3] if happened == 3 else None,
            codec="PCMU",
            application_sid="1293384261075731499",
            status_callback="http://r/cb",
            status_callback_events=" ".join(CALL_EVENTS),
        )
        return CallEvent(kind, replace(call, **changes), at[happened])

    return make


@pytest.fixture
async def dialler() -> AsyncIterator[Dialler]:
    dialler = Dialler(Names())
    yield dialler
    await dialler.stop()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(StoreSettings(directory=tmp_path / "state"))
    yield store
    await store.close()


@pytest.fixture
def keep(store: Store) -> Callable[..., "asyncio.Future[list[CallbackRecord]]"]:
    """Stores callbacks, as the writer would, and gives them as stored."""

    async def write(*records: CallbackRecord) -> list[CallbackRecord]:
        placed = [replace(record, position=store.next_position()) for record in records]
        await store.write([], [], [callback_row(record) for record in placed])
        return placed

    return lambda *records: asyncio.ensure_future(write(*records))
