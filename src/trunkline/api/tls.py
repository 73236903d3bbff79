"""HTTPS of our own: the certificate that the HTTP servers show (driver: reads files)."""

import ssl
from pathlib import Path

from trunkline.config import HttpSettings
from trunkline.errors import StartupError


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
