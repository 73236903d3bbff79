"""The JSON messages of the WebSocket, in both directions (docs/reference/websocket.md). Pure: values in, bytes out.

The vocabulary of the wire (events, keys, error codes) is in this file alone. To the app: one function per message,
which returns compact JSON with its keys in the documented order. `media` is on the packet path, so `media_prefix`
prepares what all messages of a track have in common, and `speedups.encode_media` adds the rest.

From the app: one row of `FROM_APP` per message. `decode` runs a typed decoder, which also decodes base64; only what it
refuses is read again, to find the reason. The error codes are `Problem`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from trunkline.codecs import CODEC_TABLE
from trunkline.media.rtp.dtmf import DIGITS
from trunkline.streaming.params import BidirectionalMode, ErrorTitle, StreamIdentity, StreamParams

MARK_NAME_LIMIT = 4096
"""Bytes of a mark's name as JSON. No limit is documented, but marks are kept until they are played."""

_encode = msgspec.json.encode


class Problem(Enum):
    """Why a message of the app is refused: error code and title (docs/reference/websocket.md#error)."""

    UNKNOWN = (100002, "unknown_error")
    MALFORMED = (100003, "malformed_frame")
    INVALID_MEDIA = (100004, "invalid_media")
    RATE_LIMIT = (100005, "rate_limit_reached")

    def __init__(self, code: int, title: ErrorTitle) -> None:
        self.code = code
        """The number in the error message."""
        self.title = title
        """The title in the error message, under which refusals are counted too."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that is not carried out."""

    problem: Problem
    detail: str


# ── to the app ──────────────────────────────────────────────────────────────────────────────────────────────


def connected(auth_token: str | None) -> bytes:
    """The first message of a socket."""
    message: dict[str, Any] = {"event": "connected", "version": "1.0.0"}
    if auth_token is not None:
        message["connected"] = {"x-telnyx-streaming-auth-token": auth_token}
    return _encode(message)


def start(identity: StreamIdentity, params: StreamParams, encoding: str, sequence: int, *, extensions: bool) -> bytes:
    """Describes the stream. `encoding` is the format of the media to the app, as `codecs.format_name` makes it."""
    body: dict[str, Any] = {
        "user_id": identity.account_sid,
        "call_control_id": identity.call_sid,
        "call_session_id": identity.call_session_id,
        "from": identity.from_,
        "to": identity.to,
        "tags": [],
    }
    if params.client_state is not None:
        body["client_state"] = params.client_state
    body["custom_parameters"] = params.custom_parameters
    body["media_format"] = _media_format(encoding)
    if extensions and params.mode is BidirectionalMode.RTP:
        body["bidirectional_media_format"] = _media_format(params.bidirectional_encoding)
    return _encode(
        {"event": "start", "sequence_number": str(sequence), "stream_id": identity.stream_sid, "start": body}
    )


def _media_format(encoding: str) -> dict[str, str | int]:
    # The RTP clock, which is the real rate but for G722 (RFC 3551 section 4.5.2).
    codec, _, rate = encoding.partition("/")
    return {"encoding": codec, "sample_rate": CODEC_TABLE[codec].clock_rate(int(rate) if rate else None), "channels": 1}


def media_prefix(stream_id: str, track: str) -> bytes:
    """The part of a track's `media` messages between sequence number and chunk (`speedups.encode_media`)."""
    return b'","stream_id":' + _encode(stream_id) + b',"media":{"track":"' + track.encode() + b'","chunk":"'


def dtmf(stream_id: str, sequence: int, digit: str, occurred_at: datetime) -> bytes:
    """One key press; `occurred_at` is UTC."""
    return _encode(
        {
            "event": "dtmf",
            "stream_id": stream_id,
            "occurred_at": occurred_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "sequence_number": str(sequence),
            "dtmf": {"digit": digit},
        }
    )


