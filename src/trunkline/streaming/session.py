"""The messages of one WebSocket: numbers, times, order (docs/reference/websocket.md#messages-to-the-app). Pure.

`Session` makes the messages. `sequence_number` counts every sequenced message, `start` being 1. `chunk` counts per
track from 1; lost frames leave a gap. `timestamp` is the frame's time on the leg less that of the stream's start, so
that both tracks share one clock. The format of the media is stated once, in `start`; if the leg's codec changes later,
frames are transcoded to it.

After a reconnect all three start again: `start_messages`, then `replay_messages` with the frames that the `Replay` has
kept, then what comes.

`SendBuffer` holds what was not sent to an app that does not read: media of a limited duration, and control messages
within the account's budget, which keep their place among the media. Of both the oldest are dropped first.
"""

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime

from trunkline import speedups
from trunkline.config import StreamSettings
from trunkline.media.codecs import UndecodablePacket, converter, socket_codec
from trunkline.streaming import messages
from trunkline.streaming.budget import CLOSED, UNBOUNDED, Budget
from trunkline.streaming.messages import Refusal
from trunkline.streaming.params import ErrorTitle, StreamIdentity, StreamParams
from trunkline.streaming.replay import FRAMES_PER_SECOND, Replay, ReplayFrame

DETAIL_LIMIT = 200
"""Characters of a refusal's detail that are kept."""
CONTROL_COST = 150
"""Bytes that a control message in the `SendBuffer` takes besides its text."""


class _Fork:
    """One track of the media to the app."""

    __slots__ = ("chunk", "codec", "convert", "gap", "held_since", "outbound", "plain", "prefix")

    def __init__(self, stream_id: str, track: str, codec: str) -> None:
        self.codec = codec
        """Of the frames from the leg."""
        self.prefix = messages.media_prefix(stream_id, track)
        self.outbound = track == "outbound"
        self.chunk = 0
        self.convert: Callable[[bytes], bytes] | None = None
        """To the format of the media; None while the leg's frames are in it."""
        self.plain = True
        """The next frame is sent unchanged: nothing to convert, none lost before it, none held."""
        self.gap = 0
        """Frames lost since the last one."""
        self.held_since: int | None = None
        """Time on the leg of the audio that waits in `convert` until a packet is full."""


