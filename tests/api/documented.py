"""What holds for every operation of the OpenAPI document, whatever it is on."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema_rs

from trunkline.api import bodies
from trunkline.api.operation import NO_CONTENT, Operation, Schema
from trunkline.faces.telnyx.rest import REST


def _validator(schema: Schema, schemas: Mapping[str, Schema]) -> jsonschema_rs.Draft202012Validator:
    whole: dict[str, Any] = {**schema, "components": {"schemas": dict(schemas)}}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def validate(schema: Schema, value: object, schemas: Mapping[str, Schema] = REST.schemas) -> None:
    """Raises jsonschema_rs.ValidationError where the value does not keep to its schema."""
    _validator(schema, schemas).validate(value)


def spoiled(value: object) -> Iterator[object]:
    """The value with one of its members, at any depth, of another kind: an object, and a text that is no time."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from ({**value, name: other} for other in spoiled(member))
    elif isinstance(value, list | tuple) and value:
        yield from ([other, *value[1:]] for other in spoiled(value[0]))
    else:
        yield {"another": "kind"}
        if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
            yield "yesterday"


def check_schema(schema: Schema, example: Mapping[str, object]) -> None:
    """The example keeps to the schema, and does not once one of its members is of another kind."""
    validator = _validator(schema, REST.schemas)
    validator.validate(example)
    assert [other for other in spoiled(example) if validator.is_valid(other)] == []


def routes(operations: tuple[Operation, ...]) -> list[str]:
    """Of each operation what a client sees first: method, path, id, status and schema of the answer."""
    return [f"{one.method} {one.path} {one.id} {one.status} {one.result}" for one in operations]


def refusals(operations: tuple[Operation, ...]) -> dict[str, str]:
    """Of each operation's id the codes of what it refuses, of each the field too."""
    return {one.id: " ".join(f"{error.code}{error.pointer or ''}" for error in one.refusals) for one in operations}


def check(operation: Operation) -> None:
    """Its examples keep to its schemas, which are strict; its descriptions are sentences, its refusals differ."""
    assert operation.method in ("GET", "POST", "PATCH", "DELETE")
    assert re.fullmatch(r"(/[A-Za-z0-9_]+|/\{[a-z_]+\}(\.json|\.wav|\.mp3)?)+(\.json)?", operation.path), operation.path
    assert re.fullmatch("[A-Z][A-Za-z]+", operation.id)
    assert re.fullmatch(r"[A-Z].{10,}\.", operation.summary)
    schema: Schema = {"$ref": f"#/components/schemas/{operation.result}"}
    if operation.status == NO_CONTENT:
        assert operation.result == operation.example == ""
    else:
        validate(schema, operation.example)
        assert (operation.content == bodies.JSON) == isinstance(operation.example, Mapping)
    if isinstance(operation.example, Mapping):
        check_schema(schema, operation.example)
    assert (operation.body is None) == (operation.body_example is None)
    if operation.body is not None:
        assert operation.method in ("POST", "PATCH")
        check_schema(operation.body, operation.body_example or {})
        described: Any = operation.body.get("properties")
        assert set(operation.body_example or ()) <= set(described)
        for name, member in described.items():
            assert member, name
    for name, schema in (operation.query or {}).items():
        if "default" in schema:
            validate(schema, schema["default"])
        assert schema, name
    seen = [(error.status, error.code, error.detail) for error in operation.refusals]
    assert len(set(seen)) == len(seen)
    for error in operation.refusals:
        assert error.detail
        if error.pointer is not None:
            named = error.pointer.split("/")[1]
            body: Any = (operation.body or {}).get("properties", {})
            assert named in body or named in (operation.query or {}), f"{operation.id} has no {named}"