def mark(stream_id: str, sequence: int, name: bytes, extras: dict[str, Any] | None = None) -> bytes:
    """A mark, returned. `name` is JSON, byte for byte as the app sent it; `extras` are members that are extensions."""
    return _encode(
        {
            "event": "mark",
            "stream_id": stream_id,
            "sequence_number": str(sequence),
            "mark": {"name": msgspec.Raw(name), **(extras or {})},
        }
    )


def queue(stream_id: str, queued_ms: int, played_ms: int) -> bytes:
    """How much of the app's audio is queued (an extension). Without a sequence number, so that those of the other
    messages are the same with and without it."""
    return _encode(
        {"event": "queue", "stream_id": stream_id, "queue": {"queued_ms": queued_ms, "played_ms": played_ms}}
    )


def error(stream_id: str, refusal: Refusal) -> bytes:
    """A refused message. Its key is `payload`, and it has no sequence number."""
    problem = refusal.problem
    return _encode(
        {
            "event": "error",
            "payload": {"code": problem.code, "title": problem.title, "detail": refusal.detail},
            "stream_id": stream_id,
        }
    )


def stop(identity: StreamIdentity, sequence: int) -> bytes:
    """The last message of a socket."""
    return _encode(
        {
            "event": "stop",
            "sequence_number": str(sequence),
            "stop": {"user_id": identity.account_sid, "call_control_id": identity.call_sid},
            "stream_id": identity.stream_sid,
        }
    )


# ── from the app ────────────────────────────────────────────────────────────────────────────────────────────


class MediaBody(msgspec.Struct, gc=False):
    """The member `media`."""

    payload: bytes


class Media(msgspec.Struct, tag_field="event", tag="media", gc=False):
    """Audio to play."""

    media: MediaBody


class _MarkBody(msgspec.Struct):
    name: msgspec.Raw


class _MarkFrame(msgspec.Struct, tag_field="event", tag="mark"):
    mark: _MarkBody


class Clear(msgspec.Struct, tag_field="event", tag="clear", gc=False):
    """Stop playing and empty the queue."""


class Complaint(msgspec.Struct, tag_field="event", tag="error", gc=False):
    """The app could not use a message. Counted and never answered: two parties that answer errors with errors would
    not stop."""


class _DtmfBody(msgspec.Struct):
    digit: str


class _DtmfFrame(msgspec.Struct, tag_field="event", tag="dtmf"):
    dtmf: _DtmfBody


@dataclass(frozen=True, slots=True)
class Dtmf:
    """Press keys (extension)."""

    digits: str
    """One or several of `DIGITS`."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Return this mark when the audio before it has been played."""

    name: bytes
    """The name as JSON, byte for byte."""


FromApp = Media | Mark | Clear | Complaint | Dtmf


@dataclass(frozen=True, slots=True)
class _Row:
    """One message from the app."""

    frame: type[msgspec.Struct]
    """Its JSON."""
    meaning: str
    """What the app says by it."""
    diagnose: Callable[[dict[str, Any]], Refusal] | None
    """Why the member of the event's name does not fit `frame`; None for a frame without members."""
    read: Callable[[Any], FromApp | Refusal] | None = None
    """Frame to value; None if the frame is the value."""
    form: str = ""
    """For an app that sends it without members."""
    listed: bool = True
    """Named to an app that sends an unknown event."""
    extension: bool = False


def _mark(frame: _MarkFrame) -> Mark | Refusal:
    name = bytes(frame.mark.name)
    if len(name) > MARK_NAME_LIMIT:
        return Refusal(Problem.MALFORMED, f"mark.name is longer than {MARK_NAME_LIMIT} bytes")
    try:
        name.decode()  # the decoder does not check the bytes of raw JSON, and they will be sent back
    except UnicodeDecodeError:
        return Refusal(Problem.MALFORMED, "mark.name is not UTF-8")
    return Mark(name)


