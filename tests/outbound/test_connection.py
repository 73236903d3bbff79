"""One HTTP/1.1 connection, to servers whose answers the test gives."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import h11
import pytest

from streaming.helpers import until
from trunkline.outbound.connection import HEAD_LIMIT, HttpConnection, Lost

ORIGIN = ("http", "127.0.0.1", 80)
HEADERS = [("Host", "h"), ("Content-Length", "0")]


@pytest.fixture
async def connect(web: Any) -> AsyncIterator[Callable[[], Any]]:
    """Opens connections to the server."""
    opened: list[HttpConnection] = []

    async def open_one() -> HttpConnection:
        sock = socket.create_connection(("127.0.0.1", int(web.url.rpartition(":")[2])))
        sock.setblocking(False)
        opened.append(await HttpConnection.open(sock, None, "127.0.0.1", ORIGIN))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


def get(target: str = "/", *headers: tuple[str, str], method: str = "GET") -> h11.Request:
    return h11.Request(method=method, target=target, headers=[("Host", "h"), *headers])


async def read(connection: HttpConnection) -> bytes:
    return b"".join([piece async for piece in connection.body()])


def answer(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]).encode() + body


async def test_a_request_and_its_answer_and_again_by_the_same_connection(web: Any, connect: Any) -> None:
    web.reply = lambda asked: answer(asked.body + asked.target.encode())
    connection = await connect()
    assert connection.origin == ORIGIN
    assert connection.alive
    for number in range(3):
        post = get(f"/{number}", ("Content-Length", "2"), method="POST")
        response = await connection.exchange(post, b"ab")
        assert (response.status_code, await read(connection)) == (200, b"ab/%d" % number)
        assert connection.reusable()
        assert connection.alive
    assert [(asked.connection, asked.method) for asked in web.asked] == [(0, "POST")] * 3


async def test_an_answer_may_have_no_body_or_come_in_chunks_or_until_the_end(web: Any, connect: Any) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    web.reply = lambda asked: answer(b"") if asked.target == "/none" else chunked
    connection = await connect()
    assert (await connection.exchange(get("/none"), b"")).status_code == 200
    assert await read(connection) == b""
    assert connection.reusable()
    await connection.exchange(get("/"), b"")
    assert await read(connection) == b"abcde"
    assert connection.reusable()

    async def until_the_end(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nthe rest")
        writer.close()

    web.reply = lambda _: until_the_end
    await connection.exchange(get("/"), b"")
    assert await read(connection) == b"the rest"
    assert not connection.reusable()


async def test_answers_that_come_before_the_answer_are_passed_over(web: Any, connect: Any) -> None:
    web.reply = lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + answer(b"x")
    connection = await connect()
    assert (await connection.exchange(get(), b"")).status_code == 200
    assert await read(connection) == b"x"


@pytest.mark.parametrize("headers", [("Connection: close",), ()])
async def test_a_connection_is_kept_where_both_sides_keep_it(web: Any, connect: Any, headers: tuple[str, ...]) -> None:
    web.reply = lambda _: answer(b"x", *headers)
    connection = await connect()
    await connection.exchange(get(), b"")
    assert not connection.reusable(), "its body is not read"
    ours = await connect()
    await ours.exchange(get("/", *([("Connection", "close")] if not headers else [])), b"")
    await read(ours)
    assert not ours.reusable()


async def test_unexpected_data_makes_a_connection_unusable(web: Any, connect: Any) -> None:
    web.reply = lambda _: answer(b"x") + b"more"
    connection = await connect()
    await connection.exchange(get(), b"")
    assert await read(connection) == b"x"
    assert not connection.reusable()
    web.reply = lambda _: answer(b"x")
    connection = await connect()
    await connection.exchange(get(), b"")
    await read(connection)
    assert connection.reusable()
    web.writers[-1].write(b"unasked")
    await until(lambda: not connection.alive)


async def test_an_idle_connection_that_is_closed_is_dead(web: Any, connect: Any) -> None:
    connection = await connect()
    await connection.exchange(get(), b"")
    assert connection.alive is False, "its answer has not been read"
    assert connection.reusable()
    web.writers[0].transport.abort()
    await until(lambda: not connection.alive)
    other = await connect()
    assert other.alive
    other.close()
    assert not other.alive


async def test_a_connection_that_is_lost_says_whether_a_part_of_an_answer_had_come(web: Any, connect: Any) -> None:
    web.reply = lambda _: None
    connection = await connect()
    with pytest.raises(Lost, match="it closed the connection without an answer") as lost:
        await connection.exchange(get(), b"")
    assert not lost.value.answered
    assert not connection.alive

    async def a_part(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200")
        await writer.drain()
        writer.close()

    web.reply = lambda _: a_part
    connection = await connect()
    with pytest.raises(Lost, match="without an answer") as lost:
        await connection.exchange(get(), b"")
    assert lost.value.answered


async def test_a_broken_connection_is_described_in_words(web: Any, connect: Any) -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    web.reply = lambda _: reset
    connection = await connect()
    with pytest.raises(Lost, match="the connection broke: Connection reset by peer") as lost:
        await connection.exchange(get(), b"")
    assert not lost.value.answered


async def test_a_body_that_breaks_off_is_no_body(web: Any, connect: Any) -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"x" * 10)[:-5])
        await writer.drain()
        writer.close()

    web.reply = lambda _: half
    connection = await connect()
    await connection.exchange(get(), b"")
    with pytest.raises(h11.RemoteProtocolError):
        await read(connection)


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", answer(b"", "X: " + "x" * 2 * HEAD_LIMIT)])
async def test_what_is_no_answer_closes_the_connection(web: Any, connect: Any, said: bytes) -> None:
    web.reply = lambda _: said
    connection = await connect()
    with pytest.raises(h11.RemoteProtocolError):
        await connection.exchange(get(), b"")
    assert not connection.alive
