"""The OpenAPI document, made of a face's table of operations. Pure.

`app.py` registers the same rows, so that what is described and what is served cannot drift apart. The fields come from
the tables that read them, the errors from the code that writes them."""

from collections.abc import Mapping

from trunkline import __version__, errors
from trunkline.api import bodies, problems
from trunkline.api.operation import NO_CONTENT, NUMBER, TEXT, Operation, RestFace, Schema, Webhook

ALWAYS: tuple[errors.ApiError, ...] = (
    errors.AuthenticationFailed(),
    errors.PermissionDenied("This key's scope, read, does not allow it"),
    errors.ResourceNotFound(),
    errors.TooManyRequests("The rate limit of this API key is reached"),
    problems.unexpected(),
    errors.Unavailable("Shutting down"),
)


def document(face: RestFace) -> dict[str, object]:
    """The OpenAPI 3.1 document. The server is the one that it was fetched from."""
    paths: dict[str, dict[str, object]] = {}
    for operation in face.operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, face)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": face.title,
            "version": __version__,
            "description": face.description,
        },
        "servers": [{"url": "/"}],
        "security": [{"bearerAuth": []}],
        "tags": [{"name": name} for name in dict.fromkeys(face.groups.values())],
        "paths": paths,
        "webhooks": {webhook.name: _webhook(webhook) for webhook in face.webhooks},
        "components": {
            "schemas": face.schemas,
            "securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}},
        },
    }


_SENT: Mapping[str, str] = {
    "telnyx-timestamp": "Unix seconds of this attempt.",
    "telnyx-signature-ed25519": "base64 of the Ed25519 signature of the timestamp, a `|` and the raw body.",
}
_SENT_ID: Mapping[str, str] = {"webhook-id": "A UUID, the same for every attempt of one callback."}


def _webhook(webhook: Webhook) -> dict[str, object]:
    """One request, by both methods: `POST` with the fields as a form, `GET` with them in the query."""
    headers = {**_SENT, **({} if webhook.answer else _SENT_ID)}
    sent: list[dict[str, object]] = [
        {"name": name, "in": "header", "schema": TEXT, "description": text} for name, text in headers.items()
    ]
    query: list[dict[str, object]] = [
        {"name": name, "in": "query", "required": name not in webhook.optional, "schema": schema}
        for name, schema in webhook.fields.items()
    ]
    content = {bodies.FORM: {"schema": webhook.schema, "example": webhook.example}}
    described = {"summary": webhook.summary, "security": [], "responses": _taken(webhook)}
    return {
        "post": {
            "operationId": webhook.name,
            **described,
            "parameters": sent,
            "requestBody": {"required": True, "content": content},
        },
        "get": {"operationId": f"{webhook.name}ByGet", **described, "parameters": sent + query},
    }


def _taken(webhook: Webhook) -> dict[str, object]:
    if webhook.answer is None:
        return {"2XX": {"description": "Delivered. The body is ignored; after 408, 429, 5xx it is sent again."}}
    return {
        "2XX": {"description": "TeXML.", "content": {"application/xml": {"schema": TEXT, "example": webhook.answer}}}
    }


def _describe(operation: Operation, face: RestFace) -> dict[str, object]:
    segments = [part[1:].split("}")[0] for part in operation.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, object]] = [
        {"name": name, "in": "path", "required": True, "schema": TEXT} for name in segments
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in (operation.query or {}).items()]
    done: dict[str, object] = {"description": "Done"}
    if operation.status != NO_CONTENT:
        done = _answer("Done", operation.result, {"example": operation.example}, operation.content)
    answer = {str(operation.status): done}
    described: dict[str, object] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [face.groups[operation.id]],
        "parameters": parameters,
        "responses": answer | _refusals(operation, face),
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


def _refusals(operation: Operation, face: RestFace) -> dict[str, object]:
    by_status: dict[int, list[errors.ApiError]] = {}
    for error in (() if operation.public else ALWAYS) + operation.refusals:
        by_status.setdefault(error.status, []).append(error)
    refusals: dict[str, object] = {}
    for status, group in sorted(by_status.items()):
        examples = {
            f"{error.code or status} {error.title}".strip(): {"value": face.error_body(error)} for error in group
        }
        schema = face.error_schema(group[0])
        described = _answer("; ".join(error.title or error.detail for error in group), schema, {"examples": examples})
        if status in (429, 503):
            described["headers"] = {"retry-after": {"schema": NUMBER, "description": "Seconds"}}
        else:
            described["headers"] = {"x-should-retry": {"schema": {"const": "false"}}}
        refusals[str(status)] = described
    return refusals
