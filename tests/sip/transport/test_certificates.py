"""TLS contexts: their certificates, trust and requirements. Handshakes are in test_tls.py."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from handshake import strict_handshake
from trunkline.config import SipSettings
from trunkline.errors import StartupError
from trunkline.sip.transport.certificates import OWN_FILE, VALIDITY, client_context, server_context


def own(directory: Path, host: str = "127.0.0.1") -> x509.Certificate:
    """The certificate that is made for a host."""
    assert server_context(SipSettings(advertised_host=host), directory) is not None
    return x509.load_pem_x509_certificate((directory / OWN_FILE).read_bytes())


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.1", x509.IPAddress(ip_address("192.0.2.1"))),
        ("2001:db8::1", x509.IPAddress(ip_address("2001:db8::1"))),
        ("sip.example", x509.DNSName("sip.example")),
        ("x" * 63 + ".example", x509.DNSName("x" * 63 + ".example")),
    ],
)
def test_our_own_certificate_has_the_advertised_host(tmp_path: Path, host: str, name: x509.GeneralName) -> None:
    made = own(tmp_path, host)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [name]
    assert made.subject == made.issuer
    assert made.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == host[:64]
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)


def test_our_own_certificate_holds_for_the_strict_checks_of_python_3_13(tmp_path: Path) -> None:
    server = server_context(SipSettings(advertised_host="127.0.0.1"), tmp_path)
    assert server is not None
    server.verify_mode = ssl.CERT_NONE
    strict_handshake(server, tmp_path / OWN_FILE, "127.0.0.1")


def test_our_own_certificate_holds_ten_years_and_began_a_day_ago(tmp_path: Path) -> None:
    made, now = own(tmp_path), datetime.now(UTC)
    begin, end = made.not_valid_before_utc, made.not_valid_after_utc
    assert timedelta(days=1) <= now - begin < timedelta(days=1, minutes=5)
    assert end - begin == VALIDITY + timedelta(days=1) == timedelta(days=3651)


def test_the_host_is_the_bound_one_where_none_is_advertised(tmp_path: Path) -> None:
    server_context(SipSettings(host="127.0.0.9"), tmp_path)
    made = x509.load_pem_x509_certificate((tmp_path / OWN_FILE).read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.IPAddress(ip_address("127.0.0.9"))]


def test_making_a_certificate_leaves_only_its_file(tmp_path: Path) -> None:
    own(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [OWN_FILE]


def test_a_certificate_that_cannot_be_written_is_one_line_of_error() -> None:
    with pytest.raises(StartupError, match=r"^sip: cannot write /proc/none/sip-tls.pem: No such file or directory$"):
        server_context(SipSettings(), Path("/proc/none"))


def test_client_certificates_are_required_only_if_the_settings_say_so(tmp_path: Path) -> None:
    plain = server_context(SipSettings(), tmp_path)
    asking = server_context(SipSettings(tls_client_ca_file=tmp_path / OWN_FILE), tmp_path)
    assert plain is not None
    assert asking is not None
    assert (plain.verify_mode, asking.verify_mode) == (ssl.CERT_NONE, ssl.CERT_REQUIRED)
    assert len(asking.get_ca_certs()) == 1


def test_targets_are_verified_unless_disabled_by_the_settings(tmp_path: Path) -> None:
    own(tmp_path)
    usual, unverified = client_context(SipSettings()), client_context(SipSettings(tls_verify=False))
    trusting = client_context(SipSettings(tls_ca_file=tmp_path / OWN_FILE))
    assert [(one.verify_mode, one.check_hostname) for one in (usual, unverified, trusting)] == [
        (ssl.CERT_REQUIRED, True),
        (ssl.CERT_NONE, False),
        (ssl.CERT_REQUIRED, True),
    ]
    assert len(trusting.get_ca_certs()) == 1, "and no other"
    with pytest.raises(StartupError, match=r"^sip\.tls_ca_file: cannot use "):
        client_context(SipSettings(tls_ca_file=tmp_path / "absent"))
    with pytest.raises(StartupError, match=r"^sip\.tls_certificate_file: cannot use .*: No such file"):
        client_context(SipSettings(tls_certificate_file=tmp_path / "absent"))


def test_a_key_that_does_not_match_the_certificate_is_an_error(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        own(tmp_path / name)
    wrong = SipSettings(tls_certificate_file=tmp_path / "one" / OWN_FILE, tls_key_file=tmp_path / "other" / OWN_FILE)
    words = "not a certificate in PEM, or the key does not match it"
    with pytest.raises(StartupError, match=words):
        server_context(wrong, None)
    good = SipSettings(tls_certificate_file=tmp_path / "one" / OWN_FILE)
    assert server_context(good, None) is not None


def test_nothing_below_tls_1_2_and_no_renegotiation(tmp_path: Path) -> None:
    server = server_context(SipSettings(), tmp_path)
    assert server is not None
    for context in (server, client_context(SipSettings())):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
