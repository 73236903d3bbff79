"""The fields of requests about streams, as tables: one row per field, giving how it is read, where in `StreamParams`
it goes, and how the OpenAPI document describes it (docs/reference/rest.md#operations)."""

import re
from collections.abc import Mapping

from trunkline.api.bodies import Fields, fold
from trunkline.api.readers import (
    Field,
    base64,
    boolean,
    enum_schema,
    one_of,
    rate,
    read_field,
    text,
    unfolded,
    url,
    websocket_url,
)
from trunkline.codecs import CODEC_TABLE, CODECS_WITH_RATES, RATES_FROM_APP, RATES_TO_APP, STREAM_CODECS
from trunkline.errors import InvalidRequest, InvalidType, MissingParameter
from trunkline.outbound.urls import URL_LIMIT
from trunkline.streaming.params import BidirectionalMode, StreamParams, TargetLegs, Track

NAME_LIMIT = 255
AUTH_TOKEN_LIMIT = 4000

_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_PARAMETER = re.compile(r"parameter([1-9][0-9]{0,3})\.(name|value)")


def auth_token(name: str, value: object) -> str:
    """A token that goes into a header as it is: printable ASCII (RFC 9110 section 5.5)."""
    token = text(name, value, limit=AUTH_TOKEN_LIMIT)
    if not _PRINTABLE.fullmatch(token):
        raise InvalidRequest(f"{name} must be printable ASCII without spaces around it", pointer=f"/{name}")
    return token


def _name(name: str, value: object) -> str:
    return text(name, value, limit=NAME_LIMIT)


START_FIELDS = (
    Field(
        "Url",
        websocket_url,
        {
            "type": "string",
            "maxLength": URL_LIMIT,
            "pattern": "^[Ww][Ss][Ss]?://",
            "description": "The WebSocket to stream to, `ws://` or `wss://`. User-info becomes HTTP Basic auth.",
            "example": "wss://www.example.com/websocket",
        },
        "url",
        required=True,
    ),
    Field(
        "Track",
        one_of(*Track, make=Track),
        enum_schema(
            *Track,
            default="inbound_track",
            example="both_tracks",
            description="Which audio is streamed: what the call's party says, what it hears, or both.",
        ),
        "track",
    ),
    Field(
        "Name",
        _name,
        {
            "type": "string",
            "maxLength": NAME_LIMIT,
            "description": "Your name for the stream; the stop request takes it in place of the sid. Several streams "
            "of a call may share one; it then stands for a live one, else for the newest.",
            "example": "My stream",
        },
        "name",
    ),
    Field(
        "BidirectionalMode",
        one_of(*BidirectionalMode, make=BidirectionalMode),
        enum_schema(
            *BidirectionalMode,
            default="mp3",
            example="rtp",
            description="What the app's `media` messages hold: one whole mp3 file each, at most one a second (`mp3`), "
            "or raw codec bytes (`rtp`).",
        ),
        "mode",
    ),
    Field(
        "BidirectionalCodec",
        one_of(*STREAM_CODECS),
        enum_schema(
            *STREAM_CODECS,
            default="PCMU",
            description="Codec of the app's media in `rtp` mode; of `OPUS` one packet in each message. Case "
            "sensitive. `L16` and `OPUS` are extensions.",
        ),
        "bidirectional_codec",
    ),
    Field(
        "StatusCallback",
        url("http", "https"),
        {
            "type": "string",
            "format": "uri",
            "maxLength": URL_LIMIT,
            "description": "Where callbacks report `stream-started`, `stream-stopped` and `stream-error`.",
            "example": "http://webhook.com/callback",
        },
        "status_callback",
    ),
    Field(
        "StatusCallbackMethod",
        one_of("GET", "POST"),
        enum_schema("GET", "POST", default="POST", description="The method of these callbacks."),
        "status_callback_method",
    ),
    Field(
        "Codec",
        one_of("default", *STREAM_CODECS),
        enum_schema(
            "default",
            *STREAM_CODECS,
            default="default",
            description="Codec of what is streamed to the app; `default` is the call's. An extension.",
        ),
        "codec",
    ),
    Field(
        "SamplingRate",
        rate(*RATES_TO_APP),
        {
            "type": "integer",
            "enum": list(RATES_TO_APP),
            "description": "Samples a second of `L16` to the app, 8000 if not given. The other codecs have one rate; "
            "any other is refused. An extension.",
        },
        "sampling_rate",
    ),
    Field(
        "BidirectionalSamplingRate",
        rate(*RATES_FROM_APP),
        {
            "type": "integer",
            "enum": list(RATES_FROM_APP),
            "description": "Samples a second of the app's `L16` media, 8000 if not given. The other codecs have one "
            "rate; any other is refused. An extension.",
        },
        "bidirectional_sampling_rate",
    ),
    Field(
        "L16Endian",
        one_of("little", "big"),
        {
            "type": "string",
            "enum": ["little", "big"],
            "description": "Byte order of `L16`, to the app and from it; if not given `streams.l16_endian`, which is "
            "little unless changed. An extension.",
        },
        "l16_endian",
    ),
    Field(
        "BidirectionalTargetLegs",
        one_of(*TargetLegs, make=TargetLegs),
        enum_schema(
            *TargetLegs,
            default="self",
            description="Which legs of a bridged call hear the app: the streamed leg, the leg that it is bridged "
            "with, or both. An extension.",
        ),
        "target_legs",
    ),
    Field(
        "EnableReconnect",
        boolean,
        {
            "type": "boolean",
            "default": True,
            "description": "Dial again when the WebSocket is lost, or the first attempt is refused or times out. "
            "An extension.",
        },
        "enable_reconnect",
    ),
    Field(
        "Capture",
        boolean,
        {
            "type": "boolean",
            "description": "Whether the stream's messages are kept, both ways, for `GET /v2/trunkline/captures`; true "
            "needs the operator's setting `streams.capture`. If not given `streams.capture_streams` decides. An "
            "extension.",
        },
        "capture",
    ),
    Field(
        "AuthToken",
        auth_token,
        {
            "type": "string",
            "maxLength": AUTH_TOKEN_LIMIT,
            "description": "Sent to the app as `x-telnyx-streaming-auth-token`. Printable ASCII. An extension.",
        },
        "auth_token",
    ),
    Field(
        "ClientState",
        base64,
        {
            "type": "string",
            "contentEncoding": "base64",
            "description": "Returned in the `start` message. An extension.",
            "example": "c3RhdGU=",
        },
        "client_state",
    ),
)

