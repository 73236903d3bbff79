"""The operations on recordings (docs/reference/rest.md#operations)."""

from collections.abc import Mapping, Sequence
from typing import get_args

from starlette.responses import FileResponse, JSONResponse, Response

from trunkline import errors
from trunkline.api import bodies
from trunkline.api.auth import CALL_CHANGES, CALL_VIEWS
from trunkline.api.operation import (
    NO_CONTENT,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    ApiRequest,
    Operation,
    Schema,
    body_schema,
    record,
)
from trunkline.api.readers import read_field
from trunkline.calls.views import RecordingSource, RecordingView
from trunkline.faces.telnyx import queries, resources
from trunkline.faces.telnyx.fields.recordings import RECORDING_STATUS, START_FIELDS, recording_start
from trunkline.faces.telnyx.operations.base import ACCOUNT, BAD_BODY, CALL, CALLS, PAGES, page_example, page_schema
from trunkline.faces.telnyx.queries import CREATED_FILTERS, PAGE_LIMIT
from trunkline.faces.telnyx.resources import BASE

_RECORDINGS = f"{BASE}/{{account_sid}}/Recordings"
_OF_CALL = f"{CALLS}/{{call_sid}}/Recordings.json"
_ONE = f"{_RECORDINGS}/{{recording_sid}}"
_SID = "6a09cdc3-8948-47f0-aa62-74ac943d6c58"
_EXAMPLE: Mapping[str, object] = {
    "account_sid": ACCOUNT,
    "call_sid": CALL,
    "channels": 2,
    "conference_sid": None,
    "date_created": "2023-08-11T19:12:11Z",
    "date_updated": "2023-08-11T19:12:23Z",
    "duration": "12",
    "ended_reason": None,
    "error_code": None,
    "media_url": f"http://127.0.0.1:8080/v2/texml/Accounts/{ACCOUNT}/Recordings/{_SID}.wav",
    "sid": _SID,
    "source": "RecordVerb",
    "start_time": "2023-08-11T19:12:11Z",
    "status": "completed",
    "subresources_uris": {"transcriptions": None},
    "uri": f"{BASE}/{ACCOUNT}/Recordings/{_SID}.json",
}
_CHANGED_URI = f"{BASE}/{ACCOUNT}/Calls/{CALL}/Recordings/{_SID}.json"
_NOT_CHANGED = ("ended_reason", "media_url", "status", "subresources_uris")
_CHANGED_EXAMPLE: Mapping[str, object] = {
    **{name: value for name, value in _EXAMPLE.items() if name not in _NOT_CHANGED},
    "price": None,
    "price_unit": None,
    "source": "StartCallRecordingAPI",
    "track": "both",
    "uri": _CHANGED_URI,
}
_MEMBERS: Mapping[str, Schema] = {
    **dict.fromkeys(_EXAMPLE, TEXT),
    **dict.fromkeys(("date_created", "date_updated", "start_time"), TIME),
    "channels": {"enum": [1, 2]},
    "conference_sid": {"type": "null"},
    "duration": {**TEXT_OR_NULL, "description": "Seconds of audio in the file; null while it is not known."},
    "ended_reason": {**TEXT_OR_NULL, "description": "Why there is no file, or only a part."},
    "error_code": {"type": "null"},
    "media_url": {**TEXT, "description": "The wav file, which needs the account's key."},
    "source": {"enum": list(get_args(RecordingSource))},
    "status": {
        "enum": ["in-progress", "paused", "completed", "stopped"],
        "description": "`stopped`: cut off by a fault; what was written of it plays.",
    },
    "subresources_uris": record({"transcriptions": {"type": "null"}}),
}
_CHANGED: Mapping[str, Schema] = {
    **{name: schema for name, schema in _MEMBERS.items() if name not in _NOT_CHANGED},
    "price": {"type": "null"},
    "price_unit": {"type": "null"},
    "track": {"enum": ["inbound", "outbound", "both"]},
}
SCHEMAS: Mapping[str, Schema] = {
    "ChangedRecording": record(_CHANGED, more=False),
    "Recording": record(_MEMBERS),
    "RecordingList": page_schema("recordings", "Recording"),
    "Audio": {"type": "string", "format": "binary"},
}
_CREATED: Mapping[str, Schema] = {
    name: {**TEXT, "description": words}
    for name, words in zip(
        CREATED_FILTERS,
        ("On this UTC day, or in this second: `2023-05-22`, `2023-05-22T00:00:00Z`.", "From then on.", "Up to then."),
        strict=True,
    )
}
_BAD_PAGE = (errors.InvalidRequest(f"Page must be a number from 0 to {PAGE_LIMIT}", pointer="/Page"),)


