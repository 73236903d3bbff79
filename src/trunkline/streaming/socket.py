"""One WebSocket to the app, from connecting to its end: the driver that knows the WebSocket library.

    connecting ──upgraded──► open ──close, fail, app closes, broken──► closing ──TCP closed──► over
         └───────────────────────── failed, cancelled ──────────────────────────────────────────┘

`AppSocket.run` is awaited by the one task of its stream. All else happens in the callbacks of the library, without
tasks or awaits. The owner learns once that the socket is no longer usable, and why.

If the app does not read: the kernel may hold little unsent data and the library none, so that messages wait in the
`SendBuffer`, which is bounded and drops the oldest. If the app sends without end, it is read as fast as `Throttle`
allows. An incomplete message takes memory from the account's budget as it comes.
"""

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
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.budget import UNBOUNDED, Budget
from trunkline.streaming.certificates import BadCertificates, tls_context
from trunkline.streaming.dialling import SocketIntake, upgrade
from trunkline.streaming.intake import UNCHARGED
from trunkline.streaming.retry import Disconnect, DisconnectReason
from trunkline.streaming.session import MessageSink, SendBuffer
from trunkline.streaming.throttle import Throttle
from trunkline.streaming.upgrade import BadAuthToken, HandshakeRefused, NoUpgrade, request_headers

UNSENT_LIMIT = 16384
"""Bytes that the kernel may hold unsent for one socket: about a second of one PCMU track."""
UNREAD_LIMIT = 32768
"""Receive buffer in bytes, which the kernel doubles for its own use: the most that one read returns."""
STEP = 65536
"""Bytes that an incomplete message takes from the budget at once."""
COPIED = 16384
"""Size in bytes up to which a message is copied; a larger one is read through a view. `speedups` decodes only bytes,
and a small copy is cheaper than a view."""

# Enum member access costs ten attribute reads.
_TEXT, _CLOSE, _CONTINUATION = WSMsgType.TEXT, WSMsgType.CLOSE, WSMsgType.CONTINUATION
_PING, _PONG = WSMsgType.PING, WSMsgType.PONG

_log = structlog.get_logger()


def _prepare(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_LIMIT)


def _discard(kind: WSMsgType, message: bytes) -> None:
    """Stands for the transport's `send` while there is no transport."""


class Sender:
    """Shared by the sockets of one loop: how they connect, and the `media` messages of one turn of the loop. These are
    written together when the turn is over: no other code then runs between two system calls for TCP, which is a fifth
    cheaper than writing each at once."""

    def __init__(self, dialler: Dialler | None = None) -> None:
        self.dialler = dialler or Dialler(Names())
        self.waiting: list[tuple[AppSocket, bytes]] = []
        """In order; appending the first one includes a call of `soon`."""

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
                _log.error("stream_send_failed", reason=repr(bug))


class SocketOwner(Protocol):
    """Whose socket it is. Called in the loop's thread."""

    def opened(self) -> None:
        """The upgrade is done; the socket may be used."""

    def disconnected(self, gone: Disconnect) -> None:
        """The socket must not be used any more. The last call; exactly once unless `close`, `fail` or `cancel` came
        first."""

    def send_buffer_full(self) -> None:
        """The app does not read, and its oldest frames are dropped. Called once."""


class MessageReader(Protocol):
    """Who gets the app's messages. Called in the loop's thread while the socket is open."""

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        """One whole text message, valid during the call only; `now` is in seconds, of the loop's clock."""

    def binary(self, now: float) -> None:
        """A binary message."""


