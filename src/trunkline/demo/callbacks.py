"""The callback receiver: a small HTTP server that keeps each status callback and checks its signature.

A signature is Ed25519 over `timestamp|raw body`, a GET's body being empty (docs/reference/callbacks.md).
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trunkline.demo.watch import Watch


@dataclass(frozen=True, slots=True)
class Callback:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def fields(self) -> dict[str, str]:
        """The form, which a GET carries in its query."""
        form = self.path.partition("?")[2] if self.method == "GET" else self.body.decode()
        return dict(parse_qsl(form, keep_blank_values=True))

    def verified(self, public_key: bytes) -> bool:
        """Whether the signature is by the holder of `public_key`'s (32 raw bytes) private half."""
        signed = self.headers.get("telnyx-timestamp", "").encode() + b"|" + self.body
        try:
            signature = base64.b64decode(self.headers.get("telnyx-signature-ed25519", ""), validate=True)
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
        except (InvalidSignature, ValueError):
            return False
        return True


def _accept(_: Callback) -> int:
    return 200


class CallbackReceiver:
    """Receives callbacks. Use as an async context manager; `respond` gives the HTTP status for each."""

    def __init__(self, host: str = "127.0.0.1", respond: Callable[[Callback], int] = _accept) -> None:
        self.received: list[Callback] = []
        """In order of arrival."""
        self.watch = Watch()
        """Notified of every callback."""
        self.respond = respond
        self._host = host
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "CallbackReceiver":
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where to send callbacks."""
        return f"http://{self._host}:{self._server.sockets[0].getsockname()[1]}/events"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                callback = await self._read(reader)
                self.received.append(callback)
                status = self.respond(callback)
                writer.write(f"HTTP/1.1 {status} Noted\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                self.watch.changed()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            pass  # the sender is done, or is no HTTP client
        finally:
            self._open.discard(writer)
            writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> Callback:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.strip().split("\r\n")
        method, path, _ = request.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Callback(method, path, headers, body)
