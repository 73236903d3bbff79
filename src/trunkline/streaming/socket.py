"""One WebSocket to the app, from dialling to its end: the driver that knows the WebSocket library.

    dialling ──upgraded──► open ──close / app closes / broken──► closing ──socket gone──► over
        └───────────────────────── no socket / given up ─────────────────────────────────────┘

`AppSocket.run` is awaited by the one task of its stream. All else happens in the callbacks of the library, without
tasks or awaits. The user is told once when the socket is of no more use, and why.

An app that does not read: the kernel is allowed little unsent data, the library none, so that what waits, waits in the
`SendBuffer`, which has its bound and drops the oldest. An app that sends without end is read as fast as `Throttle`
allows."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

import structlog
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSProtocolError, WSTransport

from trunkline import sockets
from trunkline.config import StreamSettings
from trunkline.outbound.dialler import Dialler, dial_words
from trunkline.outbound.names import Names, UnknownHost
from trunkline.streaming.certificates import tls_context
from trunkline.streaming.dialling import upgrade
from trunkline.streaming.retry import Disconnect, DisconnectReason
from trunkline.streaming.session import SendBuffer
from trunkline.streaming.target import BadTarget, Target, target
from trunkline.streaming.throttle import Throttle
from trunkline.streaming.upgrade import HandshakeRefused, NoUpgrade

UNSENT_LIMIT = 16384
"""Bytes that the kernel may hold unsent for one socket: about a second of one PCMU track."""
UNREAD_LIMIT = 32768
"""Bytes that the kernel may hold for us, which doubles it for its own needs: what one read may bring at most."""
COPIED = 16384
"""Bytes up to which a message of an app's is copied, of a larger one there is a view: the kernel reads audio from bytes
alone, and a small copy is cheaper than a view."""


# Looking a member of an enumeration up takes as long as ten other look-ups.
_TEXT, _CLOSE, _CONTINUATION = WSMsgType.TEXT, WSMsgType.CLOSE, WSMsgType.CONTINUATION
_PING, _PONG = WSMsgType.PING, WSMsgType.PONG

_log = structlog.get_logger()


def _prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_LIMIT)


def _nowhere(kind: WSMsgType, message: bytes) -> None:
    """There is no transport."""


class Sender:
    """What the streams of one loop share: how they dial, and who writes what they are sent in a turn of it, one message
    after the other when the turn is over. Between two system calls for TCP nothing else then runs, which is a fifth
    cheaper than writing each at once."""

    def __init__(self, dialler: Dialler | None = None) -> None:
        self.dialler = dialler or Dialler(Names())
        self.waiting: list[tuple[AppSocket, bytes]] = []
        """In order; who puts the first one in calls `soon`."""

    def soon(self) -> None:
        """Flush when this turn of the loop is over."""
        asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write all now."""
        waiting, self.waiting = self.waiting, []
        for to, message in waiting:
            try:
                to.push(message)
            except Exception as bug:
                _log.error("a message could not be sent", error=repr(bug))


class SocketUser(Protocol):
    """Whose socket it is. Called in the loop's thread."""

    def opened(self) -> None:
        """The upgrade is done, the socket may be used."""

    def gone(self, gone: Disconnect) -> None:
        """The socket may be used no more. The last call, exactly once unless `close` or `cancel` came first."""

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        """One whole message, valid during the call only; `now` is in seconds, of the loop's clock."""

    def binary(self, now: float) -> None:
        """A binary message, which has no meaning here."""

    def stalled(self) -> None:
        """The app does not read, its oldest frames are being dropped. Called once."""


