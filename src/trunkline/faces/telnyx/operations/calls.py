"""The operations on calls (docs/reference/rest.md#operations)."""

from collections.abc import Mapping
from typing import get_args

import structlog
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import CALL_CHANGES, CALL_VIEWS
from trunkline.api.operation import DAY, TEXT, TEXT_OR_NULL, ApiRequest, Operation, Schema, body_schema, record
from trunkline.calls.commands import EndCall, SetStatusCallback
from trunkline.calls.findings import Severity
from trunkline.calls.views import CallStatus
from trunkline.faces.telnyx import queries, resources
from trunkline.faces.telnyx.fields.calls import (
    INSTRUCTIONS,
    MORE_PLACE_SCHEMAS,
    PLACE_FIELDS,
    REDIRECT,
    STATUS_CALLBACK,
    UPDATE_STATUS,
    WITHOUT_EFFECT,
    call_request,
    call_update,
    without_effect,
)
from trunkline.faces.telnyx.fields.recordings import PLACED_FIELDS
from trunkline.faces.telnyx.operations.base import (
    ACCOUNT,
    BAD_BODY,
    BAD_QUERY,
    CALL,
    CALLS,
    PAGES,
    STREAM,
    page_example,
    page_schema,
)
from trunkline.faces.telnyx.resources import BASE
from trunkline.ids import CallSid

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_CALLS_URI = f"{BASE}/{ACCOUNT}/Calls.json"
_CALL_EXAMPLE: Mapping[str, object] = {
    "account_sid": ACCOUNT,
    "answered_by": None,
    "caller_name": "CALLER",
    "date_created": "Thu, 15 Jun 2023 09:56:45 +0000",
    "date_updated": "Thu, 15 Jun 2023 09:56:56 +0000",
    "direction": "inbound",
    "duration": "11",
    "end_time": "Thu, 15 Jun 2023 09:56:56 +0000",
    "ended_reason": "caller hung up",
    "from": "+13122010094",
    "from_formatted": "(312) 201-0094",
    "parent_call_sid": None,
    "price": None,
    "price_unit": None,
    "sid": CALL,
    "start_time": "Thu, 15 Jun 2023 09:56:45 +0000",
    "status": "completed",
    "to": "+13987654321",
    "to_formatted": "(398) 765-4321",
    "uri": f"{BASE}/{ACCOUNT}/Calls/{CALL}.json",
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
    "sid": STREAM,
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
    "account_sid": ACCOUNT,
    "call_sid": CALL,
    "status": "in-progress",
    "live": True,
    "codec": "PCMU",
    "summary": _FINDING["text"],
    "findings": [_FINDING],
    "leg": {"codec": "PCMU", "local_port": 20000, "packets_in": 0, "packets_out": 150},
    "streams": [_STREAM_MEDIA],
    "uri": f"{BASE}/{ACCOUNT}/Calls/{CALL}/media.json",
}
_COUNTERS: Schema = {"type": "object", "additionalProperties": {"type": ["boolean", "number", "string", "null"]}}
_MEDIA: Mapping[str, Schema] = {
    **dict.fromkeys(_MEDIA_EXAMPLE, TEXT),
    "live": {"type": "boolean", "description": "Measured now; else what was kept at the end of the call."},
    "codec": TEXT_OR_NULL,
    "findings": {
        "type": "array",
        "minItems": 1,
        "items": record(
            {
                "severity": {"enum": list(get_args(Severity))},
                "code": TEXT,
                "stream_sid": TEXT_OR_NULL,
                "text": TEXT,
                "numbers": _COUNTERS,
            }
        ),
    },
    "leg": {**_COUNTERS, "description": "Of the call's media, also after the call; null is what is not known."},
    "streams": {
        "type": "array",
        "items": record(
            {name: _COUNTERS if name == "report" else TEXT_OR_NULL for name in _STREAM_MEDIA},
        ),
    },
}


_PLACED_EXAMPLE: Mapping[str, object] = {
    "from": "+13120001234",
    "to": "+13121230000",
    "status": "queued",
    "sid": CALL,
    "call_sid": CALL,
    "account_sid": ACCOUNT,
}
_NO_EFFECT: Mapping[str, Schema] = {
    name: {**schema, "description": "Accepted, and without effect."} for name, schema in WITHOUT_EFFECT.items()
}
_NULLABLE = ("answered_by", "duration", "end_time", "ended_reason", "parent_call_sid", "price", "price_unit")
_CALL_ENUMS: Mapping[str, Schema] = {
    "direction": {"enum": ["inbound", "outbound"]},
    "status": {"enum": list(get_args(CallStatus))},
}

