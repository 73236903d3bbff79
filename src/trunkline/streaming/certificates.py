"""What wss:// is verified with. The control process checks it too, and needs none of the codecs that a stream does."""

import ssl
from pathlib import Path

from trunkline.streaming.target import BadTarget

_contexts: dict[Path | None, ssl.SSLContext] = {}


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The first call reads the certificates (some 20 ms): make it before there are calls.

    Raises BadTarget for a file that cannot be read or holds no certificate.
    """
    return _contexts.get(ca_file) or renew(ca_file)


def renew(ca_file: Path | None) -> ssl.SSLContext:
    """Read the certificates again; from any thread. Raises BadTarget, and then those of before stay."""
    try:
        context = _contexts[ca_file] = ssl.create_default_context(cafile=ca_file)
        return context
    except OSError as problem:
        raise BadTarget(f"TLS: no certificates in {ca_file}: {problem.strerror or problem}") from problem
