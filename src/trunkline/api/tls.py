"""HTTPS of our own: the certificate that the HTTP servers show, and handshakes (driver: files and sockets).

A connection gets its place before its handshake: by handshakes that never end one peer would hold all descriptors.
"""

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from trunkline.config import HttpSettings
from trunkline.errors import StartupError

OUT_OF_SPACE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
ACCEPT_PAUSE = 0.5
"""Seconds until connections are accepted again where the system has no room for one more."""


class TlsProtocol(Protocol):
    """A protocol of the loop that knows its peer before the handshake."""

    connection_made: Callable[[Any], None]

    def accepted(self, host: str, handshake: "asyncio.Task[Any]") -> bool:
        """A peer has connected; whether it may stay. `handshake` can be cancelled until `connection_made`."""

    def leave(self) -> None:
        """There was no handshake: the connection is closed."""


class ServedCertificate:
    """Certificate and key from the files that the settings name, if they name any."""

    def __init__(self, settings: HttpSettings) -> None:
        """Raises StartupError with one line."""
        self._files = settings.tls_certificate_file, settings.tls_key_file
        self.context = _context(*self._files)
        """None: HTTP without TLS."""

    def renew(self) -> None:
        """Read the files again, for connections from now on. Raises StartupError; then the old ones stay."""
        certificate, key = self._files
        if self.context is not None and certificate is not None and _context(certificate, key) is not None:
            self.context.load_cert_chain(certificate, key)


class TlsListener:
    """Accepts connections and shakes hands with their peers, all in tasks of its own. `counters` gets
    `tls_failures`."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        timeout: float,
        protocol: Callable[[], Any],
        counters: Counter[str],
    ) -> None:
        """`sock` listens; `timeout` is the seconds that a handshake may take; `protocol` makes a `TlsProtocol`."""
        self._socket = sock
        self._context = context
        self._timeout = timeout
        self._protocol = protocol
        self._counters = counters
        self._handshakes: set[asyncio.Task[Any]] = set()
        self._accepting = asyncio.create_task(self._accept(), name="https listener")

    def close(self) -> None:
        """Accept no more, and break handshakes off. May be called again."""
        self._accepting.cancel()
        for handshake in self._handshakes:
            handshake.cancel()
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(self._socket)
            except OSError as error:
                await asyncio.sleep(ACCEPT_PAUSE if error.errno in OUT_OF_SPACE else 0)
                continue
            protocol: TlsProtocol = self._protocol()
            handshake = asyncio.create_task(self._shake_hands(sock, protocol), name="https handshake")
            self._handshakes.add(handshake)
            handshake.add_done_callback(partial(self._over, sock, protocol))
            if not protocol.accepted(address[0], handshake):
                handshake.cancel()

    async def _shake_hands(self, sock: socket.socket, protocol: Any) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: protocol, sock, ssl=self._context, ssl_handshake_timeout=self._timeout
        )

    def _over(self, sock: socket.socket, protocol: TlsProtocol, handshake: asyncio.Task[Any]) -> None:
        self._handshakes.discard(handshake)
        error = None if handshake.cancelled() else handshake.exception()
        if error is None and not handshake.cancelled():
            return
        protocol.leave()
        sock.close()  # A task that is cancelled before it begins has not.
        if isinstance(error, OSError):
            self._counters["tls_failures"] += 1
        elif error is not None:
            context = {"message": "https handshake", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)


def _context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        reason = "not a certificate in PEM, or the key does not match it"
        words = reason if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        raise StartupError(f"http.tls_certificate_file: cannot use {certificate}: {words}") from None
    return context
