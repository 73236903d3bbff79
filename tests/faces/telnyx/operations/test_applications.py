"""The operations on TeXML applications, as they are described and as they are answered."""

from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from api.documented import check, refusals, routes, validate
from trunkline.api.operation import Operation
from trunkline.errors import InvalidRequest, MissingParameter, ResourceNotFound
from trunkline.faces.telnyx.fields.applications import FIELDS
from trunkline.faces.telnyx.operations.applications import OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask

ALL, ONE = "/v2/texml_applications", "/v2/texml_applications/{application_id}"
BY_ID = {one.id: one for one in OPERATIONS}
EXAMPLE: Any = BY_ID["GetTexmlApplication"].example


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)


def test_the_routes_are_the_documented_ones() -> None:
    assert routes(OPERATIONS) == [
        f"POST {ALL} CreateTexmlApplication 201 TexmlApplicationData",
        f"GET {ALL} FindTexmlApplications 200 TexmlApplicationList",
        f"GET {ONE} GetTexmlApplication 200 TexmlApplicationData",
        f"PATCH {ONE} UpdateTexmlApplication 200 TexmlApplicationData",
        f"DELETE {ONE} DeleteTexmlApplication 200 TexmlApplicationData",
    ]


def test_what_each_refuses() -> None:
    body, fields = "10023 10024 10015", "10032/voice_method 10003/voice_url 10026/active"
    assert refusals(OPERATIONS) == {
        "CreateTexmlApplication": f"{body} 10004/voice_url {fields}",
        "FindTexmlApplications": "10032/sort",
        "GetTexmlApplication": "",
        "UpdateTexmlApplication": f"{body} 10015 {fields}",
        "DeleteTexmlApplication": "10015",
    }


def test_a_create_needs_a_name_and_a_url_and_an_update_nothing() -> None:
    create, update = BY_ID["CreateTexmlApplication"].body, BY_ID["UpdateTexmlApplication"].body
    assert create is not None
    assert update is not None
    assert create["required"] == [row.name for row in FIELDS if row.required] == ["friendly_name", "voice_url"]
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(create, {"friendly_name": "x"})
    validate(update, {})
    assert update["properties"] == create["properties"]


def test_the_list_is_sorted_by_what_is_documented() -> None:
    query: Any = BY_ID["FindTexmlApplications"].query
    assert query["sort"]["enum"] == [
        *("created_at", "-created_at", "friendly_name", "-friendly_name", "active", "-active"),
    ]
    for name, most in (("page[number]", 1_000_000), ("page[size]", 250)):
        validate(query[name], most)
        for outside in (0, most + 1):
            with pytest.raises(jsonschema_rs.ValidationError):
                validate(query[name], outside)


@pytest.mark.parametrize(
    "wrong",
    [
        {"record_type": "call"},
        {"active": None},
        {"voice_method": "GET"},
        {"status_callback_method": None},
        {"voice_url": None},
        {"created_at": "yesterday"},
        {"updated_at": 7},
        {"tags": [7]},
        {"inbound": {"channel_limit": "x"}},
    ],
)
def test_an_application_is_as_described(wrong: dict[str, object]) -> None:
    application = EXAMPLE["data"]
    validate(SCHEMAS["TexmlApplication"], {**application, "voice_fallback_url": "https://a/", "status_callback": None})
    for name in ("voice_method", "status_callback_method"):
        for method in ("get", "post"):
            validate(SCHEMAS["TexmlApplication"], {**application, name: method})
    for other in ({**application, **wrong}, {name: value for name, value in application.items() if name not in wrong}):
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(SCHEMAS["TexmlApplication"], other)


def test_pages_are_counted() -> None:
    listed: Any = BY_ID["FindTexmlApplications"].example
    assert listed["meta"] == {"page_number": 1, "page_size": 20, "total_pages": 1, "total_results": 1}
    with pytest.raises(jsonschema_rs.ValidationError):
        validate(SCHEMAS["TexmlApplicationList"], {**listed, "meta": {**listed["meta"], "total_pages": "1"}})


async def test_an_application_is_made_changed_and_deleted(ask: "Ask") -> None:
    status, made = await ask("CreateTexmlApplication", {"friendly_name": "a", "voice_url": "https://a.example/"})
    assert status == 201
    validate(SCHEMAS["TexmlApplicationData"], made)
    application = made["data"]["id"]
    assert await ask("GetTexmlApplication", application_id=application) == (200, made)
    change = {"active": False, "inbound": {"channel_limit": 3}}
    _, changed = await ask("UpdateTexmlApplication", change, application_id=application)
    inbound = {**made["data"]["inbound"], "channel_limit": 3}
    updated_at = changed["data"]["updated_at"]
    assert changed["data"] == {**made["data"], "active": False, "inbound": inbound, "updated_at": updated_at}
    assert await ask("DeleteTexmlApplication", application_id=application) == (200, changed)
    with pytest.raises(ResourceNotFound):
        await ask("GetTexmlApplication", application_id=application)


async def test_what_is_refused_is_not_made(ask: "Ask") -> None:
    with pytest.raises(MissingParameter):
        await ask("CreateTexmlApplication", {"friendly_name": "a"})
    with pytest.raises(InvalidRequest, match="page"):
        await ask("FindTexmlApplications", None, "page[number]=0")
    _, listed = await ask("FindTexmlApplications")
    assert [one["friendly_name"] for one in listed["data"]] == ["configured", "named by a number"]


async def test_the_list_has_the_page_that_is_asked_for(ask: "Ask") -> None:
    for name in ("Beta", "alpha", "gamma bet"):
        await ask("CreateTexmlApplication", {"friendly_name": name, "voice_url": "https://a.example/"})
    _, page = await ask("FindTexmlApplications", None, "filter[friendly_name]=BET&sort=-friendly_name&page[size]=1")
    validate(SCHEMAS["TexmlApplicationList"], page)
    assert [one["friendly_name"] for one in page["data"]] == ["gamma bet"]
    assert page["meta"] == {"page_number": 1, "page_size": 1, "total_pages": 2, "total_results": 2}
