"""A TLS handshake in memory."""

import ssl
from pathlib import Path


def strict_handshake(server: ssl.SSLContext, authority: Path, name: str) -> None:
    """Between a server and a client that makes the checks which are Python 3.13's default. Raises ssl.SSLError."""
    client = ssl.create_default_context(cafile=authority)
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    while ends:
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
