"""The operations on streams, as they are described and as they are answered."""

from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from api.conftest import ACCOUNT, CALL
from api.documented import check, refusals, routes, validate
from trunkline.api.operation import Operation
from trunkline.errors import InvalidEnum, MissingParameter, ResourceNotFound
from trunkline.faces.telnyx.operations.streams import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask

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
        "StartTeXMLCallStreaming": f"{body} 10004/Url 10032/Track 10003/Url 10026/Name 10015/Capture 90034 90018 90045",
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


START: dict[str, Any] = {"Url": "wss://a.example/", "Name": "tap", "Track": "both_tracks"}


async def test_a_started_stream_is_fetched_by_sid_and_by_name(ask: "Ask") -> None:
    status, started = await ask("StartTeXMLCallStreaming", START, call_sid=CALL)
    assert status == 200
    validate(SCHEMAS["StartedStream"], started)
    assert (started["account_sid"], started["call_sid"], started["name"]) == (ACCOUNT, CALL, "tap")
    for name in (started["sid"], "tap"):
        _, fetched = await ask("GetTeXMLCallStream", call_sid=CALL, streaming_sid=name)
        validate(SCHEMAS["Stream"], fetched)
        assert started.items() <= fetched.items()
        assert (fetched["track"], fetched["ended_reason"], fetched["report"]) == ("both_tracks", None, None)
    with pytest.raises(ResourceNotFound):
        await ask("GetTeXMLCallStream", call_sid=CALL, streaming_sid="other")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, "stopped"),
        ({"Status": "stopped"}, "stopped"),
        ({"Status": "paused"}, "paused"),
        ({"Status": "in-progress"}, "in-progress"),
    ],
)
async def test_an_update_does_what_its_status_says_and_stops_without_one(ask: "Ask", body: object, status: str) -> None:
    _, started = await ask("StartTeXMLCallStreaming", START, call_sid=CALL)
    path = {"call_sid": CALL, "streaming_sid": started["sid"]}
    if status == "in-progress":
        await ask("UpdateTeXMLCallStreaming", {"Status": "paused"}, **path)
    _, updated = await ask("UpdateTeXMLCallStreaming", body, **path)
    validate(SCHEMAS["UpdatedStream"], updated)
    assert updated == {name: value for name, value in started.items() if name != "name"} | {"status": status}
    assert (await ask("GetTeXMLCallStream", **path))[1]["status"] == status


async def test_what_is_refused_changes_nothing(ask: "Ask") -> None:
    with pytest.raises(MissingParameter):
        await ask("StartTeXMLCallStreaming", {"Name": "tap"}, call_sid=CALL)
    assert (await ask("ListTeXMLCallStreams", call_sid=CALL))[1]["streams"] == []
    _, started = await ask("StartTeXMLCallStreaming", START, call_sid=CALL)
    path = {"call_sid": CALL, "streaming_sid": started["sid"]}
    with pytest.raises(InvalidEnum):
        await ask("UpdateTeXMLCallStreaming", {"Status": "over"}, **path)
    assert (await ask("GetTeXMLCallStream", **path))[1]["status"] == "in-progress"


async def test_pages_of_the_list_follow_each_other(ask: "Ask") -> None:
    started = [(await ask("StartTeXMLCallStreaming", START, call_sid=CALL))[1]["sid"] for _ in range(3)]
    path = f"/v2/texml/Accounts/{ACCOUNT}/Calls/{CALL}/Streams.json"
    _, first = await ask("ListTeXMLCallStreams", None, "PageSize=2", call_sid=CALL)
    validate(SCHEMAS["StreamList"], first)
    assert [stream["sid"] for stream in first["streams"]] == started[:2]
    assert (first["uri"], first["next_page_uri"]) == (f"{path}?Page=0&PageSize=2", f"{path}?Page=1&PageSize=2")
    _, last = await ask("ListTeXMLCallStreams", None, "Page=1&PageSize=2", call_sid=CALL)
    assert [stream["sid"] for stream in last["streams"]] == started[2:]
    assert (last["start"], last["end"], last["next_page_uri"]) == (2, 2, None)