class AppSocket:
    """One socket. `url` and `auth_token` say where it leads; of what an unreading app is sent, `send_buffer` seconds
    of media are kept."""

    __slots__ = (
        "_auth_token",
        "_dialling",
        "_fd",
        "_fragmented",
        "_fragments",
        "_open",
        "_paused",
        "_pong_due",
        "_resting",
        "_sender",
        "_settings",
        "_sock",
        "_throttle",
        "_time",
        "_timers",
        "_transport",
        "_url",
        "_user",
        "_warned",
        "outbox",
        "write",
    )

    def __init__(
        self,
        url: str,
        auth_token: str | None,
        settings: StreamSettings,
        user: SocketUser,
        send_buffer: float,
        sender: Sender,
    ) -> None:
        self.outbox = SendBuffer(send_buffer, settings.mark_limit)
        self._sender = sender
        self._time = asyncio.get_running_loop().time
        self._url = url
        self._auth_token = auth_token
        self._settings = settings
        self._user: SocketUser | None = user
        self._dialling: asyncio.Timeout | None = None
        self._sock: socket.socket | None = None
        self._transport: WSTransport | None = None
        self.write: Callable[[WSMsgType, bytes], None] = _nowhere
        """Of the transport, while there is one."""
        self._open = False
        self._fd = -1
        """Of a socket without TLS, while it can be written to."""
        self._paused = False
        self._warned = False
        self._throttle = Throttle()
        self._resting = False
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._pong_due: bytes | None = None
        self._fragments: bytearray | None = None
        self._fragmented = _TEXT

    # ── for the stream ──────────────────────────────────────────────────────────────────────────────────────

    async def run(self, connect_timeout: float) -> None:
        """Dial for at most `connect_timeout` seconds, then until the socket's end."""
        try:
            transport = await self._dial(connect_timeout)
            if transport is not None:
                await transport.wait_disconnected()
                self._gone(DisconnectReason.LOST, "the connection was lost")
        except WSProtocolError as problem:  # found by the library, which has sent the close frame
            self._gone(DisconnectReason.LOST, _protocol_words(problem, self._settings.message_limit))
            problem.__traceback__ = None  # its frames hold the exception itself
        finally:
            self._release()

    def media(self, message: bytes, at: int) -> None:
        """Send a `media` message of the leg's time `at` (ms)."""
        if not self._paused:
            waiting = self._sender.waiting
            if not waiting:
                self._sender.soon()
            waiting.append((self, message))
            return
        self.outbox.media(message, at)
        if self.outbox.dropped_frames and not self._warned and self._user is not None:
            self._warned = True
            self._user.stalled()

    def push(self, message: bytes) -> None:
        """Write a `media` message now: straight to the socket unless something waits in the transport, of which two
        layers are spared so."""
        transport = self._transport
        if self._fd < 0 or self._paused or transport is None:
            self.write(_TEXT, message)
        elif rest := sockets.send_text(self._fd, message):
            transport.underlying_transport.write(rest)

    def control(self, message: bytes) -> None:
        """Send any other message."""
        if self._paused:
            self.outbox.control(message)
        else:
            self._sender.flush()
            self.write(_TEXT, message)

    def close(self, stop: bytes) -> None:
        """`stop` behind all that waits, then close 1000; the app has `close_timeout` for its own close."""
        self._sender.flush()
        while (message := self.outbox.pop()) is not None:
            self.write(_TEXT, message)
        self.write(_TEXT, stop)
        self._hang_up(WSCloseCode.OK, "")

    def fail(self, words: str) -> None:
        """Close 1011."""
        self._hang_up(WSCloseCode.INTERNAL_ERROR, words)

    def cancel(self) -> None:
        """Dial no longer."""
        self._user = None
        if self._dialling is not None and not self._dialling.expired():
            self._dialling.reschedule(asyncio.get_running_loop().time())

    # ── dialling ────────────────────────────────────────────────────────────────────────────────────────────

    async def _dial(self, connect_timeout: float) -> WSTransport | None:
        """A socket on which `opened` has been called, or None with the user told."""
        if self._user is None:
            return None
        settings = self._settings
        where: Target | None = None
        try:
            where = target(self._url, self._auth_token)
            context = tls_context(settings.ca_file) if where.secure else None
            async with asyncio.timeout(connect_timeout) as self._dialling:
                self._sock = await self._sender.dialler.dial(where.host, where.port, _prepare)
                transport = await upgrade(self._sock, where, context, _Listener(self), settings.message_limit)
        except (OSError, WSError, NoUpgrade, ValueError) as problem:
            silent = isinstance(problem, UnknownHost) and problem.silent
            unreachable = silent or isinstance(problem, ConnectionRefusedError | TimeoutError)
            self._gone(
                DisconnectReason.UNREACHABLE if unreachable else DisconnectReason.FAILED,
                _dial_words(problem, where, connect_timeout),
            )
            problem.__traceback__ = None  # its frames hold the exception itself
            return None
        finally:
            self._dialling = None
        if self._transport is None:
            self._gone(DisconnectReason.FAILED, "the server closed the connection instead of answering the upgrade")
            return None
        return transport

    # ── the life of the socket ──────────────────────────────────────────────────────────────────────────────

    def opened(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        if self._user is None:
            transport.disconnect(graceful=False)
            return
        # Whatever waits in the transport has us paused, so that nothing written straight to the socket overtakes it.
        # With TLS nothing is, and uvloop pauses at the limit instead of above it.
        transport.underlying_transport.set_write_buffer_limits(high=1 if transport.is_secure else 0)
        self._transport = transport
        self.write = transport.send
        if self._sock is not None and not transport.is_secure:
            self._fd = self._sock.fileno()
        self._open = True
        self._ping()
        self._user.opened()

    def disconnected(self) -> None:
        """The transport is about to close the socket, whose number may then be another's."""
        self._fd = -1

    def _gone(self, how: DisconnectReason, words: str) -> None:
        """Tell the cause, if it is the first."""
        user, self._user = self._user, None
        self._open = False
        if user is not None:
            user.gone(Disconnect(how, words))

    def _break(self, code: WSCloseCode, words: str) -> None:
        """The app broke the protocol: close with `code`."""
        self._gone(DisconnectReason.LOST, words)
        self._hang_up(code, words)

    def _hang_up(self, code: WSCloseCode, words: str) -> None:
        """Send our close frame; the app has `close_timeout` for its own, and for reading what is on the way."""
        if self._transport is not None:
            self._sender.flush()
            self._fd = -1
            self._open = False
            self._user = None
            self._transport.send_close(code, words)
            self._later("abort", self._settings.close_timeout, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _release(self) -> None:
        """Let go of everything; the worker runs without a cyclic collector, so no cycle may be left."""
        self._fd = -1
        self._open = False
        self._user = None
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._transport is not None:
            self._abort()
            # The loop's TLS keeps the callbacks of its protocol, and thereby all of this, until it is given others.
            self._transport.underlying_transport.set_protocol(asyncio.BufferedProtocol())
            self._transport = None
            self.write = _nowhere
        if self._sock is not None:
            # An upgrade that was given up on leaves its transport in the library's hands; this ends it.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock = None

    def _later(self, name: str, delay: float, call: Callable[[], None]) -> None:
        """Run `call` after `delay` seconds, in place of what was planned under `name`."""
        if (timer := self._timers.get(name)) is not None:
            timer.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(delay, call)

    # ── pings ───────────────────────────────────────────────────────────────────────────────────────────────

    def _ping(self) -> None:
        """Plan the next ping and, but for the first time, send one."""
        if "ping" in self._timers and self._transport is not None:
            self._transport.send_ping()
            if "pong" not in self._timers:
                self._later("pong", self._settings.pong_timeout, self._no_pong)
        self._later("ping", self._settings.ping_interval, self._ping)

    def _on_pong(self) -> None:
        if (timer := self._timers.pop("pong", None)) is not None:
            timer.cancel()

    def _no_pong(self) -> None:
        self._gone(DisconnectReason.LOST, f"the app answered no ping for {self._settings.pong_timeout:g} s")
        self._abort()

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────

    def pause(self) -> None:
        """The kernel takes no more."""
        self._paused = True

    def resume(self) -> None:
        """The kernel takes more: what waited first."""
        self._paused = False
        self._sender.flush()
        if self._pong_due is not None:
            self._on_ping(self._pong_due)
            self._pong_due = None
        while self._open and not self._paused and (message := self.outbox.pop()) is not None:
            self.write(_TEXT, message)

    # ── receiving ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, frame: WSFrame) -> None:
        """One WebSocket frame."""
        now = self._time()
        size = frame.payload_size
        if self._throttle.charge(size, now) and not self._resting:
            self._rest(now)
        kind = frame.msg_type
        if kind is _TEXT and frame.fin and self._open and self._fragments is None:
            message = frame.get_payload_as_bytes() if size <= COPIED else frame.get_payload_as_memoryview()
            self._on_message(_TEXT, message, now)
        elif kind == _CLOSE:
            self._on_close(frame)
        elif not self._open:
            return
        elif kind == _PING:
            self._on_ping(frame.get_payload_as_bytes())
        elif kind == _PONG:
            self._on_pong()
        elif frame.fin and kind != _CONTINUATION and self._fragments is None:
            self._on_message(kind, frame.get_payload_as_memoryview(), now)
        else:
            self._on_fragment(kind, frame, now)

    def _rest(self, now: float) -> None:
        """Read nothing more of the app's until its debt is paid."""
        if self._transport is not None:
            if not self._resting:
                self._resting = True
                self._transport.underlying_transport.pause_reading()
            self._later("rest", self._throttle.rest(now), self._read_on)

    def _read_on(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._throttle.rest(now):
            self._rest(now)
        elif self._transport is not None:
            self._resting = False
            self._transport.underlying_transport.resume_reading()

    def _on_fragment(self, kind: WSMsgType, frame: WSFrame, now: float) -> None:
        """RFC 6455 section 5.4."""
        if (kind == _CONTINUATION) is (self._fragments is None):
            self._break(WSCloseCode.PROTOCOL_ERROR, "the app mixed up the fragments of its messages")
            return
        if self._fragments is None:
            self._fragments, self._fragmented = bytearray(), kind
        if len(self._fragments) + frame.payload_size > self._settings.message_limit:
            self._break(WSCloseCode.MESSAGE_TOO_BIG, _too_big(self._settings.message_limit))
            return
        self._fragments += frame.get_payload_as_memoryview()
        if frame.fin:
            message, self._fragments = self._fragments, None
            self._on_message(self._fragmented, message, now)

    def _on_message(self, kind: WSMsgType, message: bytes | bytearray | memoryview, now: float) -> None:
        user = self._user
        if user is None:
            return
        if kind is _TEXT:
            user.text(message, now)
        else:
            user.binary(now)

    def _on_ping(self, payload: bytes) -> None:
        if self._paused:
            self._pong_due = payload  # RFC 6455 section 5.5.3: the most recent ping is enough
        elif self._transport is not None:
            self._transport.send_pong(payload)

    def _on_close(self, frame: WSFrame) -> None:
        """The app's close frame: the first one, or the answer to ours."""
        transport = self._transport
        if transport is None:
            return
        if not transport.is_close_frame_sent:
            payload = frame.get_payload_as_bytes()
            code, said = int.from_bytes(payload[:2]), payload[2:].decode()
            self._gone(
                _CLOSES.get(code, DisconnectReason.LOST), f"the app closed the socket with {code}{said and ': '}{said}"
            )
            self._hang_up(WSCloseCode(code) if code in _ECHOED else WSCloseCode.OK, "")
        transport.disconnect()


class _Listener(WSListener):
    """What the WebSocket library calls."""

    __slots__ = ("_socket",)

    def __init__(self, owner: AppSocket) -> None:
        self._socket = owner

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._socket.opened(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._socket.receive(frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._socket.disconnected()

    def pause_writing(self) -> None:
        self._socket.pause()

    def resume_writing(self) -> None:
        self._socket.resume()


# ── causes in words ─────────────────────────────────────────────────────────────────────────────────────────

_CLOSES = {1000: DisconnectReason.CLOSED, 1001: DisconnectReason.LEFT, 0: DisconnectReason.CLOSED}
"""RFC 6455 section 7.4.1; 0 stands for a close frame without a code, which is what plain `close()` sends in many
clients."""
_ECHOED = frozenset(code.value for code in WSCloseCode) - {0, 1006}


def _too_big(limit: int) -> str:
    return f"the app sent a message longer than {limit} bytes (closed with 1009)"


def _protocol_words(problem: WSProtocolError, limit: int) -> str:
    if problem.code == WSCloseCode.MESSAGE_TOO_BIG:
        return _too_big(limit)
    return f"the app broke the WebSocket protocol: {problem}"


def _dial_words(problem: Exception, where: Target | None, timeout: float) -> str:
    """Why there is no socket. The URL itself is not repeated: it may hold secrets."""
    if where is None or isinstance(problem, BadTarget):
        return str(problem)
    place = f"{where.host} port {where.port}"
    match problem:
        case HandshakeRefused():
            return f"the upgrade was answered with {problem} by {place}"
        case TimeoutError():
            return f"timeout: no WebSocket to {place} within {round(timeout, 1):g} s"
        case ConnectionError() if where.secure and not isinstance(problem, ConnectionRefusedError):
            return f"{place} broke off the TLS handshake"
        case OSError():
            return dial_words(problem, where.host, where.port)
        case _:
            return f"no proper answer to the upgrade from {place}: {problem}"
