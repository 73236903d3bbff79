"""The OpenAPI document, made of the tables of operations. `app.py` registers the same rows, so that what is described
and what is served cannot drift apart; the fields come from the tables that read them (`fields/`), the errors from the
code that writes them (`problems.py`).
"""

from collections.abc import Mapping

from trunkline import __version__, errors
from trunkline.api import bodies, problems
from trunkline.api.operations import applications, calls, streams
from trunkline.api.operations.base import NUMBER, TEXT, Operation, Schema, record

SCHEMAS: Mapping[str, Schema] = {
    **streams.SCHEMAS,
    **calls.SCHEMAS,
    **applications.SCHEMAS,
    "PublicKey": record({"data": record({"public": {"type": "string", "contentEncoding": "base64"}})}),
    "NotFound": record(
        {"errors": {"type": "array", "items": record({"detail": TEXT}), "minItems": 1}},
    ),
    "Errors": record(
        {
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "code": TEXT,
                        "title": TEXT,
                        "detail": TEXT,
                        "source": record({"pointer": {"type": "string", "example": "/Url"}}),
                    },
                    "required": ["code", "title", "detail"],
                },
            }
        }
    ),
}

ALWAYS: tuple[errors.ApiError, ...] = (
    errors.AuthenticationFailed(),
    errors.ResourceNotFound(),
    errors.TooManyRequests("The rate limit of this API key is reached"),
    problems.unexpected(),
    errors.Unavailable("Shutting down"),
)

_PUBLIC_KEY = (
    Operation(
        "GET",
        "/v2/public_key",
        "GetPublicKey",
        "The Ed25519 public key that verifies the signature of callbacks.",
        "PublicKey",
        {"data": {"public": "iJ2TLo7UUqDAFJ0ZWXRYuGfTC2xXOeZLBqXoFQUgcZM="}},
        public=True,
    ),
)

OPERATIONS = (*streams.OPERATIONS, *calls.OPERATIONS, *applications.OPERATIONS, *_PUBLIC_KEY)


def document() -> dict[str, object]:
    """The OpenAPI 3.1 document. The server is the one that it was fetched from."""
    paths: dict[str, dict[str, object]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trunkline",
            "version": __version__,
            "description": "The Telnyx TeXML Streams API on your own server. Every path is served with and without "
            "`.json`; every body may be JSON or a form; field names may be CamelCase or snake_case. A method that a "
            "path does not have is answered 405 with `Allow`. An answer with `x-should-retry: false` must not be "
            "repeated; a start that is repeated with `x-stainless-retry-count: 1` or `2` within a minute returns the "
            "stream that the first try made.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearerAuth": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation) -> dict[str, object]:
    segments = [part[1:].split("}")[0] for part in operation.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": TEXT} for name in segments
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in (operation.query or {}).items()]
    done = _answer("Done", operation.result, {"example": operation.example}, operation.content)
    answer = {str(operation.status): done}
    described: dict[str, object] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": answer | _refusals(operation),
    }
    if operation.body is not None:
        content = {"schema": operation.body, "example": operation.body_example}
        required = bool(operation.body.get("required"))
        described["requestBody"] = {"required": required, "content": {bodies.JSON: content, bodies.FORM: content}}
    if operation.public:
        described["security"] = []
    return described


def _answer(description: str, schema: str, examples: Schema, kind: str = bodies.JSON) -> dict[str, object]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, **examples}
    return {"description": description, "content": {kind: content}}


def _refusals(operation: Operation) -> dict[str, object]:
    by_status: dict[int, list[errors.ApiError]] = {}
    for error in (() if operation.public else ALWAYS) + operation.refusals:
        by_status.setdefault(error.status, []).append(error)
    refusals: dict[str, object] = {}
    for status, group in sorted(by_status.items()):
        examples = {f"{error.code or status} {error.title}".strip(): {"value": problems.body(error)} for error in group}
        schema = "NotFound" if status == errors.ResourceNotFound.status else "Errors"
        described = _answer("; ".join(error.title or error.detail for error in group), schema, {"examples": examples})
        if status in (429, 503):
            described["headers"] = {"retry-after": {"schema": NUMBER, "description": "Seconds"}}
        else:
            described["headers"] = {"x-should-retry": {"schema": {"const": "false"}}}
        refusals[str(status)] = described
    return refusals
