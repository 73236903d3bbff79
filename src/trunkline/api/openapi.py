"""The routes as one table, and the OpenAPI document made of it. `app.py` registers the same rows, so that what is
described and what is served cannot drift apart; the fields come from the tables that read them (`fields.py`), the
errors from the code that writes them (`problems.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from trunkline import __version__, errors
from trunkline.api import bodies, problems
from trunkline.api.fields import CUSTOM_PARAMETERS_SCHEMA, START_FIELDS, STREAM_STATUS, UPDATE_STATUS, Field
from trunkline.api.queries import DEFAULT_PAGE_SIZE, PAGE_LIMIT, PAGE_SIZE_LIMIT
from trunkline.api.resources import BASE
from trunkline.calls.diagnosis import Severity
from trunkline.calls.views import CallStatus, StreamStatus

Schema = Mapping[str, object]

_ACCOUNT = "61bf923e-5e4d-4595-a110-56190ea18a1b"
_CALL = "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"
_STREAM = "e9cea0be-7dbd-4b98-98b1-c0089d9d43b0"
_CALLS_URI = f"{BASE}/{_ACCOUNT}/Calls.json"
_STREAMS_URI = f"{BASE}/{_ACCOUNT}/Calls/{_CALL}/Streams.json"
_STREAM_URI = f"{BASE}/{_ACCOUNT}/Calls/{_CALL}/Streams/{_STREAM}.json"

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_NUMBER: Schema = {"type": "integer"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_DAY: Schema = {"type": "string", "format": "date", "example": "2023-05-22"}


def _record(members: Mapping[str, Schema], *, more: bool = True) -> Schema:
    """An object that always has all its members; `more` are allowed."""
    return {"additionalProperties": more, "type": "object", "properties": dict(members), "required": list(members)}


def _page(kind: str, member: str) -> Schema:
    return _record(
        {
            kind: {"type": "array", "items": {"$ref": f"#/components/schemas/{member}"}},
            "end": _NUMBER,
            "first_page_uri": _TEXT,
            "next_page_uri": _TEXT_OR_NULL,
            "page": _NUMBER,
            "page_size": _NUMBER,
            "start": _NUMBER,
            "uri": _TEXT,
        }
    )


_STARTED: Mapping[str, Schema] = {
    "account_sid": _TEXT,
    "call_sid": _TEXT,
    "sid": {"type": "string", "format": "uuid"},
    "name": _TEXT_OR_NULL,
    "status": {"const": "in-progress"},
    "date_updated": _TIME,
    "uri": _TEXT,
}
_STARTED_EXAMPLE: Mapping[str, object] = {
    "account_sid": _ACCOUNT,
    "call_sid": _CALL,
    "sid": _STREAM,
    "name": "My stream",
    "status": "in-progress",
    "date_updated": "2023-08-11T19:12:11Z",
    "uri": _STREAM_URI,
}
_UPDATED = {name: schema for name, schema in _STARTED.items() if name != "name"} | {
    "status": {"enum": ["stopped", "paused", "in-progress"]}
}
_UPDATED_EXAMPLE = {name: value for name, value in _STARTED_EXAMPLE.items() if name != "name"} | {"status": "stopped"}
_STREAM_EXAMPLE = {
    **_STARTED_EXAMPLE,
    "status": "stopped",
    "track": "both_tracks",
    "date_created": "2023-08-11T19:10:02Z",
    "ended_reason": "stopped by the API",
    "report": {"frames_sent": 12900, "frames_dropped": 0},
}
_CALL_EXAMPLE: Mapping[str, object] = {
    "account_sid": _ACCOUNT,
    "answered_by": None,
    "caller_name": "CALLER",
    "date_created": "Thu, 15 Jun 2023 09:56:45 +0000",
    "date_updated": "Thu, 15 Jun 2023 09:56:56 +0000",
    "direction": "inbound",
    "duration": "11",
    "end_time": "Thu, 15 Jun 2023 09:56:56 +0000",
    "from": "+13122010094",
    "from_formatted": "(312) 201-0094",
    "price": None,
    "price_unit": None,
    "sid": _CALL,
    "start_time": "Thu, 15 Jun 2023 09:56:45 +0000",
    "status": "completed",
    "to": "+13987654321",
    "to_formatted": "(398) 765-4321",
    "uri": f"{BASE}/{_ACCOUNT}/Calls/{_CALL}.json",
}


_FINDING = {
    "severity": "error",
    "code": "wrong_payload_type",
    "stream_sid": None,
    "text": "150 RTP packets came with payload type 18, and none with 0, which was agreed for PCMU: the peer sends "
    "another codec than it negotiated.",
    "numbers": {"unknown_payload_type": 150, "seen_payload_type": 18, "payload_type": 0},
}
_STREAM_MEDIA = {
    "sid": _STREAM,
    "name": None,
    "url": "wss://www.example.com/websocket",
    "status": "in-progress",
    "socket": "open",
    "track": "both_tracks",
    "mode": "rtp",
    "codec": "PCMU",
    "report": {"frames_sent": 150, "messages_received": 0},
}
_MEDIA_EXAMPLE: Mapping[str, object] = {
    "account_sid": _ACCOUNT,
    "call_sid": _CALL,
    "status": "in-progress",
    "live": True,
    "codec": "PCMU",
    "summary": _FINDING["text"],
    "findings": [_FINDING],
    "leg": {"codec": "PCMU", "local_port": 20000, "packets_in": 0, "packets_out": 150},
    "streams": [_STREAM_MEDIA],
    "uri": f"{BASE}/{_ACCOUNT}/Calls/{_CALL}/media.json",
}
_COUNTERS: Schema = {"type": "object", "additionalProperties": {"type": ["boolean", "number", "string"]}}
_MEDIA: Mapping[str, Schema] = {
    **dict.fromkeys(_MEDIA_EXAMPLE, _TEXT),
    "live": {"type": "boolean", "description": "Measured now; else what was kept at the end of the call."},
    "codec": _TEXT_OR_NULL,
    "findings": {
        "type": "array",
        "minItems": 1,
        "items": _record(
            {
                "severity": {"enum": list(get_args(Severity))},
                "code": _TEXT,
                "stream_sid": _TEXT_OR_NULL,
                "text": _TEXT,
                "numbers": _COUNTERS,
            }
        ),
    },
    "leg": _COUNTERS,
    "streams": {
        "type": "array",
        "items": _record(
            {name: _COUNTERS if name == "report" else _TEXT_OR_NULL for name in _STREAM_MEDIA},
        ),
    },
}


def _page_example(kind: str, uri: str, member: Mapping[str, object]) -> dict[str, object]:
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


_NULLABLE = ("answered_by", "duration", "end_time", "price", "price_unit")
_CALL_ENUMS: Mapping[str, Schema] = {
    "direction": {"enum": ["inbound", "outbound"]},
    "status": {"enum": list(get_args(CallStatus))},
}

SCHEMAS: Mapping[str, Schema] = {
    "StartedStream": _record(_STARTED, more=False),
    "UpdatedStream": _record(_UPDATED, more=False),
    "Stream": _record(
        {
            **_STARTED,
            "status": {"enum": list(get_args(StreamStatus))},
            "track": _TEXT,
            "date_created": _TIME,
            "ended_reason": _TEXT_OR_NULL,
            "report": {"type": "object", "additionalProperties": {"type": "integer"}},
        }
    ),
    "StreamList": _page("streams", "Stream"),
    "Call": _record(
        {name: _CALL_ENUMS.get(name, _TEXT_OR_NULL if name in _NULLABLE else _TEXT) for name in _CALL_EXAMPLE}
    ),
    "CallList": _page("calls", "Call"),
    "CallMedia": _record(_MEDIA),
    "CommandResult": _record({"data": _record({"result": {"const": "ok"}})}),
    "PublicKey": _record({"data": _record({"public": {"type": "string", "contentEncoding": "base64"}})}),
    "NotFound": _record(
        {"errors": {"type": "array", "items": _record({"detail": _TEXT}), "minItems": 1}},
    ),
    "Errors": _record(
        {
            "errors": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "code": _TEXT,
                        "title": _TEXT,
                        "detail": _TEXT,
                        "source": _record({"pointer": {"type": "string", "example": "/Url"}}),
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
_BAD_QUERY = (errors.InvalidRequest("StartTime must be a date as YYYY-MM-DD", pointer="/StartTime"),)
_BAD_BODY: tuple[errors.ApiError, ...] = (
    errors.PayloadTooLarge("The body is larger than 65536 bytes"),
    errors.UnsupportedMediaType(f"The body must be {bodies.JSON} or {bodies.FORM}"),
    errors.InvalidRequest("The body must be a JSON object"),
)
_BAD_STATUS = (
    errors.InvalidEnum("Status must be one of stopped, paused, in-progress", pointer="/Status"),
    errors.InvalidType("Status must be a string", pointer="/Status"),
)
_BAD_START: tuple[errors.ApiError, ...] = (
    errors.MissingParameter("Url is required", pointer="/Url"),
    errors.InvalidEnum("Track must be one of inbound_track, outbound_track, both_tracks", pointer="/Track"),
    errors.InvalidUrl("Url must be a ws:// or wss:// URL: it has another scheme", pointer="/Url"),
    errors.InvalidType("Name must be a string", pointer="/Name"),
    errors.CallNotAnswered("The call is still being set up"),
    errors.CallEnded("The call is over"),
    errors.StreamLimitReached("The call has as many streams as it may have"),
)
_BAD_UPDATE = (
    errors.MissingParameter("Status is required", pointer="/Status"),
    errors.InvalidEnum("Status must be one of completed", pointer="/Status"),
    errors.CallEnded("The call is over"),
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
    example: Mapping[str, object]
    body: Schema | None = None
    body_example: Mapping[str, object] | None = None
    query: Mapping[str, Schema] | None = None
    refusals: tuple[errors.ApiError, ...] = ()
    """Beyond those that every authenticated route has."""
    public: bool = False
    """Needs no API key."""


def _body(rows: tuple[Field, ...], more: Mapping[str, Schema] | None = None) -> Schema:
    properties = {**{row.name: row.schema for row in rows}, **(more or {})}
    required = [row.name for row in rows if row.required]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


_PAGES: Mapping[str, Schema] = {
    "Page": {"type": "integer", "minimum": 0, "maximum": PAGE_LIMIT, "default": 0},
    "PageSize": {"type": "integer", "minimum": 1, "maximum": PAGE_SIZE_LIMIT, "default": DEFAULT_PAGE_SIZE},
}
_CALL_QUERY: Mapping[str, Schema] = {
    **_PAGES,
    "To": _TEXT,
    "From": _TEXT,
    "Status": {"type": "string", "enum": list(get_args(CallStatus))},
    **{time + suffix: _DAY for time in ("StartTime", "EndTime") for suffix in ("", "_gt", "_lt")},
}
_CALLS = f"{BASE}/{{account_sid}}/Calls"
_STREAMS = f"{_CALLS}/{{call_sid}}/Streams"

OPERATIONS = (
    Operation(
        "POST",
        f"{_STREAMS}.json",
        "StartTeXMLCallStreaming",
        "Start streaming media from a call.",
        "StartedStream",
        _STARTED_EXAMPLE,
        body=_body(START_FIELDS, {"CustomParameters": CUSTOM_PARAMETERS_SCHEMA}),
        body_example={"Url": "wss://www.example.com/websocket", "Track": "both_tracks", "BidirectionalMode": "rtp"},
        refusals=_BAD_BODY + _BAD_START,
    ),
    Operation(
        "GET",
        f"{_STREAMS}.json",
        "ListTeXMLCallStreams",
        "List a call's streams, oldest first.",
        "StreamList",
        _page_example("streams", _STREAMS_URI, _STREAM_EXAMPLE),
        query=_PAGES,
        refusals=_BAD_QUERY,
    ),
    Operation(
        "POST",
        f"{_STREAMS}/{{streaming_sid}}.json",
        "UpdateTeXMLCallStreaming",
        "Stop, pause or resume a stream. The path takes its sid or its name; an empty body stops.",
        "UpdatedStream",
        _UPDATED_EXAMPLE,
        body=_body((STREAM_STATUS,)),
        body_example={"Status": "stopped"},
        refusals=_BAD_BODY + _BAD_STATUS,
    ),
    Operation(
        "GET",
        f"{_STREAMS}/{{streaming_sid}}.json",
        "GetTeXMLCallStream",
        "Fetch a stream, live or ended, by its sid or its name.",
        "Stream",
        _STREAM_EXAMPLE,
    ),
    Operation(
        "GET",
        _CALLS,
        "GetTexmlCalls",
        "List the account's calls, newest first.",
        "CallList",
        _page_example("calls", _CALLS_URI, _CALL_EXAMPLE),
        query=_CALL_QUERY,
        refusals=_BAD_QUERY,
    ),
    Operation(
        "GET",
        f"{_CALLS}/{{call_sid}}",
        "GetTexmlCall",
        "Fetch a call, live or ended.",
        "Call",
        _CALL_EXAMPLE,
    ),
    Operation(
        "GET",
        f"{_CALLS}/{{call_sid}}/media.json",
        "GetTexmlCallMedia",
        "Why is there no audio? What a call's media is doing, or did, in plain words and in numbers. A live call is "
        "listened to for a moment.",
        "CallMedia",
        _MEDIA_EXAMPLE,
    ),
    Operation(
        "POST",
        f"{_CALLS}/{{call_sid}}",
        "UpdateTexmlCall",
        "End a call. Giving it other instructions (`Url`, `Texml`) is not supported yet.",
        "Call",
        _CALL_EXAMPLE,
        body=_body((UPDATE_STATUS,)),
        body_example={"Status": "completed"},
        refusals=_BAD_BODY + _BAD_UPDATE,
    ),
    Operation(
        "POST",
        "/v2/calls/{call_control_id}/actions/hangup",
        "HangupCall",
        "Hang up a call.",
        "CommandResult",
        {"data": {"result": "ok"}},
        body={"type": "object", "properties": {}},
        body_example={},
        refusals=(*_BAD_BODY, errors.CallEnded("The call is over")),
    ),
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
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in segments
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in (operation.query or {}).items()]
    described: dict[str, object] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {"200": _answer("Done", operation.result, {"example": operation.example})} | _refusals(operation),
    }
    if operation.body is not None:
        content = {"schema": operation.body, "example": operation.body_example}
        required = bool(operation.body.get("required"))
        described["requestBody"] = {"required": required, "content": {bodies.JSON: content, bodies.FORM: content}}
    if operation.public:
        described["security"] = []
    return described


def _answer(description: str, schema: str, examples: Schema) -> dict[str, object]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, **examples}
    return {"description": description, "content": {bodies.JSON: content}}


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
            described["headers"] = {"retry-after": {"schema": _NUMBER, "description": "Seconds"}}
        else:
            described["headers"] = {"x-should-retry": {"schema": {"const": "false"}}}
        refusals[str(status)] = described
    return refusals
