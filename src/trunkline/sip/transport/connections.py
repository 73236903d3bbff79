"""TCP and TLS connections (driver; RFC 3261 section 18, RFC 5923 in part).

A connection, opened by us or by the peer, has a `StreamFlow` that outlives it: after the connection is closed, a
message opens a new one. Each target that we connect to has one connection, for all its messages, kept alive by pings
(RFC 5626 section 4.4.1). Sending never raises and never waits; messages that cannot be sent are counted, and the flow
is reported as unreachable.

Of accepted connections one origin may hold half of those that the others leave (`shares.py`), handshakes included,
except trunks and phones that have proved their passwords. Beyond that, and at the limit, the oldest without an admitted
request makes room: of the same origin if it has one. What is not used for `sip.idle_timeout` is closed.

Bounds: connections, half-open handshakes included: `sip.connection_limit`; time to connect and to complete the
handshake: `sip.connect_timeout`; bytes that wait to be sent: `SEND_LIMIT`; pending attempts: `PENDING_LIMIT`.
"""

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import cached_property
from itertools import chain
from typing import cast

from trunkline.config import SipSettings
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.egress import Egress, Forbidden
from trunkline.outbound.names import Names
from trunkline.sdp.values import Endpoint
from trunkline.shares import may_take, origin_of
from trunkline.sip.message.framing import PING, Framer
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.transport.certificates import client_context
from trunkline.sip.transport.tls import TlsChannel, TlsFailed

OnMessage = Callable[[bytes, Endpoint, Flow], None]
OnWarning = Callable[[str, Endpoint, str], None]
"""Gets a warning for the log: event, address of the peer, reason."""

SEND_LIMIT = 1024 * 1024
"""Bytes that wait for a peer that does not read, or for its connection to open."""
PENDING_LIMIT = 1000
"""Pending look-ups and connection attempts; a message that needs one more is dropped."""
PONG = b"\r\n"


