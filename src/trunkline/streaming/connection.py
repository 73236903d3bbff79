"""One stream's WebSocket: the driver of this room.

    dialling ──upgraded──► open ──stop / app closes / loss──► closing ──socket gone──► over
        └───────────────── close() / no socket ─────────────────────────────────────────┘

A stream owns one task, which dials and then waits for the socket's end. All else happens in the callbacks of the leg
(`LegPort`) and of the WebSocket library, without tasks or awaits. The first cause of the end, whichever it is, becomes
the one `StreamEnded`.

An app that does not read: the kernel is allowed little unsent data, the library none, so that what waits, waits in the
`Outbox`, which has its bound and drops the oldest.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSHandshakeError,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    ws_connect,
)
from picows.url import WSParsedURL

from trunkline.config import StreamSettings
from trunkline.media.codecs import CODECS, socket_codec
from trunkline.streaming.inbox import Inbox
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, StreamReport
from trunkline.streaming.playback import Playback
from trunkline.streaming.session import Outbox, Session
from trunkline.streaming.target import BadTarget, Target, target

UNSENT_LIMIT = 16384
"""Bytes that the kernel may hold unsent for one socket: about a second of one PCMU track."""
READ_BUFFER = 4096
"""Bytes of a socket's first read buffer; it grows with the app's messages."""

_log = structlog.get_logger()
# What the library would log is told by StreamEnded, in the words of this project.
_silent = logging.Logger("picows", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The socket is open and `start` was sent."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The stream is over. Told exactly once per connection."""

    error: str | None
    """None: stream-stopped. Else stream-error, and the cause in words."""
    reason: str
    """Why it ended, in words."""


