"""One stream over all its WebSockets, without the sockets: the `LegTap` of the packet path. Pure.

    connecting ──opened──► open ──disconnected──► reconnecting ──opened──► open …
        └─────────── close, fail, the app closed, gave up ──────────┴──────────► closing

In: frames and key presses of the leg, messages of the app, decoded files, and what happened to the WebSocket. Out:
messages into a `MessageSink`, frames for the leg, and the time of the next connection attempt. The first cause of the
end becomes `outcome`.

Between two sockets the stream goes on: media is kept for the next one within the bound of the `Replay`, queued audio
is played, and marks that fall due meanwhile are returned on the next socket, behind the replay.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from trunkline.config import StreamSettings
from trunkline.media.codecs import CODECS, socket_codec
from trunkline.media.frames import LegTap
from trunkline.streaming.budget import UNBOUNDED, Budget
from trunkline.streaming.files import FileDecoder, Files, QueuedFile
from trunkline.streaming.message_handler import MessageHandler, PressKeys
from trunkline.streaming.messages import Refusal
from trunkline.streaming.opposite_leg import PlaybackRouter
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, StreamReport, TargetLegs
from trunkline.streaming.playback import Playback
from trunkline.streaming.retry import Disconnect, DisconnectReason, Retry
from trunkline.streaming.session import MessageSink, Session


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The first socket is open and `start` was sent."""


@dataclass(frozen=True, slots=True)
class StreamClosed:
    """The stream is over."""

    error: str | None
    """The cause of a `stream-error`; None for `stream-stopped`."""
    reason: str
    """Why it ended, for people; equal to `error` if there is one."""


class StreamClocks(Protocol):
    """The two clocks of a stream."""

    def now(self) -> float:
        """Seconds, monotonic."""

    def utc(self) -> datetime:
        """The wall clock, for `occurred_at`."""


def _playback_of(params: StreamParams, settings: StreamSettings, budget: Budget) -> Playback:
    codec = socket_codec(params.bidirectional_encoding, settings.l16_endian)
    return Playback(
        CODECS[codec].queued_as or codec,
        prebuffer=settings.prebuffer,
        limit=settings.playback_limit,
        mark_limit=settings.mark_limit,
        live=params.mode is BidirectionalMode.RTP,
        budget=budget,
    )


