"""The operations on streams, as they are described."""

from typing import Any

import jsonschema_rs
import pytest

from api.documented import check, refusals, routes, validate
from trunkline.api.operation import Operation
from trunkline.faces.telnyx.operations.streams import OPERATIONS, SCHEMAS

STREAMS = "/v2/texml/Accounts/{account_sid}/Calls/{call_sid}/Streams"
EXAMPLES: dict[str, Any] = {one.result: one.example for one in OPERATIONS}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_routes_are_the_documented_ones() -> None:
    assert routes(OPERATIONS) == [
        f"POST {STREAMS}.json StartTeXMLCallStreaming 200 StartedStream",
        f"GET {STREAMS}.json ListTeXMLCallStreams 200 StreamList",
        f"POST {STREAMS}/{{streaming_sid}}.json UpdateTeXMLCallStreaming 200 UpdatedStream",
        f"GET {STREAMS}/{{streaming_sid}}.json GetTeXMLCallStream 200 Stream",
    ]


def test_what_each_refuses() -> None:
    body = "10023 10024 10015"
    assert refusals(OPERATIONS) == {
        "StartTeXMLCallStreaming": f"{body} 10004/Url 10032/Track 10003/Url 10026/Name 90034 90018 90045",
        "ListTeXMLCallStreams": "10015/Page",
        "UpdateTeXMLCallStreaming": f"{body} 10032/Status 10026/Status 10015/Status 90018",
        "GetTeXMLCallStream": "",
    }


def test_a_start_answers_seven_members_and_an_update_six() -> None:
    started, updated = EXAMPLES["StartedStream"], EXAMPLES["UpdatedStream"]
    assert list(started) == ["account_sid", "call_sid", "sid", "name", "status", "date_updated", "uri"]
    assert updated == {name: value for name, value in started.items() if name != "name"} | {"status": "stopped"}
    assert started["uri"].endswith(f"/Calls/{started['call_sid']}/Streams/{started['sid']}.json")
    for schema, example in (("StartedStream", started), ("UpdatedStream", updated)):
        for wrong in ({**example, "more": 1}, dict(list(example.items())[1:])):
            with pytest.raises(jsonschema_rs.ValidationError):
                validate(SCHEMAS[schema], wrong)


@pytest.mark.parametrize("status", ["stopped", "paused", "in-progress"])
def test_an_update_answers_what_the_stream_is(status: str) -> None:
    validate(SCHEMAS["UpdatedStream"], {**EXAMPLES["UpdatedStream"], "status": status})
    validate(SCHEMAS["Stream"], {**EXAMPLES["Stream"], "status": status})


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ("StartedStream", {"status": "stopped"}),
        ("StartedStream", {"sid": "1"}),
        ("StartedStream", {"date_updated": "Thu, 15 Jun 2023"}),
        ("UpdatedStream", {"status": "failed"}),
        ("Stream", {"status": "over"}),
        ("Stream", {"report": {"frames_sent": None}}),
        ("Stream", {"track": None}),
    ],
)
def test_the_schemas_refuse_what_is_never_answered(schema: str, wrong: dict[str, object]) -> None:
    validate(SCHEMAS[schema], EXAMPLES[schema])
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(SCHEMAS[schema], {**EXAMPLES[schema], **wrong})


def test_a_stream_that_runs_has_no_report_and_no_reason() -> None:
    validate(SCHEMAS["Stream"], {**EXAMPLES["Stream"], "report": None, "ended_reason": None, "name": None})
