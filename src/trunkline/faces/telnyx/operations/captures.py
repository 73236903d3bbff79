"""The operations on captures of streams (`streams.capture`). They are Trunkline's own: Telnyx has none."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from io import FileIO

from starlette.responses import JSONResponse, Response, StreamingResponse

from trunkline import errors
from trunkline.api import bodies
from trunkline.api.auth import CALL_CHANGES, CALL_VIEWS
from trunkline.api.operation import NUMBER, TEXT, TIME, ApiRequest, Operation, Schema, record
from trunkline.api.readers import text
from trunkline.calls.views import CaptureView
from trunkline.faces.telnyx import queries, resources
from trunkline.faces.telnyx.operations.base import ACCOUNT, CALL, PAGES, STREAM, page_example, page_schema
from trunkline.faces.telnyx.queries import PAGE_LIMIT

CAPTURES = "/v2/trunkline/captures"
_FILTERS = ("CallSid", "StreamSid")
_BLOCK = 256 * 1024
"""Bytes that are read at once."""
_CAPTURE: Mapping[str, Schema] = {
    "account_sid": TEXT,
    "call_sid": TEXT,
    "stream_sid": TEXT,
    "started_at": TIME,
    "size": {**NUMBER, "description": "Bytes so far."},
    "has_audio": {"type": "boolean", "description": "False: hashes instead of audio (`streams.capture_payloads`)."},
    "file_name": {**TEXT, "description": "For a copy of it."},
    "uri": {**TEXT, "description": "Of its lines."},
}
_EXAMPLE: Mapping[str, object] = {
    "account_sid": ACCOUNT,
    "call_sid": CALL,
    "stream_sid": STREAM,
    "started_at": "2034-01-31T12:00:00Z",
    "size": 190431,
    "has_audio": True,
    "file_name": f"20340131T120000-{STREAM}.capture.jsonl",
    "uri": f"{CAPTURES}/{STREAM}",
}
SCHEMAS: Mapping[str, Schema] = {
    "Capture": record(_CAPTURE),
    "OneCapture": record({"data": record(_CAPTURE)}),
    "CaptureList": page_schema("captures", "Capture"),
    "CaptureLines": TEXT,
}


def _resource(view: CaptureView, account: str) -> dict[str, object]:
    return {
        "account_sid": account,
        "call_sid": view.call_sid,
        "stream_sid": view.stream_sid,
        "started_at": resources.iso8601(view.started_at),
        "size": view.size,
        "has_audio": view.has_audio,
        "file_name": view.file_name,
        "uri": f"{CAPTURES}/{view.stream_sid}",
    }


async def _list(request: ApiRequest) -> Response:
    account, fields = request.principal.account, request.query()
    page = queries.page(fields, _FILTERS)
    call, stream = (None if (given := fields.get(name)) is None else text(name, given) for name in _FILTERS)
    views, more = await request.services.control.captures(
        account, call=call, stream=stream, offset=page.offset, limit=page.size
    )
    members = [_resource(view, account) for view in views]
    return JSONResponse(resources.listing("captures", CAPTURES, page, members, more))


async def _fetch(request: ApiRequest) -> Response:
    view = await request.services.control.capture(request.principal.account, request.path["streaming_sid"])
    with ExitStack() as opened:
        try:
            files = [(opened.enter_context(part.path.open("rb", buffering=0)), part.size) for part in view.parts]
        except OSError:  # it made room for others meanwhile
            raise errors.ResourceNotFound from None
        attached = f'attachment; filename="{view.file_name}"'
        headers = {"content-length": str(view.size), "content-disposition": attached}
        return StreamingResponse(_lines(files, opened.pop_all()), headers=headers, media_type=bodies.JSON_LINES)


async def _lines(files: list[tuple[FileIO, int]], opened: ExitStack) -> AsyncIterator[bytes]:
    """As much of each file as there was, a block at a time, each when the client has taken the one before."""
    with opened:
        for file, left in files:
            while left and (block := await asyncio.to_thread(file.read, min(left, _BLOCK))):
                left -= len(block)
                yield block


async def _delete(request: ApiRequest) -> Response:
    account = request.principal.account
    view = await request.services.control.delete_capture(account, request.path["streaming_sid"])
    return JSONResponse({"data": _resource(view, account)})


OPERATIONS = (
    Operation(
        "GET",
        CAPTURES,
        "ListCaptures",
        _list,
        "List the captures of the account's streams, newest first: of those that were started with `Capture=true`, or "
        "of all, as the operator's settings `streams.capture` and `streams.capture_streams` have it.",
        "CaptureList",
        page_example("captures", CAPTURES, _EXAMPLE),
        query={
            **PAGES,
            "CallSid": {**TEXT, "description": "Only those of this call."},
            "StreamSid": {**TEXT, "description": "Only that of this stream."},
        },
        refusals=(errors.InvalidRequest(f"Page must be a number from 0 to {PAGE_LIMIT}", pointer="/Page"),),
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        f"{CAPTURES}/{{streaming_sid}}",
        "FetchCapture",
        _fetch,
        "Fetch the capture of a stream: lines of JSON, for `trunkline replay` and `trunkline export`. Of one that is "
        "under way come the lines so far. Parts that were deleted to make room for others are left out.",
        "CaptureLines",
        '{"capture":1,…}',
        content=bodies.JSON_LINES,
        rights=CALL_VIEWS,
    ),
    Operation(
        "DELETE",
        f"{CAPTURES}/{{streaming_sid}}",
        "DeleteCapture",
        _delete,
        "Delete the capture of a stream. What follows of one that is under way is lost.",
        "OneCapture",
        {"data": _EXAMPLE},
        rights=CALL_CHANGES,
    ),
)