class Connections:
    """All stream connections of an endpoint, and the tasks that open them."""

    def __init__(
        self, settings: SipSettings, on_message: OnMessage, on_warning: OnWarning, counters: Counter[str]
    ) -> None:
        self.settings = settings
        self.on_message = on_message
        self.on_warning = on_warning
        self.on_sent: Callable[[bytes, Endpoint, Flow], None] | None = None
        """Gets each message that is sent, its target and its flow, for those who look on."""
        self.counters = counters
        self.on_unreachable: Callable[[Flow, str, Endpoint | None], None] | None = None
        """Called when a flow fails, for one address if it has several: unreachable, or the certificate does not
        match."""
        self.local: dict[str, Endpoint] = {}
        """Our host and port, by transport."""
        self.server_tls: ssl.SSLContext | None = None
        self.open: set[SipConnection] = set()
        self.is_in_use: Callable[[Flow], bool] = lambda _: False
        """Whether a phone is registered or a call is up by a flow."""
        self.is_exempt: Callable[[str], bool] = lambda _: False
        """Whether connections from that address are exempt from shares and idle time."""
        self.held: Counter[str] = Counter()
        """Accepted connections of each origin that count for its share."""
        self.silent: dict[SipConnection, None] = {}
        """Accepted connections without a message yet, oldest first."""
        self.unadmitted: dict[SipConnection, None] = {}
        """Those with messages, none of which was admitted, oldest first."""
        self._outbound: dict[tuple[str, Endpoint, str], StreamFlow] = {}
        """Flows to our targets, least recently used first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.names = Names()
        self.egress = Egress(counters=counters)
        """Of all requests: none goes to a link-local or metadata address, not even to one of a trunk."""
        self.dialler = Dialler(self.names, self.egress)
        self._sockets = 0
        self._all_closed = asyncio.Event()

    @cached_property
    def client_tls(self) -> ssl.SSLContext:
        """For connections that we open. Made on first use: reading the system's certificates takes 80 ms."""
        return client_context(self.settings)

    def accepted(self, transport: str) -> "SipConnection":
        """A connection that a peer opens."""
        context = self.server_tls if transport == "tls" else None
        return SipConnection(self, transport, None, None if context is None else TlsChannel(context, None))

    def flow_to(self, transport: str, to: Endpoint, server_name: str) -> "StreamFlow":
        """The one flow to a target; over TLS its certificate must be for `server_name`."""
        key = transport, to, server_name
        flow = self._outbound.pop(key, None) or StreamFlow(self, transport, None, to, server_name)
        self._outbound[key] = flow
        if len(self._outbound) > self.settings.connection_limit // 2:
            self._outbound.pop(next(iter(self._outbound))).close()
        return flow

    def make_room(self, origin: str) -> bool:
        """Whether there may be one more connection of an origin; empty: one without a share. If need be another is
        closed for it, so that connections without a purpose cannot block peers that send."""
        free = self.settings.connection_limit - len(self.open)
        if free > 0 and (not origin or may_take(self.held[origin], free)):
            return True
        self.counters["connections_refused"] += 1
        # One that holds places makes room among its own.
        own = origin if self.held[origin] else ""
        dispensable = (one for one in chain(self.silent, self.unadmitted) if own in ("", one.origin))
        oldest = next(dispensable, None)
        if oldest is not None:
            oldest.abort()
        return oldest is not None

    def report_unreachable(self, flow: Flow, reason: str, to: Endpoint | None) -> None:
        """A flow has failed; not reported once the server stops."""
        if self.on_unreachable is not None:
            self.on_unreachable(flow, reason, to)

    def socket_opened(self) -> None:
        """A socket or connection was opened."""
        self._sockets += 1
        self._all_closed.clear()

    def socket_closed(self) -> None:
        """A socket or connection was closed."""
        self._sockets -= 1
        if not self._sockets:
            self._all_closed.set()

    def spawn(self, work: Coroutine[None, None, None]) -> bool:
        """Run a look-up or a connection attempt, owned here; False if there are too many."""
        if len(self._tasks) >= PENDING_LIMIT:
            self.counters["send_errors"] += 1
            work.close()
            return False
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def stop_tasks(self) -> None:
        """Cancel pending look-ups and connection attempts."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.names.stop()

    async def close(self) -> None:
        """Close the connections, and wait until every socket is closed."""
        for connection in list(self.open):
            connection.abort()
        if self._sockets:
            await self._all_closed.wait()


class SipConnection(asyncio.Protocol):
    """One TCP or TLS connection, accepted or opened by us: the protocol of the loop."""

    def __init__(self, owner: Connections, transport: str, flow: "StreamFlow | None", tls: TlsChannel | None) -> None:
        self.transport = transport
        self._owner = owner
        self._flow = flow
        self._tls = tls
        self._ours = flow is not None
        self._framer = Framer(owner.settings.message_limit)
        self._socket: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._source = Endpoint("", 0)
        self.origin = ""
        """For whose share it counts; empty: for none."""
        self._admitted = False
        self._active_at = 0.0
        """When the last message came, or a ping if a request was admitted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open; it gets a flow, or is closed beyond the limit."""
        self._owner.socket_opened()
        self._socket = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self._source = Endpoint(peer[0], peer[1])
        exempt = self._ours or self._owner.is_exempt(peer[0])
        origin = "" if exempt else origin_of(peer[0])
        if not self._owner.make_room(origin):
            self.abort()
            if self._flow is not None:
                self._flow.unreachable("too many connections")
            return
        self._owner.open.add(self)
        if self._flow is None:
            self._flow = StreamFlow(self._owner, self.transport, self, None, "")
            self._flow.reaches_trunks = exempt
        if not exempt:
            self.origin = origin
            self._owner.held[origin] += 1
            self._owner.silent[self] = None
        if self._tls is None:
            self._ready()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._owner.settings.connect_timeout, self._fail, "no handshake in time")
        if self._ours:
            self._tls.shake_hands()
            self._flush(self._tls)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection was closed, by the peer or by us."""
        self._owner.socket_closed()
        if self._tls is not None and not self._tls.established and self in self._owner.open:
            self._fail("closed during the handshake" if exc is None else str(exc))
        lost = self in self._owner.open
        self._forget()
        self._socket = None
        if lost and self._flow is not None:
            self._flow.lost(self, "the connection was closed" if exc is None else _reason(exc))

    def data_received(self, data: bytes) -> None:
        """A piece of the stream."""
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        flow = self._flow
        for message in self._framer.feed(data):
            if message == PING:
                self._owner.counters["keepalives"] += 1
                self._active_at = self._now() if self._admitted else self._active_at
                self.write(PONG)
            elif flow is not None:
                self._active_at = self._now()
                if self in self._owner.silent:
                    del self._owner.silent[self]
                    self._owner.unadmitted[self] = None
                self._owner.on_message(message, self._source, flow)
        if self._socket is None:
            return
        if self._framer.broken is not None:
            self._owner.counters["connections_broken"] += 1
            self._socket.close()
        elif self._tls is not None and self._tls.ended:
            self._socket.close()

    @property
    def usable(self) -> bool:
        """Whether it can send a message now."""
        ready = self._tls is None or self._tls.established
        return ready and self._socket is not None and not self._socket.is_closing()

    def admitted(self, *, identified: bool) -> None:
        """See `Flow`."""
        self._admitted = True
        self._owner.silent.pop(self, None)
        self._owner.unadmitted.pop(self, None)
        if identified:
            self._leave_share()

    def write(self, data: bytes) -> None:
        """Send; closed if the peer does not read."""
        if self._socket is None or self._socket.is_closing():
            return
        if self._socket.get_write_buffer_size() > SEND_LIMIT:
            self._owner.counters["connections_broken"] += 1
            self.abort()
        elif self._tls is None:
            self._socket.write(data)
        else:
            try:
                self._tls.send(data)
            except TlsFailed as failed:
                self._fail(str(failed))
            self._flush(self._tls)

    def abort(self) -> None:
        """Close at once."""
        self._forget()
        if self._socket is not None:
            self._socket.abort()

    def _decrypt(self, tls: TlsChannel, data: bytes) -> bytes:
        shaking = not tls.established
        plain = b""
        try:
            plain = tls.receive(data)
        except TlsFailed as failed:
            self._flush(tls)  # The alert to the peer.
            self._fail(str(failed))
            return plain
        self._flush(tls)
        if shaking and tls.established:
            self._ready()
        return plain

    def _flush(self, tls: TlsChannel) -> None:
        data = tls.take()
        if data and self._socket is not None and not self._socket.is_closing():
            self._socket.write(data)

    def _ready(self) -> None:
        """Connected, and the TLS handshake is complete."""
        self._stop_timer()
        if self._ours and self._flow is not None:
            self._flow.connected(self)
            self._ping_later()
        elif self.origin:
            self._active_at = self._now()
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        timeout = self._owner.settings.idle_timeout
        left = self._active_at + timeout - self._now()
        if timeout and left <= 0 and not (self._flow is not None and self._owner.is_in_use(self._flow)):
            self._owner.counters["connections_idle"] += 1
            if self._socket is not None:
                self._socket.close()
        elif timeout:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(left if left > 0 else timeout, self._close_if_idle)

    def _ping_later(self) -> None:
        interval = self._owner.settings.ping_interval
        if interval:
            self._timer = asyncio.get_running_loop().call_later(interval, self._ping)

    def _ping(self) -> None:
        self.write(PING)
        self._ping_later()

    def _fail(self, reason: str) -> None:
        """The handshake failed, or TLS is broken."""
        if self not in self._owner.open:
            return
        self._owner.counters["tls_failures"] += 1
        self._owner.on_warning("sip_tls_failed", self._source, reason)
        self._forget()
        if self._ours and self._flow is not None:
            self._flow.unreachable(f"TLS: {reason}")
        if self._socket is not None:
            self._socket.close()  # After the alert has been sent.

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self) -> None:
        self._stop_timer()
        self._owner.open.discard(self)
        self._owner.silent.pop(self, None)
        self._owner.unadmitted.pop(self, None)
        self._leave_share()

    def _leave_share(self) -> None:
        origin, self.origin = self.origin, ""
        if origin:
            self._owner.held[origin] -= 1
            if not self._owner.held[origin]:
                del self._owner.held[origin]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


