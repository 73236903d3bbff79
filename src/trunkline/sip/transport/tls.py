"""TLS of one connection (RFC 5246, RFC 8446), bytes in, bytes out: pure.

The library's TLS object between two memory buffers. Doing it here and not in the event loop's own TLS lets a
connection count against the limits from its first byte on, handshake included, and a failed handshake is an error of
ours with a reason in words.
"""

import ssl

READ_SIZE = 65536


class TlsFailed(Exception):
    """The peer does not keep to TLS, or shows a certificate that is not accepted; the text says which."""


class TlsChannel:
    """One side of one connection. `server_name` is whom we want to reach, None when we were called."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self.established = False
        self.ended = False
        """The peer said that it will send nothing more."""

    def shake_hands(self) -> None:
        """Go on with the handshake as far as the bytes at hand allow. Raises TlsFailed."""
        try:
            self._object.do_handshake()
            self.established = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise TlsFailed(_reason(error)) from None

    def receive(self, data: bytes) -> bytes:
        """What `data` from the wire means to us, and may make something to `take`. Raises TlsFailed."""
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
        """The bytes for the wire that there are by now."""
        return self._outgoing.read()


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    return (error.reason or "the handshake failed").lower().replace("_", " ")
