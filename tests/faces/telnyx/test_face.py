"""The first face, whole."""

import re
from collections.abc import Iterator

from trunkline.api.openapi import document
from trunkline.api.operation import NO_CONTENT
from trunkline.faces.telnyx import asyncapi
from trunkline.faces.telnyx.face import TELNYX
from trunkline.ids import new_life


def test_ids_are_telnyxs() -> None:
    assert TELNYX.name == "telnyx"
    assert re.fullmatch(r"v3:[A-Za-z0-9_-]{54}", TELNYX.ids.call(new_life(bytes(5)), bytes(TELNYX.ids.call_bytes)))
    assert TELNYX.ids.stream(bytes(16)) == "00000000-0000-4000-8000-000000000000"


def test_each_operation_has_an_id_and_a_route_of_its_own() -> None:
    operations = TELNYX.rest.operations
    assert len({operation.id for operation in operations}) == len(operations)
    assert len({(operation.method, operation.path) for operation in operations}) == len(operations)
    assert {operation.result for operation in operations if operation.status != NO_CONTENT} <= set(TELNYX.rest.schemas)
    assert all(operation.path.startswith(f"{TELNYX.rest.prefix}/") for operation in operations)


DOCUMENT = document(TELNYX.rest)
EMPTY = {"webhooks/GatherAction/post/requestBody/content/application/x-www-form-urlencoded/example/FinishedOnKey"}
"""Where the documents say that a text is empty."""
KEYWORDS = {
    *("type", "format", "contentEncoding", "const", "enum", "default", "example", "description", "$ref"),
    *("properties", "required", "additionalProperties", "items", "minItems", "maxItems"),
    *("minimum", "maximum", "minLength", "maxLength", "pattern", "anyOf"),
}


def empties(value: object, at: str = "") -> Iterator[str]:
    """Where a name or a text is empty."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, member in members:
        place = f"{at}/{name}" if at else str(name)
        if "" in (name, member):
            yield place
        yield from empties(member, place)


def keywords(schema: object) -> Iterator[str]:
    """The keywords of a JSON schema."""
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from keywords(one)
    elif isinstance(schema, dict):
        for name, member in schema.items():
            yield name
            if name == "properties":
                yield from keywords([*member.values()])
            elif name not in ("example", "default", "const", "enum"):
                yield from keywords(member)


def test_no_name_and_no_text_of_the_documents_is_empty() -> None:
    assert set(empties(DOCUMENT)) == EMPTY
    assert set(empties(asyncapi.document())) == set()


def test_schemas_have_known_keywords_alone() -> None:
    assert set(keywords([*TELNYX.rest.schemas.values()])) <= KEYWORDS
    bodies = [one.body for one in TELNYX.rest.operations if one.body is not None]
    assert set(keywords(bodies)) <= KEYWORDS
    queries = [schema for one in TELNYX.rest.operations for schema in (one.query or {}).values()]
    assert set(keywords(queries)) <= KEYWORDS
