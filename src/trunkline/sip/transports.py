"""UDP and TCP on one port (driver; RFC 3261 section 18).

A transport hands each message that came in to `on_message(data, source, flow)`, with the flow by which an answer goes
back. Sending never raises and never waits: what cannot be sent is counted. A TCP flow outlives its connection: when
that is gone, a message opens a new one to the address it is for.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from errno import EADDRINUSE
from functools import lru_cache
from ipaddress import ip_address
from typing import cast

from trunkline.config import SipSettings
from trunkline.errors import StartupError
from trunkline.sdp.values import Endpoint
from trunkline.sip.framing import PING, Framer
from trunkline.sip.transactions import Flow

OnMessage = Callable[[bytes, Endpoint, Flow], None]

SEND_LIMIT = 1024 * 1024
"""Bytes that may wait for a TCP peer that does not read; then its connection is dropped."""
CONNECT_TIMEOUT = 10.0
"""Seconds to look a name up and to connect."""
FREE_PORT_TRIES = 10
"""Ports tried, where the setting leaves the choice to us, until one is free for both UDP and TCP."""
PENDING_LIMIT = 1000
"""Look-ups and connection attempts under way; a message that needs one more is dropped."""


class Transports:
    """Both sockets, and what they share."""

    def __init__(self, settings: SipSettings, on_message: OnMessage, counters: Counter[str]) -> None:
        self.settings = settings
        self.counters = counters
        self.on_message = on_message
        self.local = Endpoint(settings.advertised_host or settings.host, settings.port)
        self.connections: set[TcpConnection] = set()
        self.strangers: dict[TcpConnection, None] = {}
        """Those accepted that have not carried a message yet, oldest first."""
        self.on_unreachable: Callable[[Flow, str], None] | None = None
        """Told when what was sent by a flow could not be delivered."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._udp: asyncio.DatagramTransport | None = None
        self._udp_flow: UdpSocket | None = None
        self._tcp: asyncio.Server | None = None
        self._sockets = 0
        self._all_closed = asyncio.Event()

    async def open(self) -> None:
        """Listen. Raises StartupError."""
        host, port = self.settings.host, self.settings.port
        for attempt in range(FREE_PORT_TRIES, 0, -1):
            try:
                await self._bind(host, port)
                return
            except OSError as error:
                await self.close()
                # A port that the system picked for UDP may be taken for TCP.
                if port == 0 and attempt > 1 and error.errno == EADDRINUSE:
                    continue
                reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                raise StartupError(f"cannot listen for SIP on {Endpoint(host, port)}: {reason}") from None

    def flow_to(self, transport: str, to: Endpoint, server_name: str) -> Flow:
        """The flow to a peer that we call; `server_name` is whom its certificate must name. Only once open."""
        assert self._udp_flow is not None
        return self._udp_flow if transport == "udp" else TcpFlow(self, None)

    async def _bind(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._udp, self._udp_flow = await loop.create_datagram_endpoint(
            lambda: UdpSocket(self), local_addr=(host, port)
        )
        port = self._udp.get_extra_info("sockname")[1]
        self._tcp = await loop.create_server(lambda: TcpConnection(self, None), host, port)
        self.local = Endpoint(self.local.host, port)

    async def close(self) -> None:
        """Stop listening, drop connections and what waits to be sent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for connection in list(self.connections):
            connection.abort()
        if self._sockets:
            await self._all_closed.wait()

    def make_room(self) -> bool:
        """Whether there may be one more connection; over the limit the oldest stranger goes for it, so that idle
        connections, however many, keep nobody out who has something to say."""
        if len(self.connections) < self.settings.connection_limit:
            return True
        self.counters["connections_refused"] += 1
        if not self.strangers:
            return False
        next(iter(self.strangers)).abort()
        return True

    def socket_opened(self) -> None:
        """A socket, or a connection, tells that it is there."""
        self._sockets += 1
        self._all_closed.clear()

    def socket_closed(self) -> None:
        """And that it is no more."""
        self._sockets -= 1
        if not self._sockets:
            self._all_closed.set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a look-up or a connection attempt, owned here."""
        if len(self._tasks) >= PENDING_LIMIT:
            self.counters["send_errors"] += 1
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class UdpSocket(asyncio.DatagramProtocol):
    """The UDP socket; as a flow, it reaches every peer."""

    transport = "udp"

    def __init__(self, owner: Transports) -> None:
        self._owner = owner
        self._socket: asyncio.DatagramTransport | None = None

    @property
    def local(self) -> Endpoint:
        """What we call ourselves."""
        return self._owner.local

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is bound."""
        self._owner.socket_opened()
        self._socket = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """We closed it."""
        self._owner.socket_closed()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One datagram; one of line ends only is a keep-alive (RFC 5626 section 3.5.1 answers none over UDP)."""
        if not data.strip(b"\r\n\0"):
            self._owner.counters["keepalives"] += 1
            return
        self._owner.on_message(data, Endpoint(addr[0], addr[1]), self)

    def error_received(self, exc: Exception) -> None:
        """An ICMP answer to something that we sent; the transaction's timers deal with it."""
        self._owner.counters["send_errors"] += 1

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one datagram, after a look-up where `to` is a name."""
        if _is_address(to.host):
            self._sendto(data, to)
        else:
            self._owner.spawn(self._resolve_and_send(data, to))

    async def _resolve_and_send(self, data: bytes, to: Endpoint) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                found = await asyncio.get_running_loop().getaddrinfo(to.host, to.port)
            self._sendto(data, Endpoint(str(found[0][4][0]), to.port))
        except (OSError, UnicodeError, IndexError):
            self._owner.counters["send_errors"] += 1

    def _sendto(self, data: bytes, to: Endpoint) -> None:
        if self._socket is None or self._socket.is_closing():
            return
        try:
            self._socket.sendto(data, (to.host, to.port))
        except (OSError, ValueError):
            self._owner.counters["send_errors"] += 1


class TcpConnection(asyncio.Protocol):
    """One TCP connection, accepted or opened by us, and its flow."""

    transport = "tcp"

    def __init__(self, owner: Transports, flow: "TcpFlow | None") -> None:
        self._owner = owner
        self._framer = Framer(owner.settings.message_limit)
        self._socket: asyncio.Transport | None = None
        self._source = Endpoint("", 0)
        self._flow = flow

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection, which is one too many, or gets a flow."""
        self._owner.socket_opened()
        self._socket = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self._source = Endpoint(peer[0], peer[1])
        if not self._owner.make_room():
            self.abort()
            return
        self._owner.connections.add(self)
        if self._flow is None:
            self._flow = TcpFlow(self._owner, self)
            self._owner.strangers[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer, or we, closed."""
        self._owner.socket_closed()
        self._forget()
        self._socket = None

    def data_received(self, data: bytes) -> None:
        """A piece of the stream."""
        flow = self._flow
        for message in self._framer.feed(data):
            if message == PING:
                self._owner.counters["keepalives"] += 1
                self.write(b"\r\n")
            elif flow is not None:
                self._owner.strangers.pop(self, None)
                self._owner.on_message(message, self._source, flow)
        if self._framer.broken is not None and self._socket is not None:
            self._owner.counters["connections_broken"] += 1
            self._socket.close()

    @property
    def open(self) -> bool:
        """Whether it can carry a message."""
        return self._socket is not None and not self._socket.is_closing()

    def write(self, data: bytes) -> None:
        """Send, unless the peer has stopped reading."""
        if self._socket is None:
            return
        if self._socket.get_write_buffer_size() > SEND_LIMIT:
            self._owner.counters["connections_broken"] += 1
            self.abort()
            return
        self._socket.write(data)

    def abort(self) -> None:
        """Close at once."""
        self._forget()
        if self._socket is not None:
            self._socket.abort()

    def _forget(self) -> None:
        self._owner.connections.discard(self)
        self._owner.strangers.pop(self, None)


class TcpFlow:
    """A peer reached over TCP: by the connection on which it came, else by a new one."""

    transport = "tcp"

    def __init__(self, owner: Transports, connection: TcpConnection | None) -> None:
        self._owner = owner
        self._connection = connection

    @property
    def local(self) -> Endpoint:
        """What we call ourselves."""
        return self._owner.local

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one message."""
        if self._connection is not None and self._connection.open:
            self._connection.write(data)
        else:
            self._owner.spawn(self._connect_and_send(data, to))

    async def _connect_and_send(self, data: bytes, to: Endpoint) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: TcpConnection(self._owner, self), to.host, to.port
                )
        except (OSError, UnicodeError) as error:
            self._owner.counters["send_errors"] += 1
            if self._owner.on_unreachable is not None:
                self._owner.on_unreachable(self, str(error))
            return
        self._connection = connection
        connection.write(data)


@lru_cache(1024)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
