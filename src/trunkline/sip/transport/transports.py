"""UDP, TCP and TLS (driver; RFC 3261 section 18).

Each received message goes to `on_message(data, source, flow)`, with the flow for its response; `flow_to` gives the flow
to a target. UDP and TCP share a port, TLS has its own.

If a datagram cannot be delivered, Linux keeps the ICMP error with the address of the datagram (IP_RECVERR, ip(7)); a
request to that address fails at once (RFC 3261 section 18.4). The kernel also returns the error from the next system
call on the socket, even for a datagram to another address: so each datagram is tried twice.
"""

import asyncio
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from errno import EADDRINUSE, ENOBUFS, ENOMEM
from pathlib import Path
from typing import cast

from trunkline.config import SipSettings
from trunkline.errors import StartupError
from trunkline.outbound.egress import Forbidden
from trunkline.outbound.names import UnknownHost
from trunkline.portable import ERRQUEUE, RECVERR, keep_errors
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import is_address
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.transport.certificates import client_context, server_context
from trunkline.sip.transport.connections import Connections, OnMessage, OnWarning

ERRORS_AT_ONCE = 100
"""ICMP errors read at once; the rest is read next time."""
NAMES_LIMIT = 1000
"""Addresses that are kept with the names they were looked up by, for their ICMP errors."""
FULL = frozenset((ENOBUFS, ENOMEM))
"""Errors after which a retransmission may succeed."""
ERROR = struct.Struct("=IBBB")
"""The head of `sock_extended_err`: errno, origin, type, code."""
UNREACHABLE = {2: 3, 3: 1}
"""Type `destination unreachable`, by origin: ICMP (RFC 792) or ICMPv6 (RFC 4443)."""
FRAGMENTATION_NEEDED = (2, 3, 4)
"""Path MTU discovery: the only code without a lost datagram."""
FREE_PORT_TRIES = 10
"""Ports tried with `sip.port` 0, until one is free for both UDP and TCP."""


class Transports:
    """The listening sockets, and all connections. `directory` keeps our own certificate if the settings name none."""

    def __init__(
        self,
        settings: SipSettings,
        directory: Path | None,
        on_message: OnMessage,
        on_warning: OnWarning,
        counters: Counter[str],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self.connections = Connections(settings, on_message, on_warning, counters)
        self._udp: UdpSocket | None = None
        self._servers: list[asyncio.Server] = []
        self._set_local(settings.port, settings.tls_port or 0)

    @property
    def local(self) -> Endpoint:
        """Host and port of UDP and TCP, in Via and Contact."""
        return self.connections.local["udp"]

    @property
    def local_tls(self) -> Endpoint | None:
        """Host and port of TLS; None without TLS."""
        return self.connections.local["tls"] if self.connections.server_tls is not None else None

    def flow_to(self, transport: str, to: Endpoint, server_name: str) -> Flow:
        """The flow to `to` over `udp`, `tcp` or `tls`; the certificate must name `server_name`. Only once
        open."""
        if transport == "udp":
            assert self._udp is not None
            return self._udp
        return self.connections.flow_to(transport, to, server_name)

    async def prepare(self, settings: SipSettings) -> Callable[[], None]:
        """Read the certificates of these settings; the function that is returned uses them for new connections. Raises
        StartupError."""
        client = await asyncio.to_thread(client_context, settings)
        server = self.connections.server_tls and server_context(settings, self._directory)

        def commit() -> None:
            self._settings = self.connections.settings = settings
            self.connections.client_tls, self.connections.server_tls = client, server

        return commit

    async def open(self) -> None:
        """Listen. Raises StartupError."""
        if self._settings.tls_ca_file is not None or self._settings.tls_certificate_file is not None:
            _ = self.connections.client_tls  # Raises now, not at the first call.
        if self._settings.tls_port is not None:
            self.connections.server_tls = server_context(self._settings, self._directory)
        host, port = self._settings.host, self._settings.port
        for attempt in range(FREE_PORT_TRIES, 0, -1):
            try:
                port = await self._bind(host, port)
                break
            except OSError as error:
                await self.close()
                # A port that the system picked for UDP may be taken for TCP.
                if port == 0 and attempt > 1 and error.errno == EADDRINUSE:
                    continue
                raise _cannot_listen("SIP", Endpoint(host, port), error) from None
        await self._listen_for_tls(host, port)

    async def _bind(self, host: str, port: int) -> int:
        # Without the loop, whose error does not say why the port cannot be used.
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            keep_errors(sock)
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        port = sock.getsockname()[1]
        _, self._udp = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: UdpSocket(self.connections, sock), sock=sock
        )
        await self._listen(host, port, "tcp")
        return port

    async def _listen_for_tls(self, host: str, port: int) -> None:
        context, tls_port = self.connections.server_tls, self._settings.tls_port
        if context is not None and tls_port is not None:
            try:
                tls_port = await self._listen(host, tls_port, "tls")
            except OSError as error:
                await self.close()
                raise _cannot_listen("SIP over TLS", Endpoint(host, tls_port), error) from None
        self._set_local(port, tls_port or 0)

    async def _listen(self, host: str, port: int, transport: str) -> int:
        factory = lambda: self.connections.accepted(transport)  # noqa: E731 - asyncio wants a factory
        server = await asyncio.get_running_loop().create_server(factory, host, port)
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def _set_local(self, port: int, tls_port: int) -> None:
        host = self._settings.advertised_host or self._settings.host
        plain = Endpoint(host, port)
        self.connections.local.update(udp=plain, tcp=plain, tls=Endpoint(host, tls_port))

    async def close(self) -> None:
        """Stop listening, close connections, and drop messages that wait."""
        await self.connections.stop_tasks()
        if self._udp is not None:
            self._udp.close()
        for server in self._servers:
            server.close()
        self._servers.clear()
        await self.connections.close()