@functools.cache
def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """What wss:// is verified with. The first call reads the certificates (some 20 ms): make it before there are
    calls. Raises BadTarget for a file that cannot be read or holds no certificate."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as problem:
        raise BadTarget(f"TLS: no certificates in {ca_file}: {problem.strerror or problem}") from problem


class StreamConnection:
    """One stream; a `media.frames.LegPort`, to be attached to its leg once it has told `StreamStarted`.

    `encoding` is the fork's codec. `on_fact` gets at most one `StreamStarted`, then exactly one `StreamEnded`, in the
    loop's thread.
    """

    def __init__(
        self,
        params: StreamParams,
        identity: StreamIdentity,
        encoding: str,
        settings: StreamSettings,
        on_fact: Callable[[StreamStarted | StreamEnded], None],
    ) -> None:
        self.inbound = params.track.inbound
        self.outbound = params.track.outbound
        self.plays = params.mode is BidirectionalMode.RTP
        self._params = params
        self._settings = settings
        self._on_fact = on_fact
        self._session = Session(params, identity, encoding, settings)
        self._outbox = Outbox(settings.send_buffer, settings.mark_limit)
        codec = socket_codec(params.bidirectional_encoding, settings.l16_endian)
        self._playback = Playback(
            CODECS[codec].queued_as or codec,
            prebuffer=settings.prebuffer,
            limit=settings.playback_limit,
            mark_limit=settings.mark_limit,
        )
        self._inbox = Inbox(params, settings, self._session, self._playback)
        self._log = _log.bind(call_sid=identity.call_sid, stream_sid=identity.stream_sid)
        self._task: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._dialling: asyncio.Timeout | None = None
        self._sock: socket.socket | None = None
        self._transport: WSTransport | None = None
        self._open = False
        self._paused = False
        self._warned = False
        self._outcome: StreamEnded | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._pong_due: bytes | None = None
        self._fragments: bytearray | None = None
        self._fragmented = WSMsgType.TEXT

    # ── for the worker ──────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Dial. Nothing happens when the stream was closed before."""
        if self._outcome is None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._converse())
            self._task.add_done_callback(self._over)

    def close(self, reason: str) -> None:
        """The call ended, or somebody stopped the stream: `stop`, close 1000, and the app has `close_timeout` for its
        own close. Right in every state; only the first call counts, and only if nothing else ended the stream."""
        if self._outcome is not None:
            return
        self._outcome = StreamEnded(None, reason)
        if self._task is None:
            self._on_fact(self._outcome)
            self._closed.set()
        elif self._open:
            self._say_goodbye()
        elif self._dialling is not None and not self._dialling.expired():
            self._dialling.reschedule(asyncio.get_running_loop().time())

    def fail(self, words: str) -> None:
        """Something on our side broke: close 1011, end with an error that says so."""
        if self._outcome is None:
            self._fail(WSCloseCode.INTERNAL_ERROR, words)

    def listen(self, listens: bool) -> None:
        """Whether the app is sent audio at all; marks, keys and what it plays go on. The owner then has the leg look
        at `inbound` and `outbound` again, so that a paused stream costs the packet path nothing."""
        self.inbound = listens and self._params.track.inbound
        self.outbound = listens and self._params.track.outbound

    async def wait_closed(self) -> None:
        """Until `StreamEnded` was told."""
        await self._closed.wait()

    def report(self) -> StreamReport:
        """The counters as they are now."""
        session, playback, outbox = self._session, self._playback, self._outbox
        return StreamReport(
            frames_sent=session.frames - outbox.dropped_frames - outbox.frames,
            frames_dropped=outbox.dropped_frames + outbox.dropped_control,
            frames_missing=session.missing,
            messages_received=self._inbox.messages,
            bytes_received=self._inbox.bytes,
            played_ms=playback.played_ms,
            cleared_ms=playback.cleared_ms,
            queued_ms=playback.queued_ms,
            underruns=playback.underruns,
            marks=session.marks,
            errors=dict(session.errors),
        )

    # ── for the leg: the packet path ────────────────────────────────────────────────────────────────────────

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegPort`."""
        if self._open:
            if not self._session.anchored:
                self._anchor(at)
            message = self._session.inbound(payload, at, missing)
            if message:
                self._send_media(message, at)

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegPort`."""
        if self._open:
            if not self._session.anchored:
                self._anchor(at)
            message = self._session.outbound(payload, at)
            if message:
                self._send_media(message, at)

    def next_frame(self, at: int) -> bytes | None:
        """See `LegPort`."""
        if not self._open:
            return None
        frame = self._playback.next_frame(at)
        if self._playback.returned:
            for message in self._inbox.due_marks():
                self._send_control(message)
        return frame

    def digit(self, digit: str) -> None:
        """See `LegPort`."""
        if self._open:
            self._send_control(self._session.digit(digit, datetime.now(UTC)))

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegPort`."""
        self._session.leg_changed(codec)
        self._playback.leg_changed(codec, ptime)

    def _anchor(self, at: int) -> None:
        self._session.anchor(at, asyncio.get_running_loop().time())

    def _send_media(self, message: bytes, at: int) -> None:
        if self._paused:
            self._outbox.media(message, at)
            if self._outbox.dropped_frames and not self._warned:
                self._warned = True
                self._log.warning("the app does not read: dropping its oldest frames")
        else:
            self._send(message)

    # ── the life of the socket ──────────────────────────────────────────────────────────────────────────────

    async def _converse(self) -> None:
        try:
            transport = await self._dial()
            if transport is not None:
                await transport.wait_disconnected()
                self._end(error="the connection was lost")
        except WSProtocolError as problem:  # found by the library, which has sent the close frame
            self._end(error=_protocol_words(problem, self._settings.message_limit))
            problem.__traceback__ = None  # its frames hold the exception itself

    def _over(self, task: asyncio.Task[None]) -> None:
        """The task is done, whichever way: a callback of the task's, so that no way is missed."""
        if task.cancelled():
            self._end(error="the stream was cancelled")
        elif (bug := task.exception()) is not None:
            self._log.error("stream failed", exc_info=bug)
            self._end(error="internal error")
        self._release()
        assert self._outcome is not None
        self._log.info("stream ended", error=self._outcome.error, reason=self._outcome.reason)
        self._on_fact(self._outcome)
        self._closed.set()

    async def _dial(self) -> WSTransport | None:
        """A socket on which `opened` has been called, or None with the outcome set."""
        if self._outcome is not None:
            return None
        settings = self._settings
        where: Target | None = None
        try:
            where = target(self._params.url, self._params.auth_token)
            context = tls_context(settings.ca_file) if where.secure else None
            async with asyncio.timeout(settings.connect_timeout) as self._dialling:
                transport, _ = await ws_connect(
                    lambda: _Listener(self),
                    where.url,
                    ssl_context=context,
                    websocket_handshake_timeout=None,
                    logger_name=_silent,
                    enable_auto_pong=False,
                    max_frame_size=settings.message_limit,
                    extra_headers=where.headers,
                    max_redirects=0,
                    read_buffer_init_size=READ_BUFFER,
                    socket_factory=self._open_socket,
                    # Its TLS loses the reason of a failed handshake and reports it to the loop as a bug.
                    use_aiofastnet=not where.secure,
                )
        except (OSError, WSError, ValueError) as problem:
            self._end(error=_dial_words(problem, where, settings.connect_timeout))
            problem.__traceback__ = None  # its frames hold the exception itself
            return None
        finally:
            self._dialling = None
        if self._transport is None:
            self._end(error="the server closed the connection instead of answering the upgrade")
            return None
        return transport

    async def _open_socket(self, where: WSParsedURL) -> socket.socket:
        """A connected socket to the first of the host's addresses that answers. Raises OSError."""
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
        failure = OSError("the host has no address")
        for family, kind, protocol, _, address in addresses:
            try:
                with contextlib.ExitStack() as on_failure:
                    sock = on_failure.enter_context(socket.socket(family, kind, protocol))
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LIMIT)
                    await loop.sock_connect(sock, address)
                    on_failure.pop_all()
            except OSError as problem:
                failure = problem
            else:
                self._sock = sock
                return sock
        raise failure

    def opened(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        if self._outcome is not None:
            transport.disconnect(graceful=False)
            return
        transport.underlying_transport.set_write_buffer_limits(high=1)
        self._transport = transport
        self._open = True
        loop = asyncio.get_running_loop()
        for message in self._session.opening(loop.time()):
            transport.send(WSMsgType.TEXT, message)
        self._ping()
        self._log.info("stream started")
        self._on_fact(StreamStarted())

    def _end(self, *, error: str | None = None, reason: str | None = None) -> None:
        """Note the cause, if it is the first."""
        if self._outcome is None:
            self._outcome = StreamEnded(error, reason or error or "")

    def _say_goodbye(self) -> None:
        """`stop` behind all that waits, then close 1000."""
        while (message := self._outbox.pop()) is not None:
            self._send(message)
        self._send(self._session.stop())
        self._hang_up(WSCloseCode.OK, "")

    def _fail(self, code: WSCloseCode, words: str) -> None:
        """The app broke the protocol: close with `code`."""
        self._end(error=words)
        self._hang_up(code, words)

    def _hang_up(self, code: WSCloseCode, words: str) -> None:
        """Send our close frame; the app has `close_timeout` for its own, and for reading what is on the way."""
        if self._transport is not None:
            self._open = False
            self._transport.send_close(code, words)
            self._later("abort", self._settings.close_timeout, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def _release(self) -> None:
        """Let go of everything; the worker runs without a cyclic collector, so no cycle may be left."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._task = None
        if self._transport is not None:
            self._abort()
            # The loop's TLS keeps the callbacks of its protocol, and thereby all of this, until it is given others.
            self._transport.underlying_transport.set_protocol(asyncio.BufferedProtocol())
            self._transport = None
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
        self._end(error=f"the app answered no ping for {self._settings.pong_timeout:g} s")
        self._abort()

    # ── sending ─────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, message: bytes) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, message)

    def _send_control(self, message: bytes) -> None:
        if self._paused:
            self._outbox.control(message)
        else:
            self._send(message)

    def pause(self) -> None:
        """The kernel takes no more."""
        self._paused = True

    def resume(self) -> None:
        """The kernel takes more: what waited first."""
        self._paused = False
        if self._pong_due is not None:
            self._on_ping(self._pong_due)
            self._pong_due = None
        while not self._paused and (message := self._outbox.pop()) is not None:
            self._send(message)

    # ── receiving ───────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, frame: WSFrame) -> None:
        """One WebSocket frame."""
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            self._on_close(frame)
        elif not self._open:
            return
        elif kind == WSMsgType.PING:
            self._on_ping(frame.get_payload_as_bytes())
        elif kind == WSMsgType.PONG:
            self._on_pong()
        elif frame.fin and kind != WSMsgType.CONTINUATION and self._fragments is None:
            self._on_message(kind, frame.get_payload_as_memoryview())
        else:
            self._on_fragment(kind, frame)

    def _on_fragment(self, kind: WSMsgType, frame: WSFrame) -> None:
        """RFC 6455 section 5.4."""
        if (kind == WSMsgType.CONTINUATION) is (self._fragments is None):
            self._fail(WSCloseCode.PROTOCOL_ERROR, "the app mixed up the fragments of its messages")
            return
        if self._fragments is None:
            self._fragments, self._fragmented = bytearray(), kind
        if len(self._fragments) + frame.payload_size > self._settings.message_limit:
            self._fail(WSCloseCode.MESSAGE_TOO_BIG, _too_big(self._settings.message_limit))
            return
        self._fragments += frame.get_payload_as_memoryview()
        if frame.fin:
            message, self._fragments = self._fragments, None
            self._on_message(self._fragmented, message)

    def _on_message(self, kind: WSMsgType, data: bytearray | memoryview) -> None:
        now = asyncio.get_running_loop().time()
        for answer in self._inbox.text(data, now) if kind == WSMsgType.TEXT else self._inbox.binary(now):
            self._send_control(answer)

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
            if code in _NORMAL_CLOSE:
                self._end(reason="the app closed the socket")
            else:
                self._end(error=f"the app closed the socket with {code}{said and ': '}{said}")
            self._hang_up(WSCloseCode(code) if code in _ECHOED else WSCloseCode.OK, "")
        transport.disconnect()


class _Listener(WSListener):
    """What the WebSocket library calls."""

    def __init__(self, connection: StreamConnection) -> None:
        self._connection = connection

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._connection.opened(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._connection.receive(frame)

    def pause_writing(self) -> None:
        self._connection.pause()

    def resume_writing(self) -> None:
        self._connection.resume()


# ── causes in words ─────────────────────────────────────────────────────────────────────────────────────────

_NORMAL_CLOSE = (1000, 1001, 0)
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
        case WSHandshakeError(response=response) if response is not None and response.status != 101:
            return f"the upgrade was answered with HTTP {int(response.status)} by {place}"
        case socket.gaierror():
            return f"DNS: {where.host}: {problem.strerror}"
        case ConnectionRefusedError():
            return f"connection refused by {place}"
        case TimeoutError():
            return f"timeout: no WebSocket to {place} within {timeout:g} s"
        case ssl.SSLCertVerificationError():
            return f"TLS: the certificate of {place} is not valid: {problem.verify_message}"
        case ssl.SSLError():
            return f"TLS with {place} failed: {problem.reason or problem}"
        case ConnectionError():
            return f"{place} broke off the {'TLS handshake' if where.secure else 'connection'}"
        case OSError():
            return f"no connection to {place}: {problem.strerror or problem}"
        case _:
            return f"no proper answer to the upgrade from {place}: {problem}"
