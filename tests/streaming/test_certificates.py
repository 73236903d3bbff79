"""The certificates that verify wss://, cached between calls."""

import ssl
from pathlib import Path

import pytest

from handshake import strict_handshake
from streaming.helpers import make_certificate
from trunkline.streaming.certificates import BadCertificates, renew, tls_context


def test_certificates_are_read_once_until_they_are_renewed(tmp_path: Path) -> None:
    _, file = make_certificate(tmp_path, "127.0.0.1")
    first = tls_context(file)
    assert (first.verify_mode, first.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(first.get_ca_certs()) == 1
    file.write_text("broken")
    assert tls_context(file) is first
    with pytest.raises(BadCertificates, match=rf"^TLS: no certificates in {file}: "):
        renew(file)
    assert tls_context(file) is first, "those of before stay"
    _, other = make_certificate(tmp_path, "127.0.0.2")
    other.replace(file)
    assert renew(file) is not first
    assert tls_context(file) is not first


def test_certificates_of_tests_hold_for_the_strict_checks_of_python_3_13(tmp_path: Path) -> None:
    server, authority = make_certificate(tmp_path, "127.0.0.1")
    strict_handshake(server, authority, "127.0.0.1")
    _, another = make_certificate(tmp_path, "127.0.0.2")
    with pytest.raises(ssl.SSLCertVerificationError):
        strict_handshake(server, another, "127.0.0.1")


def test_without_a_ca_file_the_system_certificates_are_used() -> None:
    assert tls_context(None) is tls_context(None)
    assert tls_context(None).verify_mode is ssl.CERT_REQUIRED


def test_a_missing_ca_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadCertificates, match="No such file or directory"):
        tls_context(tmp_path / "absent")
