"""The fields of requests for recordings, as tables (docs/reference/rest.md#operations): of one that REST starts, and of
one of a call that is placed."""

from typing import Any, Literal

from trunkline.api.bodies import Fields
from trunkline.api.readers import Field, boolean, enum_schema, one_of, read_field, text, url, whole
from trunkline.calls.commands import RecordingCallback, RecordingRequest
from trunkline.calls.views import RECORDING_EVENTS
from trunkline.errors import InvalidEnum
from trunkline.outbound.urls import URL_LIMIT
from trunkline.workers.orders import RecordingOptions

_TIMEOUT_LIMIT = 14400
"""Seconds: as long as a call may last."""
_KNOWN = ", ".join(RECORDING_EVENTS)


def _events(name: str, value: object) -> str:
    """Events as `RecordingView` keeps them."""
    events = text(name, value).split()
    if not set(events) <= set(RECORDING_EVENTS):
        raise InvalidEnum(f"{name} must be of {_KNOWN}", pointer=f"/{name}")
    return " ".join(event for event in RECORDING_EVENTS if event in events) or "completed"


def _flag(default: bool, description: str) -> dict[str, object]:
    return {"type": "boolean", "default": default, "description": description}


_CALLBACK = (
    Field(
        "RecordingStatusCallback",
        url("http", "https"),
        {
            "type": "string",
            "format": "uri",
            "maxLength": URL_LIMIT,
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://",
            "description": "Where callbacks report the recording.",
            "example": "https://www.example.com/recording",
        },
        "url",
    ),
    Field(
        "RecordingStatusCallbackMethod",
        one_of("GET", "POST"),
        enum_schema("GET", "POST", default="POST", description="The method for `RecordingStatusCallback`."),
        "method",
    ),
    Field(
        "RecordingStatusCallbackEvent",
        _events,
        {
            "type": "string",
            "default": "completed",
            "description": f"Events to report, of {_KNOWN}, separated by spaces. `absent`: it is over without audio.",
            "example": "in-progress completed",
        },
        "events",
    ),
    Field("SendRecordingUrl", boolean, _flag(True, "Callbacks have `RecordingUrl`."), "sends_url"),
)
_TRACK = Field(
    "RecordingTrack",
    one_of("inbound", "outbound", "both"),
    enum_schema(
        "inbound",
        "outbound",
        "both",
        default="both",
        description="What is recorded: audio from the party of this call, audio to it, or both. One of them is "
        "recorded on one channel.",
    ),
    "track",
)
_DUAL = "puts audio from the party of this call on the first channel and audio to it on the second"
_BEEP = Field("PlayBeep", boolean, _flag(True, "Play a beep to the party of this call at the start."), "play_beep")
_START_CHANNELS = Field(
    "RecordingChannels",
    one_of("single", "dual", make=lambda member: 2 if member == "dual" else 1),
    enum_schema("single", "dual", default="dual", description=f"`dual` {_DUAL}; `single` mixes them."),
    "channels",
)
_RECORD = Field("Record", boolean, _flag(False, "Record the call from its answer on."), "record")
_PLACED_CHANNELS = Field(
    "RecordingChannels",
    one_of("mono", "dual", make=lambda member: 2 if member == "dual" else 1),
    enum_schema("mono", "dual", default="mono", description=f"`dual` {_DUAL}; `mono` mixes them."),
    "channels",
)
_TIMEOUT = Field(
    "RecordingTimeout",
    whole(0, _TIMEOUT_LIMIT),
    {
        "type": "integer",
        "minimum": 0,
        "maximum": _TIMEOUT_LIMIT,
        "default": 0,
        "description": "Seconds of silence of the called party, after it has spoken, that end the recording; 0: none "
        "do.",
    },
    "silence",
)

START_FIELDS = (_BEEP, _START_CHANNELS, *_CALLBACK, _TRACK)
"""Of a recording that is started on a live call."""
PLACED_FIELDS = (_RECORD, _PLACED_CHANNELS, *_CALLBACK, _TIMEOUT, _TRACK)
"""Of a call that is placed."""
RECORDING_STATUS = Field(
    "Status",
    one_of("in-progress", "paused", "stopped"),
    enum_schema(
        "in-progress",
        "paused",
        "stopped",
        default=None,
        description="`paused` leaves out what follows until `in-progress`; `stopped` ends the recording.",
    ),
    required=True,
)


def recording_start(fields: Fields) -> RecordingRequest:
    """The request for a recording of a live call. Raises InvalidRequest and its kinds."""
    given = _given(START_FIELDS, fields)
    return RecordingRequest(_options(given, channels=2), _callback(given), play_beep=given.get("play_beep", True))


def placed_recording(fields: Fields) -> RecordingRequest | None:
    """The recording of a call that is placed, if it is to be recorded. Raises InvalidRequest and its kinds."""
    given = _given(PLACED_FIELDS, fields)
    if not given.get("record"):
        return None
    return RecordingRequest(_options(given, channels=1, after_speech=True), _callback(given))


def _options(given: dict[str, Any], channels: Literal[1, 2], *, after_speech: bool = False) -> RecordingOptions:
    """One side alone has one channel, whatever was asked for."""
    track = given.get("track", "both")
    wanted: Literal[1, 2] = given.get("channels", channels) if track == "both" else 1
    return RecordingOptions(wanted, silence=given.get("silence", 0), track=track, after_speech=after_speech)


def _callback(given: dict[str, Any]) -> RecordingCallback:
    names = ("url", "method", "events", "sends_url")
    return RecordingCallback(**{name: given[name] for name in names if name in given})


def _given(rows: tuple[Field, ...], fields: Fields) -> dict[str, Any]:
    values = {row.attribute: read_field(row, fields) for row in rows}
    return {attribute: value for attribute, value in values.items() if attribute and value is not None}
