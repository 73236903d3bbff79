"""The OpenAPI document, and the API held to it."""

import json
from typing import Any, cast

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.conftest import KEY, OPERATORS_KEY
from trunkline import __version__
from trunkline.api import openapi
from trunkline.api.app import ApiApplication
from trunkline.api.auth import OPERATOR
from trunkline.api.console_pages import POLICY
from trunkline.api.operation import Operation
from trunkline.faces.telnyx.fields.streams import START_FIELDS
from trunkline.faces.telnyx.rest import REST

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
START = REST.operations[0]


@pytest.fixture
def start() -> dict[str, Any]:
    """What the document says of the start request."""
    paths: Any = openapi.document(REST)["paths"]
    described: dict[str, Any] = paths[START.path]["post"]
    return described


def test_the_document_says_what_it_is_and_how_to_authenticate() -> None:
    document = openapi.document(REST)
    info: Any = document.pop("info")
    paths: Any = document.pop("paths")
    assert set(paths) == {operation.path for operation in REST.operations}
    components: Any = document.pop("components")
    assert [tag["name"] for tag in cast(list[dict[str, str]], document.pop("tags"))][:2] == [
        "Streams",
        "Calls",
    ]
    webhooks: Any = document.pop("webhooks")
    assert list(webhooks) == [webhook.name for webhook in REST.webhooks]
    assert document == {"openapi": "3.1.0", "servers": [{"url": "/"}], "security": [{"bearerAuth": []}]}
    assert (info["title"], info["version"]) == ("Trunkline", __version__)
    assert "x-stainless-retry-count" in info["description"]
    assert components["schemas"] == REST.schemas
    assert components["securitySchemes"] == {"bearerAuth": {"type": "http", "scheme": "bearer"}}


def test_an_operation_is_described_whole() -> None:
    paths: Any = openapi.document(REST)["paths"]
    path = "/v2/texml/Accounts/{account_sid}/Calls/{call_sid}/Streams.json"
    listed = paths[path]["get"]
    assert listed["operationId"] == "ListTeXMLCallStreams"
    assert listed["tags"] == ["Streams"]
    assert listed["summary"] == "List a call's streams, oldest first."
    assert [(one["name"], one["in"], one.get("required"), one["schema"]["type"]) for one in listed["parameters"]] == [
        ("account_sid", "path", True, "string"),
        ("call_sid", "path", True, "string"),
        ("Page", "query", None, "integer"),
        ("PageSize", "query", None, "integer"),
    ]
    done = listed["responses"]["200"]
    assert done["description"] == "Done"
    assert done["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/StreamList"}
    assert done["content"]["application/json"]["example"]["page_size"] == 20
    assert "security" not in listed
    assert paths["/v2/public_key"]["get"]["security"] == []
    assert set(paths["/v2/public_key"]["get"]["responses"]) == {"200"}
    assert paths[path]["post"]["requestBody"]["required"] is True
    assert paths["/v2/calls/{call_control_id}/actions/hangup"]["post"]["requestBody"]["required"] is False


def test_a_refusal_says_whether_to_come_again(start: dict[str, Any]) -> None:
    for status, response in start["responses"].items():
        if status in ("429", "503"):
            retry = {"schema": {"type": "integer"}, "description": "Seconds"}
            assert response["headers"] == {"retry-after": retry}
        elif status != "200":
            assert response["headers"] == {"x-should-retry": {"schema": {"const": "false"}}}
            (content,) = response["content"].values()
            kind = "NotFound" if status == "404" else "Errors"
            assert content["schema"] == {"$ref": f"#/components/schemas/{kind}"}
    assert start["responses"]["413"]["description"] == "Payload too large"
    (described,) = start["responses"]["413"]["content"]["application/json"]["examples"].items()
    assert described[0] == "10023 Payload too large"
    assert described[1]["value"]["errors"][0]["code"] == "10023"


def test_both_content_types_are_described_with_every_field(start: dict[str, Any]) -> None:
    content = start["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-www-form-urlencoded"}
    for described in content.values():
        assert list(described["schema"]["properties"]) == [row.name for row in START_FIELDS] + ["CustomParameters"]
        assert described["schema"]["required"] == ["Url"]


def test_every_error_is_described_as_it_looks_on_the_wire(start: dict[str, Any]) -> None:
    assert set(start["responses"]) == {"200", "401", "403", "404", "413", "415", "422", "429", "500", "503"}
    unprocessable = start["responses"]["422"]["content"]["application/json"]["examples"]
    codes = {example["value"]["errors"][0]["code"] for example in unprocessable.values()}
    assert codes == {"10003", "10004", "10015", "10026", "10032", "90018", "90034", "90045"}
    missing = start["responses"]["404"]["content"]["application/json"]["examples"]
    assert [example["value"] for example in missing.values()] == [{"errors": [{"detail": "Resource not found"}]}]


def test_a_webhook_is_described_for_both_methods() -> None:
    webhooks: Any = openapi.document(REST)["webhooks"]
    failed = webhooks["StreamFailed"]
    assert (failed["post"]["operationId"], failed["get"]["operationId"]) == ("StreamFailed", "StreamFailedByGet")
    assert failed["post"]["security"] == []
    (content,) = failed["post"]["requestBody"]["content"].items()
    assert content[0] == "application/x-www-form-urlencoded"
    assert content[1]["schema"]["additionalProperties"] is False
    assert [one["name"] for one in failed["post"]["parameters"]] == [
        "telnyx-timestamp",
        "telnyx-signature-ed25519",
        "webhook-id",
    ]
    query = {one["name"]: one["required"] for one in failed["get"]["parameters"] if one["in"] == "query"}
    assert query == dict.fromkeys(content[1]["schema"]["properties"], True)
    document = webhooks["Document"]["post"]
    assert "webhook-id" not in [one["name"] for one in document["parameters"]]
    assert "application/xml" in document["responses"]["2XX"]["content"]
    assert "content" not in failed["post"]["responses"]["2XX"]
    completed = {one["name"]: one.get("required") for one in webhooks["CallCompleted"]["get"]["parameters"]}
    assert (completed["AnsweredTime"], completed["EndTime"]) == (False, True)


async def test_the_document_and_its_page_are_served_without_a_key(anonymous: httpx.AsyncClient) -> None:
    document = await anonymous.get("/openapi.json")
    assert document.json() == json.loads(json.dumps(openapi.document(REST)))
    page = await anonymous.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == POLICY
    for operation in REST.operations:
        assert operation.path in page.text


@pytest.mark.parametrize("operation", REST.operations, ids=lambda operation: operation.id)
def test_the_api_keeps_to_the_document(app: ApiApplication, operation: Operation, streams_path: str) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    described = schema[operation.path][operation.method]
    account, call = streams_path.split("/")[4:7:2]
    application = "1293384261075731499"
    known = {"account_sid": account, "call_sid": call, "call_control_id": call, "application_id": application}
    known["recording_sid"] = "6a09cdc3-8948-47f0-aa62-74ac943d6c58"

    key = OPERATORS_KEY if operation.rights == OPERATOR else KEY

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=described.as_strategy(), use_known=st.booleans())
    def run(case: schemathesis.Case[Any], use_known: bool) -> None:
        if use_known:
            case.path_parameters = {**case.path_parameters, **{k: known[k] for k in known if k in case.path_parameters}}
        response = case.call(headers={"authorization": f"Bearer {key}"})
        case.validate_response(response, checks=CHECKS)

    run()
