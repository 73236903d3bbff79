"""JSON Schemas of the WebSocket's messages, by a validator that is not ours."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, ValidationError, meta

from trunkline.streaming import messages, schemas

PAGE = Path(__file__).parents[2] / "docs/reference/websocket.md"
TO_APP, FROM_APP = schemas.to_app(), schemas.from_app()
ON_THE_PAGE = [json.loads(one) for one in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)]
SENT = [one for one in ON_THE_PAGE if "stream_id" in one or one["event"] == "connected"]
READ = [one for one in ON_THE_PAGE if one not in SENT]


@pytest.mark.parametrize("schema", [*TO_APP.values(), *FROM_APP.values()])
def test_each_is_a_json_schema(schema: dict[str, Any]) -> None:
    assert meta.is_valid(schema)


def test_every_message_of_the_page_keeps_to_its_schema() -> None:
    assert {one["event"] for one in SENT} == set(TO_APP)
    for one in SENT:
        Draft202012Validator(TO_APP[one["event"]]).validate(one)
    for one in READ:
        Draft202012Validator(FROM_APP[one["event"]]).validate(one)
    assert {one["event"] for one in READ} == set(FROM_APP) - {"error"}


@pytest.mark.parametrize(
    ("event", "change"),
    [
        ("media", {"event": "video"}),
        ("media", {"sequence_number": 4}),
        ("media", {"sequence_number": "four"}),
        ("media", {"media": {"track": "both", "chunk": "1", "timestamp": "0", "payload": ""}}),
        ("start", {"start": {}}),
        ("error", {"payload": {"code": 1, "title": "unknown_error", "detail": ""}}),
    ],
)
def test_another_shape_does_not(event: str, change: dict[str, Any]) -> None:
    [example, *_] = TO_APP[event]["examples"]
    Draft202012Validator(TO_APP[event]).validate(example)
    with pytest.raises(ValidationError):
        Draft202012Validator(TO_APP[event]).validate(example | change)


def test_members_that_are_not_always_there_are_not_required() -> None:
    start = TO_APP["start"]["properties"]["start"]
    assert set(start["properties"]) - set(start["required"]) == {"client_state", "bidirectional_media_format"}
    assert TO_APP["connected"]["required"] == ["event", "version"]
    assert TO_APP["mark"]["properties"]["mark"]["required"] == ["name"]


def test_what_the_schemas_take_from_the_app_is_understood() -> None:
    for event, body in (("media", {"payload": "//4="}), ("mark", {"name": 1}), ("dtmf", {"digit": "1"})):
        message = {"event": event, event: body}
        Draft202012Validator(FROM_APP[event]).validate(message)
        assert not isinstance(messages.decode(json.dumps(message).encode(), extensions=True), messages.Refusal)
        with pytest.raises(ValidationError):
            Draft202012Validator(FROM_APP[event]).validate({"event": event})
    assert FROM_APP["dtmf"]["description"] == "Press keys. (extension)"


STREAM = {"stream_id": "e9cea0be-7dbd-4b98-98b1-c0089d9d43b0"}
ONE_CALL = {
    "user_id": "61bf923e-5e4d-4595-a110-56190ea18a1b",
    "call_control_id": "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA",
}
STARTED = {
    **ONE_CALL,
    "call_session_id": "5f1c9d2e-0000-4000-8000-0000000000aa",
    "from": "+13120001234",
    "to": "+13121230000",
    "tags": [],
}
PCMU = {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
L16 = {"encoding": "L16", "sample_rate": 16000, "channels": 1}
EXAMPLES = [
    {"event": "connected", "version": "1.0.0"},
    {"event": "connected", "version": "1.0.0", "connected": {"x-telnyx-streaming-auth-token": "secret"}},
    {
        "event": "start",
        "sequence_number": "1",
        **STREAM,
        "start": {**STARTED, "custom_parameters": {}, "media_format": PCMU},
    },
    {
        "event": "start",
        "sequence_number": "1",
        **STREAM,
        "start": {
            **STARTED,
            "client_state": "aGVsbG8=",
            "custom_parameters": {"customer": "42"},
            "media_format": L16,
            "bidirectional_media_format": PCMU,
        },
    },
    {
        "event": "media",
        "sequence_number": "4",
        **STREAM,
        "media": {"track": "inbound", "chunk": "2", "timestamp": "20", "payload": "//4="},
    },
    {
        "event": "dtmf",
        **STREAM,
        "occurred_at": "2026-06-05T12:00:00.000001Z",
        "sequence_number": "5",
        "dtmf": {"digit": "1"},
    },
    {"event": "mark", **STREAM, "sequence_number": "6", "mark": {"name": "greeting"}},
    {
        "event": "mark",
        **STREAM,
        "sequence_number": "6",
        "mark": {"name": "greeting", "played_ms": 1, "cleared": True},
    },
    {"event": "queue", **STREAM, "queue": {"queued_ms": 120, "played_ms": 4000}},
    {
        "event": "error",
        "payload": {"code": 100003, "title": "malformed_frame", "detail": "the message is not JSON"},
        **STREAM,
    },
    {"event": "stop", "sequence_number": "9", "stop": ONE_CALL, **STREAM},
]
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
COUNT = {"type": "string", "pattern": r"^\d+$"}
ID, MOMENT = {"type": "string", "format": "uuid"}, {"type": "string", "format": "date-time"}
CODES, TITLES = [100002, 100003, 100004, 100005], ["unknown_error", "malformed_frame", "invalid_media"]


def object_of(needed: str = "", /, **members: dict[str, Any]) -> dict[str, Any]:
    """All members are required, or those that are named."""
    return {"type": "object", "properties": members, "required": needed.split() or [*members]}


FORMAT = object_of(encoding=TEXT, sample_rate=NUMBER, channels=NUMBER)
CALL_MEMBERS = {"user_id": TEXT, "call_control_id": TEXT}
MEMBERS: dict[str, dict[str, Any]] = {
    "connected": object_of(
        "event version",
        version=TEXT,
        connected=object_of(**{"x-telnyx-streaming-auth-token": TEXT}),
    ),
    "start": object_of(
        sequence_number=COUNT,
        stream_id=ID,
        start=object_of(
            "user_id call_control_id call_session_id from to tags custom_parameters media_format",
            **CALL_MEMBERS,
            **dict.fromkeys(("call_session_id", "from", "to", "client_state"), TEXT),
            tags={"type": "array"},
            custom_parameters={
                "type": "object",
                "properties": {},
                "required": [],
                "additionalProperties": {"type": "string"},
            },
            media_format=FORMAT,
            bidirectional_media_format=FORMAT,
        ),
    ),
    "media": object_of(
        sequence_number=COUNT,
        stream_id=ID,
        media=object_of(
            track={"type": "string", "enum": ["inbound", "outbound"]},
            chunk=COUNT,
            timestamp={**COUNT, "description": "ms since the stream's start"},
            payload={"type": "string", "contentEncoding": "base64"},
        ),
    ),
    "dtmf": object_of(stream_id=ID, occurred_at=MOMENT, sequence_number=COUNT, dtmf=object_of(digit=TEXT)),
    "mark": object_of(
        stream_id=ID,
        sequence_number=COUNT,
        mark=object_of(
            "name",
            name={"description": "any JSON value, as the app sent it"},
            played_ms=NUMBER,
            cleared={"type": "boolean"},
        ),
    ),
    "queue": object_of(stream_id=ID, queue=object_of(queued_ms=NUMBER, played_ms=NUMBER)),
    "error": object_of(
        payload=object_of(
            code={"type": "integer", "enum": CODES},
            title={"type": "string", "enum": [*TITLES, "rate_limit_reached"]},
            detail=TEXT,
        ),
        stream_id=ID,
    ),
    "stop": object_of(sequence_number=COUNT, stop=object_of(**CALL_MEMBERS), stream_id=ID),
}
MEANINGS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "media": ("Audio to play.", {"payload": {"type": "string", "contentEncoding": "base64"}}),
    "mark": ("Return it when what is before it has been played.", {"name": {}}),
    "clear": ("Stop playing and empty the queue.", None),
    "error": ("The app could not use a message; counted, never answered.", None),
    "dtmf": ("Press keys. (extension)", {"digit": TEXT}),
}


def test_the_examples_are_messages_with_few_and_with_all_members() -> None:
    found = schemas.to_app()
    assert [example for schema in found.values() for example in schema["examples"]] == EXAMPLES


def test_each_member_to_the_app_has_its_kind_and_what_is_known_of_it() -> None:
    found = schemas.to_app()
    assert list(found) == list(MEMBERS)
    for event, schema in found.items():
        expected = MEMBERS[event]
        assert schema.pop("examples")
        assert schema.pop("required") == [*dict.fromkeys(["event", *expected["required"]])]
        assert schema.pop("properties") == {"event": {"const": event}, **expected["properties"]}
        assert schema == {"type": "object"}


def test_each_message_from_the_app_has_its_meaning_and_members() -> None:
    found = schemas.from_app()
    assert list(found) == list(MEANINGS)
    for event, (meaning, members) in MEANINGS.items():
        body = {} if members is None else {event: object_of(**members)}
        assert found[event] == {**object_of(event={"enum": [event]}, **body), "description": meaning}
