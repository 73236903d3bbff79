"""baresip as a phone of ours: it registers, calls, and is refused with a wrong password; sipp and openssl try too."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from telnyx import AsyncTelnyx

from peers.baresip import Baresip, Namespace, missing
from peers.harness import listed_calls, new_server, running
from trunkline.demo.server import ServerProcess, free_ports

pytestmark = [pytest.mark.peer, pytest.mark.skipif(bool(missing()), reason=missing() or "")]

PHONES = json.dumps([{"user": "ann", "password": "secret"}, {"user": "bob", "password": "hidden"}])


@pytest.fixture
async def server(tmp_path: Path, space: Namespace) -> AsyncIterator[ServerProcess]:
    """A server that knows two phones, and whose own certificate is in its directory."""
    server = new_server(
        tmp_path,
        host=space.outer,
        sip__phones=PHONES,
        sip__tls_port=free_ports(1, space.outer),
        sip__auth_failures=3,
    )
    async with running(server):
        yield server


def account(server: ServerProcess, transport: str, password: str) -> str:
    """An address of record of `ann`, as baresip's configuration has it."""
    port = server.setting("sip.tls_port") if transport == "tls" else server.sip_port
    return f"<sip:ann@{server.host}:{port};transport={transport}>;auth_pass={password};regint=60"


async def metric(server: ServerProcess, event: str) -> float:
    """A counter of the SIP room's."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(server.base_url.removesuffix("/v2") + "/metrics")).text
    lines = [line for line in text.splitlines() if f'trunkline_sip_total{{event="{event}"}}' in line]
    return float(lines[0].rpartition(" ")[2]) if lines else 0


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_baresip_registers_and_calls(
    transport: str, server: ServerProcess, space: Namespace, client: AsyncTelnyx, tmp_path: Path
) -> None:
    directory = tmp_path / "baresip"
    directory.mkdir()
    ca_file = tmp_path / "sip-tls.pem"
    async with Baresip(directory, space, account=account(server, transport, "secret"), ca_file=ca_file) as phone:
        await phone.says("200 OK")
        assert await metric(server, "registrations") == 1
        port = server.setting("sip.tls_port") if transport == "tls" else server.sip_port
        phone.type(f"/dial sip:+13125550123@{server.host}:{port};transport={transport}\n")
        await phone.says("Call established")
        (call,) = await listed_calls(client, server.account_sid, "in-progress")
        assert call.from_ == "ann"
        phone.type("/hangup\n")
        await phone.says("terminate call")
        await place(client, server, "ann")
        await phone.says("ncoming call")
        phone.accept()
        await phone.says("Call established")


async def test_a_phone_is_called_after_a_crash_without_registering_again(
    server: ServerProcess, space: Namespace, client: AsyncTelnyx, tmp_path: Path
) -> None:
    directory = tmp_path / "baresip"
    directory.mkdir()
    async with Baresip(directory, space, account=account(server, "udp", "secret")) as phone:
        await phone.says("200 OK")
        await place(client, server, "bob")
        await server.kill()
        await server.start()
        await place(client, server, "ann")
        await phone.says("ncoming call")
        phone.accept()
        await phone.says("Call established")
        assert await metric(server, "registrations") == 0


async def place(client: AsyncTelnyx, server: ServerProcess, to: str) -> None:
    """Place a call; its answer means that its record and all earlier ones are stored."""
    await client.texml.accounts.calls.with_raw_response.calls(
        server.account_sid,
        body={"to": to, "from_": "+15550001111", "texml": "<Response><Pause length='30'/></Response>"},
    )


async def test_baresip_with_a_wrong_password_is_refused_and_then_shut_out(
    server: ServerProcess, space: Namespace, tmp_path: Path
) -> None:
    directory = tmp_path / "baresip"
    directory.mkdir()
    async with Baresip(directory, space, account=account(server, "udp", "guess")) as phone:
        await phone.says("403 Too Many Failures")
        assert await metric(server, "auth_failures") == 3
        assert await metric(server, "registrations") == 0
    assert "guess" not in server.log
    assert "secret" not in server.log


async def test_openssl_finds_our_certificate(server: ServerProcess, tmp_path: Path) -> None:
    where = f"{server.host}:{server.setting('sip.tls_port')}"
    for ca_file, verdict in (
        (tmp_path / "sip-tls.pem", "Verify return code: 0 (ok)"),
        (None, "self-signed certificate"),
    ):
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", where, "-verify_ip", server.host),
            *(() if ca_file is None else ("-CAfile", str(ca_file))),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert verdict in output.decode()
