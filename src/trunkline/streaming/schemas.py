"""JSON Schema of every message of the WebSocket (docs/reference/websocket.md). Pure.

To the app: from what the functions of `messages.py` write, with all their members and with as few as can be, so that a
schema cannot differ from what is sent. From the app: from the structs that read it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.outbound.urls import WebSocketUrl
from trunkline.speedups import encode_media
from trunkline.streaming import messages
from trunkline.streaming.messages import FROM_APP, Problem, Refusal
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams

Schema = dict[str, Any]

DIGITS = r"^\d+$"
_KNOWN: Mapping[str, Schema] = {
    "sequence_number": {"pattern": DIGITS},
    "chunk": {"pattern": DIGITS},
    "timestamp": {"pattern": DIGITS, "description": "ms since the stream's start"},
    "payload": {"contentEncoding": "base64"},
    "occurred_at": {"format": "date-time"},
    "stream_id": {"format": "uuid"},
    "track": {"enum": ["inbound", "outbound"]},
    "title": {"enum": [problem.title for problem in Problem]},
    "code": {"enum": [problem.code for problem in Problem]},
    "custom_parameters": {"additionalProperties": {"type": "string"}, "required": [], "properties": {}},
    "name": {"description": "any JSON value, as the app sent it"},
}
"""What the members of that name are, beside their type."""
_IDENTITY = StreamIdentity(
    StreamSid("e9cea0be-7dbd-4b98-98b1-c0089d9d43b0"),
    AccountSid("61bf923e-5e4d-4595-a110-56190ea18a1b"),
    CallSid("v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"),
    CallSessionId("5f1c9d2e-0000-4000-8000-0000000000aa"),
    "+13120001234",
    "+13121230000",
)
_NOON = datetime(2026, 6, 5, 12, 0, 0, 1, UTC)
_NAME = b'"greeting"'


def to_app() -> dict[str, Schema]:
    """The schema of each message to the app, by its event, with its examples."""
    found = {}
    for event, written in _written().items():
        examples = [json.loads(one) for one in written]
        found[event] = {**_of(examples), "examples": examples}
        found[event]["properties"]["event"] = {"const": event}
    return found


def from_app() -> dict[str, Schema]:
    """The schema of each message from the app, by its event."""
    references, parts = msgspec.json.schema_components([row.frame for row in FROM_APP.values()], ref_template="{name}")
    found = {}
    for (event, row), reference in zip(FROM_APP.items(), references, strict=True):
        schema = _inlined(reference, parts)
        schema["description"] = " ".join((row.meaning + (" (extension)" if row.extension else "")).split())
        found[event] = schema
    return found


def _written() -> dict[str, list[bytes]]:
    """What is sent: each message with as few members as can be, and with all."""
    url = WebSocketUrl.parse("ws://127.0.0.1:9000/")
    few = StreamParams(url)
    all_there_are = StreamParams(
        url, mode=BidirectionalMode.RTP, client_state="aGVsbG8=", custom_parameters={"customer": "42"}
    )
    stream = _IDENTITY.stream_sid
    media = messages.media_prefix(stream, "inbound")
    return {
        "connected": [messages.connected(None), messages.connected("secret")],
        "start": [
            messages.start(_IDENTITY, few, "PCMU", 1, extensions=False),
            messages.start(_IDENTITY, all_there_are, "L16/16000", 1, extensions=True),
        ],
        "media": [encode_media(media, 4, 2, 20, b"\xff\xfe")],
        "dtmf": [messages.dtmf(stream, 5, "1", _NOON)],
        "mark": [messages.mark(stream, 6, _NAME), messages.mark(stream, 6, _NAME, {"played_ms": 1, "cleared": True})],
        "queue": [messages.queue(stream, 120, 4000)],
        "error": [messages.error(stream, Refusal(Problem.MALFORMED, "the message is not JSON"))],
        "stop": [messages.stop(_IDENTITY, 9)],
    }


def _of(values: list[Any], name: str = "") -> Schema:
    """The schema that all these values of a member keep to."""
    first = values[0]
    if isinstance(first, dict):
        keys = list(dict.fromkeys(key for value in values for key in value))
        schema: Schema = {
            "type": "object",
            "properties": {key: _of([value[key] for value in values if key in value], key) for key in keys},
            "required": [key for key in keys if all(key in value for value in values)],
        }
    elif name == "name":
        schema = {}
    else:
        kinds: list[tuple[type, str]] = [(bool, "boolean"), (int, "integer"), (str, "string"), (list, "array")]
        schema = {"type": next(word for kind, word in kinds if isinstance(first, kind))}
    return schema if name == "payload" and isinstance(first, dict) else {**schema, **_KNOWN.get(name, {})}


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    """Without references and the names of our classes."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(parts[schema["$ref"]], parts)
        kept = {key: value for key, value in schema.items() if key not in ("title", "description")}
        return {key: _inlined(value, parts) for key, value in kept.items()}
    return [_inlined(each, parts) for each in schema] if isinstance(schema, list | tuple) else schema
