"""The certificates that `wss://` is verified with. A file of its own, as the control process checks them too."""

import ssl
from pathlib import Path


class BadCertificates(ValueError):
    """A file of certificates cannot be used; the text says which and why."""


_contexts: dict[Path | None, ssl.SSLContext] = {}


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The context of this file, or of the system's certificates. The first call reads them (some 20 ms): make it before
    there are calls.

    Raises BadCertificates for a file that cannot be read or holds no certificate.
    """
    return _contexts.get(ca_file) or renew(ca_file)


def renew(ca_file: Path | None) -> ssl.SSLContext:
    """Read the certificates again, in any thread. Raises BadCertificates, and the former ones stay in use."""
    try:
        context = _contexts[ca_file] = ssl.create_default_context(cafile=ca_file)
        return context
    except OSError as problem:
        raise BadCertificates(f"TLS: no certificates in {ca_file}: {problem.strerror or problem}") from problem
