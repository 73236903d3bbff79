"""TCP and TLS connections (driver; RFC 3261 section 18, RFC 5923 in the small).

A connection is ours or the peer's; either way it has a `StreamFlow`, which outlives it: when the connection is gone, a
message opens a new one. There is one connection to each target that we opened one to, over which every message for it
goes, and which is kept alive by pings (RFC 5626 section 4.4.1). Sending never raises and never waits; what nobody can
be found to take is counted, and the flow tells that it is unreachable.

Bounds: connections in all, half-open handshakes among them, by `sip.connection_limit`; the time to connect and to
shake hands by `sip.connect_timeout`; what waits to be sent by `SEND_LIMIT`; attempts under way by `PENDING_LIMIT`.
"""

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import cast

from trunkline.config import SipSettings
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.names import Names
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.framing import PING, Framer
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.transport.certificates import client_context
from trunkline.sip.transport.tls import TlsChannel, TlsFailed

OnMessage = Callable[[bytes, Endpoint, Flow], None]
OnTrouble = Callable[[str, Endpoint, str], None]
"""Told of what an operator may want to know: event for the log, whom it concerns, reason in words."""

SEND_LIMIT = 1024 * 1024
"""Bytes that may wait for a peer that does not read, or for its connection to be there."""
PENDING_LIMIT = 1000
"""Look-ups and connection attempts under way; a message that needs one more is dropped."""
PONG = b"\r\n"


