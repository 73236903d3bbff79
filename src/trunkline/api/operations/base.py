"""What the tables of operations are made of: the row, the schemas and refusals that many share."""

from collections.abc import Mapping
from dataclasses import dataclass

from trunkline import errors
from trunkline.api import bodies
from trunkline.api.fields.readers import Field
from trunkline.api.queries import DEFAULT_PAGE_SIZE, PAGE_LIMIT, PAGE_SIZE_LIMIT
from trunkline.api.resources import BASE

Schema = Mapping[str, object]

ACCOUNT = "61bf923e-5e4d-4595-a110-56190ea18a1b"
CALL = "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"
STREAM = "e9cea0be-7dbd-4b98-98b1-c0089d9d43b0"
"""Of the examples."""

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": "integer"}
TIME: Schema = {"type": "string", "format": "date-time"}
DAY: Schema = {"type": "string", "format": "date", "example": "2023-05-22"}


def record(members: Mapping[str, Schema], *, more: bool = True) -> Schema:
    """An object that always has all its members; `more` are allowed."""
    return {"additionalProperties": more, "type": "object", "properties": dict(members), "required": list(members)}


def page_schema(kind: str, member: str) -> Schema:
    """One page of a list: `kind` is the name of the members' array, `member` that of their schema."""
    return record(
        {
            kind: {"type": "array", "items": {"$ref": f"#/components/schemas/{member}"}},
            "end": NUMBER,
            "first_page_uri": TEXT,
            "next_page_uri": TEXT_OR_NULL,
            "page": NUMBER,
            "page_size": NUMBER,
            "start": NUMBER,
            "uri": TEXT,
        }
    )


def page_example(kind: str, uri: str, member: Mapping[str, object]) -> dict[str, object]:
    """A page with one member; `uri` is the list's own."""
    first = f"{uri}?Page=0&PageSize={DEFAULT_PAGE_SIZE}"
    return {
        kind: [member],
        "end": 0,
        "first_page_uri": first,
        "next_page_uri": None,
        "page": 0,
        "page_size": DEFAULT_PAGE_SIZE,
        "start": 0,
        "uri": first,
    }


BAD_QUERY = (errors.InvalidRequest("StartTime must be a date as YYYY-MM-DD", pointer="/StartTime"),)
BAD_BODY: tuple[errors.ApiError, ...] = (
    errors.PayloadTooLarge("The body is larger than 65536 bytes"),
    errors.UnsupportedMediaType(f"The body must be {bodies.JSON} or {bodies.FORM}"),
    errors.InvalidRequest("The body must be a JSON object"),
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One route."""

    method: str
    path: str
    """As documented."""
    id: str
    """The SDKs' operation id, or one in their manner."""
    summary: str
    result: str
    """Name of the answer's schema."""
    example: Mapping[str, object] | str
    body: Schema | None = None
    body_example: Mapping[str, object] | None = None
    query: Mapping[str, Schema] | None = None
    refusals: tuple[errors.ApiError, ...] = ()
    """Beyond those that every authenticated route has."""
    public: bool = False
    """Needs no API key."""
    status: int = 200
    """Of the answer."""
    content: str = bodies.JSON
    """Its media type."""


def body_schema(rows: tuple[Field, ...], more: Mapping[str, Schema] | None = None) -> Schema:
    """The schema of a body with these fields."""
    properties = {**{row.name: row.schema for row in rows}, **(more or {})}
    required = [row.name for row in rows if row.required]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


PAGES: Mapping[str, Schema] = {
    "Page": {"type": "integer", "minimum": 0, "maximum": PAGE_LIMIT, "default": 0, "description": "Which page."},
    "PageSize": {
        "type": "integer",
        "minimum": 1,
        "maximum": PAGE_SIZE_LIMIT,
        "default": DEFAULT_PAGE_SIZE,
        "description": "Members of a page.",
    },
}
CALLS = f"{BASE}/{{account_sid}}/Calls"
