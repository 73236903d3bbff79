"""What wss:// is verified with. The control process checks it too, and needs none of the codecs that a stream does."""

import functools
import ssl
from pathlib import Path

from trunkline.streaming.target import BadTarget


@functools.cache
def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The first call reads the certificates (some 20 ms): make it before there are calls.

    Raises BadTarget for a file that cannot be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as problem:
        raise BadTarget(f"TLS: no certificates in {ca_file}: {problem.strerror or problem}") from problem
