"""The endpoint over real sockets on the loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sip.bench import ANSWER, OFFER, Caller, header
from trunkline.config import SipSettings
from trunkline.errors import StartupError
from trunkline.setting_tables import PhoneSettings
from trunkline.sip import endpoint as endpoint_module
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.message.digest import DigestClient
from trunkline.sip.values import (
    AcceptInvite,
    Credentials,
    DialogEnded,
    DialogId,
    EndDialog,
    InviteReceived,
    InviteRefused,
    SendInvite,
    SipEvent,
)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.received: asyncio.Queue[str] = asyncio.Queue()
        self.closed = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.put_nowait(data.decode())


@dataclass
class Phone:
    """A peer of the endpoint, over UDP."""

    transport: asyncio.DatagramTransport
    protocol: Datagrams
    port: int

    def send(self, data: bytes) -> None:
        contact = f"127.0.0.1:{self.port}".encode()
        self.transport.sendto(data.replace(b"192.0.2.10:5062", contact))

    async def next(self) -> str:
        return await asyncio.wait_for(self.protocol.received.get(), 30)

    async def close(self) -> None:
        self.transport.close()
        await self.protocol.closed.wait()


@dataclass
class Server:
    endpoint: SipEndpoint
    events: asyncio.Queue[SipEvent] = field(default_factory=asyncio.Queue)
    phones: list["Phone"] = field(default_factory=list)

    async def stop(self) -> None:
        await self.endpoint.stop()
        for phone in self.phones:
            await phone.close()

    async def event(self) -> SipEvent:
        return await asyncio.wait_for(self.events.get(), 30)

    async def phone(self) -> Phone:
        transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            Datagrams, local_addr=("127.0.0.1", 0), remote_addr=("127.0.0.1", self.endpoint.local.port)
        )
        self.phones.append(Phone(transport, protocol, transport.get_extra_info("sockname")[1]))
        return self.phones[-1]


Start = Callable[[SipSettings], Awaitable[Server]]


@pytest.fixture
async def start(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts endpoints, and stops them."""
    monkeypatch.setattr(endpoint_module, "SHUTDOWN_TIME", 0.1)  # for the phones that do not answer a BYE
    servers: list[Server] = []

    async def begin(settings: SipSettings) -> Server:
        events: asyncio.Queue[SipEvent] = asyncio.Queue()
        server = Server(SipEndpoint(settings, events.put_nowait), events)
        await server.endpoint.start()
        servers.append(server)
        return server

    yield begin
    for server in servers:
        await server.stop()


@pytest.fixture
async def server(start: Start) -> Server:
    return await start(SipSettings(port=0))


async def call(server: Server, phone: Phone, caller: Caller) -> InviteReceived:
    """A call that is up."""
    phone.send(caller.request("INVITE", OFFER))
    invite = await server.event()
    assert isinstance(invite, InviteReceived)
    server.endpoint.perform(AcceptInvite(invite.dialog, ANSWER))
    assert (await phone.next()).startswith("SIP/2.0 100")
    ok = await phone.next()
    assert ok.startswith("SIP/2.0 200")
    caller.learn(ok)
    phone.send(caller.request("ACK"))
    await server.event()
    return invite


async def test_a_call_over_udp(server: Server) -> None:
    phone, caller = await server.phone(), Caller()
    invite = await call(server, phone, caller)
    assert invite.source.port == phone.port
    phone.send(caller.request("BYE"))
    assert (await phone.next()).startswith("SIP/2.0 200")
    assert await server.event() == DialogEnded(invite.dialog, "bye", "")
    assert not any(server.endpoint.sizes.values())