class UdpSocket(asyncio.DatagramProtocol):
    """The UDP socket: a flow to every peer."""

    transport = "udp"

    def __init__(self, owner: Connections, sock: socket.socket) -> None:
        self._owner = owner
        self._socket = sock
        self._transport: asyncio.DatagramTransport | None = None
        self._names: dict[Endpoint, Endpoint] = {}
        """Names that were looked up, by their addresses; the oldest first."""

    @property
    def local(self) -> Endpoint:
        """See `Flow`."""
        return self._owner.local["udp"]

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is bound."""
        self._owner.socket_opened()
        self._transport = cast("asyncio.DatagramTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket was closed."""
        self._owner.socket_closed()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One datagram; line ends only are a keep-alive, which has no response over UDP (RFC 5626 section 3.5.1)."""
        if not data.strip(b"\r\n\0"):
            self._owner.counters["keepalives"] += 1
            return
        self._owner.on_message(data, Endpoint(addr[0], addr[1]), self)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error for a datagram that we have sent."""
        self._read_errors()

    def admitted(self, *, identified: bool) -> None:
        """See `Flow`; all peers have one socket."""

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one datagram, after a look-up if `to` is a name."""
        if self._owner.on_sent is not None:
            self._owner.on_sent(data, to, self)
        if not is_address(to.host):
            self._owner.spawn(self._resolve_and_send(data, to))
            return
        try:
            # A response goes back to where its request came from.
            if not data.startswith(b"SIP/2.0 "):
                self._owner.egress.allowed(to.host, (to.host,))
        except Forbidden as error:
            self._not_sent(to, str(error))
        else:
            self._sendto(data, to)

    async def _resolve_and_send(self, data: bytes, to: Endpoint) -> None:
        try:
            async with asyncio.timeout(self._owner.settings.connect_timeout):
                found = await self._owner.names.look_up(to.host, self._socket.family)
            there = Endpoint(self._owner.egress.allowed(to.host, found.addresses)[0], to.port)
        except (UnknownHost, TimeoutError) as error:
            words = error.words if isinstance(error, UnknownHost) else "no answer in time"
            self._not_sent(to, f"{to.host} cannot be looked up: {words}")
            return
        except Forbidden as error:
            self._not_sent(to, str(error))
            return
        self._names[there] = to
        if len(self._names) > NAMES_LIMIT:
            del self._names[next(iter(self._names))]
        self._sendto(data, there)

    def _sendto(self, data: bytes, to: Endpoint) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for is_last in (False, True):
            try:
                self._socket.sendto(data, (to.host, to.port))
                return
            except BlockingIOError:
                self._transport.sendto(data, (to.host, to.port))  # The loop sends it when there is room.
                return
            except (OSError, ValueError) as error:
                self._read_errors()
                if is_last:
                    number = error.errno if isinstance(error, OSError) else None
                    words = os.strerror(number) if number and number > 0 else str(error)
                    self._not_sent(to, "" if number in FULL else words)

    def _read_errors(self) -> None:
        """Report the datagrams that could not be delivered."""
        if ERRQUEUE is None:
            return
        for _ in range(ERRORS_AT_ONCE):
            try:
                _, parts, _, address = self._socket.recvmsg(1, 512, ERRQUEUE)
            except OSError:
                return  # None is left.
            reason = next((icmp_error(part[2]) for part in parts if part[:2] == RECVERR[self._socket.family]), "")
            if reason:
                self._not_sent(Endpoint(address[0], address[1]), reason)

    def _not_sent(self, to: Endpoint, reason: str) -> None:
        """A datagram is lost; without a reason it is only counted."""
        self._owner.counters["send_errors"] += 1
        if reason:
            # Not at once: the sender has not stored its transaction yet.
            loop = asyncio.get_running_loop()
            for place in {to, self._names.get(to, to)}:
                loop.call_soon(self._owner.report_unreachable, self, reason, place)


def icmp_error(error: bytes) -> str:
    """The text of an extended error of the kernel (ip(7)); empty unless a destination is unreachable."""
    number, *origin = ERROR.unpack_from(error)
    if UNREACHABLE.get(origin[0]) != origin[1] or tuple(origin) == FRAGMENTATION_NEEDED:
        return ""
    return os.strerror(number)


def _cannot_listen(what: str, where: Endpoint, error: OSError) -> StartupError:
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return StartupError(f"cannot listen for {what} on {where}: {reason}")
