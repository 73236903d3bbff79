"""pipecat, unmodified: its runner detects our protocol, its serializer handles audio, and it hangs up through us.

pipecat's hang-up is addressed to `https://api.telnyx.com`, which cannot be set. The bot therefore runs in a mount
namespace of its own, where that name leads to a TLS door in front of the server, whose certificate it is set
to trust.
"""

import asyncio
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from telnyx import AsyncTelnyx

from peers.harness import happens
from trunkline.apps.check import DEFAULT, check
from trunkline.apps.stream import BotStream
from trunkline.ci import ExitCode
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess, free_ports
from trunkline.demo.watch import Watch

BOT = Path(__file__).parent / "pipecat" / "bot.py"
PYTHON = Path(sys.prefix) / "pipecat" / "bin" / "python"
TELNYX = "api.telnyx.com"
DOOR = "127.0.0.2"
IN_A_ROOM_OF_ITS_OWN = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not PYTHON.exists(), reason="pipecat is not installed; `make test` installs it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root"),
]


def certificate(directory: Path) -> Path:
    """A self-signed certificate for the name, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, TELNYX)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TELNYX)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "telnyx.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@asynccontextmanager
async def door(server: ServerProcess, pem: Path) -> AsyncIterator[None]:
    """TLS on the name's own port, plain HTTP to the server behind."""
    port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with await asyncio.start_server(meet, DOOR, 443, ssl=context):
        yield


@asynccontextmanager
async def running_bot(directory: Path, api_key: str, pem: Path) -> AsyncIterator[str]:
    """The bot; yields the URL of its WebSocket."""
    port = str(free_ports(1, "127.0.0.1"))
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{DOOR} {TELNYX}\n")
    where = ("--host", "127.0.0.1", "--port", port, "-t", "telnyx", "-x", f"localhost:{port}")
    process = await asyncio.create_subprocess_exec(
        *(*IN_A_ROOM_OF_ITS_OWN, str(hosts), str(PYTHON), str(BOT), *where),
        env={**os.environ, "TELNYX_API_KEY": api_key, "SSL_CERT_FILE": str(pem), "PYTHONPATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said: list[str] = []
    watch = Watch()

    async def listen(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            said.append(line.decode(errors="replace"))
            watch.changed()

    listening = asyncio.create_task(listen(process.stdout))
    try:
        await happens(watch, "the bot is up", lambda: any("Uvicorn running" in line for line in said), 90)
        yield f"ws://127.0.0.1:{port}/ws"
    finally:
        process.kill()
        await process.wait()
        await listening
        sys.stderr.write("".join(said))


async def test_nothing_is_wrong_with_an_unmodified_pipecat_bot(tmp_path: Path) -> None:
    async with running_bot(tmp_path, "key", certificate(tmp_path)) as url:
        found = await check(BotStream(url), DEFAULT, lambda _: None)
    assert found.mistakes == [], found.lines()
    assert found.exit_code is ExitCode.CLEAN


async def test_an_unmodified_pipecat_bot_echoes_and_hangs_up(
    server: ServerProcess, caller: DemoCaller, client: AsyncTelnyx, tmp_path: Path
) -> None:
    pem = certificate(tmp_path)
    async with door(server, pem), running_bot(tmp_path, server.api_key, pem) as url:
        await client.texml.accounts.calls.streams_json(
            caller.call_sid, account_sid=server.account_sid, url=url, bidirectional_mode="rtp"
        )
        await happens(caller.watch, "the bot hangs up", lambda: caller.ended_by_server, 30)
    # µ-law has two zeros, and PCM has one for both.
    sent = b"".join(caller.frames).replace(b"\x7f", b"\xff")
    heard = b"".join(packet.payload for packet in caller.heard).replace(b"\x7f", b"\xff")
    second = 8000
    echoed = [at for at in range(0, len(sent) - second, 160) if sent[at : at + second] in heard]
    assert echoed, "no whole second of what was said came back unharmed"
    call = await client.texml.accounts.calls.retrieve(caller.call_sid, account_sid=server.account_sid)
    assert call.status == "completed"


HANG_UP = """
import asyncio, sys
from pipecat.frames.frames import EndFrame
exec(open(sys.argv[1]).read())
serializer = SelfHostedTelnyxFrameSerializer("stream", "PCMU", "PCMU", sys.argv[2], sys.argv[3])
asyncio.run(serializer.serialize(EndFrame()))
"""


async def test_the_subclass_of_the_guide_hangs_up_at_our_server(
    server: ServerProcess, caller: DemoCaller, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs/guide/from-telnyx.md").read_text()
    [code] = re.findall(r"```python\n(import os.*?)```", page, re.DOTALL)
    (tmp_path / "code.py").write_text(code)
    process = await asyncio.create_subprocess_exec(
        *(str(PYTHON), "-c", HANG_UP, str(tmp_path / "code.py"), caller.call_sid, server.api_key),
        env={**os.environ, "TELNYX_BASE_URL": server.base_url, "PYTHONPATH": ""},
    )
    await happens(caller.watch, "the call is ended", lambda: caller.ended_by_server, 60)
    assert await process.wait() == 0
