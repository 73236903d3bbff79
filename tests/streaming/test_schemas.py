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
