"""The OpenAPI document, and the API held to it."""

import json
from typing import Any

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

from trunkline.api import openapi
from trunkline.api.app import ApiApplication
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


def test_both_content_types_are_described_with_every_field(start: dict[str, Any]) -> None:
    content = start["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-www-form-urlencoded"}
    for described in content.values():
        assert list(described["schema"]["properties"]) == [row.name for row in START_FIELDS] + ["CustomParameters"]
        assert described["schema"]["required"] == ["Url"]


def test_every_error_is_described_as_it_looks_on_the_wire(start: dict[str, Any]) -> None:
    assert set(start["responses"]) == {"200", "401", "404", "413", "415", "422", "429", "500", "503"}
    unprocessable = start["responses"]["422"]["content"]["application/json"]["examples"]
    codes = {example["value"]["errors"][0]["code"] for example in unprocessable.values()}
    assert codes == {"10003", "10004", "10015", "10026", "10032", "90018", "90034", "90045"}
    missing = start["responses"]["404"]["content"]["application/json"]["examples"]
    assert [example["value"] for example in missing.values()] == [{"errors": [{"detail": "Resource not found"}]}]


async def test_the_document_and_its_page_are_served_without_a_key(anonymous: httpx.AsyncClient) -> None:
    document = await anonymous.get("/openapi.json")
    assert document.json() == json.loads(json.dumps(openapi.document(REST)))
    page = await anonymous.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
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

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=described.as_strategy(), use_known=st.booleans())
    def run(case: schemathesis.Case[Any], use_known: bool) -> None:
        if use_known:
            case.path_parameters = {**case.path_parameters, **{k: known[k] for k in known if k in case.path_parameters}}
        response = case.call(headers={"authorization": "Bearer KEY0123456789"})
        case.validate_response(response, checks=CHECKS)

    run()
