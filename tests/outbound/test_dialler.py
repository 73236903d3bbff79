"""Sockets to the first address that answers, and the words where none does."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trunkline.outbound import names as names_module
from trunkline.outbound.dialler import Dialler, dial_words, system_certificates
from trunkline.outbound.egress import Egress, EgressRules, Forbidden
from trunkline.outbound.names import Names, UnknownHost


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes the hosts file that names are looked up in: the addresses of app.test."""
    file = tmp_path / "hosts"
    monkeypatch.setattr(names_module, "HOSTS", file)

    def write(*addresses: str) -> None:
        file.write_text("".join(f"{address} app.test\n" for address in addresses))

    return write


@pytest.fixture
async def dial() -> AsyncIterator[Dialler]:
    dialler = Dialler(Names())
    yield dialler
    await dialler.stop()


def port_of(listening: socket.socket) -> int:
    number: int = listening.getsockname()[1]
    return number


async def test_a_socket_is_connected_and_was_prepared_before(dial: Dialler, listener: socket.socket) -> None:
    prepared: list[tuple[int, bool]] = []

    def prepare(sock: socket.socket) -> None:
        connected = True
        try:
            sock.getpeername()
        except OSError:
            connected = False
        prepared.append((sock.fileno(), connected))

    sock = await dial.dial("127.0.0.1", port_of(listener), prepare)
    with sock:
        assert prepared == [(sock.fileno(), False)]
        assert sock.getpeername() == listener.getsockname()
        assert not sock.getblocking()


async def test_the_next_address_is_dialled_where_one_does_not_answer(
    hosts: Callable[..., None], dial: Dialler, listener: socket.socket
) -> None:
    hosts("127.0.0.9", "127.0.0.1")
    with await dial.dial("app.test", port_of(listener)) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


async def test_the_last_failure_counts(hosts: Callable[..., None], dial: Dialler) -> None:
    hosts("127.0.0.9", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await dial.dial("app.test", port_of(closed))


async def test_only_addresses_that_pass_are_dialled(hosts: Callable[..., None], listener: socket.socket) -> None:
    hosts("127.0.0.9", "127.0.0.1")
    egress = Egress(EgressRules(allow=("127.0.0.1/32",), private=False))
    dialler = Dialler(Names(), egress)
    port = port_of(listener)
    with await dialler.dial("app.test", port) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
    assert not egress.counters
    with pytest.raises(Forbidden, match=r"^127\.0\.0\.9 may not be dialled: its address is private, .*egress\.private"):
        await dialler.dial("127.0.0.9", port)
    assert egress.counters == {"egress_denied_private": 1}
    await dialler.stop()


async def test_what_the_operator_has_configured_is_dialled_for_its_account(listener: socket.socket) -> None:
    port = port_of(listener)
    places = (("a", "127.0.0.1", port), ("a", "169.254.1.1", 80))
    dialler = Dialler(Names(), Egress(EgressRules(private=False, configured=places)))
    (await dialler.dial("127.0.0.1", port, account="a")).close()
    (await dialler.dial("127.0.0.1", port, configured=True)).close()
    for account, host, other in (("b", "127.0.0.1", port), ("a", "127.0.0.1", port + 1), ("a", "169.254.1.1", 80)):
        with pytest.raises(Forbidden):
            await dialler.dial(host, other, account=account)
    await dialler.stop()


async def test_a_name_that_leads_elsewhere_after_its_check_is_checked_again(
    rebinding: Any, listener: socket.socket
) -> None:
    """DNS rebinding: the connection goes to the address that was checked, without another look-up."""
    port = port_of(listener)
    dialler = Dialler(Names(("127.0.0.1", rebinding.port)), Egress(EgressRules(allow=("127.0.0.2/32",), private=False)))
    with socket.socket() as allowed:
        allowed.bind(("127.0.0.2", port))
        allowed.listen()
        with await dialler.dial("app.test", port) as sock:
            assert sock.getpeername() == ("127.0.0.2", port)
        assert rebinding.asked == 1
        with pytest.raises(Forbidden, match=r"app\.test may not be dialled"):
            await dialler.dial("app.test", port)
        assert rebinding.asked == 2
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    await dialler.stop()


async def test_without_rules_only_metadata_is_refused(dial: Dialler) -> None:
    with pytest.raises(Forbidden, match="metadata service"):
        await dial.dial("169.254.169.254", 80)


async def test_a_name_without_an_address_is_an_error(hosts: Callable[..., None], dial: Dialler) -> None:
    hosts()
    with pytest.raises(UnknownHost):
        await dial.dial("nothing.invalid", 80)


async def test_an_address_that_never_answers_does_not_eat_the_time_of_the_next(
    hosts: Callable[..., None], dial: Dialler, listener: socket.socket
) -> None:
    """A listener with a full backlog does not answer, like an unreachable address."""
    port = port_of(listener)
    hosts("127.0.0.9", "127.0.0.1")
    with socket.socket() as silent, socket.socket() as filler, socket.socket() as another:
        silent.bind(("127.0.0.9", port))
        silent.listen(0)
        for one in (filler, another):
            one.setblocking(False)
            one.connect_ex(("127.0.0.9", port))
        began = asyncio.get_running_loop().time()
        with await dial.dial("app.test", port) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        assert asyncio.get_running_loop().time() - began >= 0.9


def test_the_certificates_of_the_system_are_read_once() -> None:
    assert system_certificates() is system_certificates()
    assert system_certificates().verify_mode is ssl.CERT_REQUIRED


def verification(message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("x")
    error.verify_message = message
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "text")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (UnknownHost("h", "no such name"), "DNS: h: no such name"),
        (Forbidden("h may not be dialled: private"), "h may not be dialled: private"),
        (ConnectionRefusedError(), "connection refused by h port 80"),
        (verification("expired"), "TLS: the certificate of h port 80 is not valid: expired"),
        (tls("WRONG_VERSION_NUMBER"), "h port 80 does not speak TLS: is it ws:// or http://, without the s?"),
        (tls("TLSV1_ALERT_PROTOCOL_VERSION"), "TLS with h port 80 failed: TLSV1_ALERT_PROTOCOL_VERSION"),
        (ConnectionResetError(), "h port 80 broke off the connection"),
        (TimeoutError(), "timeout: no connection to h port 80"),
        (OSError(113, "No route to host"), "no connection to h port 80: No route to host"),
        (OSError("odd"), "no connection to h port 80: odd"),
        (ValueError("odd"), "no proper answer from h port 80: odd"),
    ],
)
def test_each_failure_to_connect_has_its_text(problem: Exception, words: str) -> None:
    assert dial_words(problem, "h", 80) == words
