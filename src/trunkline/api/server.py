"""The HTTP server: uvicorn inside our own loop. The driver of this room.

uvicorn brings the protocol (h11) and the life of connections; we bring the socket, so that a port that cannot be had
is one clear line, and take away its signal handlers, logs and plain-text refusals. What arrives before there is a
request for the application (garbage, a head over the limit, half a request) is refused here in the API's own shape
and counted in the application's counters. A refused connection is read on for a moment and thrown away, since
closing it with bytes unread would reset it before the peer has read why (RFC 9112 section 9.6).
"""

import asyncio
import contextlib
import json
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Generator
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from trunkline.api.app import ApiApplication
from trunkline.api.places import Doing, Places, Standing
from trunkline.api.tls import TlsListener
from trunkline.config import HttpSettings
from trunkline.errors import InvalidRequest, StartupError
from trunkline.shares import origin_of

REQUEST_TIMEOUT = 30.0
"""Seconds from a connection's or request's first byte to the request's last."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept, if its place is not needed. More than clients keep theirs (httpx, and so the
official SDK, 5 s): who closes first must be the client, or its next request meets a closed connection."""

LINGER = 2.0
"""Seconds that a refused connection is read on."""

BACKLOG = 2048
"""Connections that the kernel holds until we take them, as uvicorn has it."""

HANDSHAKE_TIMEOUT = 5.0
"""Seconds for the handshake of TLS, in which a connection has its place already."""

CONNECTION_LIMIT = 1000
"""Connections at once; each costs a file descriptor. `places.py` says who makes room for one more; those that are
closed for it, and those that find no room, are counted."""

RESERVE = 20
"""Connections beyond it, for one request each, so that readiness can be asked."""
SOCKET_MESSAGE_LIMIT = 65536
"""Bytes of a message of a WebSocket client."""
RESERVE_TIMEOUT = 2.0
"""Seconds for that request."""