async def test_stopping_sends_bye_and_waits_for_the_response(server: Server) -> None:
    phone, caller = await server.phone(), Caller()
    await call(server, phone, caller)
    stopping = asyncio.create_task(server.endpoint.stop())
    bye = await phone.next()
    assert bye.startswith(f"BYE sip:ann@127.0.0.1:{phone.port} ")
    assert not stopping.done()
    lines = [f"{name}: {header(bye, name)}" for name in ("Via", "From", "To", "Call-ID", "CSeq")]
    phone.send("\r\n".join(["SIP/2.0 200 OK", *lines, "", ""]).encode())
    await asyncio.wait_for(stopping, 30)
    await server.endpoint.stop()


async def test_draining_refuses_new_calls_with_retry_after(server: Server) -> None:
    phone = await server.phone()
    server.endpoint.begin_draining()
    phone.send(Caller().request("INVITE", OFFER))
    refusal = await phone.next()
    assert refusal.startswith("SIP/2.0 503 ")
    assert header(refusal, "Retry-After") == "5"
    assert server.endpoint.counters["refused_503"] == 1


async def test_a_proxy_s_name_is_looked_up_for_the_bye(server: Server) -> None:
    phone, caller = await server.phone(), Caller()
    phone.send(caller.request("INVITE", OFFER, (f"Record-Route: <sip:localhost:{phone.port};lr>",)))
    invite = await server.event()
    server.endpoint.perform(AcceptInvite(invite.dialog, ANSWER))
    await phone.next()
    caller.learn(await phone.next())
    phone.send(caller.request("ACK"))
    await server.event()
    server.endpoint.perform(EndDialog(invite.dialog))
    assert header(await phone.next(), "Route") == f"<sip:localhost:{phone.port};lr>"


