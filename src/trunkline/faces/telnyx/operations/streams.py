"""The operations on streams (docs/reference/rest.md#operations)."""

from collections.abc import Mapping
from typing import get_args

from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import CALL_CHANGES, CALL_VIEWS
from trunkline.api.operation import TEXT, TEXT_OR_NULL, TIME, ApiRequest, Operation, Schema, body_schema, record
from trunkline.api.readers import read_field
from trunkline.calls.views import StreamStatus
from trunkline.faces.telnyx import queries, resources
from trunkline.faces.telnyx.fields.streams import CUSTOM_PARAMETERS_SCHEMA, START_FIELDS, STREAM_STATUS, stream_params
from trunkline.faces.telnyx.operations.base import (
    ACCOUNT,
    BAD_BODY,
    CALL,
    CALLS,
    PAGES,
    STREAM,
    page_example,
    page_schema,
)
from trunkline.faces.telnyx.queries import PAGE_LIMIT
from trunkline.faces.telnyx.resources import BASE

_STREAMS_URI = f"{BASE}/{ACCOUNT}/Calls/{CALL}/Streams.json"
_STREAM_URI = f"{BASE}/{ACCOUNT}/Calls/{CALL}/Streams/{STREAM}.json"

_STARTED: Mapping[str, Schema] = {
    "account_sid": TEXT,
    "call_sid": TEXT,
    "sid": {"type": "string", "format": "uuid"},
    "name": TEXT_OR_NULL,
    "status": {"const": "in-progress"},
    "date_updated": TIME,
    "uri": TEXT,
}
_STARTED_EXAMPLE: Mapping[str, object] = {
    "account_sid": ACCOUNT,
    "call_sid": CALL,
    "sid": STREAM,
    "name": "My stream",
    "status": "in-progress",
    "date_updated": "2023-08-11T19:12:11Z",
    "uri": _STREAM_URI,
}
_UPDATED = {name: schema for name, schema in _STARTED.items() if name != "name"} | {
    "status": {"enum": ["stopped", "paused", "in-progress"]}
}
_UPDATED_EXAMPLE = {name: value for name, value in _STARTED_EXAMPLE.items() if name != "name"} | {"status": "stopped"}
STREAM_EXAMPLE = {
    **_STARTED_EXAMPLE,
    "status": "stopped",
    "track": "both_tracks",
    "date_created": "2023-08-11T19:10:02Z",
    "ended_reason": "stopped by the API",
    "report": {"frames_sent": 12900, "frames_dropped": 0},
}
SCHEMAS: Mapping[str, Schema] = {
    "StartedStream": record(_STARTED, more=False),
    "UpdatedStream": record(_UPDATED, more=False),
    "Stream": record(
        {
            **_STARTED,
            "status": {"enum": list(get_args(StreamStatus))},
            "track": TEXT,
            "date_created": TIME,
            "ended_reason": TEXT_OR_NULL,
            "report": {
                "type": ["object", "null"],
                "additionalProperties": {"type": ["integer", "string"]},
                "description": "The counters at its end; null before. Those of a stream that runs are in the call's "
                "`media`.",
            },
        }
    ),
    "StreamList": page_schema("streams", "Stream"),
}

_BAD_STATUS = (
    errors.InvalidEnum("Status must be one of stopped, paused, in-progress", pointer="/Status"),
    errors.InvalidType("Status must be a string", pointer="/Status"),
    errors.InvalidRequest("The stream is over.", pointer="/Status"),
    errors.CallEnded("The call is over"),
)
_BAD_START: tuple[errors.ApiError, ...] = (
    errors.MissingParameter("Url is required", pointer="/Url"),
    errors.InvalidEnum("Track must be one of inbound_track, outbound_track, both_tracks", pointer="/Track"),
    errors.InvalidUrl("Url must be a ws:// or wss:// URL: it has another scheme", pointer="/Url"),
    errors.InvalidType("Name must be a string", pointer="/Name"),
    errors.InvalidRequest(
        "Capture: this server captures no streams: its operator has to set streams.capture to a directory.",
        pointer="/Capture",
    ),
    errors.CallNotAnswered("The call is still being set up"),
    errors.CallEnded("The call is over"),
    errors.StreamLimitReached("The call has as many streams as it may have"),
)

