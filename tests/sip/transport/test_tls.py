"""TLS between two channels in memory: accepted and refused peers, and the reasons."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from trunkline.config import SipSettings
from trunkline.errors import StartupError
from trunkline.sip.transport.certificates import OWN_FILE, client_context, server_context
from trunkline.sip.transport.tls import TlsChannel, TlsFailed


def shake(client: TlsChannel, server: TlsChannel) -> None:
    """The whole handshake. Raises TlsFailed."""
    client.shake_hands()
    for _ in range(4):
        server.receive(client.take())
        client.receive(server.take())


def channels(server: SipSettings, client: SipSettings, directory: Path, name: str) -> tuple[TlsChannel, TlsChannel]:
    context = server_context(server, directory)
    assert context is not None
    return TlsChannel(client_context(client), name), TlsChannel(context, None)


def test_text_passes_both_ways_in_any_pieces(tmp_path: Path) -> None:
    client, server = channels(SipSettings(), SipSettings(tls_verify=False), tmp_path, "sip.example.com")
    shake(client, server)
    assert client.established
    assert server.established
    client.send(b"x" * 100_000)
    wire = client.take()
    assert b"".join(server.receive(wire[at : at + 999]) for at in range(0, len(wire), 999)) == b"x" * 100_000
    server.send(b"pong")
    assert client.receive(server.take()) == b"pong"


@pytest.mark.parametrize(
    ("host", "name", "accepted"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("sip.example.com", "sip.example.com", True),
        ("sip.example.com", "SIP.example.com", True),
        ("sip.example.com", "example.com", False),
    ],
)
def test_a_certificate_must_name_the_target(tmp_path: Path, host: str, name: str, accepted: bool) -> None:
    ours = SipSettings(advertised_host=host)
    server_context(ours, tmp_path)
    client, server = channels(ours, SipSettings(tls_ca_file=tmp_path / OWN_FILE), tmp_path, name)
    if accepted:
        shake(client, server)
        assert client.established
    else:
        with pytest.raises(TlsFailed, match="certificate is not accepted"):
            shake(client, server)


def test_an_untrusted_certificate_is_refused_unless_verification_is_off(tmp_path: Path) -> None:
    client, server = channels(SipSettings(), SipSettings(), tmp_path, "127.0.0.1")
    with pytest.raises(TlsFailed, match="self-signed"):
        shake(client, server)


def test_client_certificates_are_requested_if_the_settings_say_so(tmp_path: Path) -> None:
    server_context(SipSettings(), tmp_path)
    own = tmp_path / OWN_FILE
    asking = SipSettings(tls_client_ca_file=own)
    client, server = channels(asking, SipSettings(tls_ca_file=own), tmp_path, "127.0.0.1")
    with pytest.raises(TlsFailed, match="certificate"):
        shake(client, server)
    client, server = channels(asking, SipSettings(tls_ca_file=own, tls_certificate_file=own), tmp_path, "127.0.0.1")
    shake(client, server)
    assert server.established


def test_our_own_certificate_is_kept_and_readable_only_by_the_owner(tmp_path: Path) -> None:
    server_context(SipSettings(), tmp_path)
    first = (tmp_path / OWN_FILE).read_bytes()
    server_context(SipSettings(), tmp_path)
    assert (tmp_path / OWN_FILE).read_bytes() == first
    assert (tmp_path / OWN_FILE).stat().st_mode & 0o777 == 0o600


def test_tls_needs_a_certificate_or_a_directory_for_one() -> None:
    assert server_context(SipSettings(), None) is None


@pytest.mark.parametrize("setting", ["tls_certificate_file", "tls_client_ca_file"])
def test_an_invalid_certificate_file_is_one_line_of_error(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "file.pem"
    file.write_text("nothing")
    for path, words in ((file, "PEM"), (tmp_path / "absent", "No such file")):
        with pytest.raises(StartupError, match=rf"^sip.{setting}: cannot use [^\n]+{words}[^\n]*$"):
            server_context(SipSettings.model_validate({setting: path}), tmp_path)


def test_garbage_is_a_failure_with_a_reason(tmp_path: Path) -> None:
    context = server_context(SipSettings(), tmp_path)
    assert context is not None
    with pytest.raises(TlsFailed, match=r"http request|wrong version number"):
        TlsChannel(context, None).receive(b"OPTIONS sip:a SIP/2.0\r\n\r\n")
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def established(directory: Path) -> tuple[TlsChannel, TlsChannel]:
    client, server = channels(SipSettings(), SipSettings(tls_verify=False), directory, "sip.example.com")
    shake(client, server)
    return client, server


def test_no_data_passes_before_the_handshake_is_complete(tmp_path: Path) -> None:
    client, server = channels(SipSettings(), SipSettings(tls_verify=False), tmp_path, "sip.example.com")
    client.shake_hands()
    hello = client.take()
    assert hello
    assert not client.established
    assert server.receive(hello[:10]) == b""
    assert server.take() == b""
    assert server.receive(hello[10:]) == b""
    assert server.take() != b""
    assert not server.established
    with pytest.raises(TlsFailed):
        client.send(b"too early")


def test_a_close_notify_ends_the_connection(tmp_path: Path) -> None:
    client, server = established(tmp_path)
    client.send(b"last words")
    with suppress(ssl.SSLWantReadError):
        client._object.unwrap()
    assert server.receive(client.take()) == b"last words"
    assert server.ended
    assert not client.ended


def test_damaged_bytes_are_a_failure_with_a_reason(tmp_path: Path) -> None:
    client, server = established(tmp_path)
    client.send(b"x" * 100)
    wire = bytearray(client.take())
    wire[-1] ^= 1
    with pytest.raises(TlsFailed, match="decryption failed or bad record mac"):
        server.receive(bytes(wire))