async def _start(request: ApiRequest) -> Response:
    body, fields = await request.body()
    wanted = recording_start(fields)
    control, account, call = request.services.control, request.principal.account, request.call_sid
    view = await request.once_per_key(
        f"recordings {call}", body, lambda: control.start_recording(account, call, wanted)
    )
    request.made["recording_sid"] = view.sid
    return JSONResponse(resources.changed_recording(view))


async def _update(request: ApiRequest) -> Response:
    _, fields = await request.body()
    status = read_field(RECORDING_STATUS, fields)
    control, account, sid = request.services.control, request.principal.account, request.path["recording_sid"]
    if status == "stopped":
        view = await control.stop_recording(account, request.call_sid, sid)
    else:
        view = await control.pause_recording(account, request.call_sid, sid, paused=status == "paused")
    return JSONResponse(resources.changed_recording(view))


async def _list(request: ApiRequest) -> Response:
    account, fields = request.principal.account, request.query()
    page, where = queries.page(fields, CREATED_FILTERS), queries.recording_filter(fields)
    views, more = await request.services.control.recordings(account, where, offset=page.offset, limit=page.size)
    return _page(request, views, f"{BASE}/{account}/Recordings.json", page, more)


async def _list_of_call(request: ApiRequest) -> Response:
    account, fields, call = request.principal.account, request.query(), request.call_sid
    page, where = queries.page(fields, CREATED_FILTERS), queries.recording_filter(fields, call)
    views, more = await request.services.control.recordings(account, where, offset=page.offset, limit=page.size)
    return _page(request, views, f"{BASE}/{account}/Calls/{call}/Recordings.json", page, more)


def _page(request: ApiRequest, views: Sequence[RecordingView], path: str, page: queries.Page, more: bool) -> Response:
    members = [_resource(request, view) for view in views]
    return JSONResponse(resources.listing("recordings", path, page, members, more))


def _resource(request: ApiRequest, view: RecordingView) -> dict[str, object]:
    return resources.recording(view, request.services.control.recording_url(view.account_sid, view.sid))


async def _fetch(request: ApiRequest) -> Response:
    view = await request.services.control.recording(request.principal.account, request.path["recording_sid"])
    return JSONResponse(_resource(request, view))


async def _delete(request: ApiRequest) -> Response:
    await request.services.control.delete_recording(request.principal.account, request.path["recording_sid"])
    return Response(status_code=NO_CONTENT)


async def _audio(request: ApiRequest) -> Response:
    path = await request.services.control.recording_audio(request.principal.account, request.path["recording_sid"])
    return FileResponse(path, media_type=bodies.WAV)  # whole or in ranges (RFC 9110 section 14)


_BAD_START: tuple[errors.ApiError, ...] = (
    errors.InvalidEnum("RecordingChannels must be one of single, dual", pointer="/RecordingChannels"),
    errors.InvalidUrl(
        "RecordingStatusCallback must be a http:// or https:// URL: it has another scheme",
        pointer="/RecordingStatusCallback",
    ),
    errors.InvalidType("PlayBeep must be true or false", pointer="/PlayBeep"),
    errors.InvalidRequest("The call has 4 recordings under way."),
    errors.CallNotAnswered("The call is still being set up"),
    errors.CallEnded("The call is over"),
)
_BAD_UPDATE: tuple[errors.ApiError, ...] = (
    errors.MissingParameter("Status is required", pointer="/Status"),
    errors.InvalidEnum("Status must be one of in-progress, paused, stopped", pointer="/Status"),
    errors.InvalidRequest("The recording is over.", pointer="/Status"),
)


