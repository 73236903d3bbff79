"""A capture: every message of a stream, both ways, with its time, as lines of JSON. Pure.

`StreamCapture` stands between the stream and its sockets and hands records to a `CaptureQueue`, which never waits; the
lines are made where they are written. A stream that is not captured has none of these objects, and costs what it did.

    {"capture": 1, "started_at": …, "stream_id": …, "codec": "PCMU", …}          the head of each file
    {"ms": 20.1, "to": "app", "message": {"event": "media", …}}                  a message to the app
    {"ms": 31.0, "to": "server", "message": {"event": "media", …}}               a message of the app
    {"ms": 31.0, "to": "server", "text": "not JSON"}   {"ms": …, "to": "server", "binary": true}
    {"ms": 40.2, "note": "open"}   {"ms": …, "note": "lost", "reason": …}   {"ms": …, "note": "dropped", "records": 3}
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from hashlib import sha256
from typing import Any, Literal, Protocol

import msgspec

from trunkline.config import StreamSettings
from trunkline.streaming.params import StreamIdentity, StreamParams
from trunkline.streaming.session import MessageSink

VERSION = 1
HIDDEN = "..."
"""In place of what is secret, or masked."""
SHOWN_DIGITS = 2
"""Of a masked number, at its end."""
TEXT_LIMIT = 65536
"""Characters kept of a message that is not JSON."""
_NUMBERS = ("from", "to")
_TOKEN = "x-telnyx-streaming-auth-token"

Payloads = Literal["whole", "hash"]


class RecordKind(IntEnum):
    """What a record is."""

    TO_APP = 0
    TO_SERVER = 1
    BINARY = 2
    """Of the app; without data."""
    NOTE = 3
    """Its data are a line's members as JSON."""


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One thing that happened."""

    capture: str
    """The stream's `stream_id`."""
    at: float
    """Seconds since the capture began."""
    kind: RecordKind
    data: bytes


class CaptureQueue(Protocol):
    """What writes captures."""

    def put(self, record: CaptureRecord) -> bool:
        """Take a record, at once; False: it was dropped, as too many wait."""


def head(
    identity: StreamIdentity, params: StreamParams, encoding: str, settings: StreamSettings, at: datetime
) -> bytes:
    """The first line of each file, without its end. The URL has neither user-info nor query."""
    return msgspec.json.encode(
        {
            "capture": VERSION,
            "started_at": at.isoformat(),
            "account_sid": identity.account_sid,
            "call_sid": identity.call_sid,
            "stream_id": identity.stream_sid,
            "url": params.url.display(),
            "track": params.track.value,
            "mode": params.mode.value,
            "codec": encoding,
            "bot_codec": params.bidirectional_encoding,
            "l16_endian": params.l16_endian or settings.l16_endian,
            "prebuffer": settings.prebuffer,
            "payloads": settings.capture_payloads,
            "numbers": settings.capture_numbers,
        }
    )


def is_wanted(params: StreamParams, settings: StreamSettings) -> bool:
    """Whether a stream is captured."""
    if settings.capture is None or params.capture is None:
        return settings.capture is not None and settings.capture_streams == "all"
    return params.capture


def line(record: CaptureRecord, *, payloads: Payloads, masked: bool) -> bytes:
    """A record as a line, with its end."""
    members: dict[str, Any] = {"ms": round(record.at * 1000, 1)}
    if record.kind is RecordKind.NOTE:
        members |= msgspec.json.decode(record.data)
        return msgspec.json.encode(members) + b"\n"
    members["to"] = "app" if record.kind is RecordKind.TO_APP else "server"
    if record.kind is RecordKind.BINARY:
        members["binary"] = True
    else:
        members |= _content(record.data, payloads, masked)
    return msgspec.json.encode(members) + b"\n"