SCHEMAS: Mapping[str, Schema] = {
    "PlacedCall": record({**dict.fromkeys(_PLACED_EXAMPLE, TEXT), "status": {"const": "queued"}}),
    "Call": record(
        {name: _CALL_ENUMS.get(name, TEXT_OR_NULL if name in _NULLABLE else TEXT) for name in _CALL_EXAMPLE}
    ),
    "CallList": page_schema("calls", "Call"),
    "CallMedia": record(_MEDIA),
    "CommandResult": record({"data": record({"result": {"const": "ok"}})}),
}

_WHAT_TO_DO = [{"required": [name]} for name in ("Url", "Texml", "ApplicationSid")]
_BAD_PLACE: tuple[errors.ApiError, ...] = (
    errors.MissingParameter("To is required", pointer="/To"),
    errors.InvalidEnum(
        "StatusCallbackEvent must be of initiated, ringing, answered, completed", pointer="/StatusCallbackEvent"
    ),
    errors.InvalidUrl("Url must be a http:// or https:// URL: it has another scheme", pointer="/Url"),
    errors.InvalidRequest("Texml: the document is not XML: mismatched tag: line 3, column 12", pointer="/Texml"),
    errors.InvalidType("Timeout must be a whole number", pointer="/Timeout"),
)
_BAD_UPDATE: tuple[errors.ApiError, ...] = (
    errors.MissingParameter("One of Status, Url, Texml and StatusCallback is required", pointer="/Status"),
    errors.InvalidEnum("Status must be one of completed, canceled", pointer="/Status"),
    errors.InvalidUrl("Url must be a http:// or https:// URL: it has another scheme", pointer="/Url"),
    errors.InvalidType("Texml must be a string", pointer="/Texml"),
    errors.InvalidRequest("A call that was answered is not canceled; completed ends it", pointer="/Status"),
    errors.CallNotAnswered("The call is still being set up"),
    errors.CallEnded("The call is over"),
)


_CALL_QUERY: Mapping[str, Schema] = {
    **PAGES,
    "To": TEXT,
    "From": TEXT,
    "Status": {"type": "string", "enum": list(get_args(CallStatus))},
    **{
        time + suffix: {**DAY, "description": words}
        for time in ("StartTime", "EndTime")
        for suffix, words in (
            ("", "On this UTC day, `YYYY-MM-DD`."),
            ("_gt", "From this day on."),
            ("_lt", "Up to this day."),
        )
    },
}


async def _place(request: ApiRequest, application_id: str | None = None) -> Response:
    body, fields = await request.body()
    wanted = call_request(fields if application_id is None else fields.having("ApplicationSid", application_id))
    control, account = request.services.control, request.principal.account
    scope = f"applications/{application_id}" if application_id is not None else "calls"
    restricted = request.principal.right != "full"
    view = await request.once_per_key(scope, body, lambda: control.place(account, wanted, restricted=restricted))
    request.made["call_sid"] = view.sid
    missed = without_effect(fields)
    if missed:
        request.services.counters["calls_with_fields_without_effect"] += 1
        _log.warning("call_fields_ignored", call_sid=view.sid, fields=missed)
    return JSONResponse(resources.placed_call(view))


async def _place_by_application(request: ApiRequest) -> Response:
    try:
        return await _place(request, request.path["application_id"])
    except errors.UnknownApplication:
        raise errors.ResourceNotFound() from None


async def _list(request: ApiRequest) -> Response:
    account, fields = request.principal.account, request.query()
    page, where = queries.page(fields), queries.call_filter(fields)
    views, more = await request.services.control.calls(account, where, offset=page.offset, limit=page.size)
    members = [resources.call(view) for view in views]
    return JSONResponse(resources.listing("calls", f"{BASE}/{account}/Calls.json", page, members, more))


async def _fetch(request: ApiRequest) -> Response:
    return JSONResponse(
        resources.call(await request.services.control.call(request.principal.account, request.call_sid))
    )


async def _media(request: ApiRequest) -> Response:
    return JSONResponse(
        resources.media(await request.services.control.media(request.principal.account, request.call_sid))
    )