def _dtmf(frame: _DtmfFrame) -> Dtmf | Refusal:
    digits = frame.dtmf.digit
    if not digits or digits.strip(DIGITS):
        return Refusal(Problem.MALFORMED, f"dtmf.digit is not one or several of {DIGITS}")
    return Dtmf(digits)


def _diagnose_media(body: dict[str, Any]) -> Refusal:
    payload = body.get("payload")
    if not isinstance(payload, str):
        return Refusal(Problem.MALFORMED, "media.payload is not a string")
    if payload.startswith("data:"):
        return Refusal(Problem.INVALID_MEDIA, "media.payload is a data: URL; send what is behind its comma alone")
    return Refusal(Problem.INVALID_MEDIA, "media.payload is not base64 (RFC 4648 section 4, with padding)")


def _malformed(detail: str) -> Callable[[dict[str, Any]], Refusal]:
    return lambda _body: Refusal(Problem.MALFORMED, detail)


_NO_NAME = "mark.name is missing"

FROM_APP: Mapping[str, _Row] = {
    "media": _Row(Media, "Audio to play.", _diagnose_media, form='"media": {"payload": "…"}'),
    "mark": _Row(
        _MarkFrame,
        "Return it when what is before it has been played.",
        _malformed(_NO_NAME),
        _mark,
        form='"mark": {"name": "…"}',
    ),
    "clear": _Row(Clear, "Stop playing and empty the queue.", None),
    "error": _Row(Complaint, "The app could not use a message; counted, never answered.", None, listed=False),
    "dtmf": _Row(
        _DtmfFrame,
        "Press keys.",
        _malformed("dtmf.digit is not a string"),
        _dtmf,
        form='"dtmf": {"digit": "…"}',
        extension=True,
    ),
}
"""Every message that an app may send, by its event."""

_READERS = {row.frame: row.read for row in FROM_APP.values() if row.read is not None}


def _decoder(*, extensions: bool) -> msgspec.json.Decoder[Any]:
    frames: list[Any] = [row.frame for row in FROM_APP.values() if extensions or not row.extension]
    return msgspec.json.Decoder(reduce(or_, frames))


_documented, _extended = _decoder(extensions=False), _decoder(extensions=True)


def decode(data: bytes | bytearray | memoryview, *, extensions: bool = False) -> FromApp | Refusal:
    """One text message of the app. Never raises; keeps no reference to `data`."""
    try:
        frame = (_extended if extensions else _documented).decode(data)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        return _diagnose(data, extensions=extensions)
    if isinstance(frame, Media):
        return frame
    read = _READERS.get(type(frame))
    message: FromApp | Refusal = frame if read is None else read(frame)
    return message


def _diagnose(data: bytes | bytearray | memoryview, *, extensions: bool) -> Refusal:
    """Why the typed decoder refused `data`."""
    try:
        message = msgspec.json.decode(data)
    except RecursionError:
        return Refusal(Problem.MALFORMED, "the message is nested too deeply")
    except ValueError as problem:
        return Refusal(Problem.MALFORMED, f"the message is not JSON: {problem}")
    if not isinstance(message, dict):
        return Refusal(Problem.MALFORMED, "the message is not a JSON object")
    event = message.get("event")
    if not isinstance(event, str):
        return Refusal(Problem.MALFORMED, 'the message has no "event" that is a string')
    row = FROM_APP.get(event)
    if row is None or (row.extension and not extensions):
        known = ", ".join(name for name, row in FROM_APP.items() if row.listed and (extensions or not row.extension))
        return Refusal(Problem.UNKNOWN, f"unknown event {event[:64]!r}; known are {known}")
    if row.diagnose is None:
        return Refusal(Problem.MALFORMED, "the message has more than one event")
    if event not in message:
        return Refusal(Problem.MALFORMED, f"the message has no {row.form} beside its event")
    body = message[event]
    return row.diagnose(body) if isinstance(body, dict) else Refusal(Problem.MALFORMED, f"{event} is not an object")
