"""The whole of Telnyx's REST: what its tables share, and the shapes of its refusals."""

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

import reference
from api.documented import check, validate
from trunkline.api.operation import NO_CONTENT
from trunkline.faces.telnyx.rest import OPERATIONS, REST

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask

PUBLIC_KEY = next(one for one in OPERATIONS if one.id == "GetPublicKey")


def test_each_operation_is_there_once() -> None:
    assert REST.operations == OPERATIONS
    assert len({one.id for one in OPERATIONS}) == len(OPERATIONS)
    assert len({(one.method, one.path) for one in OPERATIONS}) == len(OPERATIONS)
    assert all(one.path.startswith(f"{REST.prefix}/") for one in OPERATIONS)
    assert {one.result for one in OPERATIONS if one.status != NO_CONTENT} <= set(REST.schemas)


def test_only_the_public_key_and_a_login_need_none() -> None:
    check(PUBLIC_KEY)
    assert [one.id for one in OPERATIONS if one.public] == ["CreateConsoleSession", "GetPublicKey"]
    assert (PUBLIC_KEY.method, PUBLIC_KEY.path) == ("GET", "/v2/public_key")
    wrongs: list[Any] = [{}, {"data": {}}, {"data": {"public": 7}}]
    for wrong in wrongs:
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(REST.schemas["PublicKey"], wrong)


async def test_the_public_key_is_the_servers(ask: "Ask") -> None:
    status, body = await ask("GetPublicKey")
    assert (status, len(base64.b64decode(body["data"]["public"]))) == (200, 32)


ERROR = {"code": "10015", "title": "Bad Request", "detail": "What is wrong.", "source": {"pointer": "/Url"}}


def test_a_refusal_has_a_code_a_title_and_a_detail() -> None:
    schema = REST.schemas["Errors"]
    validate(schema, {"errors": [ERROR]})
    validate(schema, {"errors": [{name: value for name, value in ERROR.items() if name != "source"}]})
    wrongs: list[Any] = [{}, {"errors": []}, {"errors": ERROR}, {"errors": [{**ERROR, "source": {}}]}]
    wrongs += [{"errors": [{**ERROR, name: None}]} for name in ERROR]
    wrongs += [{"errors": [{key: ERROR[key] for key in ERROR if key != name}]} for name in ("code", "title", "detail")]
    for wrong in wrongs:
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(schema, wrong)


def test_what_is_not_found_has_a_detail_alone() -> None:
    schema = REST.schemas["NotFound"]
    validate(schema, {"errors": [{"detail": "Resource not found"}]})
    wrongs: list[Any] = [{}, {"errors": []}, {"errors": [{}]}, {"errors": [{"detail": 7}]}]
    for wrong in wrongs:
        with pytest.raises(jsonschema_rs.ValidationError):
            validate(schema, wrong)


def test_the_operations_of_the_rest_page_are_those_that_are_served() -> None:
    assert reference.PAGE.read_text() == reference.made(), "`python tests/reference.py` writes them again"


def schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a table, those within others too."""
    if isinstance(value, dict):
        if "type" in value or "enum" in value or "const" in value or "$ref" in value:
            yield value
        for inner in value.values():
            yield from schemas(inner)


KEYWORDS = {
    *("type", "enum", "const", "format", "pattern", "contentEncoding", "description", "default", "example", "$ref"),
    *("minimum", "maximum", "maxLength", "minLength", "minItems", "maxItems", "items", "properties", "required"),
    *("additionalProperties", "patternProperties", "anyOf"),
}


def test_every_schema_is_made_of_keywords() -> None:
    """A misspelt keyword allows everything, and no validator reports it."""
    tables = [
        REST.schemas,
        *(one.body for one in OPERATIONS if one.body),
        *(one.query for one in OPERATIONS if one.query),
        *(one.schema for one in REST.webhooks),
    ]
    found = [schema for table in tables for schema in schemas(dict(table))]
    assert len(found) > 200
    for schema in found:
        assert set(schema) <= KEYWORDS
        assert schema.get("format") in (None, "uri", "uuid", "date", "date-time", "binary")
        assert schema.get("contentEncoding") in (None, "base64")
        kinds = schema.get("type", "string")
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            assert kind in ("string", "integer", "number", "boolean", "object", "array", "null")
        if "default" in schema:
            validate(schema, schema["default"])
        if "example" in schema:
            validate(schema, schema["example"])
        if schema.get("type") == "array":
            assert "items" in schema
