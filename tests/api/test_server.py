"""The server at the level of sockets: ports that cannot be had, and peers that do not speak HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from structlog.testing import capture_logs

from trunkline.api import server as api_server
from trunkline.api.app import ApiApplication
from trunkline.api.server import HttpServer
from trunkline.config import HttpSettings
from trunkline.errors import StartupError

if TYPE_CHECKING:
    from api.conftest import MemoryCalls

HEAD = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@dataclass
class Answer:
    """One parsed answer."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


async def _exchange(port: int, *pieces: bytes, end: bool = False) -> Answer:
    """Send the pieces and read to the end of the connection; `end` = close our half after them."""
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        if end:
            writer.write_eof()
        raw = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    _, status, reason = first.split(" ", 2)
    return Answer(int(status), reason, dict(line.lower().split(": ", 1) for line in lines), body)


def _detail(answer: Answer) -> str:
    assert answer.headers["content-type"] == "application/json"
    error = json.loads(answer.body)["errors"][0]
    assert (error["code"], error["title"]) == ("10015", "Bad Request")
    return str(error["detail"])


async def test_a_request_has_an_answer_without_a_server_header(server: HttpServer) -> None:
    answer = await _exchange(server.port, HEAD + b"Connection: close\r\n\r\n")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert "server" not in answer.headers
    assert "date" in answer.headers


async def test_a_target_in_absolute_form_is_its_path(server: HttpServer) -> None:
    head = f"GET http://127.0.0.1:{server.port}/healthz HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"
    answer = await _exchange(server.port, head.encode())
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')


async def test_a_megabyte_of_headers_gets_a_readable_431_and_a_count(server: HttpServer, app: ApiApplication) -> None:
    header = b"X-Long: " + b"x" * 8000 + b"\r\n"
    answer = await _exchange(server.port, HEAD, *[header] * 130, b"\r\n")
    assert (answer.status, answer.reason) == (431, "Request Header Fields Too Large")
    assert _detail(answer) == "The request's head is larger than 16384 bytes"
    assert app.counters["refused_head_too_large"] == 1


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"\0\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["a TLS hello", "NUL", "no path", "no Host"],
)
async def test_garbage_gets_a_400_in_the_documented_shape(
    server: HttpServer, app: ApiApplication, garbage: bytes
) -> None:
    answer = await _exchange(server.port, garbage)
    assert (answer.status, answer.reason) == (400, "Bad Request")
    assert _detail(answer).startswith("Not a valid HTTP request: ")
    assert app.counters["refused_malformed_request"] == 1


async def test_garbage_within_a_chunked_body_gets_a_400(
    server: HttpServer, app: ApiApplication, streams_path: str, control: "MemoryCalls"
) -> None:
    head = f"POST {streams_path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY0123456789\r\n"
    body = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n"
    answer = await _exchange(server.port, head.encode() + body)
    assert answer.status == 400
    assert _detail(answer).startswith("Not a valid HTTP request: ")
    assert app.counters["disconnected"] == 1
    assert control.params == []


async def test_garbage_after_an_early_refusal_does_not_spoil_the_refusal(server: HttpServer, streams_path: str) -> None:
    head = f"POST {streams_path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head)
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        writer.write(b"zz\r\n")
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert rest.count(b"HTTP/1.1") == 0
    assert rest.endswith(b"]}")


@pytest.mark.parametrize("request_timeout", [0.3])
@pytest.mark.parametrize(
    "half", [HEAD, b"POST /v2/calls/v3:x/actions/hangup HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nX: y\r\n", b"G"]
)
async def test_half_a_request_is_refused_when_its_time_is_over(
    server: HttpServer, app: ApiApplication, half: bytes
) -> None:
    answer = await _exchange(server.port, half)
    assert (answer.status, answer.reason) == (408, "Request Timeout")
    assert _detail(answer) == "The request was not complete in time"
    assert app.counters["refused_late_request"] == 1


