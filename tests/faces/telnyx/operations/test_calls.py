"""The operations on calls, as they are described."""

from typing import Any

import jsonschema_rs
import pytest

from api.documented import check, refusals, routes, validate
from trunkline.api.operation import Operation
from trunkline.faces.telnyx.operations.calls import OPERATIONS, SCHEMAS

A_CALL = "/v2/texml/Accounts/{account_sid}/Calls/{call_sid}"
BY_ID = {one.id: one for one in OPERATIONS}
BODY = "10023 10024 10015"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_routes_are_the_documented_ones() -> None:
    assert routes(OPERATIONS) == [
        "POST /v2/texml/Accounts/{account_sid}/Calls InitiateTexmlCall 200 PlacedCall",
        "POST /v2/texml/calls/{application_id} CreateTexmlCall 200 PlacedCall",
        "GET /v2/texml/Accounts/{account_sid}/Calls GetTexmlCalls 200 CallList",
        f"GET {A_CALL} GetTexmlCall 200 Call",
        f"GET {A_CALL}/media.json GetTexmlCallMedia 200 CallMedia",
        f"POST {A_CALL} UpdateTexmlCall 200 Call",
        "POST /v2/calls/{call_control_id}/actions/hangup HangupCall 200 CommandResult",
    ]


def test_what_each_refuses() -> None:
    placing = f"{BODY} 10004/To 10032/StatusCallbackEvent 10003/Url 10015/Texml 10026/Timeout"
    assert refusals(OPERATIONS) == {
        "InitiateTexmlCall": placing,
        "CreateTexmlCall": placing,
        "GetTexmlCalls": "10015/StartTime",
        "GetTexmlCall": "",
        "GetTexmlCallMedia": "",
        "UpdateTexmlCall": f"{BODY} 10004/Status 10032/Status 10003/Url 10026/Texml 10015/Status 90034 90018",
        "HangupCall": f"{BODY} 90018",
    }


@pytest.mark.parametrize("name", ["Url", "Texml", "ApplicationSid"])
def test_a_call_needs_one_of_three_ways_to_say_what_it_shall_do(name: str) -> None:
    body = BY_ID["InitiateTexmlCall"].body
    assert body is not None
    validate(body, {"To": "a", "From": "b", name: "http://x/"})
    for lacking in ({"To": "a", "From": "b"}, {"To": "a", name: "http://x/"}, {"From": "b", name: "http://x/"}):
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(body, lacking)
    by_path = BY_ID["CreateTexmlCall"].body
    assert by_path is not None
    validate(by_path, {"To": "a", "From": "b"})


def test_fields_without_effect_are_described_as_such() -> None:
    body: Any = BY_ID["InitiateTexmlCall"].body
    assert body["properties"]["Trim"]["description"] == "Accepted, and without effect."


def test_the_list_takes_days_and_statuses() -> None:
    query: Any = BY_ID["GetTexmlCalls"].query
    days = [time + suffix for time in ("StartTime", "EndTime") for suffix in ("", "_gt", "_lt")]
    assert list(query) == ["Page", "PageSize", "To", "From", "Status", *days]
    for day in days:
        assert query[day]["format"] == "date"
        validate(query[day], query[day]["example"])
    validate(query["Status"], "no-answer")
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(query["Status"], "paused")


def test_a_call_may_lack_what_is_not_known_yet_and_nothing_else() -> None:
    example: Any = BY_ID["GetTexmlCall"].example
    nullable = {"answered_by", "duration", "end_time", "ended_reason", "parent_call_sid", "price", "price_unit"}
    for name in example:
        if name in nullable:
            validate(SCHEMAS["Call"], {**example, name: None})
        else:
            with pytest.raises(jsonschema_rs.ValidationError):
                validate(SCHEMAS["Call"], {**example, name: None})
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(SCHEMAS["Call"], {key: value for key, value in example.items() if key != name})


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ("Call", {"direction": "outbound-api"}),
        ("Call", {"status": "over"}),
        ("PlacedCall", {"status": "ringing"}),
        ("CallMedia", {"live": None}),
        ("CallMedia", {"findings": []}),
        ("CallMedia", {"leg": {"codec": []}}),
        ("CallMedia", {"streams": [{}]}),
        ("CallMedia", {"uri": None}),
        ("CommandResult", {"data": {"result": "no"}}),
    ],
)
def test_the_schemas_refuse_what_is_never_answered(schema: str, wrong: dict[str, object]) -> None:
    example: Any = next(one.example for one in OPERATIONS if one.result == schema)
    validate(SCHEMAS[schema], example)
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(SCHEMAS[schema], {**example, **wrong})


def test_the_media_example_shows_a_finding_and_a_stream_of_its_call() -> None:
    example: Any = BY_ID["GetTexmlCallMedia"].example
    assert (example["live"], example["codec"], example["streams"][0]["name"]) == (True, "PCMU", None)
    assert example["summary"] == example["findings"][0]["text"]
    assert example["uri"].endswith(f"/Calls/{example['call_sid']}/media.json")
    validate(SCHEMAS["CallMedia"], {**example, "codec": None})
