"""Handles the app's messages (docs/reference/websocket.md#messages-from-the-app). Pure: message in, answers out."""

from collections.abc import Callable

from trunkline import speedups
from trunkline.config import StreamSettings
from trunkline.media.audio.content import Content, container, fix
from trunkline.media.audio.level import LevelMeter
from trunkline.media.codecs import CODECS, UndecodablePacket, converter, socket_codec
from trunkline.streaming.files import MEMORY, Files, QueuedFile
from trunkline.streaming.messages import Clear, Complaint, Dtmf, Mark, Media, Problem, Refusal, decode
from trunkline.streaming.params import StreamParams
from trunkline.streaming.playback import Playback
from trunkline.streaming.session import Session

QUEUE_INTERVAL = 100
"""Milliseconds between two `queue` messages."""

PressKeys = Callable[[str], Refusal | None]
"""Sends these keys (of `media.rtp.dtmf.DIGITS`) to the call. Returns a refusal if none of them can be sent."""


class MessageHandler:
    """Feeds the playback of one stream, in mp3 mode through `files`. A bad message is answered, counted and ignored."""

    __slots__ = (
        "_codec",
        "_convert",
        "_extensions",
        "_files",
        "_playback",
        "_press",
        "_raw",
        "_reported",
        "_reported_at",
        "_session",
        "_settings",
        "bytes",
        "complaints",
        "messages",
    )

    def __init__(
        self,
        params: StreamParams,
        settings: StreamSettings,
        session: Session,
        playback: Playback,
        press: PressKeys,
        files: Files | None = None,
    ) -> None:
        self._files = files
        self._codec = socket_codec(params.bidirectional_encoding, settings.l16_endian)
        self._settings = settings
        self._extensions = settings.extensions
        self._session = session
        self._playback = playback
        self._press = press
        self._convert = converter(self._codec, playback.codec)
        self._raw: LevelMeter | None = None
        """Of audio that is converted before the playback's own meter sees it."""
        if files is None and self._convert is not None and CODECS[self._codec].samples is None:
            self._raw = LevelMeter(self._codec)
        self._reported = 0
        self._reported_at = -QUEUE_INTERVAL
        self.messages = 0
        self.bytes = 0
        """Of audio, base64 decoded."""
        self.complaints = 0
        """`error` messages of the app."""

    @property
    def bytes_per_second(self) -> int:
        """Of audio as it is played; 0 where a payload is a packet."""
        row = CODECS[self._codec]
        return 0 if row.samples is not None else row.bytes_per_ms * 1000 or 2 * row.sample_rate

    @property
    def content(self) -> tuple[str, str]:
        """What the app's audio is found to be instead of its codec: its kind, and a sentence with what to change."""
        check = self._playback.meter.content if self._raw is None else self._raw.content
        found: Content | None = None if check is None else check.found
        if found is None:
            return "", ""
        verb = "is" if found.certain else "sounds"
        return found.kind, f"it {verb} {found.words}. {fix(found.kind, self._codec)}"

    def text(self, data: bytes | bytearray | memoryview, now: float) -> list[bytes]:
        """A text message; keeps no reference to `data`. `now` is in seconds, monotonic."""
        self.messages += 1
        if isinstance(data, bytes) and (payload := speedups.decode_media_fast(data)):
            refusal = self._media(payload, now)
        elif isinstance(message := decode(data, extensions=self._extensions), Media):
            refusal = self._media(message.media.payload, now)
        elif isinstance(message, Mark):
            refusal = self._mark(message)
        elif isinstance(message, Clear):
            (self._files or self._playback).clear()
            # A half sample that waits for its other half would shift all that follows.
            self._convert = converter(self._codec, self._playback.codec)
            if self._raw is not None:
                self._raw.restart()
            return self.due_marks(cleared=True)
        elif isinstance(message, Dtmf):
            refusal = self._press(message.digits)
        elif isinstance(message, Complaint):
            self.complaints += 1
            refusal = None
        else:
            refusal = message
        if refusal is not None:
            return self._refuse(refusal, now)
        return self.due_marks() if self._playback.returned else []

    def binary(self, now: float) -> list[bytes]:
        """A binary message."""
        self.messages += 1
        return self._refuse(Refusal(Problem.MALFORMED, "a binary frame; messages are JSON in text frames"), now)

    def decoded(self, file: QueuedFile, answer: bytes | Refusal, now: float) -> list[bytes]:
        """The decoder's answer for a file. Returns the error for it, if any; marks may be due after it."""
        refusal = self._files.finish(file, answer) if self._files else None
        return [] if refusal is None else self._refuse(refusal, now)

    def due_marks(self, cleared: bool = False) -> list[bytes]:
        """The marks that playback has reached since the last call, in order."""
        playback = self._playback
        if not playback.returned:
            return []
        return [self._session.mark(name, playback.played_ms, cleared=cleared) for name in playback.take_returned()]

    def backlog(self, at: int) -> bytes | None:
        """A `queue` message when one is due: at most every `QUEUE_INTERVAL` while the backlog changes, and at once when
        it is empty. `at` is the leg's time in ms."""
        queued = self._playback.queued_ms
        if queued == self._reported or (queued and at - self._reported_at < QUEUE_INTERVAL):
            return None
        self._reported, self._reported_at = queued, at
        return self._session.queue(queued, self._playback.played_ms)

    def _media(self, payload: bytes, now: float) -> Refusal | None:
        if not payload:
            return Refusal(Problem.INVALID_MEDIA, "media.payload is empty")
        refusal = self._files.add(payload, now) if self._files else self._put(payload)
        if refusal is None:
            self.bytes += len(payload)
        return refusal

    def _put(self, payload: bytes) -> Refusal | None:
        if self._convert is not None:
            if self._raw is not None:
                self._raw.see(payload, len(payload))
            try:
                payload = self._convert(payload)
            except UndecodablePacket as problem:
                found = container(payload)
                seen = "" if found is None else f"; it is {found.words}"
                return Refusal(Problem.INVALID_MEDIA, f"media.payload: {problem}{seen}")
        if self._playback.put(payload):
            return None
        if self._playback.short:
            return Refusal(Problem.RATE_LIMIT, MEMORY)
        seconds = f"{self._settings.playback_limit:g} s"
        return Refusal(Problem.RATE_LIMIT, f"more than {seconds} of audio would be queued; this message is dropped")

    def _mark(self, mark: Mark) -> Refusal | None:
        if (self._files or self._playback).mark(mark.name):
            return None
        if self._playback.short:
            return Refusal(Problem.RATE_LIMIT, MEMORY)
        return Refusal(Problem.RATE_LIMIT, f"{self._settings.mark_limit} marks are pending; this one is dropped")

    def _refuse(self, refusal: Refusal, now: float) -> list[bytes]:
        message = self._session.refuse(refusal, now)
        return [] if message is None else [message]
