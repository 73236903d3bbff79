"""One request, one answer, and nothing that the next request would inherit."""

import asyncio
import gzip
import ssl
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streaming.helpers import make_certificate
from trunkline.outbound import client as client_module
from trunkline.outbound.client import Client, Order, RequestFailed, Unsendable
from trunkline.outbound.cookies import Cookies
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.egress import Egress, EgressRules
from trunkline.outbound.names import Names
from trunkline.outbound.turns import Limits

LIMITS = Limits(total=8, account=4, host=2, silent=1, waiting=3)
Serve = Callable[..., Awaitable[Any]]


@pytest.fixture
async def client(dialler: Dialler) -> AsyncIterator[Client]:
    client = Client(dialler, LIMITS)
    yield client
    await client.stop()


def ok(body: bytes = b"", *headers: str, status: int = 200) -> bytes:
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


async def get(client: Client, url: str, account: str = "a", limit: int = 10000, **more: Any) -> bytes:
    async with client.ask(Order(account, more.pop("method", "GET"), url, **more)) as answer:
        return await answer.body(limit)


async def test_a_request_has_the_given_headers_and_no_others(client: Client, web: Any) -> None:
    web.reply = lambda _: ok(b"hello")
    url = web.url.replace("//", "//us%40er:p%3Aw@") + "/p%20q?x=%2F&y=a b#fragment"
    order = Order("a", "POST", url, b"a=1", (("Content-Type", "x"),), lambda stamp, body: [("Signed", body.decode())])
    async with client.ask(order) as answer:
        assert (answer.status, await answer.body(5)) == (200, b"hello")
    (asked,) = web.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/p%20q?x=%2F&y=a%20b", b"a=1")
    agent = asked.headers.pop("user-agent")
    assert agent.startswith("Trunkline/")
    assert asked.headers == {
        "host": web.url.removeprefix("http://"),
        "accept-encoding": "identity",
        "authorization": "Basic dXNAZXI6cDp3",
        "content-length": "3",
        "content-type": "x",
        "signed": "a=1",
    }


async def test_cookies_are_kept_only_if_the_caller_keeps_them(client: Client, web: Any) -> None:
    web.reply = lambda _: ok(
        b"", "Set-Cookie: call=1; Path=/", "Set-Cookie: deep=1; Path=/deep", "Set-Cookie: s=1; Secure"
    )
    one, other = Cookies(), Cookies()
    for cookies in (one, one, other, None, None):
        await get(client, web.url + "/v", cookies=cookies)
    assert [asked.headers.get("cookie") for asked in web.asked] == [None, "call=1", None, None, None]
    await get(client, web.url + "/deep/v", cookies=one)
    assert web.asked[-1].headers["cookie"] == "deep=1; call=1"
    assert len({asked.connection for asked in web.asked}) == 1, "they all went by one connection"


async def test_a_jar_is_bounded(client: Client, web: Any) -> None:
    web.reply = lambda _: ok(b"", *(f"Set-Cookie: c{n}=1" for n in range(60)), "Set-Cookie: long=" + "x" * 5000)
    cookies = Cookies()
    await get(client, web.url, cookies=cookies)
    await get(client, web.url, cookies=cookies)
    assert "cookie" not in web.asked[1].headers


async def test_a_connection_is_one_accounts(client: Client, web: Any) -> None:
    for account in ("a", "a", "b", "b"):
        await get(client, web.url, account)
    assert [asked.connection for asked in web.asked] == [0, 0, 1, 1]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_kept_connection_that_dies_under_a_request_is_replaced_at_once(
    client: Client, web: Any, method: str
) -> None:
    # The server has read the second request when it closes, which could not be seen at the socket before.
    web.reply = lambda asked: None if len(web.asked) == 2 else ok(b"x")
    for _ in range(2):
        assert await get(client, web.url, method=method, body=b"a=1" if method == "POST" else b"") == b"x"
    assert [asked.connection for asked in web.asked] == [0, 0, 1]
    assert web.asked[1].body == web.asked[2].body
    assert client.counters == {"connections": 2, "renewed": 1}