async def _update(request: ApiRequest) -> Response:
    _, fields = await request.body()
    wanted = call_update(fields)
    control, account, call = request.services.control, request.principal.account, request.call_sid
    if wanted.unanswered and (await control.call(account, call)).status == "in-progress":
        raise errors.InvalidRequest("A call that was answered is not canceled; completed ends it", pointer="/Status")
    view = None
    if wanted.status_callback is not None:
        view = await control.apply(
            account, call, SetStatusCallback(wanted.status_callback, wanted.status_callback_method)
        )
    if wanted.instructions is not None:
        view = await control.redirect(account, call, wanted.instructions)
    if view is None or wanted.ended:
        view = await control.apply(account, call, EndCall("ended by the API"))
    return JSONResponse(resources.call(view))


async def _hang_up(request: ApiRequest) -> Response:
    await request.body()
    call = CallSid(request.path["call_control_id"])
    end = await request.services.control.end_after(request.principal.account, call)

    async def afterwards() -> None:
        end()

    return JSONResponse({"data": {"result": "ok"}}, background=BackgroundTask(afterwards))


OPERATIONS = (
    Operation(
        "POST",
        CALLS,
        "InitiateTexmlCall",
        _place,
        "Place a call. The answer does not wait for the called party; callbacks report the call's progress. Without "
        "`Url` and `Texml` the instructions are the application's.",
        "PlacedCall",
        _PLACED_EXAMPLE,
        body={
            **body_schema(PLACE_FIELDS + INSTRUCTIONS + PLACED_FIELDS, {**MORE_PLACE_SCHEMAS, **_NO_EFFECT}),
            "anyOf": _WHAT_TO_DO,
        },
        body_example={
            "ApplicationSid": "1293384261075731499",
            "From": "+13120001234",
            "To": "+13121230000",
            "StatusCallback": "https://www.example.com/statuscallback-listener",
            "Url": "https://www.example.com/texml.xml",
        },
        refusals=BAD_BODY + _BAD_PLACE,
        rights=CALL_CHANGES,
    ),
    Operation(
        "POST",
        "/v2/texml/calls/{application_id}",
        "CreateTexmlCall",
        _place_by_application,
        "Place a call with the instructions of the application in the path; the SDKs' `texml.calls.create`. Takes the "
        "fields of `InitiateTexmlCall`, of which `ApplicationSid` is ignored.",
        "PlacedCall",
        _PLACED_EXAMPLE,
        body=body_schema(PLACE_FIELDS + INSTRUCTIONS + PLACED_FIELDS, {**MORE_PLACE_SCHEMAS, **_NO_EFFECT}),
        body_example={"From": "+13120001234", "To": "+13121230000"},
        refusals=BAD_BODY + _BAD_PLACE,
        rights=CALL_CHANGES,
    ),
    Operation(
        "GET",
        CALLS,
        "GetTexmlCalls",
        _list,
        "List the account's calls, newest first.",
        "CallList",
        page_example("calls", _CALLS_URI, _CALL_EXAMPLE),
        query=_CALL_QUERY,
        refusals=BAD_QUERY,
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        f"{CALLS}/{{call_sid}}",
        "GetTexmlCall",
        _fetch,
        "Fetch a call, live or ended.",
        "Call",
        _CALL_EXAMPLE,
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        f"{CALLS}/{{call_sid}}/media.json",
        "GetTexmlCallMedia",
        _media,
        "Why there is no audio: what a call's media does, or did, in words and in numbers. A live call is observed "
        "for a moment.",
        "CallMedia",
        _MEDIA_EXAMPLE,
        rights=CALL_VIEWS,
    ),
    Operation(
        "POST",
        f"{CALLS}/{{call_sid}}",
        "UpdateTexmlCall",
        _update,
        "End a live call, give it other instructions, or change its status callback.",
        "Call",
        _CALL_EXAMPLE,
        body=body_schema((UPDATE_STATUS, *REDIRECT, *STATUS_CALLBACK)),
        body_example={"Status": "completed"},
        refusals=BAD_BODY + _BAD_UPDATE,
        rights=CALL_CHANGES,
    ),
    Operation(
        "POST",
        "/v2/calls/{call_control_id}/actions/hangup",
        "HangupCall",
        _hang_up,
        "Hang up a call: a fifth of a second after the answer, so that an app may close its own socket first.",
        "CommandResult",
        {"data": {"result": "ok"}},
        body={"type": "object", "properties": {}},
        body_example={},
        refusals=(*BAD_BODY, errors.CallEnded("The call is over")),
        rights=CALL_CHANGES,
    ),
)