class Session:
    """The messages of a stream's socket, numbered in the order of the calls.

    `encoding` is the fork's format, in which the leg's frames are until `leg_changed` says otherwise.
    """

    __slots__ = (
        "_codec",
        "_encoding",
        "_error_times",
        "_identity",
        "_inbound",
        "_origin",
        "_outbound",
        "_params",
        "_sequence",
        "_settings",
        "_started",
        "_stream_id",
        "anchored",
        "errors",
        "frames",
        "marks",
        "missing",
        "refusals",
        "replay",
    )

    def __init__(self, params: StreamParams, identity: StreamIdentity, encoding: str, settings: StreamSettings) -> None:
        self._params = params
        self._identity = identity
        self._stream_id = identity.stream_sid
        self._encoding = encoding
        self._codec = socket_codec(encoding, settings.l16_endian)
        self._settings = settings
        self._inbound = _Fork(self._stream_id, "inbound", self._codec)
        self._outbound = _Fork(self._stream_id, "outbound", self._codec)
        self._sequence = 0
        self._started = 0.0
        self._origin = 0
        self._error_times: list[float] = []
        self.anchored = False
        """The time of the stream's start on the leg is known."""
        tracks = params.track.inbound + params.track.outbound
        self.replay = Replay(settings.replay if params.enable_reconnect else 0, tracks)
        self.frames = 0
        """`media` messages made."""
        self.missing = 0
        self.marks = 0
        self.errors: Counter[ErrorTitle] = Counter()
        self.refusals: dict[ErrorTitle, str] = {}
        """The last detail of each."""

    def start_messages(self, now: float) -> tuple[bytes, bytes]:
        """`connected` and `start` for a new socket; its timestamps start at `now` (seconds, monotonic)."""
        self._started = now
        self._sequence = 1
        self._inbound.chunk = self._outbound.chunk = 0
        self.anchored = False
        return messages.connected(self._params.auth_token), messages.start(
            self._identity, self._params, self._encoding, self._sequence, extensions=self._settings.extensions
        )

    def anchor(self, at: int, now: float) -> None:
        """Relate the clocks: the frame of the leg's time `at` (ms) arrives at `now` (s). Called before it."""
        self._origin = at - round((now - self._started) * 1000)
        self.anchored = True

    def leg_changed(self, codec: str) -> None:
        """The frames of both tracks are in this codec from now on."""
        self._change(self._inbound, codec)
        self._change(self._outbound, codec)

    def peer_changed(self, codec: str) -> None:
        """The frames of the inbound track are in this codec from now on."""
        self._change(self._inbound, codec)

    def _change(self, fork: _Fork, codec: str) -> None:
        if codec != fork.codec:
            fork.codec = codec
            fork.convert = converter(codec, self._codec)
            fork.plain = False

    def inbound(self, payload: bytes, at: int, missing: int) -> bytes:
        """`media` of the inbound track, empty until a packet is full; `missing` frames before it were lost."""
        fork = self._inbound
        if missing:
            self._lost(fork, missing)
        missing = 0
        if not fork.plain:
            frame = self._frame(fork, payload, at)
            if frame is None:
                return b""
            at, _, payload, missing = frame
        self.replay.keep(at, False, payload, missing)
        return self._message(fork, at, payload, missing)

    def outbound(self, payload: bytes, at: int) -> bytes:
        """`media` of the outbound track, empty until a packet is full."""
        fork = self._outbound
        missing = 0
        if not fork.plain:
            frame = self._frame(fork, payload, at)
            if frame is None:
                return b""
            at, _, payload, missing = frame
        self.replay.keep(at, True, payload, missing)
        return self._message(fork, at, payload, missing)

    def hold_inbound(self, payload: bytes, at: int, missing: int) -> None:
        """Keep a frame for the next socket."""
        if missing:
            self._lost(self._inbound, missing)
        self._hold(self._inbound, payload, at)

    def hold_outbound(self, payload: bytes, at: int) -> None:
        """Keep a frame for the next socket."""
        self._hold(self._outbound, payload, at)

    def _hold(self, fork: _Fork, payload: bytes, at: int) -> None:
        frame = self._frame(fork, payload, at)
        if frame is not None:
            self.replay.hold(frame)

    def replay_messages(self) -> list[tuple[bytes, int]]:
        """`media` of all kept frames, each with its leg time (ms); sent after `start_messages`, before others."""
        frames = self.replay.frames()
        if frames:
            self._origin = min(frame[0] for frame in frames)
            self.anchored = True
        self.replay.sent()
        return [
            (self._message(self._outbound if outbound else self._inbound, at, payload, missing), at)
            for at, outbound, payload, missing in frames
        ]

    def held_digits(self) -> list[bytes]:
        """`dtmf` of the keys pressed while there was no socket."""
        return [self.digit(digit, occurred_at) for digit, occurred_at in self.replay.digits()]

    def _lost(self, fork: _Fork, count: int) -> None:
        """Count lost frames; those before a socket's first frame leave no gap."""
        if fork.chunk:
            fork.gap += count
            fork.plain = False
            self.missing += count

    def _frame(self, fork: _Fork, payload: bytes, at: int) -> ReplayFrame | None:
        """None until a packet is full, and for a payload that cannot be decoded."""
        if fork.convert is not None:
            try:
                payload = fork.convert(payload)
            except UndecodablePacket:  # counts as lost
                self._lost(fork, 1)
                return None
        if fork.held_since is not None:
            at = fork.held_since
        if not payload:
            fork.held_since = at
            return None
        fork.held_since = None
        missing, fork.gap = fork.gap, 0
        fork.plain = fork.convert is None
        return at, fork.outbound, payload, missing

    def _message(self, fork: _Fork, at: int, payload: bytes, missing: int) -> bytes:
        self._sequence = sequence = self._sequence + 1
        # A socket's first chunk is 1, whatever was lost before it.
        fork.chunk = chunk = fork.chunk + (1 + missing if fork.chunk else 1)
        self.frames += 1
        time = at - self._origin
        # A frame from before the start may arrive after it.
        return speedups.encode_media(fork.prefix, sequence, chunk, time if time > 0 else 0, payload)

    def digit(self, digit: str, occurred_at: datetime) -> bytes:
        """`dtmf`."""
        self._sequence += 1
        return messages.dtmf(self._stream_id, self._sequence, digit, occurred_at)

    def mark(self, name: bytes, played_ms: int, *, cleared: bool) -> bytes:
        """`mark`, returned; `played_ms` of the app's audio have been played."""
        self._sequence += 1
        self.marks += 1
        extras: dict[str, int | bool] = {}
        if self._settings.extensions:
            extras["played_ms"] = played_ms
            if cleared:
                extras["cleared"] = True
        return messages.mark(self._stream_id, self._sequence, name, extras)

    def queue(self, queued_ms: int, played_ms: int) -> bytes:
        """`queue`, an extension."""
        return messages.queue(self._stream_id, queued_ms, played_ms)

    def refuse(self, refusal: Refusal, now: float) -> bytes | None:
        """`error`, or None if `error_rate` of them were sent within the last second; counted in any case."""
        self.errors[refusal.problem.title] += 1
        self.refusals[refusal.problem.title] = refusal.detail[:DETAIL_LIMIT]
        times, limit = self._error_times, self._settings.error_rate
        if len(times) >= limit and (not times or now - times[0] < 1):
            return None
        times.append(now)
        del times[:-limit]
        return messages.error(self._stream_id, refusal)

    def stop(self) -> bytes:
        """`stop`, the last one."""
        self._sequence += 1
        return messages.stop(self._identity, self._sequence)


