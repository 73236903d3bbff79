"""The operations that the console needs beside those of others: login, callbacks, and the routes of calls. They are
Trunkline's own."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import get_args
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import CALL_VIEWS, FULL, VIEWS
from trunkline.api.operation import (
    NUMBER,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    ApiRequest,
    Operation,
    Schema,
    body_schema,
    record,
)
from trunkline.api.readers import Field, read_field, text
from trunkline.calls.views import CallbackView, StreamStatus
from trunkline.faces.telnyx import queries, resources
from trunkline.faces.telnyx.operations.base import ACCOUNT, BAD_BODY, CALL, PAGES, STREAM, page_example, page_schema
from trunkline.faces.telnyx.operations.streams import STREAM_EXAMPLE
from trunkline.faces.telnyx.queries import PAGE_LIMIT
from trunkline.webhooks.payloads import masked

TOKENS = "/v2/trunkline/console/tokens"
SESSIONS = "/v2/trunkline/console/sessions"
STREAMS = "/v2/trunkline/streams"
CALLBACKS = "/v2/trunkline/callbacks"
ROUTES = "/v2/trunkline/routes"
TOKEN_LIMIT = 200


def _token(name: str, value: object) -> str:
    return text(name, value, limit=TOKEN_LIMIT)


_TOKEN_FIELD = Field("token", _token, {**TEXT, "description": "Of `POST " + TOKENS + "`."}, required=True)
_TOKEN = "0J9rV2x5Qw1m8s3bT6yUe4kLhN7cZaXgPfDiRoWtYvE"
_SESSION_EXAMPLE: Mapping[str, object] = {
    "account_sid": ACCOUNT,
    "key_id": "b8f3c0de-6c5f-4f3e-9d44-5a1f2ad0d1c7",
    "api_key": "KEYq3Zs0kXW1r9mT5vB8yC2uE4wH6jL7nP0aD3fG5hJ8k",
    "expires_at": "2034-01-31T12:00:00.000Z",
}
_CALLBACK: Mapping[str, Schema] = {
    "id": {**TEXT, "description": "`webhook-id`."},
    "call_sid": TEXT,
    "stream_sid": TEXT_OR_NULL,
    "url": {**TEXT, "description": "Without user-info and query."},
    "method": {"enum": ["GET", "POST"]},
    "form": {"type": "object", "additionalProperties": TEXT, "description": "The parameters."},
    "state": {"enum": ["pending", "delivered", "failed"]},
    "tries": NUMBER,
    "last_status": {"type": ["integer", "null"], "description": "HTTP status of the last answer."},
    "last_error": TEXT_OR_NULL,
    "created_at": TIME,
    "finished_at": {"type": ["string", "null"], "format": "date-time"},
}
_CALLBACK_EXAMPLE: Mapping[str, object] = {
    "id": "0b1e3f4a-5f0e-4c39-8f7e-6d3c0e1a2b4c",
    "call_sid": CALL,
    "stream_sid": STREAM,
    "url": "https://example.com/callbacks",
    "method": "POST",
    "form": {"StreamEvent": "stream-started"},
    "state": "delivered",
    "tries": 1,
    "last_status": 200,
    "last_error": None,
    "created_at": "2034-01-31T12:00:00.000Z",
    "finished_at": "2034-01-31T12:00:00.100Z",
}
_ROUTES_EXAMPLE = {
    "numbers": [{"pattern": "+1*", "runs": "application bot"}],
    "phones": [{"user": "alice", "contacts": ["192.0.2.20:5060"]}],
    "trunks": [{"name": "carrier", "registered": True, "targets": [{"target": "sip:sip.example.com", "up": True}]}],
}


_BAD_PAGE = (errors.InvalidRequest(f"Page must be a number from 0 to {PAGE_LIMIT}", pointer="/Page"),)
_STREAM_QUERY: Mapping[str, Schema] = {
    **PAGES,
    "Status": {"type": "string", "enum": list(get_args(StreamStatus))},
    "CallSid": {**TEXT, "description": "Those of one call."},
    "Name": {**TEXT, "description": "Those of this name."},
}


def _many(members: Mapping[str, Schema]) -> Schema:
    return {"type": "array", "items": record(members)}


SCHEMAS: Mapping[str, Schema] = {
    "ConsoleToken": record({"data": record({"token": TEXT, "expires_in": NUMBER})}),
    "ConsoleSession": record({"data": record({**dict.fromkeys(_SESSION_EXAMPLE, TEXT), "expires_at": TIME})}),
    "Callback": record(_CALLBACK),
    "OneCallback": record({"data": record(_CALLBACK)}),
    "CallbackList": page_schema("callbacks", "Callback"),
    "Routes": record(
        {
            "data": record(
                {
                    "numbers": _many({"pattern": TEXT, "runs": TEXT}),
                    "phones": _many({"user": TEXT, "contacts": {"type": "array", "items": TEXT}}),
                    "trunks": _many(
                        {
                            "name": TEXT,
                            "registered": {"type": ["boolean", "null"]},
                            "targets": _many({"target": TEXT, "up": {"type": "boolean"}}),
                        }
                    ),
                }
            )
        }
    ),
}


async def _create_token(request: ApiRequest) -> Response:
    if not request.principal.account:
        raise errors.PermissionDenied("The operator's key has no account to look at")
    token, seconds = request.services.console.token(request.principal)
    return JSONResponse({"data": {"token": token, "expires_in": seconds}}, 201)


async def _create_session(request: ApiRequest) -> Response:
    _, fields = await request.public_body()
    login = request.services.console.login(str(read_field(_TOKEN_FIELD, fields)))
    accounts = request.services.accounts
    if login is None or not accounts.is_valid(login.sender.key_sid):
        raise errors.AuthenticationFailed
    new = await accounts.create_console_key(login.sender.account, login.key_name, login.expires_at)
    members = {
        "account_sid": login.sender.account,
        "key_id": new.key.sid,
        "api_key": new.secret,
        "expires_at": resources.with_milliseconds(login.expires_at),
    }
    return JSONResponse({"data": members}, 201)


async def _list_streams(request: ApiRequest) -> Response:
    fields = request.query()
    page, where = queries.page(fields), queries.stream_filter(fields)
    control, account = request.services.control, request.principal.account
    views, more = await control.streams_of_account(account, where, offset=page.offset, limit=page.size)
    members = [resources.stream(view) for view in views]
    return JSONResponse(resources.listing("streams", STREAMS, page, members, more))


async def _list_callbacks(request: ApiRequest) -> Response:
    page = queries.page(request.query())
    control, account = request.services.control, request.principal.account
    views, more = await control.callbacks(account, offset=page.offset, limit=page.size)
    return JSONResponse(resources.listing("callbacks", CALLBACKS, page, [_resource(view) for view in views], more))


async def _redeliver(request: ApiRequest) -> Response:
    view = await request.services.control.redeliver(request.principal.account, request.path["callback_id"])
    request.made["new_callback_id"] = view.sid
    return JSONResponse({"data": _resource(view)}, 201)


async def _routes(request: ApiRequest) -> Response:
    return JSONResponse({"data": asdict(request.services.control.routes(request.principal.account))})


def _resource(view: CallbackView) -> dict[str, object]:
    finished = view.finished_at
    return {
        "id": view.sid,
        "call_sid": view.call_sid,
        "stream_sid": view.stream_sid,
        "url": masked(view.url),
        "method": view.method,
        "form": dict(parse_qsl(view.form, keep_blank_values=True)),
        "state": view.state,
        "tries": view.tries,
        "last_status": view.last_status,
        "last_error": view.last_error,
        "created_at": resources.with_milliseconds(view.created_at),
        "finished_at": None if finished is None else resources.with_milliseconds(finished),
    }


_BAD_TOKEN: tuple[errors.ApiError, ...] = (
    errors.MissingParameter("token is required", pointer="/token"),
    errors.InvalidType("token must be a string", pointer="/token"),
    errors.AuthenticationFailed(),
)
OPERATIONS = (
    Operation(
        "POST",
        TOKENS,
        "CreateConsoleToken",
        _create_token,
        "Create a token for one login at the console within five minutes: `http://host:port/#token=…`.",
        "ConsoleToken",
        {"data": {"token": _TOKEN, "expires_in": 300}},
        refusals=(errors.TooManyRequests("Too many tickets are not used yet", retry_after=300),),
        rights=FULL,
        status=201,
    ),
    Operation(
        "POST",
        SESSIONS,
        "CreateConsoleSession",
        _create_session,
        "Exchange a console token for an API key of the account of its maker, which expires in 12 hours. An account "
        "has 20 of them: one more ends the oldest.",
        "ConsoleSession",
        {"data": _SESSION_EXAMPLE},
        body=body_schema((_TOKEN_FIELD,)),
        body_example={"token": _TOKEN},
        refusals=(*BAD_BODY, *_BAD_TOKEN),
        public=True,
        status=201,
    ),
    Operation(
        "GET",
        STREAMS,
        "ListStreams",
        _list_streams,
        "List the streams of all calls of the account, newest first.",
        "StreamList",
        page_example("streams", STREAMS, STREAM_EXAMPLE),
        query=_STREAM_QUERY,
        refusals=_BAD_PAGE,
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        CALLBACKS,
        "ListCallbacks",
        _list_callbacks,
        "List the account's callbacks that are kept, newest first.",
        "CallbackList",
        page_example("callbacks", CALLBACKS, _CALLBACK_EXAMPLE),
        query=PAGES,
        refusals=_BAD_PAGE,
        rights=VIEWS,
    ),
    Operation(
        "POST",
        CALLBACKS + "/{callback_id}/redeliver",
        "RedeliverCallback",
        _redeliver,
        "Send a callback again: a new one with the same content and a `webhook-id` of its own.",
        "OneCallback",
        {"data": {**_CALLBACK_EXAMPLE, "state": "pending", "tries": 0}},
        rights=FULL,
        status=201,
    ),
    Operation(
        "GET",
        ROUTES,
        "GetRoutes",
        _routes,
        "Fetch the numbers, phones and trunks of the settings with their state. Another account than that of the "
        "settings has none.",
        "Routes",
        {"data": _ROUTES_EXAMPLE},
        rights=VIEWS,
    ),
)
