"""TCP on the loopback: framing, keep-alives, limits; UDP that cannot be delivered. (More is in `test_endpoint.py`.)"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from errno import ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, EPROTO
from pathlib import Path

import pytest

from sip.bench import Watched
from trunkline.config import SipSettings
from trunkline.outbound import names
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.transport.transports import Transports, icmp_error

MESSAGE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 4\r\n\r\nbody"


@dataclass
class Bench:
    transports: Transports
    messages: "asyncio.Queue[tuple[bytes, Endpoint, Flow]]"
    counters: Watched
    writers: list[asyncio.StreamWriter]
    lost: "asyncio.Queue[tuple[Flow, str, Endpoint | None]]"

    async def next(self) -> tuple[bytes, Endpoint, Flow]:
        return await asyncio.wait_for(self.messages.get(), 30)

    async def undelivered(self) -> tuple[Flow, str, Endpoint | None]:
        return await asyncio.wait_for(self.lost.get(), 30)

    async def connect(self, host: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from that address."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.transports.local.port, local_addr=(host, 0))
        self.writers.append(writer)
        return reader, writer

    async def broken(self) -> Flow:
        """The flow of a connection that was closed because of malformed data."""
        reader, writer = await self.connect()
        writer.write(MESSAGE + b"x" * 2100)
        _, _, flow = await self.next()
        assert await asyncio.wait_for(reader.read(), 30) == b""
        return flow


Open = Callable[[SipSettings], Awaitable[Bench]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    benches: list[Bench] = []

    async def begin(settings: SipSettings) -> Bench:
        messages: asyncio.Queue[tuple[bytes, Endpoint, Flow]] = asyncio.Queue()
        counters = Watched()
        transports = Transports(
            settings, None, lambda *message: messages.put_nowait(message), lambda *_trouble: None, counters
        )
        lost: asyncio.Queue[tuple[Flow, str, Endpoint | None]] = asyncio.Queue()
        transports.connections.on_unreachable = lambda *what: lost.put_nowait(what)
        await transports.open()
        benches.append(Bench(transports, messages, counters, [], lost))
        return benches[-1]

    yield begin
    for bench in benches:
        await bench.transports.close()
        for writer in bench.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture
async def bench(opened: Open) -> Bench:
    return await opened(SipSettings(port=0, message_limit=2000, connection_limit=4))


async def test_messages_are_framed_in_the_stream_and_answered_on_it(bench: Bench) -> None:
    reader, writer = await bench.connect()
    writer.write(MESSAGE + MESSAGE[:30])
    data, source, flow = await bench.next()
    assert (data, flow.transport) == (MESSAGE, "tcp")
    assert source.port == writer.get_extra_info("sockname")[1]
    writer.write(MESSAGE[30:])
    assert (await bench.next())[0] == MESSAGE
    flow.send(b"answer", Endpoint("192.0.2.1", 9))
    assert await asyncio.wait_for(reader.readexactly(6), 30) == b"answer"


async def test_a_ping_gets_its_pong(bench: Bench) -> None:
    reader, writer = await bench.connect()
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), 30) == b"\r\n"
    assert bench.counters["keepalives"] == 1


@pytest.mark.parametrize("data", [b"x" * 2100, MESSAGE.replace(b": 4", b": 99999"), b"OPTIONS sip:a SIP/2.0\r\n\r\n"])
async def test_a_stream_that_cannot_be_framed_is_closed(bench: Bench, data: bytes) -> None:
    reader, writer = await bench.connect()
    writer.write(data)
    assert await asyncio.wait_for(reader.read(), 30) == b""
    assert bench.counters["connections_broken"] == 1


async def test_one_connection_too_many_is_closed_at_once(bench: Bench) -> None:
    held = [await bench.connect() for _ in range(2)]
    flows = []
    for _, writer in held:
        writer.write(MESSAGE)
        flows.append((await bench.next())[2])
        flows[-1].admitted(identified=False)
    reader, _ = await bench.connect()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 30) == b""
    assert bench.counters["connections_refused"] == 1
    for flow in flows:
        flow.admitted(identified=True)
    for _ in range(1):  # half of what those leave that proved their password
        _, writer = await bench.connect()
        writer.write(MESSAGE)
        (await bench.next())[2].admitted(identified=False)
    reader, _ = await bench.connect()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 30) == b""
    assert bench.counters["connections_refused"] == 2


async def test_a_trunk_may_have_all_connections_and_they_do_not_idle_out(opened: Open) -> None:
    bench = await opened(SipSettings(port=0, connection_limit=4, idle_timeout=0.05))
    bench.transports.connections.is_exempt = lambda host: host == "127.0.0.1"
    held = [await bench.connect() for _ in range(3)]
    other, _ = await bench.connect("127.0.0.2")
    assert await asyncio.wait_for(other.read(), 30) == b""
    held.append(await bench.connect())
    for _, writer in held:
        writer.write(MESSAGE)
        await bench.next()
    assert (bench.counters["connections_idle"], bench.counters["connections_refused"]) == (1, 0)


async def test_an_origin_makes_room_among_its_own_connections(opened: Open) -> None:
    bench = await opened(SipSettings(port=0, connection_limit=8))
    for _ in range(2):
        await bench.connect("127.0.0.2")
    crowd = [await bench.connect("127.0.0.3") for _ in range(9)]
    for reader, _ in crowd[:6]:
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
    assert bench.transports.connections.held == {"127.0.0.2": 2, "127.0.0.3": 3}
    for host in ("127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7"):
        _, writer = await bench.connect(host)
        writer.write(MESSAGE)
        await bench.next()
    assert len(bench.transports.connections.open) == 8
    assert bench.transports.connections.held["127.0.0.7"] == 1


async def test_a_connection_that_is_not_used_idles_out(opened: Open) -> None:
    bench = await opened(SipSettings(port=0, idle_timeout=0.05))
    used: list[Flow] = []
    bench.transports.connections.is_in_use = used.__contains__
    kept, writer = await bench.connect()
    writer.write(MESSAGE)
    used.append((await bench.next())[2])
    idle, pinging = await bench.connect()
    pinging.write(b"\r\n\r\n" * 3)
    silent, _ = await bench.connect()
    assert await asyncio.wait_for(silent.read(), 30) == b""
    assert await asyncio.wait_for(idle.read(), 30) == b"\r\n" * 3
    assert bench.counters["connections_idle"] == 2
    writer.write(MESSAGE)
    assert (await bench.next())[2] is used.pop()
    assert await asyncio.wait_for(kept.read(), 30) == b""
    assert bench.counters["connections_idle"] == 3


async def test_a_connection_that_never_carried_a_message_makes_room_for_another(bench: Bench) -> None:
    idle, _ = await bench.connect()
    _, talking = await bench.connect()
    talking.write(MESSAGE)
    await bench.next()
    _, honest = await bench.connect()
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.wait_for(idle.read(), 30) == b""
    for writer in (honest, talking):
        writer.write(MESSAGE)
        assert (await bench.next())[0] == MESSAGE
    assert bench.counters["connections_refused"] == 1


async def test_when_the_connection_is_closed_a_new_one_is_opened_to_the_target(bench: Bench) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put_nowait(await reader.readexactly(3))
        writer.write(MESSAGE)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(peer, "127.0.0.1", 0) as listener:
        flow = await bench.broken()
        flow.send(b"BYE", Endpoint("localhost", listener.sockets[0].getsockname()[1]))
        assert await asyncio.wait_for(arrived.get(), 30) == b"BYE"
        data, _, again = await bench.next()
        assert data == MESSAGE
        assert again is flow
        await bench.transports.close()


@pytest.mark.parametrize(("host", "connects"), [("127.0.0.2", False), ("127.0.0.5", True)])
async def test_a_peer_does_not_lead_us_to_a_trunk_by_its_contact(bench: Bench, host: str, connects: bool) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def trunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put_nowait(await reader.read(6))
        writer.close()

    bench.transports.connections.is_exempt = lambda host: host == "127.0.0.5"
    async with await asyncio.start_server(trunk, "127.0.0.5", 0) as listener:
        _, writer = await bench.connect(host)
        writer.write(MESSAGE)
        _, _, flow = await bench.next()
        writer.close()
        assert await bench.undelivered() == (flow, "the connection was closed", None)
        there = Endpoint("127.0.0.5", listener.sockets[0].getsockname()[1])
        flow.send(b"INVITE", there)
        assert await bench.undelivered() == (
            flow,
            "the connection was closed" if connects else "a peer's contact is a trunk's address",
            None,
        )
        assert await asyncio.wait_for(arrived.get(), 30) == (b"INVITE" if connects else b"")


async def test_messages_that_cannot_be_sent_are_counted(bench: Bench) -> None:
    flow = await bench.broken()
    flow.send(b"BYE", Endpoint("127.0.0.1", 1))
    flow.send(b"BYE", Endpoint("no such host", 1))
    await bench.counters.reached("send_errors")


async def test_a_peer_that_closes_without_an_answer_is_unreachable(bench: Bench) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(6)
        writer.close()

    async with await asyncio.start_server(peer, "127.0.0.1", 0) as listener:
        there = Endpoint("127.0.0.1", listener.sockets[0].getsockname()[1])
        flow = bench.transports.flow_to("tcp", there, "")
        flow.send(b"INVITE", there)
        assert await bench.undelivered() == (flow, "the connection was closed", None)


# ── UDP ──

CLOSED = 9
"""A port without a listener."""


@pytest.fixture(params=["127.0.0.1", "::1"])
async def udp(opened: Open, request: pytest.FixtureRequest) -> Bench:
    return await opened(SipSettings(port=0, host=request.param, connect_timeout=2))


async def test_an_undeliverable_datagram_is_reported_with_its_address(udp: Bench) -> None:
    host = udp.transports.local.host
    flow = udp.transports.flow_to("udp", Endpoint(host, CLOSED), "")
    for port in (CLOSED, CLOSED + 1):
        flow.send(b"OPTIONS", Endpoint(host, port))
    lost = [await udp.undelivered() for _ in range(2)]
    assert lost == [(flow, "Connection refused", Endpoint(host, port)) for port in (CLOSED, CLOSED + 1)]
    assert udp.counters["send_errors"] == 2


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_no_request_goes_to_a_metadata_service(bench: Bench, transport: str) -> None:
    to = Endpoint("169.254.169.254", 80)
    flow = bench.transports.flow_to(transport, to, "")
    flow.send(MESSAGE, to)
    lost, reason, _ = await bench.undelivered()
    assert lost is flow
    assert reason.startswith("169.254.169.254 may not be dialled: its address is link-local")
    assert bench.counters["egress_denied_metadata"] == 1


async def test_no_name_leads_a_request_to_a_metadata_service(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts").write_text("169.254.169.254 metadata.test\n")
    monkeypatch.setattr(names, "HOSTS", tmp_path / "hosts")
    bench = await opened(SipSettings(port=0))
    to = Endpoint("metadata.test", 80)
    bench.transports.flow_to("udp", to, "").send(MESSAGE, to)
    _, reason, place = await bench.undelivered()
    assert reason.startswith("metadata.test may not be dialled")
    assert place == to


async def test_a_response_goes_back_to_where_its_request_came_from(bench: Bench) -> None:
    """The address of a source is no destination that anyone has named."""
    flow = bench.transports.flow_to("udp", Endpoint("127.0.0.1", CLOSED), "")
    flow.send(b"SIP/2.0 200 OK\r\n\r\n", Endpoint("169.254.169.254", 5060))
    assert not bench.counters["egress_denied_metadata"]


async def test_an_unreachable_peer_costs_another_no_datagram(udp: Bench) -> None:
    host = udp.transports.local.host
    flow = udp.transports.flow_to("udp", Endpoint(host, CLOSED), "")
    for number in range(50):
        flow.send(b"lost", Endpoint(host, CLOSED))
        flow.send(b"%d" % number, udp.transports.local)
    assert [(await udp.next())[0] for _ in range(50)] == [b"%d" % number for number in range(50)]
    for _ in range(50):
        assert (await udp.undelivered())[2] == Endpoint(host, CLOSED)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("localhost", "Connection refused"),
        ("no such host", "no such host cannot be looked up: "),
        ("255.255.255.255", "Permission denied"),
    ],
)
async def test_an_undeliverable_datagram_to_a_name_is_reported_by_the_name(
    opened: Open, host: str, reason: str
) -> None:
    bench = await opened(SipSettings(port=0))
    there = Endpoint(host, CLOSED)
    bench.transports.flow_to("udp", there, "").send(b"OPTIONS", there)
    lost = await bench.undelivered()
    if lost[2] != there:
        lost = await bench.undelivered()  # of its address
    assert lost[2] == there
    assert lost[1].startswith(reason)


async def test_a_datagram_that_is_too_long_is_reported(udp: Bench) -> None:
    flow = udp.transports.flow_to("udp", udp.transports.local, "")
    flow.send(b"x" * 70_000, udp.transports.local)
    assert await udp.undelivered() == (flow, "Message too long", udp.transports.local)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ((ECONNREFUSED, 2, 3, 3), "Connection refused"),
        ((EHOSTUNREACH, 2, 3, 1), "No route to host"),
        ((ECONNREFUSED, 3, 1, 4), "Connection refused"),
        ((EMSGSIZE, 2, 3, 4), ""),
        ((EHOSTUNREACH, 2, 11, 0), ""),
        ((EPROTO, 3, 3, 0), ""),
        ((EMSGSIZE, 1, 0, 0), ""),
        ((ECONNREFUSED, 2, 1, 0), ""),
    ],
)
def test_only_unreachable_destinations_are_failures(error: tuple[int, ...], words: str) -> None:
    assert icmp_error(struct.pack("=IBBB", *error) + bytes(9)) == words


async def test_a_peer_that_does_not_read_is_disconnected(bench: Bench) -> None:
    _, writer = await bench.connect()
    writer.write(MESSAGE)
    _, _, flow = await bench.next()
    for _ in range(200):
        flow.send(b"x" * 100_000, Endpoint("127.0.0.1", 1))
    assert bench.counters["connections_broken"] == 1