_STREAMS = f"{CALLS}/{{call_sid}}/Streams"


async def _start(request: ApiRequest) -> Response:
    body, fields = await request.body()
    params = stream_params(fields)
    control, account, call = request.services.control, request.principal.account, request.call_sid
    view = await request.once_per_key(f"streams {call}", body, lambda: control.start_stream(account, call, params))
    request.made["stream_id"] = view.sid
    return JSONResponse(resources.started_stream(view))


async def _update(request: ApiRequest) -> Response:
    _, fields = await request.body()
    status = read_field(STREAM_STATUS, fields) or "stopped"
    control, account, stream = request.services.control, request.principal.account, request.path["streaming_sid"]
    if status == "stopped":
        view = await control.stop_stream(account, request.call_sid, stream)
    else:
        view = await control.pause_stream(account, request.call_sid, stream, paused=status == "paused")
    return JSONResponse(resources.updated_stream(view, str(status)))


async def _fetch(request: ApiRequest) -> Response:
    account, stream = request.principal.account, request.path["streaming_sid"]
    return JSONResponse(resources.stream(await request.services.control.stream(account, request.call_sid, stream)))


async def _list(request: ApiRequest) -> Response:
    account = request.principal.account
    page = queries.page(request.query())
    views = await request.services.control.streams(account, request.call_sid)
    rest = views[page.offset :]
    members = [resources.stream(view) for view in rest[: page.size]]
    path = f"{BASE}/{account}/Calls/{request.call_sid}/Streams.json"
    return JSONResponse(resources.listing("streams", path, page, members, len(rest) > page.size))


OPERATIONS = (
    Operation(
        "POST",
        f"{_STREAMS}.json",
        "StartTeXMLCallStreaming",
        _start,
        "Start streaming media from a call.",
        "StartedStream",
        _STARTED_EXAMPLE,
        body=body_schema(START_FIELDS, {"CustomParameters": CUSTOM_PARAMETERS_SCHEMA}),
        body_example={"Url": "wss://www.example.com/websocket", "Track": "both_tracks", "BidirectionalMode": "rtp"},
        refusals=BAD_BODY + _BAD_START,
        rights=CALL_CHANGES,
    ),
    Operation(
        "GET",
        f"{_STREAMS}.json",
        "ListTeXMLCallStreams",
        _list,
        "List a call's streams, oldest first.",
        "StreamList",
        page_example("streams", _STREAMS_URI, STREAM_EXAMPLE),
        query=PAGES,
        refusals=(errors.InvalidRequest(f"Page must be a number from 0 to {PAGE_LIMIT}", pointer="/Page"),),
        rights=CALL_VIEWS,
    ),
    Operation(
        "POST",
        f"{_STREAMS}/{{streaming_sid}}.json",
        "UpdateTeXMLCallStreaming",
        _update,
        "Stop, pause or resume a stream. The path takes its sid or its name; an empty body stops.",
        "UpdatedStream",
        _UPDATED_EXAMPLE,
        body=body_schema((STREAM_STATUS,)),
        body_example={"Status": "stopped"},
        refusals=BAD_BODY + _BAD_STATUS,
        rights=CALL_CHANGES,
    ),
    Operation(
        "GET",
        f"{_STREAMS}/{{streaming_sid}}.json",
        "GetTeXMLCallStream",
        _fetch,
        "Fetch a stream, live or ended, by its sid or its name.",
        "Stream",
        STREAM_EXAMPLE,
        rights=CALL_VIEWS,
    ),
)