class StreamFlow:
    """A peer over TCP or TLS: by its connection, else by a new one.

    `target` and `server_name` are of a connection that we open; None and empty if the peer has opened it.
    """

    def __init__(
        self,
        owner: Connections,
        transport: str,
        connection: SipConnection | None,
        target: Endpoint | None,
        server_name: str,
    ) -> None:
        self.transport = transport
        self._owner = owner
        self._connection = connection
        self._target = target
        self._server_name = server_name
        self.reaches_trunks = True
        """It may be connected to a trunk's address. A phone names where it is called, and must not name a trunk."""
        self._waiting: list[bytes] = []
        self._connecting = False

    @property
    def local(self) -> Endpoint:
        """See `Flow`."""
        return self._owner.local[self.transport]

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one message."""
        if self._owner.on_sent is not None:
            self._owner.on_sent(data, to, self)
        if self._connection is not None and self._connection.usable:
            self._connection.write(data)
        elif sum(map(len, self._waiting)) + len(data) > SEND_LIMIT:
            self._owner.counters["send_errors"] += 1
        else:
            self._waiting.append(data)
            if not self._connecting:
                self._connecting = self._owner.spawn(self._connect(self._target or to))
            if not self._connecting:
                self._waiting.clear()

    def admitted(self, *, identified: bool) -> None:
        """See `Flow`."""
        if self._connection is not None:
            self._connection.admitted(identified=identified)

    def connected(self, connection: SipConnection) -> None:
        """The connection is open: send the messages that wait."""
        self._connection, self._connecting = connection, False
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            connection.write(data)

    def unreachable(self, reason: str) -> None:
        """The connection cannot be opened: drop the messages that wait."""
        self._owner.counters["send_errors"] += len(self._waiting)
        self._waiting, self._connecting = [], False
        self._owner.report_unreachable(self, reason, None)

    def lost(self, connection: SipConnection, reason: str) -> None:
        """The connection was closed: requests without a response fail (section 18.4), except if a new one is being
        opened."""
        if self._connection is connection and not self._connecting:
            self._connection = None
            self.unreachable(reason)

    def close(self) -> None:
        """Close the connection; a message opens a new one."""
        if self._connection is not None:
            self._connection.abort()

    async def _connect(self, to: Endpoint) -> None:
        tls = None
        try:
            if self.transport == "tls":
                tls = TlsChannel(self._owner.client_tls, self._server_name or to.host)
            async with asyncio.timeout(self._owner.settings.connect_timeout):
                sock = await self._owner.dialler.dial(to.host, to.port)
                if not self.reaches_trunks and self._owner.is_exempt(sock.getpeername()[0]):
                    sock.close()
                    raise Forbidden("a peer's contact is a trunk's address")
                await asyncio.get_running_loop().create_connection(
                    lambda: SipConnection(self._owner, self.transport, self, tls), sock=sock
                )
        except TimeoutError:
            self.unreachable("no connection in time")
        except OSError as error:
            self.unreachable(_reason(error))
        except Exception as error:  # For example a malformed host name; messages wait in any case.
            self.unreachable(str(error) or type(error).__name__)


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error)