CUSTOM_PARAMETERS_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "Strings for `start.custom_parameters`. In a form: the object as JSON text, or one "
    "`Parameter1.Name` and `Parameter1.Value` pair per member. An extension.",
    "example": {"language": "en"},
}

STREAM_STATUS = Field(
    "Status",
    one_of("stopped", "paused", "in-progress"),
    enum_schema(
        "stopped",
        "paused",
        "in-progress",
        default="stopped",
        description="The new status of the stream. `paused` sends the app no audio until `in-progress`; "
        "keys, marks and what the app plays go on.",
    ),
)


def stream_params(fields: Fields) -> StreamParams:
    """The start request. Raises InvalidRequest and its kinds, at the first field in the table's order."""
    values = {row.attribute: read_field(row, fields) for row in START_FIELDS}
    given = {attribute: value for attribute, value in values.items() if attribute and value is not None}
    params = StreamParams(**given, custom_parameters=custom_parameters(fields))
    if "sampling_rate" in given:
        _match("SamplingRate", params.sampling_rate, "Codec", params.codec, from_app=False)
    if "bidirectional_sampling_rate" in given:
        rate_given = params.bidirectional_sampling_rate
        _match("BidirectionalSamplingRate", rate_given, "BidirectionalCodec", params.bidirectional_codec, from_app=True)
    return params


def _match(rate_name: str, rate_given: int, codec_name: str, codec: str, *, from_app: bool) -> None:
    """Raises InvalidRequest for a rate that this codec does not have. A codec with a single rate may be given with its
    RTP clock rate too: G722 with 16000 or 8000. `default` has that of telephony."""
    row = CODEC_TABLE.get(codec)
    if row is None:
        own = {8000}
    elif row.has_rates:
        own = set(row.rates_from_app if from_app else row.sample_rates)
    else:
        own = {*row.sample_rates, row.clock_rate()}
    if rate_given not in own:
        rates = " or ".join(map(str, sorted(own)))
        wanted = " or ".join(CODECS_WITH_RATES)
        raise InvalidRequest(
            f"{rate_name} {rate_given} needs {codec_name} {wanted}; of {codec_name} {codec} it is {rates}",
            pointer=f"/{rate_name}",
        )


def custom_parameters(fields: Fields) -> dict[str, str]:
    """`CustomParameters` as a JSON object, as JSON text, as `CustomParameters[name]`, or as numbered pairs."""
    given = unfolded("CustomParameters", fields.get("CustomParameters"))
    if not isinstance(given, dict | None):
        raise InvalidType("CustomParameters must be an object", pointer="/CustomParameters")
    parameters = {
        text("CustomParameters", name): text(f"CustomParameters/{name}", value) for name, value in (given or {}).items()
    }
    return parameters | _bracketed_parameters(fields) | _numbered_parameters(fields)


def _bracketed_parameters(fields: Fields) -> dict[str, str]:
    """How SDKs that send forms write an object's members."""
    parameters: dict[str, str] = {}
    for key, value in fields.pairs:
        opening = key.find("[")
        if opening >= 0 and fold(key[:opening]) == "customparameters" and key.endswith("]"):
            parameters[key[opening + 1 : -1]] = text(key, value)
    return parameters


def _numbered_parameters(fields: Fields) -> dict[str, str]:
    """`Parameter1.Name`, `Parameter1.Value`, …; a pair without a value has the empty one."""
    numbers = {match[1] for key, _ in fields.pairs if (match := _PARAMETER.fullmatch(fold(key)))}
    parameters: dict[str, str] = {}
    for number in sorted(numbers, key=int):
        name, value = f"Parameter{number}.Name", f"Parameter{number}.Value"
        given = fields.get(name)
        if given is None:
            raise MissingParameter(f"{name} is required", pointer=f"/{name}")
        parameters[text(name, given)] = text(value, "" if (found := fields.get(value)) is None else found)
    return parameters
