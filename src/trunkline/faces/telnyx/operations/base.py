"""Schemas, examples and refusals that many operations share."""

from collections.abc import Mapping

from trunkline import errors
from trunkline.api import bodies
from trunkline.api.operation import NUMBER, TEXT, TEXT_OR_NULL, Schema, record
from trunkline.faces.telnyx.queries import DEFAULT_PAGE_SIZE, PAGE_LIMIT, PAGE_SIZE_LIMIT
from trunkline.faces.telnyx.resources import BASE

ACCOUNT = "61bf923e-5e4d-4595-a110-56190ea18a1b"
CALL = "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"
STREAM = "e9cea0be-7dbd-4b98-98b1-c0089d9d43b0"
"""Of the examples."""


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