@pytest.mark.parametrize("request_timeout", [0.3])
async def test_half_a_body_is_refused_when_its_time_is_over(
    server: HttpServer, app: ApiApplication, streams_path: str
) -> None:
    head = (
        f"POST {streams_path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY0123456789\r\nContent-Length: 9\r\n\r\n"
    )
    answer = await _exchange(server.port, head.encode(), b"{")
    assert answer.status == 408
    assert app.counters["disconnected"] == 1


@pytest.mark.parametrize("request_timeout", [1])
async def test_a_slow_application_is_not_taken_for_a_slow_peer(
    server: HttpServer, streams_path: str, control: "MemoryCalls"
) -> None:
    go_on = asyncio.Event()
    control.before_start = go_on.wait
    asyncio.get_running_loop().call_later(1.3, go_on.set)
    head = f"POST {streams_path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY0123456789\r\n"
    body = b'{"Url":"ws://x"}'
    more = f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = await _exchange(server.port, head.encode() + more.encode() + body)
    assert answer.status == 200


async def test_an_upgrade_to_a_websocket_is_an_ordinary_request(
    server: HttpServer, capfd: pytest.CaptureFixture[str]
) -> None:
    upgrade = b"Connection: upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    answer = await _exchange(server.port, HEAD + upgrade)
    assert answer.status == 200
    assert capfd.readouterr().err == ""


async def test_other_peers_are_served_while_one_misbehaves(server: HttpServer) -> None:
    async with asyncio.timeout(30):
        _, stalled = await asyncio.open_connection("127.0.0.1", server.port)
        stalled.write(b"G")
        answer = await _exchange(server.port, HEAD + b"Connection: close\r\n\r\n")
        stalled.close()
        await stalled.wait_closed()
    assert answer.status == 200


async def test_pipelined_requests_are_answered_in_order(server: HttpServer) -> None:
    last = b"GET /v2/public_key HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await _exchange(server.port, HEAD + b"\r\n", last)
    assert answer.status == 200
    assert answer.body.index(b'"ok"') < answer.body.index(b'"public"')


def test_idle_connections_outlive_those_of_the_sdks_client() -> None:
    assert api_server.KEEP_ALIVE > 2 * (httpx.Limits().keepalive_expiry or 0) > 0


async def test_an_idle_connection_is_closed_in_the_end(app: ApiApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "KEEP_ALIVE", 0.05)
    server = HttpServer(app, HttpSettings(port=0))
    await server.start()
    answer = await _exchange(server.port, HEAD + b"\r\n")
    assert answer.status == 200
    await server.stop(1)


@pytest.mark.parametrize(
    ("host", "reason"),
    [("203.0.113.1", "Cannot assign requested address"), ("nowhere.invalid", "Name or service not known")],
)
async def test_an_address_that_is_not_ours_is_one_line(app: ApiApplication, host: str, reason: str) -> None:
    settings = HttpSettings(host=host, port=0)
    with pytest.raises(StartupError) as failure:
        await HttpServer(app, settings).start()
    assert str(failure.value).startswith(f"cannot serve HTTP on http.host {host}, http.port 0: ")
    if host[0].isdigit():
        assert str(failure.value).endswith(reason)


async def test_a_busy_port_is_one_line(app: ApiApplication) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartupError) as failure:
            await HttpServer(app, HttpSettings(port=port)).start()
    expected = f"cannot serve HTTP on http.host 127.0.0.1, http.port {port}: Address already in use"
    assert str(failure.value) == expected


async def test_a_stopped_server_gives_its_port_back_and_can_be_stopped_again(app: ApiApplication) -> None:
    first = HttpServer(app, HttpSettings(port=0))
    await first.start()
    answer = await _exchange(first.port, HEAD + b"Connection: close\r\n\r\n")
    await first.stop(grace=1)
    await first.stop(grace=1)
    second = HttpServer(app, HttpSettings(port=first.port))
    await second.start()
    again = await _exchange(second.port, HEAD + b"Connection: close\r\n\r\n")
    await second.stop(grace=1)
    assert (answer.status, again.status) == (200, 200)


