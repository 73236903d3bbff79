"""The JSON of the WebSocket, both ways, to the letter of docs/reference/websocket.md. Pure: values in, bytes out.

To the app: one function per message, each giving one compact JSON text with its keys in the documented order.
`media` is not among them: it is the hot path, so `media_prefix` prepares what is the same in all of a track, and
`speedups.encode_media` puts the rest around it.

From the app: `decode` runs a typed decoder, which also decodes base64, and looks a second time only at what that one
refused, to say in words what is wrong. The error table is `Problem`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec

from trunkline.media.codecs import CODECS
from trunkline.media.rtp.dtmf import DIGITS
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams

MARK_NAME_LIMIT = 4096
"""Bytes of a mark's name as JSON. Nothing documents a limit; marks are held until they are played, so one is needed."""

_encode = msgspec.json.encode


class Problem(Enum):
    """What an app's message can be refused for: error code and title (docs/reference/websocket.md#error)."""

    UNKNOWN = (100002, "unknown_error")
    MALFORMED = (100003, "malformed_frame")
    INVALID_MEDIA = (100004, "invalid_media")
    RATE_LIMIT = (100005, "rate_limit_reached")

    @property
    def code(self) -> int:
        """The number in the error message."""
        return self.value[0]

    @property
    def title(self) -> str:
        """The word in the error message, and the key under which refusals are counted."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that is not carried out, and why."""

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
    """What the stream is. `encoding` is the fork's format, a name of `CODECS`."""
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
    return {"encoding": encoding.partition("/")[0], "sample_rate": CODECS[encoding].clock_rate, "channels": 1}


def media_prefix(stream_id: str, track: str) -> bytes:
    """What stands between sequence number and chunk in each `media` message of a track (`speedups.encode_media`)."""
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
    """A mark comes back; `name` is JSON, byte for byte as the app sent it. `extras` are members beyond the
    documented ones (extensions)."""
    return _encode(
        {
            "event": "mark",
            "stream_id": stream_id,
            "sequence_number": str(sequence),
            "mark": {"name": msgspec.Raw(name), **(extras or {})},
        }
    )


def queue(stream_id: str, queued_ms: int, played_ms: int) -> bytes:
    """How much of the app's audio waits (an extension). Like `error`, it has no sequence number, so that the numbers
    of the others are the same with and without it."""
    return _encode(
        {"event": "queue", "stream_id": stream_id, "queue": {"queued_ms": queued_ms, "played_ms": played_ms}}
    )


def error(stream_id: str, refusal: Refusal) -> bytes:
    """A refused message. The key is `payload`, and there is no sequence number."""
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
    """Stop playing, forget what is queued."""


class Complaint(msgspec.Struct, tag_field="event", tag="error", gc=False):
    """The app could not use something; whatever it says of it. To be counted and never answered, as two parties that
    answer errors with errors would do so for ever."""


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
    """Tell when what was sent before this has been played."""

    name: bytes
    """The name as JSON, byte for byte."""


_Plain = Media | _MarkFrame | Clear | Complaint
_decoder: msgspec.json.Decoder[_Plain] = msgspec.json.Decoder(_Plain)
_extended: msgspec.json.Decoder[_Plain | _DtmfFrame] = msgspec.json.Decoder(_Plain | _DtmfFrame)
_EVENTS = ("media", "mark", "clear")


def decode(
    data: bytes | bytearray | memoryview, *, extensions: bool = False
) -> Media | Mark | Clear | Complaint | Dtmf | Refusal:
    """One text message of the app. Never raises; keeps no reference to `data`."""
    try:
        message = (_extended if extensions else _decoder).decode(data)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        return _diagnose(data, (*_EVENTS, "dtmf") if extensions else _EVENTS)
    if isinstance(message, Media):
        return message
    if isinstance(message, _MarkFrame):
        return _mark(bytes(message.mark.name))
    if isinstance(message, _DtmfFrame):
        return _dtmf(message.dtmf.digit)
    return message


def _dtmf(digits: str) -> Dtmf | Refusal:
    if not digits or digits.strip(DIGITS):
        return Refusal(Problem.MALFORMED, f"dtmf.digit is not one or several of {DIGITS}")
    return Dtmf(digits)


def _mark(name: bytes) -> Mark | Refusal:
    if len(name) > MARK_NAME_LIMIT:
        return Refusal(Problem.MALFORMED, f"mark.name is longer than {MARK_NAME_LIMIT} bytes")
    try:
        name.decode()  # the typed decoder does not look at the bytes of a raw string, but they will be echoed
    except UnicodeDecodeError:
        return Refusal(Problem.MALFORMED, "mark.name is not UTF-8")
    return Mark(name)


def _diagnose(data: bytes | bytearray | memoryview, events: tuple[str, ...]) -> Refusal:
    """Why the typed decoder refused `data`."""
    try:
        frame = msgspec.json.decode(data)
    except RecursionError:
        return Refusal(Problem.MALFORMED, "the message is nested too deeply")
    except ValueError as problem:
        return Refusal(Problem.MALFORMED, f"the message is not JSON: {problem}")
    if not isinstance(frame, dict):
        return Refusal(Problem.MALFORMED, "the message is not a JSON object")
    event = frame.get("event")
    if not isinstance(event, str):
        return Refusal(Problem.MALFORMED, 'the message has no "event" that is a string')
    if event not in events:
        return Refusal(Problem.UNKNOWN, f"unknown event {event[:64]!r}; known are {', '.join(events)}")
    body = frame.get(event)
    if not isinstance(body, dict):
        return Refusal(Problem.MALFORMED, f"{event} is not an object")
    if event == "media":
        return _diagnose_media(body)
    if event == "dtmf":
        return Refusal(Problem.MALFORMED, "dtmf.digit is not a string")
    return Refusal(Problem.MALFORMED, "mark.name is missing")


def _diagnose_media(body: dict[str, Any]) -> Refusal:
    if not isinstance(body.get("payload"), str):
        return Refusal(Problem.MALFORMED, "media.payload is not a string")
    return Refusal(Problem.INVALID_MEDIA, "media.payload is not base64 (RFC 4648 section 4, with padding)")