class SendBuffer:
    """Messages waiting for an app that does not read, in order."""

    __slots__ = (
        "_budget",
        "_control",
        "_control_limit",
        "_media",
        "_media_limit",
        "_order",
        "_span",
        "dropped_control",
        "dropped_frames",
    )

    def __init__(self, seconds: float, control_limit: int, budget: Budget = UNBOUNDED) -> None:
        self._budget = budget
        self._span = seconds * 1000
        self._media_limit = max(1, int(seconds * FRAMES_PER_SECOND))
        self._control_limit = control_limit
        # Made when needed: most apps read, and an empty deque takes 760 bytes.
        self._media: deque[tuple[int, int, bytes]] | None = None
        self._control: deque[tuple[int, bytes]] | None = None
        self._order = 0
        self.dropped_frames = 0
        """`media` messages since the start."""
        self.dropped_control = 0
        """Other messages since the start."""

    def __len__(self) -> int:
        return self.frames + len(self._control or ())

    @property
    def frames(self) -> int:
        """`media` messages waiting."""
        return len(self._media or ())

    def media(self, message: bytes, at: int) -> None:
        """Keep a `media` message of the leg's time `at` (ms); drops those that are too old by then."""
        media = self._media
        if media is None:
            media = self._media = deque()
        while media and (at - media[0][1] >= self._span or len(media) >= self._media_limit):
            media.popleft()
            self.dropped_frames += 1
        self._order += 1
        media.append((self._order, at, message))

    def control(self, message: bytes) -> None:
        """Keep any other message; drops the oldest if there are `control_limit`, or no memory is left."""
        control = self._control
        if control is None:
            control = self._control = deque()
        while len(control) >= self._control_limit or not self._budget.take(CONTROL_COST + len(message)):
            self.dropped_control += 1
            if not control:
                return
            self._budget.give(CONTROL_COST + len(control.popleft()[1]))
        self._order += 1
        control.append((self._order, message))

    def pop(self) -> bytes | None:
        """The next message, or None."""
        if self._control and (not self._media or self._control[0][0] < self._media[0][0]):
            message = self._control.popleft()[1]
            self._budget.give(CONTROL_COST + len(message))
            return message
        return self._media.popleft()[2] if self._media else None

    def release(self) -> None:
        """Nothing of it is sent any more: give its memory back. The numbers stay."""
        control = self._control or ()
        self._budget.give(sum(CONTROL_COST + len(message) for _, message in control))
        self._budget = CLOSED


class MessageSink:
    """Where a stream's messages go: a WebSocket. `outbox` is what the app has not read."""

    __slots__ = ("outbox",)

    def __init__(self, outbox: SendBuffer) -> None:
        self.outbox = outbox

    def media(self, message: bytes, at: int) -> None:
        """Send a `media` message of the leg's time `at` (ms)."""
        raise NotImplementedError

    def control(self, message: bytes) -> None:
        """Send any other message."""
        raise NotImplementedError
