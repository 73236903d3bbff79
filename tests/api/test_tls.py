"""HTTPS of our own."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvloop

from api.conftest import KEY, until
from streaming.helpers import make_certificate
from trunkline.api.app import ApiApplication
from trunkline.api.server import HttpServer
from trunkline.api.tls import ServedCertificate
from trunkline.client import request
from trunkline.config import HttpSettings, Settings
from trunkline.errors import StartupError

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _shown(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


async def _end(reader: asyncio.StreamReader) -> None:
    """Until the server has closed the connection."""
    with suppress(ConnectionResetError):
        await reader.read()


async def test_https_is_served_and_a_renewed_certificate_is_shown(
    app: ApiApplication, tmp_path: Path, calls_path: str
) -> None:
    _, authority = make_certificate(tmp_path, "127.0.0.1")
    chain = tmp_path / "server-127.0.0.1.pem"
    settings = HttpSettings(port=0, tls_certificate_file=chain)
    served = ServedCertificate(settings)
    server = HttpServer(app, settings, tls=served.context)
    await server.start()
    try:
        url = f"https://127.0.0.1:{server.port}"
        headers = {"authorization": f"Bearer {KEY}"}
        trusted = ssl.create_default_context(cafile=authority)
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=trusted, headers=headers) as client:
            assert (await client.get(calls_path)).status_code == 200
        before = await asyncio.to_thread(_shown, server.port)
        make_certificate(tmp_path, "127.0.0.1")
        served.renew()
        assert await asyncio.to_thread(_shown, server.port) != before
        chain.write_text("no certificate")
        with pytest.raises(StartupError, match="not a certificate"):
            served.renew()
        assert await asyncio.to_thread(_shown, server.port) != before
        async with httpx.AsyncClient(trust_env=False, verify=False) as plain:
            with pytest.raises(httpx.TransportError):
                await plain.get(f"http://127.0.0.1:{server.port}/healthz")
    finally:
        await server.stop(grace=1)


async def test_the_command_line_trusts_our_own_certificate_alone(app: ApiApplication, tmp_path: Path) -> None:
    make_certificate(tmp_path, "voice.example")
    make_certificate(tmp_path, "other.example")
    chain, other = tmp_path / "server-voice.example.pem", tmp_path / "server-other.example.pem"
    served = ServedCertificate(HttpSettings(port=0, tls_certificate_file=chain))
    server = HttpServer(app, HttpSettings(port=0), tls=served.context)
    await server.start()

    def ask(certificate: Path) -> object:
        http = {"port": server.port, "tls_certificate_file": certificate}
        given = {"http": http, "account_sid": "acc", "api_key": "KEY4567890123456"}
        return request(Settings.model_validate(given), "GET", "/healthz")

    try:
        assert await asyncio.to_thread(ask, chain) == {"status": "ok"}
        with pytest.raises(StartupError, match="no answer from https://"):
            await asyncio.to_thread(ask, other)
        with pytest.raises(StartupError, match="cannot use"):
            await asyncio.to_thread(ask, tmp_path / "none.pem")
    finally:
        await server.stop(grace=1)


LOOPS = pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])


@asynccontextmanager
async def small(app: ApiApplication, directory: Path) -> AsyncIterator[HttpServer]:
    """HTTPS for eight connections."""
    make_certificate(directory, "127.0.0.1")
    settings = HttpSettings(port=0, tls_certificate_file=directory / "server-127.0.0.1.pem")
    server = HttpServer(app, settings, connections=8, tls=ServedCertificate(settings).context)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


async def _healthy(server: HttpServer) -> bool:
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return (await client.get(f"https://127.0.0.1:{server.port}/healthz")).status_code == 200


async def _silent_peer(app: ApiApplication, directory: Path) -> None:
    async with small(app, directory) as server:
        port, source = server.port, ("127.0.0.2", 0)
        silent = [await asyncio.open_connection("127.0.0.1", port, local_addr=source) for _ in range(20)]
        ends = [asyncio.create_task(_end(reader)) for reader, _ in silent]
        await until(lambda: sum(end.done() for end in ends) == 16)
        assert await _healthy(server)
        assert sum(end.done() for end in ends) == app.counters["connections_over_limit"] == 16
    async with asyncio.timeout(10):
        await asyncio.gather(*ends)
    for _, writer in silent:
        writer.close()


async def _bad_handshakes(app: ApiApplication, directory: Path) -> None:
    async with small(app, directory) as server:
        for words in (b"GET / HTTP/1.1\r\n\r\n", b""):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(words)
            writer.close()
        await until(lambda: app.counters["tls_failures"] == 2)
        assert [await _healthy(server) for _ in range(3)] == [True] * 3
    assert app.counters["connections_over_limit"] == 0


@LOOPS
def test_one_peer_that_never_shakes_hands_keeps_half_of_the_places(
    app: ApiApplication, tmp_path: Path, loop_factory: LoopFactory
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_silent_peer(app, tmp_path))


@LOOPS
def test_a_handshake_that_fails_leaves_its_place(
    app: ApiApplication, tmp_path: Path, loop_factory: LoopFactory
) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_bad_handshakes(app, tmp_path))


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    assert ServedCertificate(HttpSettings()).context is None
    with pytest.raises(StartupError, match=r"http\.tls_certificate_file: cannot use .*none\.pem: No such file"):
        ServedCertificate(HttpSettings(tls_certificate_file=tmp_path / "none.pem"))
