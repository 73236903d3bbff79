"""One stream, over all its sockets: the driver between a leg (`LegTap`), the worker and an `AppSocket`.

    dialling ──start sent──► streaming ──loss──► waiting to dial again ──start sent──► streaming …
       └────────── close() / app closes / given up ──────────┴──────────────► over

A stream owns one task, which runs one socket after the other, as `Retry` says. All else happens in the callbacks of
the leg and of the socket, without tasks or awaits. The first cause of the end, whichever it is, becomes the one
`StreamEnded`.

Without a socket the stream goes on: media is kept for the next one within the bound of the `Replay`, what is queued
for playback is played, and marks that fall due meanwhile are returned on the next socket, behind the replay.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from structlog.typing import FilteringBoundLogger

from trunkline.config import StreamSettings
from trunkline.media.codecs import CODECS, socket_codec
from trunkline.media.frames import LegTap
from trunkline.streaming.files import FileDecoder, Files, QueuedFile
from trunkline.streaming.message_handler import MessageHandler, PressKeys
from trunkline.streaming.messages import Refusal
from trunkline.streaming.opposite_leg import OppositeLegCopy, OppositeLegPlayer
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, StreamReport, TargetLegs
from trunkline.streaming.playback import Playback
from trunkline.streaming.retry import Disconnect, DisconnectReason, Retry
from trunkline.streaming.session import SendBuffer, Session
from trunkline.streaming.socket import AppSocket, Sender

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The first socket is open and `start` was sent."""


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The stream is over. Told exactly once per connection."""

    error: str | None
    """None: stream-stopped. Else stream-error, and the cause in words."""
    reason: str
    """Why it ended, in words."""


def _playback_of(params: StreamParams, settings: StreamSettings) -> Playback:
    codec = socket_codec(params.bidirectional_encoding, settings.l16_endian)
    return Playback(
        CODECS[codec].queued_as or codec,
        prebuffer=settings.prebuffer,
        limit=settings.playback_limit,
        mark_limit=settings.mark_limit,
        live=params.mode is BidirectionalMode.RTP,
    )


class StreamConnection:
    """One stream; a `media.frames.LegTap`, to be attached to its leg once it has told `StreamStarted`.

    `encoding` is the fork's codec. `on_fact` gets at most one `StreamStarted`, then exactly one `StreamEnded`, in the
    loop's thread.
    """

    __slots__ = (
        "__weakref__",
        "_at",
        "_closed",
        "_dropped",
        "_failed_tries",
        "_far",
        "_files",
        "_handler",
        "_identity",
        "_idle",
        "_last_cause",
        "_line",
        "_lost",
        "_on_fact",
        "_outcome",
        "_own_leg",
        "_params",
        "_playback",
        "_retry",
        "_retry_at",
        "_retry_now",
        "_sender",
        "_session",
        "_settings",
        "_socket",
        "_target",
        "_task",
        "_tells_backlog",
        "_told",
        "_unheard_ms",
        "_unsent",
        "inbound",
        "outbound",
        "plays",
        "plays_elsewhere",
        "reconnects",
        "waiting",
    )

    def __init__(
        self,
        params: StreamParams,
        identity: StreamIdentity,
        encoding: str,
        settings: StreamSettings,
        on_fact: Callable[[StreamStarted | StreamEnded], None],
        decoder: FileDecoder,
        press: PressKeys,
        sender: Sender,
    ) -> None:
        self.inbound = params.track.inbound
        self.outbound = params.track.outbound
        self.plays = True
        self._params = params
        self._sender = sender
        if params.l16_endian is not None:
            settings = settings.model_copy(update={"l16_endian": params.l16_endian})
        self._settings, self._on_fact = settings, on_fact
        self._session = Session(params, identity, encoding, settings)
        self._playback = _playback_of(params, settings)
        self._target = params.target_legs
        self.plays_elsewhere = params.target_legs is not TargetLegs.SELF
        """`bridged` and `parted` are to be told."""
        self._far: OppositeLegCopy | OppositeLegPlayer | None = None
        """What plays to the opposite leg, if there is one and it is to hear the app."""
        self._own_leg = "PCMU", 20
        self._at = self._unheard_ms = 0
        self._idle = False
        """There is nothing to play, and nothing to tell of it: most streams' state, which must cost next to nothing."""
        self._tells_backlog = settings.extensions
        self._files: Files | None = None
        if params.mode is BidirectionalMode.MP3:
            interval, mark_limit = settings.mp3_interval, settings.mark_limit
            self._files = Files(self._playback, decoder, self._on_file, interval=interval, mark_limit=mark_limit)
        self._handler = MessageHandler(params, settings, self._session, self._playback, press, self._files)
        self._identity = identity
        self._task: asyncio.Task[None] | None = None
        self._told = False
        self._closed: asyncio.Event | None = None
        """Of who waits for `StreamEnded`."""
        self._retry = Retry(settings, enabled=params.enable_reconnect)
        self._retry_at = 0.0
        self._retry_now: asyncio.Event | None = None
        """Ends the wait between two sockets."""
        self._line: AppSocket | None = None
        """The socket, whatever its state."""
        self._socket: AppSocket | None = None
        """The socket while it is open."""
        self.waiting = False
        """There was a socket, it is gone, and another is being tried for."""
        self.reconnects = 0
        """Sockets after the first."""
        self._outcome: StreamEnded | None = None
        self._unsent = self._dropped = self._lost = self._failed_tries = 0
        self._last_cause = ""

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
        self._end(reason=reason)
        if self._task is None:
            self._tell(StreamEnded(None, reason))
        elif (socket := self._leave()) is not None:
            socket.close(self._session.stop())
        elif self._line is not None:
            self._line.cancel()

    def fail(self, words: str) -> None:
        """Something on our side broke: close 1011, end with an error that says so."""
        if self._outcome is None:
            self._end(error=words)
            if (socket := self._leave()) is not None:
                socket.fail(words)
            elif self._line is not None:
                self._line.cancel()

    def listen(self, listens: bool) -> None:
        """Whether the app is sent audio at all; marks, keys and what it plays go on. The owner then has the leg look
        at `inbound` and `outbound` again, so that a paused stream costs the packet path nothing."""
        self.inbound = listens and self._params.track.inbound
        self.outbound = listens and self._params.track.outbound

    def bridged(self) -> LegTap:
        """The leg has an opposite one: what is to be attached to that. The owner then has the own leg look at `plays`
        again."""
        if self._target is TargetLegs.BOTH:
            self._far = OppositeLegCopy()
        else:
            self._far = OppositeLegPlayer(self.next_frame, self._playback.leg_changed, self.held_up, self._at)
            self.plays = False
        return self._far

    def parted(self) -> None:
        """There is no opposite leg any more. The owner does the same."""
        self._far, self.plays = None, True
        self._playback.leg_changed(*self._own_leg)

    async def wait_closed(self) -> None:
        """Until `StreamEnded` was told."""
        if not self._told:
            self._closed = self._closed or asyncio.Event()
            await self._closed.wait()

    def _tell(self, outcome: StreamEnded) -> None:
        self._on_fact(outcome)
        self._told = True
        if self._closed is not None:
            self._closed.set()

    @property
    def state(self) -> str:
        """`connecting`, `open`, `reconnecting` or `closing`."""
        if self._outcome is not None:
            return "closing"
        if self._socket is not None:
            return "open"
        return "reconnecting" if self.waiting else "connecting"

    def report(self) -> StreamReport:
        """The counters as they are now."""
        session, playback = self._session, self._playback
        unsent, dropped = self._unsent, self._dropped
        if self._line is not None:
            outbox = self._line.outbox
            unsent += outbox.dropped_frames + outbox.frames
            dropped += outbox.dropped_frames + outbox.dropped_control
        return StreamReport(
            frames_sent=session.frames - unsent,
            frames_dropped=dropped,
            frames_lost=self._lost + session.replay.dropped,
            frames_missing=session.missing,
            messages_received=self._handler.messages,
            bytes_received=self._handler.bytes,
            errors_received=self._handler.complaints,
            played_ms=playback.played_ms,
            unheard_ms=self._unheard_ms,
            cleared_ms=playback.cleared_ms,
            discarded_ms=playback.discarded_ms,
            queued_ms=playback.queued_ms,
            underruns=playback.underruns,
            overruns=playback.overruns,
            app_samples=playback.meter.samples,
            app_level_db=playback.meter.loudest,
            marks=session.marks,
            reconnects=self.reconnects,
            failed_tries=self._failed_tries,
            last_cause=self._last_cause,
            errors=dict(session.errors),
        )

    # ── for the leg: the packet path ────────────────────────────────────────────────────────────────────────

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        socket, session = self._socket, self._session
        if socket is not None:
            if not session.anchored:
                self._anchor(at)
            message = session.inbound(payload, at, missing)
            if message:
                socket.media(message, at)
        elif self.waiting:
            session.hold_inbound(payload, at, missing)

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""
        socket, session = self._socket, self._session
        if socket is not None:
            if not session.anchored:
                self._anchor(at)
            message = session.outbound(payload, at)
            if message:
                socket.media(message, at)
        elif self.waiting:
            session.hold_outbound(payload, at)

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        if self._idle:
            return None
        socket = self._socket
        if socket is None and not self.waiting:
            return None
        frame = self._playback.next_frame(at)
        if self._playback.returned and socket is not None:
            self._answer(self._handler.due_marks())
        if self._tells_backlog and socket is not None:
            backlog = self._handler.backlog(at)
            if backlog is not None:
                socket.control(backlog)
        if self.plays_elsewhere:
            self._at = at
            return self._for_asker(frame)
        # Without a socket, what there is to tell waits for the next one.
        self._idle = frame is None and socket is not None and self._playback.rests()
        return frame

    def _for_asker(self, frame: bytes | None) -> bytes | None:
        """What whoever asked gets of it: the own leg, or the `OppositeLegPlayer`."""
        far = self._far
        if frame is not None and self._target is TargetLegs.OPPOSITE and far is None:
            self._unheard_ms += self._own_leg[1]
            return None
        if frame is not None and isinstance(far, OppositeLegCopy):
            far.feed(self._playback.taken, self._playback.codec)
        return frame

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegTap`."""
        self._playback.held_up(at, skipped, late)

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        now = datetime.now(UTC)
        if self._socket is not None:
            self._socket.control(self._session.digit(digit, now))
        elif self.waiting:
            self._session.replay.press(digit, now)

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._session.leg_changed(codec)
        self._own_leg = codec, ptime
        if self.plays:
            self._playback.leg_changed(codec, ptime)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        self._session.peer_changed(codec)

    def _log(self) -> FilteringBoundLogger:
        bound: FilteringBoundLogger = _log.bind(call_sid=self._identity.call_sid, stream_sid=self._identity.stream_sid)
        return bound

    def _anchor(self, at: int) -> None:
        self._session.anchor(at, asyncio.get_running_loop().time())

    # ── for the decoder ─────────────────────────────────────────────────────────────────────────────────────────

    def _on_file(self, file: QueuedFile, answer: bytes | Refusal) -> None:
        """A file is decoded, or not. Without a socket its error is only counted; its marks wait for the next one."""
        self._idle = False
        errors = self._handler.decoded(file, answer, asyncio.get_running_loop().time())
        if self._socket is not None:
            self._answer([*errors, *self._handler.due_marks()])

    # ── the life of the stream ──────────────────────────────────────────────────────────────────────────────

    async def _converse(self) -> None:
        loop, settings = asyncio.get_running_loop(), self._settings
        self._retry.begin(loop.time())
        send_buffer = settings.send_buffer
        while self._outcome is None:
            self._line = AppSocket(self._params.url, self._params.auth_token, settings, self, send_buffer, self._sender)
            await self._line.run(self._retry.connect_timeout(loop.time()))
            self._count(self._line.outbox)
            self._line = None
            if self._outcome is None:
                self._retry_now = asyncio.Event()
                timer = loop.call_at(self._retry_at, self._retry_now.set)
                await self._retry_now.wait()
                timer.cancel()
                self._retry_now = None
                # A socket after a loss has the replay to carry besides.
                send_buffer = settings.send_buffer + settings.replay

    def _over(self, task: asyncio.Task[None]) -> None:
        """The task is done, whichever way: a callback of the task's, so that no way is missed."""
        if task.cancelled():
            self._end(error="the stream was cancelled")
        elif (bug := task.exception()) is not None:
            self._log().error("stream failed", exc_info=bug)
            self._end(error="internal error")
        self._leave()
        if self._files is not None:
            self._files.close()
        # The worker runs without a cyclic collector, so no cycle may be left.
        self._task = self._line = None
        assert self._outcome is not None
        self._tell(self._outcome)

    def _end(self, *, error: str | None = None, reason: str | None = None) -> None:
        """Note the cause, if it is the first; a stream that waits for a socket waits no longer."""
        if self._outcome is None:
            self._outcome = StreamEnded(error, reason or error or "")
        self.waiting = False
        if self._retry_now is not None:
            self._retry_now.set()

    def _leave(self) -> AppSocket | None:
        """The open socket, which is used no more."""
        socket, self._socket = self._socket, None
        return socket

    def _count(self, outbox: SendBuffer) -> None:
        """Take over the counters of a socket that is over."""
        self._unsent += outbox.dropped_frames + outbox.frames
        self._dropped += outbox.dropped_frames + outbox.dropped_control

    # ── for the socket ──────────────────────────────────────────────────────────────────────────────────────

    def opened(self) -> None:
        """See `SocketUser`."""
        socket = self._line
        assert socket is not None
        now = asyncio.get_running_loop().time()
        for message in self._session.start_messages(now):
            socket.control(message)
        for message, at in self._session.replay_messages():
            socket.media(message, at)
        for message in (*self._session.held_digits(), *self._handler.due_marks()):
            socket.control(message)
        self._socket = socket
        self._idle = self.waiting = False
        self._failed_tries = 0
        again = self._retry.started
        self._retry.opened(now)
        if again:
            self.reconnects += 1
            self._log().info("stream reconnected")
        else:
            self._on_fact(StreamStarted())

    def gone(self, gone: Disconnect) -> None:
        """See `SocketUser`."""
        socket = self._leave()
        now = asyncio.get_running_loop().time()
        self._last_cause = gone.words
        self._failed_tries += socket is None
        delay = self._retry.after(gone, now)
        if delay is None:
            self._give_up(gone)
            return
        self._retry_at = now + delay
        self.waiting = self._retry.started
        if socket is not None:
            self._session.replay.unsent(socket.outbox.frames)
            self._lost += len(socket.outbox) - socket.outbox.frames
        if self._failed_tries <= 1:
            self._log().warning("no socket, dialling again", cause=gone.words)

    def _give_up(self, gone: Disconnect) -> None:
        reconnects = self._params.enable_reconnect and self._retry.started
        window = f"{self._settings.reconnect_window:g} s"
        if gone.how is DisconnectReason.CLOSED or (self._retry.left and not reconnects):
            self._end(reason="the app closed the socket")
        elif self._retry.left:
            self._end(reason=f"the app closed the socket with 1001, and none came in its place within {window}")
        elif reconnects:
            self._end(error=f"no new connection within {window} after a loss; the last cause: {gone.words}")
        else:
            self._end(error=gone.words)

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        """See `SocketUser`."""
        self._idle = False
        if self._socket is not None:
            self._answer(self._handler.text(message, now))

    def binary(self, now: float) -> None:
        """See `SocketUser`."""
        if self._socket is not None:
            self._answer(self._handler.binary(now))

    def _answer(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            if self._socket is not None:
                self._socket.control(message)

    def stalled(self) -> None:
        """See `SocketUser`."""
        self._log().warning("the app does not read: dropping its oldest frames")
