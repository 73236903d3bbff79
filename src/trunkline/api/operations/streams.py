"""The operations on streams (spec sections 1.1 and 1.2)."""

from collections.abc import Mapping
from typing import get_args

from trunkline import errors
from trunkline.api.fields.streams import CUSTOM_PARAMETERS_SCHEMA, START_FIELDS, STREAM_STATUS
from trunkline.api.operations.base import (
    ACCOUNT,
    BAD_BODY,
    CALL,
    CALLS,
    PAGES,
    STREAM,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    Operation,
    Schema,
    body_schema,
    page_example,
    page_schema,
    record,
)
from trunkline.api.queries import PAGE_LIMIT
from trunkline.api.resources import BASE
from trunkline.calls.views import StreamStatus

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
_STREAM_EXAMPLE = {
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
    errors.CallNotAnswered("The call is still being set up"),
    errors.CallEnded("The call is over"),
    errors.StreamLimitReached("The call has as many streams as it may have"),
)

_STREAMS = f"{CALLS}/{{call_sid}}/Streams"

OPERATIONS = (
    Operation(
        "POST",
        f"{_STREAMS}.json",
        "StartTeXMLCallStreaming",
        "Start streaming media from a call.",
        "StartedStream",
        _STARTED_EXAMPLE,
        body=body_schema(START_FIELDS, {"CustomParameters": CUSTOM_PARAMETERS_SCHEMA}),
        body_example={"Url": "wss://www.example.com/websocket", "Track": "both_tracks", "BidirectionalMode": "rtp"},
        refusals=BAD_BODY + _BAD_START,
    ),
    Operation(
        "GET",
        f"{_STREAMS}.json",
        "ListTeXMLCallStreams",
        "List a call's streams, oldest first.",
        "StreamList",
        page_example("streams", _STREAMS_URI, _STREAM_EXAMPLE),
        query=PAGES,
        refusals=(errors.InvalidRequest(f"Page must be a number from 0 to {PAGE_LIMIT}", pointer="/Page"),),
    ),
    Operation(
        "POST",
        f"{_STREAMS}/{{streaming_sid}}.json",
        "UpdateTeXMLCallStreaming",
        "Stop, pause or resume a stream. The path takes its sid or its name; an empty body stops.",
        "UpdatedStream",
        _UPDATED_EXAMPLE,
        body=body_schema((STREAM_STATUS,)),
        body_example={"Status": "stopped"},
        refusals=BAD_BODY + _BAD_STATUS,
    ),
    Operation(
        "GET",
        f"{_STREAMS}/{{streaming_sid}}.json",
        "GetTeXMLCallStream",
        "Fetch a stream, live or ended, by its sid or its name.",
        "Stream",
        _STREAM_EXAMPLE,
    ),
)