async def test_a_kept_connection_that_is_closed_or_says_something_unasked_is_not_used(client: Client, web: Any) -> None:
    async def closes(writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b"x"))
        writer.close()
        await writer.wait_closed()

    async def talks(writer: asyncio.StreamWriter) -> None:
        writer.write(ok(b"x") + b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    for reply in (closes, talks):
        web.reply = lambda _, reply=reply: reply
        for _ in range(3):
            assert await get(client, web.url) == b"x"
    assert [asked.connection for asked in web.asked] == [0, 1, 2, 3, 4, 5]


async def test_what_fails_on_a_new_connection_or_after_a_part_of_an_answer_fails(client: Client, web: Any) -> None:
    web.reply = lambda _: None
    with pytest.raises(RequestFailed, match="closed the connection without an answer"):
        await get(client, web.url)
    assert len(web.asked) == 1

    async def breaks_off(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        writer.close()

    web.reply = lambda asked: ok() if len(web.asked) == 2 else breaks_off
    await get(client, web.url)
    with pytest.raises(RequestFailed):
        await get(client, web.url)
    assert len(web.asked) == 3


# Without a time, so that each of pytest-xdist's workers collects the same cases.
GZIP, BOMB = gzip.compress(b"text " * 100, mtime=0), gzip.compress(bytes(50_000_000), mtime=0)


@pytest.mark.parametrize(
    ("coding", "coded"),
    [
        ("gzip", GZIP),
        ("GZIP, identity", GZIP),
        ("x-gzip", gzip.compress(b"text " * 50, mtime=0) * 2 + bytes(10)),
        ("deflate", zlib.compress(b"text " * 100)),
        ("deflate", zlib.compress(b"text " * 100, wbits=-15)),
        ("gzip, gzip", gzip.compress(GZIP, mtime=0)),
        ("identity", b"text " * 100),
        ("", b"text " * 100),
    ],
)
async def test_a_coding_that_was_not_asked_for_is_decoded(client: Client, web: Any, coding: str, coded: bytes) -> None:
    async def in_pieces(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for byte in coded:
            writer.write(b"1\r\n" + bytes([byte]) + b"\r\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    web.reply = lambda _: in_pieces
    assert await get(client, web.url, limit=500) == b"text " * 100


@pytest.mark.parametrize(
    ("coding", "coded", "words"),
    [
        ("gzip", BOMB, "more than 10000 bytes"),
        ("gzip, gzip", gzip.compress(BOMB, mtime=0), "more than 10000 bytes"),
        ("gzip", b"plain", "says that it is gzip, and is not"),
        ("deflate", b"plain", "says that it is deflate, and is not"),
        ("gzip", GZIP[:-9], "its gzip breaks off"),
        ("br", b"plain", "compressed with 'br', which was not asked for"),
        ("gzip, zstd", b"plain", "'zstd'"),
        ("gzip, gzip, gzip", b"plain", "compressed 3 times"),
    ],
)
async def test_what_cannot_be_undone_is_named_and_a_bomb_is_stopped(
    client: Client, web: Any, coding: str, coded: bytes, words: str
) -> None:
    web.reply = lambda _: ok(coded, f"Content-Encoding: {coding}")
    with pytest.raises(RequestFailed, match=words):
        await get(client, web.url)


SIGNED = ("POST", b"a=1", "of b'a=1'")
AS_GET = ("GET", b"", "of b''")


@pytest.mark.parametrize(
    ("status", "method", "sent"),
    [
        (301, "POST", AS_GET),
        (302, "POST", AS_GET),
        (303, "POST", AS_GET),
        (307, "POST", SIGNED),
        (308, "POST", SIGNED),
        (302, "GET", AS_GET),
    ],
)
async def test_on_the_same_origin_the_redirected_request_is_signed_again(
    client: Client, web: Any, status: int, method: str, sent: tuple[str, bytes, str]
) -> None:
    web.reply = lambda asked: ok() if asked.target == "/new" else ok(b"", "Location: new", status=status)
    body = b"a=1" if method == "POST" else b""
    order = Order(
        "a", method, web.url.replace("//", "//me:x@") + "/old", body, (("Content-Type", "form"),),
        lambda stamp, body: [("Signature", f"of {body!r}")],
    )  # fmt: skip
    warnings: list[str] = []
    async with client.follow(order, warnings.append) as answer:
        assert (answer.status, answer.place.target) == (200, "/new")
    old, new = web.asked
    assert (new.method, new.body, new.headers["signature"]) == sent
    assert ("content-type" in new.headers) is (new.method == "POST" or method == "GET")
    assert old.headers["authorization"] == new.headers["authorization"]
    assert warnings == []


async def test_another_origin_gets_neither_signature_nor_credentials_and_a_warning(
    client: Client, web: Any, serve: Serve
) -> None:
    other = await serve()
    web.reply = lambda _: ok(b"", f"Location: {other.url}/x?token=1", "Set-Cookie: ours=1", status=307)
    order = Order(
        "a", "POST", web.url.replace("//", "//me:x@"), b"a=1", (), lambda stamp, body: [("Signature", "s")],
    )  # fmt: skip
    warnings: list[str] = []
    async with client.follow(order, warnings.append) as answer:
        assert answer.status == 200
    (asked,) = other.asked
    assert (asked.method, asked.body) == ("POST", b"a=1")
    assert not {"signature", "authorization", "cookie"} & asked.headers.keys()
    here, there = (one.url.removeprefix("http://") for one in (web, other))
    assert warnings == [f"{here} redirects to {there}, which was asked without our signature"]


@pytest.mark.parametrize(
    ("location", "words"),
    [("/again", "more than 5 redirections"), ("ftp://x/", "an invalid URL"), ("http://[", "an invalid URL")],
)
async def test_a_redirection_to_nowhere_fails(client: Client, web: Any, location: str, words: str) -> None:
    web.reply = lambda _: ok(b"", f"Location: {location}", status=302)
    with pytest.raises(RequestFailed, match=words):
        async with client.follow(Order("a", "GET", web.url), lambda _: None):
            pass


async def test_a_status_of_redirection_without_a_place_is_an_answer(client: Client, web: Any) -> None:
    web.reply = lambda _: ok(b"x", status=302)
    async with client.follow(Order("a", "GET", web.url), lambda _: None) as answer:
        assert (answer.status, await answer.body(1)) == (302, b"x")


@pytest.mark.parametrize(
    "url", ["http://[/", "gopher://x/", "http://x:y/", "http://x:99999/", "nonsense", "http://a\u2028/"]
)
async def test_a_url_that_leads_nowhere_is_a_permanent_failure(client: Client, url: str) -> None:
    with pytest.raises(RequestFailed) as error:
        await get(client, url)
    assert error.value.permanent


@pytest.mark.parametrize(
    "answer", [b"\x00\xffno HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000, b"HTTP/1.1 101 X\r\n\r\n"]
)
async def test_what_is_not_http_fails(client: Client, web: Any, answer: bytes) -> None:
    web.reply = lambda _: answer
    with pytest.raises(RequestFailed, match="does not speak HTTP"):
        await get(client, web.url)


async def test_an_address_that_is_refused_is_not_connected_to(web: Any) -> None:
    dialler = Dialler(Names(), Egress(EgressRules(private=False)))
    client = Client(dialler, LIMITS)
    port = int(web.url.rpartition(":")[2])
    with pytest.raises(Unsendable, match="localhost may not be dialled: its address is private"):
        await get(client, f"http://localhost:{port}")
    assert web.writers == []
    await client.stop()
    await dialler.stop()


@pytest.mark.parametrize("to", ["http://169.254.169.254/latest/meta-data/", "http://[::ffff:a9fe:a9fe]/", "file:///x"])
async def test_a_redirection_to_metadata_or_a_file_is_not_followed(client: Client, web: Any, to: str) -> None:
    web.reply = lambda _: ok(b"", f"Location: {to}", status=302)
    with pytest.raises(RequestFailed, match=r"cloud's metadata service|it redirects to an invalid URL"):
        async with client.follow(Order("a", "GET", web.url), lambda _: None):
            pass
    assert len(web.asked) == 1


async def test_a_redirection_away_from_a_configured_place_needs_to_be_allowed(serve: Serve) -> None:
    ours, other = await serve(), await serve()
    ours.reply = lambda asked: ok(b"", f"Location: {other.url if asked.target == '/' else '/'}", status=302)
    place = ("a", "127.0.0.1", int(ours.url.rpartition(":")[2]))
    dialler = Dialler(Names(), Egress(EgressRules(private=False, configured=(place,))))
    client = Client(dialler, LIMITS)
    with pytest.raises(Unsendable, match=r"127\.0\.0\.1 may not be dialled"):
        async with client.follow(Order("a", "GET", ours.url + "/next"), lambda _: None):
            pass
    assert [asked.target for asked in ours.asked] == ["/next", "/"], "at the configured place redirections are followed"
    assert not other.asked
    await client.stop()
    await dialler.stop()


async def test_a_redirection_to_a_name_that_leads_elsewhere_by_now_is_not_followed(
    serve: Serve, rebinding: Any
) -> None:
    inner = await serve()
    port = int(inner.url.rpartition(":")[2])
    outer = await serve("127.0.0.2", port)
    outer.reply = lambda _: ok(b"", f"Location: http://app.test:{port}/again", "Connection: close", status=307)
    rules = EgressRules(allow=("127.0.0.2/32",), private=False)
    dialler = Dialler(Names(("127.0.0.1", rebinding.port)), Egress(rules))
    client = Client(dialler, LIMITS)
    with pytest.raises(Unsendable, match=r"app\.test may not be dialled"):
        async with client.follow(Order("a", "GET", f"http://app.test:{port}/"), lambda _: None):
            pass
    assert [asked.target for asked in outer.asked] == ["/"]
    assert not inner.writers
    await client.stop()
    await dialler.stop()


async def test_a_full_queue_is_an_error_and_giving_up_makes_room(client: Client, web: Any) -> None:
    async def never(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    web.reply = lambda _: never
    tasks = [asyncio.create_task(get(client, web.url)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(RequestFailed, match="too many requests of this account wait already"):
        await get(client, web.url)
    tasks.pop().cancel()
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(get(client, web.url)))
    await asyncio.sleep(0)
    assert not tasks[-1].done()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_certificate_and_server_name_are_those_of_the_dialled_name(
    dialler: Dialler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document moves from http to https on its host: by TLS it is signed as before."""
    names: list[str | None] = []
    theirs, authority = make_certificate(tmp_path, "localhost")
    theirs.sni_callback = lambda _socket, name, _context: names.append(name)
    monkeypatch.setattr(client_module, "system_certificates", lambda: ssl.create_default_context(cafile=authority))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked.append((self.server, self.headers["Host"], self.headers["Signature"]))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(308 if len(asked) == 1 else 200)
            self.send_header("Location", f"https://localhost:{ports[1]}/new")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    asked: list[tuple[object, str, str]] = []
    warnings: list[str] = []
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
    ports = [server.server_address[1] for server in servers]
    servers[1].socket = theirs.wrap_socket(servers[1].socket, server_side=True)
    client = Client(dialler, LIMITS)
    with ExitStack() as stack:
        for server in servers:
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        url = f"http://localhost:{ports[0]}/old"
        order = Order("a", "POST", url, b"x", sign=lambda stamp, body: [("Signature", body.decode())])
        for _ in range(2):
            async with client.follow(order, warnings.append) as answer:
                assert answer.status == 200
        # Another name of the same address is not what the certificate is for.
        with pytest.raises(RequestFailed, match=r"certificate of 127\.0\.0\.1 port \d+ is not valid"):
            await get(client, f"https://127.0.0.1:{ports[1]}/")
        await client.stop()
    assert asked[:2] == [(server, f"localhost:{port}", "x") for server, port in zip(servers, ports, strict=True)]
    assert names[0] == "localhost"
    assert warnings == []