async def test_stop_lets_a_request_end_within_the_grace(
    app: ApiApplication, streams_path: str, control: "MemoryCalls"
) -> None:
    server, reached, go_on = HttpServer(app, HttpSettings(port=0)), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    control.before_start = wait
    await server.start()
    exchange = asyncio.create_task(_exchange(server.port, _start(streams_path)))
    async with asyncio.timeout(30):
        await reached.wait()
        stop = asyncio.create_task(server.stop(grace=4))
        go_on.set()
        await stop
        assert (await exchange).status == 200


async def test_stop_cuts_off_what_outlives_the_grace(
    app: ApiApplication, streams_path: str, control: "MemoryCalls"
) -> None:
    server, reached = HttpServer(app, HttpSettings(port=0)), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await asyncio.Event().wait()

    control.before_start = wait
    await server.start()
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(_start(streams_path))
        await reached.wait()
        await server.stop(grace=0)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


def _start(path: str) -> bytes:
    body = b'{"Url":"ws://x"}'
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY0123456789\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connection(server: HttpServer, source: str, *pieces: bytes) -> Connection:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(source, 0))
    for piece in pieces:
        writer.write(piece)
    await writer.drain()
    return reader, writer


async def _closed(connection: Connection) -> bool:
    """The server has closed it, now or after a while."""
    try:
        return await asyncio.wait_for(connection[0].read(1), 30) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
async def small(app: ApiApplication) -> AsyncIterator[HttpServer]:
    """A server that takes four connections."""
    server = HttpServer(app, HttpSettings(port=0), connections=4)
    await server.start()
    yield server
    await server.stop(0)


async def test_slow_senders_of_one_address_have_half_of_the_places(small: HttpServer, app: ApiApplication) -> None:
    slow = [await _connection(small, "127.0.0.1", HEAD) for _ in range(2)]
    assert (await _exchange(small.port, HEAD + b"Connection: close\r\n\r\n")).status == 200
    assert await _closed(slow[0]), "the oldest has made room"
    assert app.counters["connections_over_limit"] == 1
    other = await _connection(small, "127.0.0.2", HEAD + b"Connection: close\r\n\r\n")
    assert (await other[0].read()).startswith(b"HTTP/1.1 200 ")
    slow[1][1].write(b"Connection: close\r\n\r\n")
    assert (await slow[1][0].read()).startswith(b"HTTP/1.1 200 ")
    for _, writer in (*slow, other):
        writer.close()


async def test_readiness_is_answered_whatever_else_is_held(
    small: HttpServer, streams_path: str, control: "MemoryCalls"
) -> None:
    at_work, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait() -> None:
        at_work.release()
        await go_on.wait()

    control.before_start = wait
    busy = [await _connection(small, f"127.0.0.{n}", _start(streams_path)) for n in range(1, 5)]
    for _ in busy:
        await asyncio.wait_for(at_work.acquire(), 30)
    spare = await _connection(small, "127.0.0.9", HEAD.replace(b"healthz", b"readyz") + b"\r\n")
    assert (await spare[0].read()).startswith(b"HTTP/1.1 200 "), "and then it is closed"
    go_on.set()
    for reader, writer in busy:
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        writer.close()
    spare[1].close()


async def test_connections_with_a_valid_key_count_for_no_address(small: HttpServer, calls_path: str) -> None:
    ask = f"GET {calls_path}.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY0123456789\r\n\r\n".encode()
    kept = []
    for _ in range(4):
        kept.append(await _connection(small, "127.0.0.1", ask))
        assert (await kept[-1][0].readline()).startswith(b"HTTP/1.1 200 ")
    for reader, writer in kept:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ask)
        await reader.readuntil(b"HTTP/1.1 200 ")
        writer.close()


async def test_guesses_of_keys_are_slowed_down_and_logged(
    small: HttpServer, app: ApiApplication, calls_path: str
) -> None:
    ask = f"GET {calls_path}.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer guess\r\nConnection: close\r\n\r\n"
    with capture_logs() as logs:
        for _ in range(12):
            assert (await _exchange(small.port, ask.encode())).status == 401
    assert app.counters["slowed_guesses"] in (1, 2)
    assert [(line["event"], line["source"]) for line in logs if line["log_level"] == "warning"] == [
        ("api_keys_guessed", "127.0.0.1")
    ]
