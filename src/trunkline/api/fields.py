"""The fields of every write, as tables: one row per field, giving how it is read, where it goes, and how the
OpenAPI document describes it (spec section 1.1).

A reader takes the field's documented name and the value that was given, and returns the value for `StreamParams`.
What Telnyx or the specification knows and this version does not is refused by name ("is not supported yet"), so
that nobody waits for what will not come.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import SplitResult, urlsplit

from trunkline.api.bodies import Fields, fold, parse_json
from trunkline.errors import InvalidEnum, InvalidRequest, InvalidType, InvalidUrl, MissingParameter
from trunkline.streaming.params import BidirectionalMode, StreamParams, Track

URL_LIMIT = 2000
NAME_LIMIT = 255
AUTH_TOKEN_LIMIT = 4000

Reader = Callable[[str, object], object]

_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_PARAMETER = re.compile(r"parameter([1-9][0-9]{0,3})\.(name|value)")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request."""

    name: str
    """As documented, in CamelCase."""
    read: Reader
    schema: Mapping[str, object]
    """JSON schema, for the OpenAPI document."""
    attribute: str | None = None
    """Of `StreamParams`; None where the value is checked only."""
    required: bool = False


def text(name: str, value: object, *, limit: int | None = None) -> str:
    """A string that can be stored and sent on: no NUL (PostgreSQL), no lone surrogate (UTF-8)."""
    if not isinstance(value, str):
        raise InvalidType(f"{name} must be a string", pointer=f"/{name}")
    if limit is not None and len(value) > limit:
        raise InvalidRequest(f"{name} must be at most {limit} characters", pointer=f"/{name}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidRequest(f"{name} holds a character that is not allowed", pointer=f"/{name}")
    return value


def one_of(*known: str, later: tuple[str, ...] = (), make: Callable[[str], object] = str) -> Reader:
    """A case-sensitive enumeration; `later` are the members that this version lacks."""

    def read(name: str, value: object) -> object:
        member = text(name, value)
        if member in later:
            raise InvalidEnum(f"{name} {member} is not supported yet", pointer=f"/{name}")
        if member not in known:
            documented = ", ".join((*known, *later))
            raise InvalidEnum(f"{name} must be one of {documented}", pointer=f"/{name}")
        return make(member)

    return read


def rate(*known: int, later: tuple[int, ...] = ()) -> Reader:
    """A sampling rate in Hz: a JSON number, or its digits as forms send them."""
    enumerated = one_of(*map(str, known), later=tuple(map(str, later)), make=int)

    def read(name: str, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        elif not isinstance(value, str):
            raise InvalidType(f"{name} must be a number", pointer=f"/{name}")
        return enumerated(name, value)

    return read


def url(*schemes: str) -> Reader:
    """An absolute URL of one of the schemes, returned byte for byte. User-info is allowed."""
    kind = " or ".join(f"{scheme}://" for scheme in schemes)

    def read(name: str, value: object) -> object:
        given = text(name, value)
        reason = _url_fault(given, schemes)
        if reason:
            raise InvalidUrl(f"{name} must be a {kind} URL: {reason}", pointer=f"/{name}")
        return given

    return read


def _url_fault(given: str, schemes: tuple[str, ...]) -> str | None:
    """Why it is not a URL that we can use, in words; None when it is."""
    if len(given) > URL_LIMIT:
        return f"it is longer than {URL_LIMIT} characters"
    # RFC 3986 section 2: anything else is percent-encoded. Also keeps header injection out of the handshake.
    if not all("\x21" <= character <= "\x7e" for character in given):
        return "it holds a space, a control character or a character outside ASCII"
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        return "its host or port is malformed"
    if parts.scheme.lower() not in schemes:
        return "it has another scheme" if parts.scheme else "it has no scheme"
    if port == 0 or not _is_host(parts):
        return "its host or port is malformed"
    # RFC 6455 section 3: a WebSocket URI has no fragment.
    return "it has a fragment" if "#" in given and parts.scheme.lower() in ("ws", "wss") else None


def _is_host(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return IPv6Address(host).version == 6
    except ValueError:
        return False


def auth_token(name: str, value: object) -> str:
    """A token that goes into a header as it is: printable ASCII (RFC 9110 section 5.5)."""
    token = text(name, value, limit=AUTH_TOKEN_LIMIT)
    if not _PRINTABLE.fullmatch(token):
        raise InvalidRequest(f"{name} must be printable ASCII without spaces around it", pointer=f"/{name}")
    return token


def base64(name: str, value: object) -> str:
    """Standard base64 with padding, returned as it is."""
    encoded = text(name, value)
    try:
        b64decode(encoded, validate=True)
    except ValueError:
        raise InvalidRequest(f"{name} must be base64", pointer=f"/{name}") from None
    return encoded


def reconnect(name: str, value: object) -> bool:
    """`EnableReconnect`: a JSON boolean, or its name as forms send it."""
    if value is False or value == "false":
        return False
    if value is True or value == "true":
        return True
    raise InvalidType(f"{name} must be true or false", pointer=f"/{name}")


def _name(name: str, value: object) -> str:
    return text(name, value, limit=NAME_LIMIT)


_CODECS = ("PCMU", "PCMA", "G722", "L16", "OPUS")
_OWN_RATES = {"default": (8000,), "PCMU": (8000,), "PCMA": (8000,), "G722": (8000, 16000), "OPUS": (48000,)}
"""What may be given as the sampling rate of a codec that has no choice: G722's is 16000, and 8000 on its RTP clock."""


def _enum(*members: str, default: str, description: str, example: str | None = None) -> dict[str, object]:
    return {
        "type": "string",
        "enum": list(members),
        "default": default,
        "description": description,
        "example": example or default,
    }


START_FIELDS = (
    Field(
        "Url",
        url("ws", "wss"),
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
        _enum(*Track, default="inbound_track", example="both_tracks", description="Whose audio is streamed."),
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
        _enum(
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
        one_of(*_CODECS),
        _enum(
            *_CODECS,
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
            "description": "Where `stream-started`, `stream-stopped` and `stream-error` are told.",
            "example": "http://webhook.com/callback",
        },
        "status_callback",
    ),
    Field(
        "StatusCallbackMethod",
        one_of("GET", "POST"),
        _enum("GET", "POST", default="POST", description="The method of these callbacks."),
        "status_callback_method",
    ),
    Field(
        "Codec",
        one_of("default", *_CODECS),
        _enum(
            "default",
            *_CODECS,
            default="default",
            description="Codec of what is streamed to the app; `default` is the call's. An extension.",
        ),
        "codec",
    ),
    Field(
        "SamplingRate",
        rate(8000, 16000, 24000, 48000),
        {
            "type": "integer",
            "enum": [8000, 16000, 24000, 48000],
            "description": "Of what is streamed to the app as `L16`, 8000 if not given; the other codecs have a rate "
            "of their own, and another is refused. An extension.",
        },
        "sampling_rate",
    ),
    Field(
        "BidirectionalSamplingRate",
        rate(8000, 16000, 22050, 24000, 48000),
        {
            "type": "integer",
            "enum": [8000, 16000, 22050, 24000, 48000],
            "description": "Of the app's `L16` media, 8000 if not given; the other codecs have a rate of their own, "
            "and another is refused. An extension.",
        },
        "bidirectional_sampling_rate",
    ),
    Field(
        "BidirectionalTargetLegs",
        one_of("self", later=("opposite", "both")),
        _enum("self", default="self", description="Which legs hear the app. An extension."),
    ),
    Field(
        "EnableReconnect",
        reconnect,
        {
            "type": "boolean",
            "default": True,
            "description": "Dial again when the WebSocket is lost, and when the first try finds nobody. An extension.",
        },
        "enable_reconnect",
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
    _enum(
        "stopped",
        "paused",
        "in-progress",
        default="stopped",
        description="The status that the stream shall have. `paused` sends the app no audio until `in-progress`; "
        "keys, marks and what the app plays go on.",
    ),
)

UPDATE_STATUS = Field(
    "Status",
    one_of("completed"),
    {
        "type": "string",
        "enum": ["completed"],
        "description": "`completed` ends the call.",
        "example": "completed",
    },
    required=True,
)

UPDATE_LATER = ("Url", "Texml", "FallbackUrl", "StatusCallback")
"""Fields of a call update that are documented and not supported yet; their methods mean nothing without them."""


def read_field(row: Field, fields: Fields) -> Any:
    """The row's value, None when it was not given. Raises MissingParameter and what the reader raises."""
    given = fields.get(row.name)
    if given is not None:
        return row.read(row.name, given)
    if row.required:
        raise MissingParameter(f"{row.name} is required", pointer=f"/{row.name}")
    return None


def stream_params(fields: Fields) -> StreamParams:
    """The start request. Raises InvalidRequest and its kinds, at the first field in the table's order."""
    values = {row.attribute: read_field(row, fields) for row in START_FIELDS}
    given = {attribute: value for attribute, value in values.items() if attribute and value is not None}
    params = StreamParams(**given, custom_parameters=custom_parameters(fields))
    if "sampling_rate" in given:
        _match("SamplingRate", params.sampling_rate, "Codec", params.codec)
    if "bidirectional_sampling_rate" in given:
        rate_given = params.bidirectional_sampling_rate
        _match("BidirectionalSamplingRate", rate_given, "BidirectionalCodec", params.bidirectional_codec)
    return params


def _match(rate_name: str, rate_given: int, codec_name: str, codec: str) -> None:
    """Raises InvalidRequest for a rate that this codec does not have."""
    own = _OWN_RATES.get(codec)
    if own is not None and rate_given not in own:
        rates = " or ".join(map(str, own))
        raise InvalidRequest(
            f"{rate_name} {rate_given} needs {codec_name} L16; of {codec_name} {codec} it is {rates}",
            pointer=f"/{rate_name}",
        )


def custom_parameters(fields: Fields) -> dict[str, str]:
    """`CustomParameters` as a JSON object, as JSON text, as `CustomParameters[name]`, or as numbered pairs."""
    given = fields.get("CustomParameters")
    if isinstance(given, str):
        given = parse_json(text("CustomParameters", given))
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
