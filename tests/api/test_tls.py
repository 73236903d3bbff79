"""HTTPS of our own."""

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest

from api.conftest import KEY
from streaming.helpers import make_certificate
from trunkline.api.app import ApiApplication
from trunkline.api.server import HttpServer
from trunkline.api.tls import ServedCertificate
from trunkline.client import request
from trunkline.config import HttpSettings, Settings
from trunkline.errors import StartupError


def _shown(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port))


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


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    assert ServedCertificate(HttpSettings()).context is None
    with pytest.raises(StartupError, match=r"http\.tls_certificate_file: cannot use .*none\.pem: No such file"):
        ServedCertificate(HttpSettings(tls_certificate_file=tmp_path / "none.pem"))