async def _mp3(request: ApiRequest) -> Response:
    path = await request.services.control.recording_mp3(request.principal.account, request.path["recording_sid"])
    return FileResponse(path, media_type=bodies.MP3)


OPERATIONS = (
    Operation(
        "POST",
        _OF_CALL,
        "StartTeXMLCallRecording",
        _start,
        "Record a call, in addition to what records it already.",
        "ChangedRecording",
        {**_CHANGED_EXAMPLE, "duration": None},
        body=body_schema(START_FIELDS),
        body_example={"RecordingChannels": "dual", "PlayBeep": False},
        refusals=BAD_BODY + _BAD_START,
        rights=CALL_CHANGES,
    ),
    Operation(
        "POST",
        f"{CALLS}/{{call_sid}}/Recordings/{{recording_sid}}.json",
        "UpdateTeXMLCallRecording",
        _update,
        "Stop, pause or resume a recording. Its file is complete a moment after a stop, as the callback says; one that "
        "is over is not changed by another.",
        "ChangedRecording",
        _CHANGED_EXAMPLE,
        body=body_schema((RECORDING_STATUS,)),
        body_example={"Status": "paused"},
        refusals=BAD_BODY + _BAD_UPDATE,
        rights=CALL_CHANGES,
    ),
    Operation(
        "GET",
        f"{_RECORDINGS}.json",
        "GetTeXMLCallRecordings",
        _list,
        "List the account's recordings, newest first.",
        "RecordingList",
        page_example("recordings", f"{BASE}/{ACCOUNT}/Recordings.json", _EXAMPLE),
        query={**PAGES, **_CREATED},
        refusals=_BAD_PAGE,
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        _OF_CALL,
        "FetchTeXMLCallRecordings",
        _list_of_call,
        "List a call's recordings, newest first.",
        "RecordingList",
        page_example("recordings", f"{BASE}/{ACCOUNT}/Calls/{CALL}/Recordings.json", _EXAMPLE),
        query={**PAGES, **_CREATED},
        refusals=_BAD_PAGE,
        rights=CALL_VIEWS,
    ),
    # Before the next: a sid would match `sid.wav` and `sid.mp3`.
    Operation(
        "GET",
        f"{_ONE}.wav",
        "FetchRecordingAudio",
        _audio,
        "Fetch the audio of a recording: what `RecordingUrl` and `media_url` say. Byte ranges are served. Of one that "
        "is under way comes what there is.",
        "Audio",
        "RIFF…",
        content=bodies.WAV,
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        f"{_ONE}.mp3",
        "FetchRecordingMpeg",
        _mp3,
        "Fetch the audio of a recording as mp3, once it has ended. The first request waits until the file is made, a "
        "second or more for each minute. Byte ranges are served.",
        "Audio",
        "ID3…",
        content=bodies.MP3,
        refusals=(errors.InvalidRequest("The recording is under way: its mp3 file is made once it has ended."),),
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        f"{_ONE}.json",
        "GetTeXMLCallRecording",
        _fetch,
        "Fetch a recording, under way or over.",
        "Recording",
        _EXAMPLE,
        rights=CALL_VIEWS,
    ),
    Operation(
        "DELETE",
        f"{_ONE}.json",
        "DeleteTeXMLCallRecording",
        _delete,
        "Delete a recording with its file, once it has ended.",
        "",
        "",
        refusals=(errors.InvalidRequest("The recording is under way: it is deleted once it has ended."),),
        status=NO_CONTENT,
        rights=CALL_CHANGES,
    ),
)
