"""TLS of one connection, as bytes in and bytes out (RFC 5246, RFC 8446). Pure.

A TLS object of the library between two memory buffers. With the TLS of the event loop a connection would not count
against the limits during its handshake, and a failed handshake would have no reason in plain text.
"""

import ssl

READ_SIZE = 65536


class TlsFailed(Exception):
    """A TLS error of the peer, or a certificate that is not accepted; the text is the reason."""


class TlsChannel:
    """Our side of one connection. `server_name`: as client, the name in the certificate; None: as server."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self.established = False
        self.ended = False
        """The peer has closed its side (close_notify)."""

    def shake_hands(self) -> None:
        """Continue the handshake with the bytes received so far. Raises TlsFailed."""
        try:
            self._object.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise TlsFailed(_reason(error)) from None

    def receive(self, data: bytes) -> bytes:
        """Decrypt `data` from the peer; `take` may have bytes to send then. Raises TlsFailed."""
        self._incoming.write(data)
        if not self.established:
            self.shake_hands()
            if not self.established:
                return b""
        pieces = []
        try:
            while piece := self._object.read(READ_SIZE):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise TlsFailed(_reason(error)) from None
        return b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Encrypt; only once established. Raises TlsFailed."""
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise TlsFailed(_reason(error)) from None

    def take(self) -> bytes:
        """The bytes to send to the peer."""
        return self._outgoing.read()


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    return (error.reason or "the handshake failed").lower().replace("_", " ")
