"""Certificates and keys of SIP over TLS (driver: reads and writes files).

The settings may name the files of a certificate. Otherwise a self-signed one is made at the first start and kept in the
store's directory, so that phones which trust it still do after a restart. On connections that we open, the certificate
of the peer must be signed by a trusted authority and name the host of the target (RFC 5922 section 7; URI names are
ignored, wildcards count as in HTTPS).
"""

import os
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from trunkline.config import SipSettings
from trunkline.errors import StartupError

OWN_FILE = "sip-tls.pem"
"""Our self-signed certificate with its key, in the store's directory."""
VALIDITY = timedelta(days=3650)


def server_context(settings: SipSettings, directory: Path | None) -> ssl.SSLContext | None:
    """For connections of peers; None without a certificate and a `directory` to make one in.

    Raises StartupError with one line.
    """
    certificate, key = settings.tls_certificate_file, settings.tls_key_file
    if certificate is None and directory is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _strict(context)
    if certificate is None:
        assert directory is not None
        certificate = _own_certificate(directory.expanduser(), settings.advertised_host or settings.host)
    _load(context, certificate, key)
    if settings.tls_client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, settings.tls_client_ca_file, "sip.tls_client_ca_file")
    return context


def client_context(settings: SipSettings) -> ssl.SSLContext:
    """For connections that we open; presents our certificate if the settings name one. Raises StartupError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _strict(context)
    if not settings.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.tls_ca_file is not None:
        _trust(context, settings.tls_ca_file, "sip.tls_ca_file")
    else:
        context.load_default_certs()
    if settings.tls_certificate_file is not None:
        _load(context, settings.tls_certificate_file, settings.tls_key_file)
    return context


def _strict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise StartupError(f"sip.tls_certificate_file: cannot use {certificate}: {_reason(error)}") from None


def _trust(context: ssl.SSLContext, file: Path, setting: str) -> None:
    try:
        context.load_verify_locations(file)
    except OSError as error:
        raise StartupError(f"{setting}: cannot use {file}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "not a certificate in PEM, or the key does not match it"
    return error.strerror or str(error)


def _own_certificate(directory: Path, host: str) -> Path:
    path = directory / OWN_FILE
    if not path.exists():
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(_self_signed(host))
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(path)
        except OSError as error:
            raise StartupError(f"sip: cannot write {path}: {error.strerror}") from error
    return path


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _self_signed(host: str) -> bytes:
    """PEM of a new key and a certificate for `host`, a name or an address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Python 3.13 refuses an authority without these (RFC 5280 section 4.2, OpenSSL's strict checks).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(_SIGNS, critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + certificate.public_bytes(Encoding.PEM)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