def _content(data: bytes, payloads: Payloads, masked: bool) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return {"text": data.decode(errors="replace")[:TEXT_LIMIT]}
    if isinstance(message, dict):
        _hide(message, payloads, masked)
    return {"message": message}


def _hide(message: dict[str, Any], payloads: Payloads, masked: bool) -> None:
    """Take out what is not to be kept."""
    media, start, connected = (message.get(name) for name in ("media", "start", "connected"))
    if payloads == "hash" and isinstance(media, dict) and isinstance(payload := media.get("payload"), str):
        media["payload"] = ""
        media["payload_sha256"] = sha256(payload.encode()).hexdigest()[:16]
        media["payload_base64_size"] = len(payload)
    if isinstance(connected, dict) and _TOKEN in connected:
        connected[_TOKEN] = HIDDEN
    if not masked:
        return
    if isinstance(start, dict):
        for name in _NUMBERS:
            start[name] = masked_number(str(start.get(name, "")))
        if start.get("custom_parameters"):
            start["custom_parameters"] = dict.fromkeys(start["custom_parameters"], HIDDEN)
        if "client_state" in start:
            start["client_state"] = HIDDEN
    if isinstance(dtmf := message.get("dtmf"), dict):
        dtmf["digit"] = HIDDEN


def masked_number(number: str) -> str:
    """A number or user name of which only the end can be read."""
    return "x" * max(0, len(number) - SHOWN_DIGITS) + number[-SHOWN_DIGITS:] if len(number) > SHOWN_DIGITS else HIDDEN


class StreamCapture:
    """The capture of one stream. `time` gives seconds, monotonic."""

    __slots__ = ("_began", "_dropped", "_queue", "_time", "name")

    def __init__(self, name: str, queue: CaptureQueue, time: Callable[[], float]) -> None:
        self.name = name
        """The stream's `stream_id`."""
        self._queue = queue
        self._time = time
        self._began = time()
        self._dropped = 0

    def put(self, kind: RecordKind, data: bytes) -> None:
        """Hand on a record, or count it as dropped; the next one that is taken says how many were."""
        at = self._time() - self._began
        if self._dropped:
            said = msgspec.json.encode({"note": "dropped", "records": self._dropped})
            if self._queue.put(CaptureRecord(self.name, at, RecordKind.NOTE, said)):
                self._dropped = 0
        self._dropped += not self._queue.put(CaptureRecord(self.name, at, kind, data))

    def note(self, note: str, **members: str) -> None:
        """Something that is no message: `open`, `lost`, `end`."""
        self.put(RecordKind.NOTE, msgspec.json.encode({"note": note, **members}))


class CapturedSink(MessageSink):
    """A socket whose messages are captured when the stream hands them to it; those that it drops later, as the app
    does not read, are in the capture too."""

    def __init__(self, socket: MessageSink, capture: StreamCapture) -> None:
        super().__init__(socket.outbox)
        self._socket = socket
        self._capture = capture

    def media(self, message: bytes, at: int) -> None:
        """See `MessageSink`."""
        self._capture.put(RecordKind.TO_APP, message)
        self._socket.media(message, at)

    def control(self, message: bytes) -> None:
        """See `MessageSink`."""
        self._capture.put(RecordKind.TO_APP, message)
        self._socket.control(message)


class Reader(Protocol):
    """Who reads the app's messages: the stream."""

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        """A text message."""

    def binary(self, now: float) -> None:
        """A binary message."""


class CapturedReader:
    """The stream, with its messages captured before it reads them."""

    def __init__(self, stream: Reader, capture: StreamCapture) -> None:
        self._stream = stream
        self._capture = capture

    def text(self, message: bytes | bytearray | memoryview, now: float) -> None:
        """See `Reader`."""
        self._capture.put(RecordKind.TO_SERVER, bytes(message))
        self._stream.text(message, now)

    def binary(self, now: float) -> None:
        """See `Reader`."""
        self._capture.put(RecordKind.BINARY, b"")
        self._stream.binary(now)
