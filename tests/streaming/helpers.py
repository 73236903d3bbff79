"""Helpers of the tests of the connection."""

import asyncio
import ipaddress
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.server import ServerConnection


async def receive(peer: ServerConnection) -> dict[str, Any]:
    async with asyncio.timeout(30):
        frame = json.loads(await peer.recv())
    assert isinstance(frame, dict)
    return frame


async def past_opening(peer: ServerConnection) -> None:
    assert [(await receive(peer))["event"] for _ in range(2)] == ["connected", "start"]


async def say(peer: ServerConnection, **frame: Any) -> None:
    await peer.send(json.dumps(frame))


async def turn() -> None:
    """Let the loop run what is ready."""
    await asyncio.sleep(0)


async def until(happened: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(30):
        while not happened():
            await turn()


def general_name(address: str) -> x509.GeneralName:
    """Of an address or a name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def make_certificate(directory: Path, address: str) -> tuple[ssl.SSLContext, Path]:
    """A server context for `address`, which may be a name, and the CA file that verifies it."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def build(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Test CA"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority_identifier, critical=False)
        )

    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    signs = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    authority = (
        build("Test CA", authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(signs, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        build("server", server_key)
        .add_extension(x509.SubjectAlternativeName([general_name(address)]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca_file = directory / f"ca-{address}.pem"
    ca_file.write_bytes(authority.public_bytes(pem))
    chain = directory / f"server-{address}.pem"
    chain.write_bytes(
        server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + server.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, ca_file