async def test_the_contact_has_the_advertised_host(start: Start) -> None:
    server = await start(SipSettings(port=0, advertised_host="sip.example.com"))
    phone = await server.phone()
    phone.send(Caller().request("INVITE", OFFER))
    invite = await server.event()
    server.endpoint.perform(AcceptInvite(invite.dialog, ANSWER))
    await phone.next()
    assert header(await phone.next(), "Contact") == f"<sip:sip.example.com:{server.endpoint.local.port}>"


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_a_port_in_use_is_one_line_of_error(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        endpoint = SipEndpoint(SipSettings(port=port), lambda _event: None)
        with pytest.raises(StartupError) as error:
            await endpoint.start()
    assert str(error.value) == f"cannot listen for SIP on 127.0.0.1:{port}: Address already in use"
    await endpoint.stop()


async def test_an_address_of_another_machine_is_one_line_of_error() -> None:
    with pytest.raises(StartupError, match=r"^cannot listen for SIP on 192.0.2.1:5060: Cannot assign [^\n]+$"):
        await SipEndpoint(SipSettings(host="192.0.2.1"), lambda _event: None).start()


async def test_two_servers_live_in_one_process(start: Start) -> None:
    servers = [await start(SipSettings(port=0)) for _ in range(2)]
    for server in servers:
        await call(server, await server.phone(), Caller())
    assert [server.endpoint.sizes["dialogs"] for server in servers] == [1, 1]
    await servers[0].endpoint.stop()
    assert servers[1].endpoint.sizes["dialogs"] == 1


async def test_bad_messages_are_counted_and_logged_at_a_bounded_rate(server: Server) -> None:
    phone = await server.phone()
    with capture_logs() as lines:
        for number in range(20):
            phone.send(b"garbage %d" % number)
        phone.send(Caller().request("DANCE"))
        assert (await phone.next()).startswith("SIP/2.0 501")
    assert server.endpoint.counters["dropped"] == 20
    assert server.endpoint.counters["refused_501"] == 1
    assert [line["event"] for line in lines] == ["sip_message_discarded", "sip_request_rejected"]


async def test_a_challenge_is_for_debugging(start: Start) -> None:
    server = await start(SipSettings(port=0, phones=(PhoneSettings(user="+15550002", password="secret"),)))
    with capture_logs() as lines:
        assert await register(await server.phone(), caller := Caller(), None) == "401"
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("sip_request_challenged", "debug")
    assert line["sip_call_id"] == caller.call_id


async def register(phone: Phone, caller: Caller, password: str | None = "secret", expires: int = 600) -> str:
    """The status of the answer, to the credentials if there are any."""
    headers = [f"Contact: <sip:ann@192.0.2.10:5062>;expires={expires}"]
    phone.send(caller.request("REGISTER", headers=tuple(headers)))
    response = await phone.next()
    if password is None:
        return response[8:11]
    client = DigestClient(Credentials("+15550002", password), lambda: "c")
    assert client.challenged([("www-authenticate", header(response, "WWW-Authenticate"))])
    ((name, value),) = client.headers("REGISTER", "sip:+15550002@198.51.100.7")
    phone.send(caller.request("REGISTER", headers=(*headers, f"{name}: {value}")))
    return (await phone.next())[8:11]


async def test_refusals_and_options_of_one_address_are_answered_at_a_bounded_rate(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "_now", lambda: 7.0)  # all within one second
    known = PhoneSettings(user="+15550002", password="secret")
    server = await start(SipSettings(port=0, phones=(known,), refusal_rate=8))
    phone = await server.phone()
    caller, contact = Caller(), "Contact: <sip:ann@192.0.2.10:5062>;expires=600"
    phone.send(caller.request("REGISTER", headers=(contact,)))
    client = DigestClient(Credentials("+15550002", "secret"), lambda: "c")
    assert client.challenged([("www-authenticate", header(await phone.next(), "WWW-Authenticate"))])
    for number in range(9):
        phone.send(Caller(call_id=f"c{number}").request("OPTIONS" if number % 2 else "DANCE"))
    ((name, value),) = client.headers("REGISTER", "sip:+15550002@198.51.100.7")
    phone.send(caller.request("REGISTER", headers=(contact, f"{name}: {value}")))
    statuses = [(await phone.next())[8:11] for _ in range(4)]
    assert statuses == ["501", "200", "501", "200"], "with the challenge half of the places; a password needs none"
    assert server.endpoint.counters["unanswered"] == 6


@pytest.mark.parametrize("change", ["none", "password", "gone"])
async def test_new_settings_keep_calls_and_allowed_phones(change: str, start: Start) -> None:
    known = PhoneSettings(user="+15550002", password="secret")
    server = await start(SipSettings(port=0, phones=(known,)))
    phone, caller = await server.phone(), Caller()
    assert await register(phone, caller) == "200"
    talking = Caller(call_id="talks")
    invite = await call(server, other := await server.phone(), talking)
    after = {
        "none": (known, PhoneSettings(user="new", password="x")),
        "password": (known.model_copy(update={"password": "other"}),),
        "gone": (),
    }[change]
    (await server.endpoint.prepare(SipSettings(port=0, phones=after)))()
    assert server.endpoint.sizes["contacts"] == (change == "none")
    server.endpoint.perform(SendInvite(DialogId(77), "phone", "+15550002", "+15550002", "us", "", OFFER))
    if change == "none":
        assert (await phone.next()).startswith("INVITE ")
    else:
        refused = await server.event()
        assert isinstance(refused, InviteRefused)
        assert refused.status == (404 if change == "gone" else 480)
    other.send(talking.request("BYE"))
    assert (await other.next()).startswith("SIP/2.0 200")
    ended = await server.event()
    assert isinstance(ended, DialogEnded)
    assert ended.dialog == invite.dialog


async def test_a_certificate_that_cannot_be_used_changes_nothing(start: Start, tmp_path: Path) -> None:
    server = await start(SipSettings(port=0))
    with pytest.raises(StartupError, match=r"sip.tls_certificate_file: cannot use .*none"):
        await server.endpoint.prepare(SipSettings(port=0, tls_certificate_file=tmp_path / "none"))


async def test_a_phones_registration_is_logged_once(start: Start) -> None:
    phones = (PhoneSettings(user="+15550002", password="secret"),)
    phone = await (await start(SipSettings(port=0, phones=phones))).phone()
    registers = partial(register, phone, Caller())
    with capture_logs() as lines:
        assert [await registers(), await registers(), await registers(expires=30)] == ["200", "200", "423"]
        assert [await registers(expires=0), await registers(None)] == ["200", "401"]
    shown = [line for line in lines if line["log_level"] != "debug"]
    assert [(line["event"], line["log_level"], line["contacts"]) for line in shown] == [
        ("sip_phone_registered", "info", 1),
        ("sip_phone_unregistered", "info", 0),
    ]
    with capture_logs() as lines:
        assert await registers("guess") == "401"
    found = [(line["event"], line["log_level"]) for line in lines]
    assert found == [("sip_request_challenged", "debug"), ("sip_request_rejected", "warning")]


async def test_log_lines_about_a_message_of_a_call_have_its_ids() -> None:
    events: asyncio.Queue[SipEvent] = asyncio.Queue()
    endpoint = SipEndpoint(SipSettings(port=0), events.put_nowait, call_sid_of=lambda dialog: f"call {dialog}")
    await endpoint.start()
    server = Server(endpoint, events)
    phone, caller = await server.phone(), Caller(call_id="ours")
    invite = await call(server, phone, caller)
    with capture_logs() as lines:
        phone.send(caller.request("UPDATE", OFFER, ("Require: moon",)))
        assert (await phone.next()).startswith("SIP/2.0 420")
    (line,) = lines
    assert (line["event"], line["call_sid"], line["sip_call_id"]) == (
        "sip_request_rejected",
        f"call {invite.dialog}",
        "ours",
    )
    await endpoint.stop(0.1)
    await phone.close()


async def test_a_broken_application_does_not_break_the_endpoint(start: Start) -> None:
    def fail(_event: SipEvent) -> None:
        raise RuntimeError("broken")

    endpoint = SipEndpoint(SipSettings(port=0), fail)
    await endpoint.start()
    server = Server(endpoint)
    phone = await server.phone()
    with capture_logs() as lines:
        phone.send(Caller().request("INVITE", OFFER))
        phone.send(Caller(call_id="other").request("OPTIONS"))
        assert (await phone.next()).startswith("SIP/2.0 100")
        assert (await phone.next()).startswith("SIP/2.0 200")
    assert endpoint.counters["errors"] == 1
    assert [line["event"] for line in lines] == ["sip_event_failed"]
    await server.stop()


PIECES = [Caller(call_id="fuzz").request(method, OFFER) for method in ("INVITE", "BYE", "ACK", "CANCEL", "OPTIONS")]
fuzz = st.one_of(
    st.binary(max_size=400),
    st.tuples(st.sampled_from(PIECES), st.integers(0, 600)).map(lambda cut: cut[0][: cut[1]]),
    st.tuples(st.sampled_from(PIECES), st.integers(0, 600), st.binary(max_size=8)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.lists(fuzz, max_size=4))
async def test_no_datagram_makes_an_error(capsys: pytest.CaptureFixture[str], datagrams: list[bytes]) -> None:
    events: list[SipEvent] = []
    endpoint = SipEndpoint(SipSettings(port=0), events.append)
    await endpoint.start()
    server = Server(endpoint)
    phone = await server.phone()
    with capture_logs():
        for data in datagrams:
            phone.transport.sendto(data or b"\0")
        probe = Caller(call_id="probe").request("OPTIONS")
        phone.transport.sendto(probe)
        while "probe" not in (answer := await phone.next()):
            assert answer.startswith("SIP/2.0 ")
    assert endpoint.counters["errors"] == 0
    for event in events:
        if isinstance(event, InviteReceived):
            endpoint.perform(EndDialog(event.dialog))
    await server.stop()
    assert capsys.readouterr() == ("", "")