class HttpServer:
    """Serves one application on one address, from `start` to `stop`."""

    def __init__(
        self,
        app: ApiApplication,
        settings: HttpSettings,
        *,
        request_timeout: float = REQUEST_TIMEOUT,
        connections: int = CONNECTION_LIMIT,
        prefix: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`prefix` is that of the settings' names, in errors. With `tls`: HTTPS."""
        self._settings = settings
        self._prefix = prefix
        config = _Config(app, settings, request_timeout, connections)
        self._server = _Server(config, tls)
        self._task: asyncio.Task[None] | None = None
        self.port = settings.port
        """The port that is served; after `start`, the real one where the settings say 0."""

    async def start(self) -> None:
        """Listen. Raises StartupError with one line for a busy port, a bad address, a missing permission."""
        listener = await self._listen()
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="http server")
        await self._server.listening.wait()

    async def stop(self, grace: float) -> None:
        """Stop listening, let requests end for `grace` seconds, then cut them off. May be called again."""
        if self._task is None:
            return
        self._server.stopping.set()
        self._server.close_listeners()
        await asyncio.wait({self._task}, timeout=grace)
        state = self._server.server_state
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()
        self._server.force_exit = True
        await self._task
        self._task = None

    async def _listen(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        where = f"http.{self._prefix}host {host}, http.{self._prefix}port {port}"
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise StartupError(f"cannot serve HTTP on {where}: {error.strerror or error}") from None
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            # Lets a restarted server have its port again while old connections are in TIME_WAIT.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise StartupError(f"cannot serve HTTP on {where}: {error.strerror or error}") from None
        return listener


class _Config(uvicorn.Config):
    """uvicorn's settings, and what our protocol needs beside them."""

    def __init__(self, app: ApiApplication, settings: HttpSettings, request_timeout: float, connections: int) -> None:
        super().__init__(
            app,
            http=_Protocol,
            ws=_WebSocket,
            ws_max_size=SOCKET_MESSAGE_LIMIT,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            # Below critical it only repeats what is refused and counted here, or logged by the application.
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=settings.header_limit,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self.counters: Counter[str] = app.counters
        self.socket_paths = app.socket_paths
        self.error_body = app.face.error_body
        self.places = Places(connections, RESERVE)
        self.protocols: dict[Standing, _Protocol] = {}
        self.head_limit = settings.header_limit
        self.request_timeout = request_timeout


class _Server(uvicorn.Server):
    """Leaves signals to our process, and reports when it listens."""

    config: _Config

    def __init__(self, config: _Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls
        self._tls_listeners: list[TlsListener] = []
        self.listening = asyncio.Event()
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Instead of uvicorn's, whose connections have no place before their handshakes are over."""
        loop = asyncio.get_running_loop()
        self.servers = []
        for sock in sockets or ():
            if self._tls is None:
                self.servers.append(await loop.create_server(self._connection, sock=sock, backlog=BACKLOG))
            else:
                made = TlsListener(sock, self._tls, HANDSHAKE_TIMEOUT, self._connection, self.config.counters)
                self._tls_listeners.append(made)
        self.started = True
        self.listening.set()

    def _connection(self) -> "_Protocol":
        return _Protocol(config=self.config, server_state=self.server_state, app_state={})

    def close_listeners(self) -> None:
        """Accept no more. May be called again."""
        for server in self.servers:
            server.close()
        for listener in self._tls_listeners:
            listener.close()

    async def main_loop(self) -> None:
        """Refresh the `date` header once a second until it is time to stop; uvicorn's own polls ten times as often."""
        while not self.stopping.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 1)


class _WebSocket(WebSocketsSansIOProtocol):
    """One connection after its upgrade, which keeps its place until it ends."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.app_state["left"]()
        super().connection_lost(exc)


class _Protocol(H11Protocol):
    """One connection: refuses in the API's shape, gives a request only so long, and lingers after a refusal."""

    config: _Config
    _standing: Standing
    _handshake: asyncio.Task[Any] | None = None
    _timer: asyncio.TimerHandle | None = None
    _refused = False

    def accepted(self, host: str, handshake: "asyncio.Task[Any] | None" = None) -> bool:
        """Take a place for a peer, which may have a handshake to complete first; False: there is none."""
        self._handshake = handshake
        self._standing = Standing(origin_of(host) if host else "")
        admitted, other = self.config.places.take(self._standing)
        if not admitted or other is not None:
            self.config.counters["connections_over_limit"] += 1
        if other is not None:
            self.config.protocols[other].abort()
        if admitted:
            self.config.protocols[self._standing] = self
        return admitted

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self._handshake is None and not self.accepted(self.client[0] if self.client else ""):
            transport.close()
            return
        self._handshake = None
        about = {"identified": self._identified, "origin": self._standing.origin, "left": self.leave}
        self.app_state = {**self.app_state, **about}
        self._arm(RESERVE_TIMEOUT if self._standing.reserved else self.config.request_timeout)

    def _identified(self, authenticated: bool) -> None:
        """The application says whether the request had a valid key."""
        self.config.places.identified(self._standing, authenticated=authenticated)

    def _should_upgrade(self) -> bool:
        wanted = self.scope["path"] in self.config.socket_paths and not self._standing.reserved
        return wanted and self._get_upgrade() == b"websocket"

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The library makes another protocol of the connection; its place stays taken."""
        self._disarm()
        self._standing.doing = Doing.ANSWERED
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._timer is None:
            self._standing.doing = Doing.WAITING
        if self._standing.reserved:
            self.transport.close()

    def abort(self) -> None:
        """Make room."""
        self.leave()
        self.connections.discard(self)
        if self._handshake is None:
            self.transport.abort()
        else:
            self._handshake.cancel()

    def leave(self) -> None:
        """The connection is closed. May be called again."""
        self._disarm()
        self.config.places.leave(self._standing)
        self.config.protocols.pop(self._standing, None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.leave()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._timer is None:
            self._arm(self.config.request_timeout)
        super().data_received(data)
        if not self._refused and self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED):
            self._disarm()
            self._standing.doing = Doing.ANSWERED

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn, inside its `except`, for what h11 cannot take for a request."""
        fault = sys.exception()
        if isinstance(fault, h11.RemoteProtocolError) and fault.error_status_hint == 431:
            detail = f"The request's head is larger than {self.config.head_limit} bytes"
            self._refuse("refused_head_too_large", detail, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            self._refuse("refused_malformed_request", f"Not a valid HTTP request: {fault}")

    def _arm(self, seconds: float) -> None:
        self._standing.doing = Doing.SENDING
        self._timer = self.loop.call_later(seconds, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._refuse("refused_late_request", "The request was not complete in time", HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, counter: str, detail: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        """Answer, unless the application has begun to, and be done with the connection."""
        self._refused = True
        self._disarm()
        self._unset_keepalive_if_required()
        self.config.counters[counter] += 1
        if self.cycle is not None:
            # To the application the peer has gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(self.config.error_body(InvalidRequest(detail))).encode()
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            head = h11.Response(status_code=status, headers=headers, reason=status.phrase)
            for event in (head, h11.Data(data=body)):
                self.transport.write(self.conn.send(event) or b"")
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER, self.transport.close)