class AppSocket(MessageSink):
    """One socket to `url`. For an app that does not read, `send_buffer` seconds of media are kept."""

    __slots__ = (
        "_account",
        "_auth_token",
        "_budget",
        "_dialling",
        "_fd",
        "_fragmented",
        "_fragments",
        "_intake",
        "_limit",
        "_open",
        "_owner",
        "_paused",
        "_pong_due",
        "_reader",
        "_resting",
        "_sender",
        "_settings",
        "_sock",
        "_throttle",
        "_time",
        "_timers",
        "_transport",
        "_url",
        "_warned",
        "write",
    )

    def __init__(
        self,
        account: str,
        url: WebSocketUrl,
        auth_token: str | None,
        settings: StreamSettings,
        owner: SocketOwner,
        reader: MessageReader,
        send_buffer: float,
        sender: Sender,
        budget: Budget = UNBOUNDED,
    ) -> None:
        self._budget = budget
        super().__init__(SendBuffer(send_buffer, settings.mark_limit, self._budget))
        self._intake = SocketIntake(self)
        self._limit = min(settings.message_limit, self._budget.limit // 4)
        """Bytes of a message."""
        self._sender = sender
        self._time = asyncio.get_running_loop().time
        self._account = account
        self._url = url
        self._auth_token = auth_token
        self._settings = settings
        self._owner: SocketOwner | None = owner
        self._reader: MessageReader | None = reader
        self._dialling: asyncio.Timeout | None = None
        self._sock: socket.socket | None = None
        self._transport: WSTransport | None = None
        self.write: Callable[[WSMsgType, bytes], None] = _discard
        """The transport's `send`, while there is one."""
        self._open = False
        self._fd = -1
        """Of a socket without TLS, while it may be written to directly; else -1."""
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
        """Connect within `connect_timeout` seconds, then wait for the socket's end."""
        try:
            transport = await self._dial(connect_timeout)
            if transport is not None:
                await transport.wait_disconnected()
                self._gone(DisconnectReason.LOST, "the connection was lost")
        except WSProtocolError as problem:  # found by the library, which has sent the close frame
            self._gone(DisconnectReason.LOST, _protocol_detail(problem, self._limit))
            problem.__traceback__ = None  # its frames hold the exception itself
        finally:
            self._release()

    def media(self, message: bytes, at: int) -> None:
        """See `MessageSink`. Written when this turn of the loop is over."""
        if not self._paused:
            waiting = self._sender.waiting
            if not waiting:
                self._sender.soon()
            waiting.append((self, message))
            return
        self.outbox.media(message, at)
        if self.outbox.dropped_frames and not self._warned and self._owner is not None:
            self._warned = True
            self._owner.send_buffer_full()

    def push(self, message: bytes) -> None:
        """Write a `media` message now: directly to the socket, past two layers of the transport, unless data waits in
        the transport."""
        transport = self._transport
        if self._fd < 0 or self._paused or transport is None:
            self.write(_TEXT, message)
        elif rest := sockets.send_text(self._fd, message):
            transport.underlying_transport.write(rest)

    def control(self, message: bytes) -> None:
        """See `MessageSink`."""
        if self._paused:
            self.outbox.control(message)
        else:
            self._sender.flush()
            self.write(_TEXT, message)

    def close(self, stop: bytes) -> None:
        """Send what waits, `stop` and close 1000; the app has `close_timeout` for its own close."""
        self._sender.flush()
        while (message := self.outbox.pop()) is not None:
            self.write(_TEXT, message)
        self.write(_TEXT, stop)
        self._send_close(WSCloseCode.OK, "")

    def fail(self, reason: str) -> None:
        """Close 1011."""
        self._send_close(WSCloseCode.INTERNAL_ERROR, reason)

    def read_by(self, reader: MessageReader) -> None:
        """Give the app's messages to this one from now on; nothing once the socket is no longer usable."""
        if self._reader is not None:
            self._reader = reader

    def cancel(self) -> None:
        """Stop connecting."""
        self._owner = self._reader = None
        if self._dialling is not None and not self._dialling.expired():
            self._dialling.reschedule(asyncio.get_running_loop().time())

    # ── connecting ────────────────────────────────────────────────────────────────────────────────────────────

    async def _dial(self, connect_timeout: float) -> WSTransport | None:
        """Returns a transport for which `opened` has been called; None if there is none, and the owner knows."""
        if self._owner is None:
            return None
        settings, url = self._settings, self._url
        try:
            headers = request_headers(url, self._auth_token)
            context = tls_context(settings.ca_file) if url.secure else None
            async with asyncio.timeout(connect_timeout) as self._dialling:
                dial = self._sender.dialler.dial
                self._sock = await dial(url.host, url.port, _prepare, account=self._account)
                transport = await upgrade(self._sock, url, headers, context, _Listener(self), self._limit, self._intake)
        except (OSError, WSError, NoUpgrade, ValueError) as problem:
            silent = isinstance(problem, UnknownHost) and problem.silent
            unreachable = silent or isinstance(problem, ConnectionRefusedError | TimeoutError)
            self._gone(
                DisconnectReason.UNREACHABLE if unreachable else DisconnectReason.FAILED,
                _connect_error(problem, url, connect_timeout),
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
        if self._owner is None:
            transport.disconnect(graceful=False)
            return
        # Any data that waits in the transport pauses us, so that nothing written directly to the socket overtakes it.
        # With TLS nothing is written directly, and uvloop pauses at the limit instead of above it.
        transport.underlying_transport.set_write_buffer_limits(high=1 if transport.is_secure else 0)
        self._transport = transport
        self.write = transport.send
        if self._sock is not None and not transport.is_secure:
            self._fd = self._sock.fileno()
        self._open = True
        self._ping()
        self._owner.opened()

    def disconnected(self) -> None:
        """The transport is about to close the socket, whose file descriptor may then be reused."""
        self._fd = -1

    def _gone(self, reason: DisconnectReason, detail: str) -> None:
        """Report the cause to the owner, if it is the first."""
        owner, self._owner, self._reader = self._owner, None, None
        self._open = False
        if owner is not None:
            owner.disconnected(Disconnect(reason, detail))

    def _protocol_error(self, code: WSCloseCode, detail: str) -> None:
        """The app broke the protocol: close with `code`."""
        self._gone(DisconnectReason.LOST, detail)
        self._send_close(code, detail)

    def _send_close(self, code: WSCloseCode, reason: str) -> None:
        """Send our close frame; the app has `close_timeout` to read what was sent and to send its own."""
        if self._transport is not None:
            self._sender.flush()
            self._fd = -1
            self._open = False
            self._owner = self._reader = None
            self._transport.send_close(code, reason)
            self._later("abort", self._settings.close_timeout, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _release(self) -> None:
        """Drop all references: the worker runs without a cyclic collector, so no cycle may be left."""
        self._fd = -1
        self._open = False
        self._owner = self._reader = None
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.outbox.release()
        self._budget.give(self._intake.allowed - UNCHARGED)
        self._intake.allowed = UNCHARGED
        self._drop_fragments()
        if self._transport is not None:
            self._abort()
            # The loop's TLS transport keeps the callbacks of its protocol, and so this object, until it gets another.
            self._transport.underlying_transport.set_protocol(asyncio.BufferedProtocol())
            self._transport = None
            self.write = _discard
        if self._sock is not None:
            # After an upgrade that was given up the library still holds the transport; this ends it.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock = None
        self._intake.release()

    def _later(self, name: str, delay: float, call: Callable[[], None]) -> None:
        """Run `call` after `delay` seconds, in place of the timer of that name."""
        if (timer := self._timers.get(name)) is not None:
            timer.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(delay, call)

    # ── pings ───────────────────────────────────────────────────────────────────────────────────────────────

    def _ping(self) -> None:
        """Send a ping, except the first time, and set the timer of the next."""
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
        """The kernel's send buffer is full."""
        self._paused = True

    def resume(self) -> None:
        """The kernel takes data again: write what waited, then go on."""
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
        self._intake.unfinished = 0
        now = self._time()
        size = frame.payload_size
        if self._throttle.charge(size, now) and not self._resting:
            self._rest(now)
        kind = frame.msg_type
        if kind is _TEXT and frame.fin and self._open and self._fragments is None:
            message = frame.get_payload_as_bytes() if size <= COPIED else frame.get_payload_as_memoryview()
            if (reader := self._reader) is not None:
                reader.text(message, now)
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
        """Stop reading until the throttle allows more."""
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
            self._protocol_error(WSCloseCode.PROTOCOL_ERROR, "the app sent a fragment out of order")
            return
        if self._fragments is None:
            self._fragments, self._fragmented = bytearray(), kind
        before, size = len(self._fragments), len(self._fragments) + frame.payload_size
        if size > self._limit:
            self._drop_fragments()
            self._protocol_error(WSCloseCode.MESSAGE_TOO_BIG, _too_big(self._limit))
            return
        if not self._budget.take((_steps(size) - _steps(before)) * STEP):
            self._drop_fragments()
            self._protocol_error(WSCloseCode.MESSAGE_TOO_BIG, _NO_MEMORY)
            return
        self._fragments += frame.get_payload_as_memoryview()
        if frame.fin:
            message = self._fragments
            self._drop_fragments()
            self._on_message(self._fragmented, message, now)

    def _drop_fragments(self) -> None:
        if self._fragments is not None:
            self._budget.give(_steps(len(self._fragments)) * STEP)
            self._fragments = None

    def frame_is_large(self) -> None:
        """See `IntakeOwner`. The library never shrinks its buffer, so its memory is taken for as long
        as there is the socket."""
        intake = self._intake
        while self._open and intake.unfinished > intake.allowed and self._budget.take(STEP):
            intake.allowed += STEP
        if intake.unfinished > intake.allowed and self._transport is not None:
            self._transport.underlying_transport.pause_reading()
            if self._open:
                self._protocol_error(WSCloseCode.MESSAGE_TOO_BIG, _NO_MEMORY)

    def _on_message(self, kind: WSMsgType, message: bytes | bytearray | memoryview, now: float) -> None:
        reader = self._reader
        if reader is None:
            return
        if kind is _TEXT:
            reader.text(message, now)
        else:
            reader.binary(now)

    def _on_ping(self, payload: bytes) -> None:
        if self._paused:
            self._pong_due = payload  # only the latest ping needs a pong (RFC 6455 section 5.5.3)
        elif self._transport is not None:
            self._transport.send_pong(payload)

    def _on_close(self, frame: WSFrame) -> None:
        """The app's close frame, which starts the close or answers ours."""
        transport = self._transport
        if transport is None:
            return
        if not transport.is_close_frame_sent:
            payload = frame.get_payload_as_bytes()
            code, text = int.from_bytes(payload[:2]), payload[2:].decode()
            self._gone(
                _CLOSES.get(code, DisconnectReason.LOST), f"the app closed the socket with {code}{text and ': '}{text}"
            )
            self._send_close(WSCloseCode(code) if code in _ECHOED else WSCloseCode.OK, "")
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


# ── causes as text ─────────────────────────────────────────────────────────────────────────────────────────

_CLOSES = {1000: DisconnectReason.CLOSED, 1001: DisconnectReason.GOING_AWAY, 0: DisconnectReason.CLOSED}
"""RFC 6455 section 7.4.1. 0 is a close frame without a code, which many clients send for a plain `close()`."""
_ECHOED = frozenset(code.value for code in WSCloseCode) - {0, 1006}


_NO_MEMORY = "the account's streams have no memory left for this message (streams.account_memory; closed with 1009)"
"""It is the reason in the close frame, too, which has room for 123 bytes (RFC 6455 section 5.5.1)."""


def _steps(size: int) -> int:
    """How many `STEP`s a message takes; the first half of one is free."""
    return (size + STEP // 2) // STEP


def _too_big(limit: int) -> str:
    return f"the app sent a message longer than {limit} bytes (closed with 1009)"


def _protocol_detail(problem: WSProtocolError, limit: int) -> str:
    if problem.code == WSCloseCode.MESSAGE_TOO_BIG:
        return _too_big(limit)
    return f"the app broke the WebSocket protocol: {problem}"


def _connect_error(problem: Exception, url: WebSocketUrl, timeout: float) -> str:
    """Why the attempt failed. The URL is not repeated, as it may hold secrets."""
    place = f"{url.host} port {url.port}"
    match problem:
        case BadCertificates() | BadAuthToken():
            return str(problem)
        case HandshakeRefused():
            return f"the upgrade was answered with {problem} by {place}"
        case TimeoutError():
            return f"timeout: no WebSocket to {place} within {round(timeout, 1):g} s"
        case ConnectionError() if url.secure and not isinstance(problem, ConnectionRefusedError):
            return f"{place} broke off the TLS handshake: is it ws://, without the s?"
        case OSError():
            return dial_words(problem, url.host, url.port)
        case _:
            return f"no proper answer to the upgrade from {place}: {problem}"