class Connections:
    """All stream connections of an endpoint, and the tasks that open them."""

    def __init__(
        self, settings: SipSettings, on_message: OnMessage, on_trouble: OnTrouble, counters: Counter[str]
    ) -> None:
        self.settings = settings
        self.on_message = on_message
        self.on_trouble = on_trouble
        self.counters = counters
        self.on_unreachable: Callable[[Flow, str, Endpoint | None], None] | None = None
        """Told when what was sent by a flow, to that address where the flow has several, could not be delivered: nobody
        there, or not who it should be."""
        self.local: dict[str, Endpoint] = {}
        """What we call ourselves, by transport."""
        self.server_tls: ssl.SSLContext | None = None
        self.open: set[SipConnection] = set()
        self.strangers: dict[SipConnection, None] = {}
        """Those accepted that have not carried a message yet, oldest first."""
        self._outbound: dict[tuple[str, Endpoint, str], StreamFlow] = {}
        """Flows to those whom we called, least recently used first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.names = Names()
        self.dialler = Dialler(self.names)
        self._sockets = 0
        self._all_closed = asyncio.Event()

    @cached_property
    def client_tls(self) -> ssl.SSLContext:
        """For those whom we call. Made when first used: reading the system's certificates takes 80 ms."""
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

    def make_room(self) -> bool:
        """Whether there may be one more connection; over the limit the oldest stranger goes for it, so that idle
        connections, however many, keep nobody out who has something to say."""
        if len(self.open) < self.settings.connection_limit:
            return True
        self.counters["connections_refused"] += 1
        if not self.strangers:
            return False
        next(iter(self.strangers)).abort()
        return True

    def tell_unreachable(self, flow: Flow, reason: str, to: Endpoint | None) -> None:
        """What was sent by a flow is lost; nobody is told any more once the server stops."""
        if self.on_unreachable is not None:
            self.on_unreachable(flow, reason, to)

    def socket_opened(self) -> None:
        """A socket, or a connection, tells that it is there."""
        self._sockets += 1
        self._all_closed.clear()

    def socket_closed(self) -> None:
        """And that it is no more."""
        self._sockets -= 1
        if not self._sockets:
            self._all_closed.set()

    def spawn(self, work: Coroutine[None, None, None]) -> bool:
        """Run a look-up or a connection attempt, owned here; False when there are too many."""
        if len(self._tasks) >= PENDING_LIMIT:
            self.counters["send_errors"] += 1
            work.close()
            return False
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def stop_tasks(self) -> None:
        """Give up what waits to be sent."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.names.stop()

    async def close(self) -> None:
        """Drop the connections, and wait until every socket is closed."""
        for connection in list(self.open):
            connection.abort()
        if self._sockets:
            await self._all_closed.wait()


class SipConnection(asyncio.Protocol):
    """One TCP or TLS connection, accepted or opened by us, as the loop sees it."""

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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection, which is one too many, or gets a flow."""
        self._owner.socket_opened()
        self._socket = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("", 0)
        self._source = Endpoint(peer[0], peer[1])
        if not self._owner.make_room():
            self.abort()
            if self._flow is not None:
                self._flow.unreachable("too many connections")
            return
        self._owner.open.add(self)
        if self._flow is None:
            self._flow = StreamFlow(self._owner, self.transport, self, None, "")
            self._owner.strangers[self] = None
        if self._tls is None:
            self._ready()
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._owner.settings.connect_timeout, self._fail, "no handshake in time")
        if self._ours:
            self._tls.shake_hands()
            self._flush(self._tls)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer, or we, closed."""
        self._owner.socket_closed()
        if self._tls is not None and not self._tls.established and self in self._owner.open:
            self._fail("closed in mid handshake" if exc is None else str(exc))
        lost = self in self._owner.open
        self._forget()
        self._socket = None
        if lost and self._flow is not None:
            self._flow.lost(self, "the connection was closed" if exc is None else _words(exc))

    def data_received(self, data: bytes) -> None:
        """A piece of the stream."""
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        flow = self._flow
        for message in self._framer.feed(data):
            if message == PING:
                self._owner.counters["keepalives"] += 1
                self.write(PONG)
            elif flow is not None:
                self._owner.strangers.pop(self, None)
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
        """Whether it can carry a message, now."""
        ready = self._tls is None or self._tls.established
        return ready and self._socket is not None and not self._socket.is_closing()

    def write(self, data: bytes) -> None:
        """Send, unless the peer has stopped reading."""
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
            self._flush(tls)  # the alert that tells the peer
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
        """Both sides are who they should be."""
        self._stop_timer()
        if self._ours and self._flow is not None:
            self._flow.connected(self)
            self._ping_later()

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
        self._owner.on_trouble("sip_tls_failed", self._source, reason)
        self._forget()
        if self._ours and self._flow is not None:
            self._flow.unreachable(f"TLS: {reason}")
        if self._socket is not None:
            self._socket.close()  # after what is left to be sent: the alert

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self) -> None:
        self._stop_timer()
        self._owner.open.discard(self)
        self._owner.strangers.pop(self, None)


class StreamFlow:
    """A peer reached over TCP or TLS: by the connection on which it came, else by a new one.

    `target` and `server_name` are whom we called; None and empty for a peer that called us.
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
        self._waiting: list[bytes] = []
        self._connecting = False

    @property
    def local(self) -> Endpoint:
        """What we call ourselves."""
        return self._owner.local[self.transport]

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one message."""
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

    def connected(self, connection: SipConnection) -> None:
        """There is a connection: send what waits for it."""
        self._connection, self._connecting = connection, False
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            connection.write(data)

    def unreachable(self, reason: str) -> None:
        """There will be none: drop what waits for it."""
        self._owner.counters["send_errors"] += len(self._waiting)
        self._waiting, self._connecting = [], False
        self._owner.tell_unreachable(self, reason, None)

    def lost(self, connection: SipConnection, reason: str) -> None:
        """The connection is gone: what the peer has not begun to answer it will not (section 18.4). Where a new one is
        being made, what waits for it keeps waiting."""
        if self._connection is connection and not self._connecting:
            self._connection = None
            self.unreachable(reason)

    def close(self) -> None:
        """Let the connection go; a message opens a new one."""
        if self._connection is not None:
            self._connection.abort()

    async def _connect(self, to: Endpoint) -> None:
        tls = None
        try:
            if self.transport == "tls":
                tls = TlsChannel(self._owner.client_tls, self._server_name or to.host)
            async with asyncio.timeout(self._owner.settings.connect_timeout):
                sock = await self._owner.dialler.dial(to.host, to.port)
                await asyncio.get_running_loop().create_connection(
                    lambda: SipConnection(self._owner, self.transport, self, tls), sock=sock
                )
        except TimeoutError:
            self.unreachable("no connection in time")
        except OSError as error:
            self.unreachable(_words(error))
        except Exception as error:  # A host name that is none, for one; whatever it was, messages wait.
            self.unreachable(str(error) or type(error).__name__)


def _words(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number and number > 0 else str(error)