class Stream:
    """Attached to its leg once `opened` has returned True. `encoding` is the format of the media sent to the app."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_current",
        "_dropped",
        "_files",
        "_handler",
        "_idle",
        "_lost",
        "_params",
        "_playback",
        "_reports_backlog",
        "_retry",
        "_router",
        "_session",
        "_settings",
        "_sink",
        "_unsent",
        "inbound",
        "outbound",
        "outcome",
        "plays",
        "waiting",
    )

    def __init__(
        self,
        params: StreamParams,
        identity: StreamIdentity,
        encoding: str,
        settings: StreamSettings,
        decoder: FileDecoder,
        press: PressKeys,
        clock: StreamClocks,
        budget: Budget = UNBOUNDED,
    ) -> None:
        if params.l16_endian is not None:
            settings = settings.model_copy(update={"l16_endian": params.l16_endian})
        self._params = params
        self._settings = settings
        self._clock = clock
        self.inbound = params.track.inbound
        self.outbound = params.track.outbound
        self.plays = True
        """The own leg is to ask for `next_frame`."""
        self.waiting = False
        """Reconnecting: there was a socket, and another is being tried for."""
        self.outcome: StreamClosed | None = None
        self._session = Session(params, identity, encoding, settings)
        self._playback = _playback_of(params, settings, budget)
        self._router: PlaybackRouter | None = None
        """Only where the opposite leg is to hear the app."""
        if params.target_legs is not TargetLegs.SELF:
            self._router = PlaybackRouter(params.target_legs, self._playback)
        self._files: Files | None = None
        if params.mode is BidirectionalMode.MP3:
            interval, mark_limit = settings.mp3_interval, settings.mark_limit
            self._files = Files(
                self._playback, decoder, self._on_file, interval=interval, mark_limit=mark_limit, budget=budget
            )
        self._handler = MessageHandler(params, settings, self._session, self._playback, press, self._files)
        self._retry = Retry(settings, enabled=params.enable_reconnect)
        self._sink: MessageSink | None = None
        """Of the open socket."""
        self._current: MessageSink | None = None
        """The same, until the socket is released: its counters are not in ours yet."""
        self._idle = False
        """Nothing is queued and no message is due: `next_frame` has nothing to do, as in most streams."""
        self._reports_backlog = settings.extensions
        self._unsent = self._dropped = self._lost = 0

    # ── state ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def state(self) -> str:
        """`connecting`, `open`, `reconnecting` or `closing`."""
        if self.outcome is not None:
            return "closing"
        if self._sink is not None:
            return "open"
        return "reconnecting" if self.waiting else "connecting"

    @property
    def plays_elsewhere(self) -> bool:
        """The opposite leg is to hear the app, so `bridged` and `parted` must be called."""
        return self._router is not None

    @property
    def reconnects(self) -> int:
        """Sockets after the first."""
        return self._retry.reconnects

    @property
    def failed_attempts(self) -> int:
        """Connection attempts that failed since the last socket."""
        return self._retry.failed_attempts

    def report(self) -> StreamReport:
        """The counters as they are now."""
        session, playback, handler = self._session, self._playback, self._handler
        unsent, dropped, waiting = self._unsent, self._dropped, 0
        if self._current is not None:
            outbox = self._current.outbox
            waiting = outbox.frames
            unsent += outbox.dropped_frames + outbox.frames
            dropped += outbox.dropped_frames + outbox.dropped_control
        return StreamReport(
            frames_sent=session.frames - unsent,
            frames_dropped=dropped,
            frames_waiting=waiting,
            frames_lost=self._lost + session.replay.dropped,
            frames_missing=session.missing,
            messages_received=handler.messages,
            bytes_received=handler.bytes,
            errors_received=handler.complaints,
            played_ms=playback.played_ms,
            unheard_ms=0 if self._router is None else self._router.undelivered_ms,
            cleared_ms=playback.cleared_ms,
            discarded_ms=playback.discarded_ms,
            queued_ms=playback.queued_ms,
            underruns=playback.underruns,
            overruns=playback.overruns,
            app_samples=playback.meter.samples,
            app_level_db=playback.meter.loudest,
            app_audio=handler.content[0],
            app_audio_words=handler.content[1],
            app_pace_percent=playback.app_pace,
            bytes_per_second=handler.bytes_per_second,
            marks=session.marks,
            reconnects=self._retry.reconnects,
            failed_tries=self._retry.failed_attempts,
            last_cause=self._retry.last_cause,
            errors=dict(session.errors),
            refusals=dict(session.refusals),
        )

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────

    def listen(self, listens: bool) -> None:
        """Send audio to the app or pause it; marks, keys and playback go on. The leg must then look at `inbound` and
        `outbound` again: a paused stream costs the packet path nothing."""
        self.inbound = listens and self._params.track.inbound
        self.outbound = listens and self._params.track.outbound

    def bridged(self) -> LegTap:
        """The leg got an opposite leg. Returns the tap to attach to it; the own leg must then look at `plays` again."""
        assert self._router is not None
        tap, self.plays = self._router.bridged(self.next_frame, self.held_up)
        return tap

    def parted(self) -> None:
        """The opposite leg is gone. The own leg must then look at `plays` again."""
        assert self._router is not None
        self._router.parted()
        self.plays = True

    def close(self, reason: str) -> bytes | None:
        """End the stream without an error. Returns the `stop` to be sent, if there is an open socket."""
        sink = self._leave()
        self.end(reason=reason)
        return None if sink is None else self._session.stop()

    def fail(self, error: str) -> bool:
        """End the stream with an error. Returns whether there is an open socket."""
        sink = self._leave()
        self.end(error=error)
        return sink is not None

    def end(self, *, error: str | None = None, reason: str | None = None) -> None:
        """Set the outcome, if it is the first."""
        if self.outcome is None:
            self.outcome = StreamClosed(error, reason or error or "")
        self.waiting = False

    def release(self) -> None:
        """Nothing calls in any more: drop what refers to this stream, as the worker runs without a cyclic collector."""
        self._leave()
        self.socket_released()
        if self._files is not None:
            self._files.close()
        self._playback.release()

    def _leave(self) -> MessageSink | None:
        """Stop using the open socket, and return it."""
        sink, self._sink = self._sink, None
        return sink

    # ── the leg: the packet path ────────────────────────────────────────────────────────────────────────────

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        sink, session = self._sink, self._session
        if sink is not None:
            if not session.anchored:
                session.anchor(at, self._clock.now())
            message = session.inbound(payload, at, missing)
            if message:
                sink.media(message, at)
        elif self.waiting:
            session.hold_inbound(payload, at, missing)

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegTap`."""
        sink, session = self._sink, self._session
        if sink is not None:
            if not session.anchored:
                session.anchor(at, self._clock.now())
            message = session.outbound(payload, at)
            if message:
                sink.media(message, at)
        elif self.waiting:
            session.hold_outbound(payload, at)

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        if self._idle:
            return None
        sink = self._sink
        if sink is None and not self.waiting:
            return None
        frame = self._playback.next_frame(at)
        if self._playback.returned and sink is not None:
            self._answer(self._handler.due_marks())
        if self._reports_backlog and sink is not None:
            backlog = self._handler.backlog(at)
            if backlog is not None:
                sink.control(backlog)
        if self._router is not None:
            return self._router.route(frame, at)
        # Without a socket, due marks wait for the next one.
        self._idle = frame is None and sink is not None and self._playback.rests()
        return frame

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegTap`."""
        self._playback.held_up(at, skipped, late)

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        occurred_at = self._clock.utc()
        if self._sink is not None:
            self._sink.control(self._session.digit(digit, occurred_at))
        elif self.waiting:
            self._session.replay.press(digit, occurred_at)

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._session.leg_changed(codec)
        if self._router is not None:
            self._router.own_leg_changed(codec, ptime)
        if self.plays:
            self._playback.leg_changed(codec, ptime)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        self._session.peer_changed(codec)

    # ── the app ─────────────────────────────────────────────────────────────────────────────────────────────

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        """A text message, valid during the call only. `now` is in seconds, monotonic."""
        self._idle = False
        if self._sink is not None and (answers := self._handler.text(message, now)):
            self._answer(answers)

    def binary(self, now: float) -> None:
        """A binary message, which has no meaning in this protocol."""
        if self._sink is not None:
            self._answer(self._handler.binary(now))

    def _on_file(self, file: QueuedFile, answer: bytes | Refusal) -> None:
        """A file was decoded, or refused. Without a socket its error is only counted, and its marks wait for the next
        one."""
        self._idle = False
        errors = self._handler.decoded(file, answer, self._clock.now())
        if self._sink is not None:
            self._answer([*errors, *self._handler.due_marks()])

    def _answer(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            if self._sink is not None:
                self._sink.control(message)

    # ── the WebSocket ───────────────────────────────────────────────────────────────────────────────────────

    def begin(self, now: float) -> None:
        """The first connection attempt starts."""
        self._retry.begin(now)

    def connect_timeout(self, now: float) -> float:
        """Seconds that the attempt which starts now may take."""
        return self._retry.connect_timeout(now)

    def send_through(self, sink: MessageSink) -> None:
        """Send through this one from now on, which passes on to the open socket; nothing without an open socket."""
        if self._sink is not None:
            self._sink = sink

    def opened(self, sink: MessageSink, now: float) -> bool:
        """A socket is open: send `connected`, `start`, the replay, and the keys and marks that waited. Returns whether
        it is the stream's first socket."""
        for message in self._session.start_messages(now):
            sink.control(message)
        for message, at in self._session.replay_messages():
            sink.media(message, at)
        for message in (*self._session.held_digits(), *self._handler.due_marks()):
            sink.control(message)
        self._sink = self._current = sink
        self._idle = self.waiting = False
        first = not self._retry.started
        self._retry.opened(now)
        return first

    def disconnected(self, gone: Disconnect, now: float) -> float | None:
        """The socket is closed, or the attempt failed. Returns the time of the next attempt, None if the stream is
        over."""
        sink = self._leave()
        delay = self._retry.after(gone, now)
        if delay is None:
            self._give_up(gone)
            return None
        self.waiting = self._retry.started
        if sink is not None:
            outbox = sink.outbox
            self._session.replay.unsent(outbox.frames)
            self._lost += len(outbox) - outbox.frames
        return now + delay

    def socket_released(self) -> None:
        """The current socket, if there is one, will not be used any more: keep its counters."""
        current, self._current = self._current, None
        if current is not None:
            outbox = current.outbox
            self._unsent += outbox.dropped_frames + outbox.frames
            self._dropped += outbox.dropped_frames + outbox.dropped_control

    def _give_up(self, gone: Disconnect) -> None:
        retry = self._retry
        reconnects = self._params.enable_reconnect and retry.started
        window = f"{self._settings.reconnect_window:g} s"
        if gone.reason is DisconnectReason.CLOSED or (retry.going_away and not reconnects):
            self.end(reason="the app closed the socket")
        elif retry.going_away:
            self.end(reason=f"the app closed the socket with 1001, and none came in its place within {window}")
        elif reconnects:
            self.end(error=f"no new connection within {window} after a loss; the last cause: {gone.detail}")
        else:
            self.end(error=gone.detail)
