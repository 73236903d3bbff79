"""TLS and outbound connections over real sockets on the loopback. (TCP that comes in is in `test_transports.py`.)"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sip.bench import Watched
from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.transport.certificates import OWN_FILE
from trunkline.sip.transport.transports import Transports

MESSAGE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 4\r\n\r\nbody"


@dataclass
class Side:
    """One endpoint's transports, and what they report."""

    transports: Transports
    messages: "asyncio.Queue[tuple[bytes, Endpoint, Flow]]" = field(default_factory=asyncio.Queue)
    troubles: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    unreachable: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    counters: Watched = field(default_factory=Watched)

    async def next(self) -> tuple[bytes, Endpoint, Flow]:
        return await asyncio.wait_for(self.messages.get(), 30)

    @property
    def tls(self) -> Endpoint:
        assert self.transports.local_tls is not None
        return self.transports.local_tls


Open = Callable[[SipSettings], Awaitable[Side]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Open]:
    sides: list[Side] = []

    async def begin(settings: SipSettings) -> Side:
        side = Side.__new__(Side)
        counters = Watched()
        transports = Transports(
            settings,
            tmp_path,
            lambda *message: side.messages.put_nowait(message),
            lambda _event, _source, reason: side.troubles.put_nowait(reason),
            counters,
        )
        Side.__init__(side, transports, counters=counters)
        transports.connections.on_unreachable = lambda _flow, reason, _to: side.unreachable.put_nowait(reason)
        await transports.open()
        sides.append(side)
        return side

    yield begin
    for side in sides:
        await side.transports.close()


async def test_messages_go_over_one_tls_connection_both_ways(opened: Open, tmp_path: Path) -> None:
    callee = await opened(SipSettings(port=0))
    caller = await opened(SipSettings(port=0, tls_ca_file=tmp_path / OWN_FILE))
    flow = caller.transports.flow_to("tls", callee.tls, "127.0.0.1")
    assert flow is caller.transports.flow_to("tls", callee.tls, "127.0.0.1")
    assert (flow.transport, flow.local) == ("tls", caller.tls)
    flow.send(MESSAGE, callee.tls)
    flow.send(MESSAGE, callee.tls)
    for _ in range(2):
        data, _, back = await callee.next()
        assert (data, back.transport) == (MESSAGE, "tls")
    back.send(MESSAGE, Endpoint("127.0.0.1", 1))
    assert (await caller.next())[0] == MESSAGE
    assert len(callee.transports.connections.open) == 1


async def test_a_peer_with_the_wrong_certificate_gets_no_message(opened: Open) -> None:
    callee = await opened(SipSettings(port=0))
    caller = await opened(SipSettings(port=0))
    caller.transports.flow_to("tls", callee.tls, "127.0.0.1").send(MESSAGE, callee.tls)
    assert "self-signed" in await asyncio.wait_for(caller.unreachable.get(), 30)
    assert "alert" in await asyncio.wait_for(callee.troubles.get(), 30)
    assert callee.messages.empty()
    assert (caller.counters["tls_failures"], caller.counters["send_errors"]) == (1, 1)


async def test_a_port_without_a_listener_is_reported(opened: Open) -> None:
    side = await opened(SipSettings(port=0))
    for transport in ("tcp", "tls"):
        side.transports.flow_to(transport, Endpoint("127.0.0.1", 1), "a").send(MESSAGE, Endpoint("127.0.0.1", 1))
        assert "refused" in (await asyncio.wait_for(side.unreachable.get(), 30)).lower()


async def test_a_broken_connection_is_opened_again(opened: Open) -> None:
    callee, caller = await opened(SipSettings(port=0)), await opened(SipSettings(port=0))
    flow = caller.transports.flow_to("tcp", callee.transports.local, "")
    flow.send(MESSAGE, callee.transports.local)
    _, _, back = await callee.next()
    back.send(b"nonsense\r\n\r\n", Endpoint("127.0.0.1", 1))
    await caller.counters.reached("connections_broken")
    flow.send(MESSAGE, callee.transports.local)
    assert (await callee.next())[0] == MESSAGE


async def test_our_connections_are_kept_alive(opened: Open) -> None:
    callee, caller = await opened(SipSettings(port=0)), await opened(SipSettings(port=0, ping_interval=0.01))
    flow = caller.transports.flow_to("tcp", callee.transports.local, "")
    flow.send(MESSAGE, callee.transports.local)
    await callee.counters.reached("keepalives", 3)


async def test_a_handshake_that_never_ends_is_closed(opened: Open) -> None:
    side = await opened(SipSettings(port=0, connect_timeout=0.05))
    reader, writer = await asyncio.open_connection("127.0.0.1", side.tls.port)
    writer.write(b"\x16\x03\x01")
    assert await asyncio.wait_for(reader.read(), 30) == b""
    assert "no handshake in time" in await asyncio.wait_for(side.troubles.get(), 30)
    writer.close()
    await writer.wait_closed()


async def test_half_open_handshakes_are_bounded_and_block_no_peer(opened: Open) -> None:
    side = await opened(SipSettings(port=0, connection_limit=20))
    idle = [await asyncio.open_connection("127.0.0.1", side.tls.port) for _ in range(60)]
    for _, writer in idle:
        writer.write(b"\x16\x03\x01\x02\x00")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, honest = await asyncio.open_connection("127.0.0.1", side.tls.port, ssl=context)
    honest.write(MESSAGE)
    assert (await side.next())[0] == MESSAGE
    assert len(side.transports.connections.open) <= 20
    assert side.counters["connections_refused"] >= 40
    for writer in [honest, *(writer for _, writer in idle)]:
        writer.transport.abort()


async def test_half_open_handshakes_of_one_address_keep_half_of_the_places(opened: Open) -> None:
    side = await opened(SipSettings(port=0, connection_limit=8))
    source = ("127.0.0.2", 0)
    idle = [await asyncio.open_connection("127.0.0.1", side.tls.port, local_addr=source) for _ in range(20)]
    await side.counters.reached("connections_refused", 16)
    assert len(side.transports.connections.open) == side.transports.connections.held["127.0.0.2"] == 4
    _, other = await asyncio.open_connection("127.0.0.1", side.tls.port)
    for reader, _ in idle[:16]:
        with suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
    assert not any(reader.at_eof() for reader, _ in idle[16:]), "the oldest make room"
    for writer in [other, *(writer for _, writer in idle)]:
        writer.transport.abort()


async def test_flows_to_many_targets_are_bounded(opened: Open) -> None:
    callee, caller = await opened(SipSettings(port=0)), await opened(SipSettings(port=0, connection_limit=8))
    for number in range(12):
        flow = caller.transports.flow_to("tcp", callee.transports.local, f"host{number}")
        flow.send(MESSAGE, callee.transports.local)
        await callee.next()
    assert len(caller.transports.connections.open) <= 4
