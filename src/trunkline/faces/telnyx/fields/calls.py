"""The fields of requests about calls, as tables: one row per field, giving how it is read, where in `CallRequest` or
`Instructions` it goes, and how the OpenAPI document describes it
(docs/reference/rest.md#operations).

Fields that are documented and mean nothing here are taken without looking at them, and named in the log
(`without_effect`), so that a program written for Telnyx runs, and its operator knows what it will miss.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trunkline.api.bodies import Fields, fold
from trunkline.api.readers import (
    Field,
    enum_schema,
    one_of,
    party,
    read_field,
    text,
    unfolded,
    url,
    whole,
)
from trunkline.calls.commands import CallRequest, Instructions
from trunkline.calls.views import CALL_EVENTS
from trunkline.codecs import CALL_CODECS
from trunkline.errors import InvalidEnum, InvalidRequest, InvalidType, MissingParameter
from trunkline.faces.telnyx.fields.recordings import placed_recording
from trunkline.outbound.urls import URL_LIMIT
from trunkline.texml import document

PARTY_LIMIT = 255
CALLER_ID_LIMIT = 128
CREDENTIAL_LIMIT = 255
DIGITS_LIMIT = 100
HEADERS_LIMIT = 4096
"""Characters of all names and values: an INVITE over UDP must stay well under what peers read of a message."""

# RFC 3261 section 25.1: what a URI or a number needs, and nothing that would end one in a header.
_PARTY = re.compile(r"[!#-;=?-~]+")
_CALLER_ID = re.compile(r"[\w .~!+-]+")
_DIGITS = re.compile(r"[0-9A-D*#wW]+")
_HEADER_NAME = re.compile(r"[Xx]-[A-Za-z0-9.!%*_+`'~-]+")
_HEADER_KEY = re.compile(r"customheaders\[([0-9]{0,3})\]\[(name|value)\]")


def _matching(pattern: re.Pattern[str], limit: int, rule: str) -> Any:
    """A string of up to `limit` characters that the pattern matches; `rule` describes it in the error."""

    def read(name: str, value: object) -> str:
        given = text(name, value, limit=limit)
        if not pattern.fullmatch(given):
            raise InvalidRequest(f"{name} must be {rule}", pointer=f"/{name}")
        return given

    return read


_PARTY_RULE = _matching(_PARTY, PARTY_LIMIT, "a number, a name or a SIP URI, without spaces and brackets")


def _party(name: str, value: object) -> str:
    return str(_PARTY_RULE(name, party(name, value)))


def _credential(name: str, value: object) -> str:
    """RFC 3261 section 25.1: a quoted string holds no line breaks, and we send no other control characters."""
    given = text(name, value, limit=CREDENTIAL_LIMIT)
    if not given.isprintable():
        raise InvalidRequest(f"{name} holds a character that is not allowed", pointer=f"/{name}")
    return given


def _codecs(name: str, value: object) -> tuple[str, ...]:
    names = [part.strip().upper() for part in text(name, value).split(",")]
    known = tuple(dict.fromkeys(codec for codec in names if codec in CALL_CODECS))
    if not known:
        raise InvalidRequest(f"{name} must name one of {', '.join(CALL_CODECS)}", pointer=f"/{name}")
    return known


def _url(description: str, example: str) -> dict[str, object]:
    return {
        "type": "string",
        "format": "uri",
        "maxLength": URL_LIMIT,
        "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://",
        "description": description,
        "example": example,
    }


def _method(of: str) -> dict[str, object]:
    return enum_schema("GET", "POST", default="POST", description=f"The method for `{of}`.")


def _method_else(of: str, other: str) -> dict[str, object]:
    return enum_schema("GET", "POST", default=None, description=f"The method for `{of}`; default: {other}.")


_APPLICATIONS = "that of the application, `POST` without one"


_WEB = url("http", "https")
_EITHER = one_of("GET", "POST")


def _document(name: str, value: object) -> str:
    given = text(name, value)
    try:
        document.parse(given)
    except document.DocumentError as error:
        raise InvalidRequest(f"{name}: {error}", pointer=f"/{name}") from None
    return given


_TEXML = Field(
    "Texml",
    _document,
    {
        "type": "string",
        "description": "The instructions themselves, instead of `Url`. An error in them is refused, with its place.",
        "example": '<?xml version="1.0" encoding="UTF-8"?><Response><Say>Hello</Say></Response>',
    },
    "texml",
)
_URL = Field(
    "Url", _WEB, _url("Where the instructions are fetched.", "https://www.example.com/instructions.xml"), "url"
)
_FALLBACK_URL = Field(
    "FallbackUrl",
    _WEB,
    _url("Where they are fetched when `Url` fails.", "https://www.example.com/instructions-fallback.xml"),
    "fallback_url",
)

INSTRUCTIONS = (_URL, Field("UrlMethod", _EITHER, _method_else("Url", _APPLICATIONS), "method"), _FALLBACK_URL, _TEXML)
"""Of a call that is placed."""

_STATUS_CALLBACK = Field(
    "StatusCallback",
    _WEB,
    _url("Where callbacks report the call's progress.", "https://www.example.com/callback"),
    "status_callback",
)
STATUS_CALLBACK = (
    _STATUS_CALLBACK,
    Field("StatusCallbackMethod", _EITHER, _method("StatusCallback"), "status_callback_method"),
)
"""Of a live call."""

PLACE_FIELDS = (
    Field(
        "To",
        _party,
        {
            "type": "string",
            "maxLength": PARTY_LIMIT,
            "pattern": f"^{_PARTY.pattern}$",
            "description": "The called party: a number, a phone's name, or a `sip:` URI.",
            "example": "+16175551212",
        },
        "to",
        required=True,
    ),
    Field(
        "From",
        _party,
        {
            "type": "string",
            "maxLength": PARTY_LIMIT,
            "pattern": f"^{_PARTY.pattern}$",
            "description": "The number that calls.",
            "example": "+13125550100",
        },
        "from_",
        required=True,
    ),
    Field(
        "ApplicationSid",
        text,
        {
            "type": "string",
            "description": "The TeXML application: where the instructions come from when neither `Url` nor `Texml` is "
            "given, and the status callback when there is none here. Optional with `Url` or `Texml`.",
            "example": "1293384261075731499",
        },
        "application_sid",
    ),
    Field(
        "CallerId",
        _matching(_CALLER_ID, CALLER_ID_LIMIT, "letters, digits, spaces and -_~!.+"),
        {
            "type": "string",
            "maxLength": CALLER_ID_LIMIT,
            "pattern": f"^{_CALLER_ID.pattern}$",
            "description": "The caller's display name, of letters, digits, spaces and `-_~!.+`; `From` when not given.",
            "example": "Info",
        },
        "caller_name",
    ),
    Field(
        "Timeout",
        whole(5, 120),
        {
            "type": "integer",
            "minimum": 5,
            "maximum": 120,
            "default": 30,
            "description": "Seconds to wait for the answer.",
        },
        "timeout",
    ),
    Field(
        "TimeLimit",
        whole(30, 14400),
        {
            "type": "integer",
            "minimum": 30,
            "maximum": 14400,
            "default": 14400,
            "description": "Seconds that the call may last.",
        },
        "time_limit",
    ),
    _STATUS_CALLBACK,
    Field("StatusCallbackMethod", _EITHER, _method_else("StatusCallback", _APPLICATIONS), "status_callback_method"),
    Field(
        "PreferredCodecs",
        _codecs,
        {
            "type": "string",
            "description": f"Codecs to offer, in this order, separated by commas: {', '.join(CALL_CODECS)}. Others "
            "are skipped.",
            "example": "PCMA,PCMU",
        },
        "codecs",
    ),
    Field(
        "MediaEncryption",
        one_of("disabled", "SRTP", later=("DTLS",), make=lambda member: member == "SRTP"),
        enum_schema(
            "disabled",
            "SRTP",
            default="disabled",
            description="Offer encrypted audio only, or none. When not given, as `srtp` of the phone or trunk says, "
            "else `media.srtp`.",
        ),
        "srtp",
    ),
    Field(
        "SipAuthUsername",
        _credential,
        {
            "type": "string",
            "maxLength": CREDENTIAL_LIMIT,
            "description": "Answers digest challenges in place of the trunk's own.",
            "example": "user",
        },
        "username",
    ),
    Field(
        "SipAuthPassword",
        _credential,
        {"type": "string", "maxLength": CREDENTIAL_LIMIT, "description": "To `SipAuthUsername`.", "example": "1234"},
        "password",
    ),
    Field(
        "SendDigits",
        _matching(_DIGITS, DIGITS_LIMIT, "digits, *, #, A to D, and w or W for a pause"),
        {
            "type": "string",
            "maxLength": DIGITS_LIMIT,
            "pattern": f"^{_DIGITS.pattern}$",
            "description": "Keys to press when answered; `w` waits half a second, `W` a second. An extension.",
            "example": "ww1234#",
        },
        "send_digits",
    ),
)
"""Of a call that is placed, but for its instructions, its headers and its events."""

MORE_PLACE_SCHEMAS: Mapping[str, Mapping[str, object]] = {
    "StatusCallbackEvent": {
        "type": "string",
        "default": "completed",
        "description": f"Events to report, of {', '.join(CALL_EVENTS)}, separated by spaces. In JSON also an array.",
        "example": "initiated answered",
    },
    "CustomHeaders": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
            "required": ["name", "value"],
        },
        "description": "SIP headers for the INVITE, `X-` ones only. In a form: the array as JSON text, or "
        "`CustomHeaders[0][name]` and `CustomHeaders[0][value]`, ….",
        "example": [{"name": "X-Custom-Header", "value": "custom-value"}],
    },
}

_BOOLEAN, _STRING, _INTEGER = {"type": "boolean"}, {"type": "string"}, {"type": "integer"}
WITHOUT_EFFECT: Mapping[str, Mapping[str, object]] = {
    "AsyncAmd": _BOOLEAN,
    "AsyncAmdStatusCallback": _STRING,
    "AsyncAmdStatusCallbackMethod": _STRING,
    "CancelPlaybackOnDetectMessageEnd": _BOOLEAN,
    "CancelPlaybackOnMachineDetection": _BOOLEAN,
    "DeepfakeDetection": _STRING,
    "DeepfakeDetectionCallbackMethod": _STRING,
    "DeepfakeDetectionCallbackUrl": _STRING,
    "DetectionMode": _STRING,
    "MachineDetection": _STRING,
    "MachineDetectionPromptEndTimeout": _INTEGER,
    "MachineDetectionSilenceTimeout": _INTEGER,
    "MachineDetectionSpeechEndThreshold": _INTEGER,
    "MachineDetectionSpeechThreshold": _INTEGER,
    "MachineDetectionTimeout": _INTEGER,
    "SipRegion": _STRING,
    "SuperviseCallSid": _STRING,
    "SupervisingRole": _STRING,
    "Trim": _STRING,
}
"""Documented fields that mean nothing here, and their types."""

_ASKS_NOTHING = ("false", "disable")
"""Values of a field that mean "not given"."""

REDIRECT = (
    _URL,
    Field("Method", _EITHER, _method("Url"), "method"),
    _FALLBACK_URL,
    Field("FallbackMethod", _EITHER, _method_else("FallbackUrl", "`Method`"), "fallback_method"),
    _TEXML,
)
"""New instructions for a live call."""

UPDATE_STATUS = Field(
    "Status",
    one_of("completed", "canceled"),
    {
        "type": "string",
        "enum": ["completed", "canceled"],
        "description": "`completed` ends the call; so does `canceled` if it is not answered yet.",
        "example": "completed",
    },
)


def call_request(fields: Fields) -> CallRequest:
    """The request for a call. Raises InvalidRequest and its kinds."""
    given = _given(PLACE_FIELDS, fields)
    instructions = _instructions(INSTRUCTIONS, fields)
    if "application_sid" not in given and (instructions is None or not (instructions.url or instructions.texml)):
        raise MissingParameter(
            "ApplicationSid is required where neither Url nor Texml is given", pointer="/ApplicationSid"
        )
    for name, other in (("SipAuthUsername", "SipAuthPassword"), ("SipAuthPassword", "SipAuthUsername")):
        if fields.get(name) is not None and fields.get(other) is None:
            raise MissingParameter(f"{other} is required with {name}", pointer=f"/{other}")
    given.setdefault("caller_name", given["from_"])
    return CallRequest(
        **given,
        instructions=instructions,
        status_callback_events=callback_events(fields),
        headers=custom_headers(fields),
        recording=placed_recording(fields),
    )


@dataclass(frozen=True, slots=True)
class CallUpdate:
    """A change of a call. At least one member is set."""

    ended: bool
    instructions: Instructions | None
    status_callback: str | None
    status_callback_method: Literal["GET", "POST"]
    unanswered: bool = False
    """End it only if it is not answered."""


def call_update(fields: Fields) -> CallUpdate:
    """The update of a call. Raises InvalidRequest and its kinds."""
    status = read_field(UPDATE_STATUS, fields)
    ended = status is not None
    instructions = _instructions(REDIRECT, fields)
    callback = _given(STATUS_CALLBACK, fields)
    if instructions is not None and not (instructions.url or instructions.texml):
        raise MissingParameter("Url is required with FallbackUrl", pointer="/Url")
    if ended and instructions is not None:
        raise InvalidRequest("A call that ends takes no instructions", pointer="/Status")
    target = callback.get("status_callback")
    if not ended and instructions is None and target is None:
        raise MissingParameter("One of Status, Url, Texml and StatusCallback is required", pointer="/Status")
    method = callback.get("status_callback_method", "POST")
    return CallUpdate(ended, instructions, target, method, unanswered=status == "canceled")


def without_effect(fields: Fields) -> list[str]:
    """Names of the fields given that ask for what is not there."""
    given = ((name, fields.get(name)) for name in WITHOUT_EFFECT)
    return [name for name, value in given if value is not None and str(value).lower() not in _ASKS_NOTHING]


def callback_events(fields: Fields) -> str:
    """`StatusCallbackEvent`: text, an array, or in forms the field several times; as `CallView` keeps them."""
    events: list[str] = []
    for key, value in fields.pairs:
        if fold(key).partition("[")[0] == "statuscallbackevent":
            values = value if isinstance(value, list) else [] if value is None else [value]
            events += [event for one in values for event in text("StatusCallbackEvent", one).split()]
    if not set(events) <= set(CALL_EVENTS):
        known = ", ".join(CALL_EVENTS)
        raise InvalidEnum(f"StatusCallbackEvent must be of {known}", pointer="/StatusCallbackEvent")
    return " ".join(event for event in CALL_EVENTS if event in events) or "completed"


def custom_headers(fields: Fields) -> tuple[tuple[str, str], ...]:
    """`CustomHeaders`: an array of objects, the same as JSON text, or its members in brackets as forms send them."""
    given = unfolded("CustomHeaders", fields.get("CustomHeaders"))
    if not isinstance(given, list | None):
        raise InvalidType("CustomHeaders must be an array", pointer="/CustomHeaders")
    headers = tuple(_header(f"CustomHeaders/{place}", one) for place, one in enumerate(given or _bracketed(fields)))
    if sum(len(name) + len(value) for name, value in headers) > HEADERS_LIMIT:
        raise InvalidRequest(f"CustomHeaders must have at most {HEADERS_LIMIT} characters", pointer="/CustomHeaders")
    return headers


def _bracketed(fields: Fields) -> Iterator[object]:
    """`CustomHeaders[0][name]=…`; or without numbers, where a name that comes again begins the next header."""
    rows: dict[str, dict[str, object]] = {}
    for key, value in fields.pairs:
        match = _HEADER_KEY.fullmatch(fold(key))
        if match is None:
            continue
        number, member = match.groups()
        row = rows.setdefault(number, {})
        if member in row:
            yield rows.pop(number)
            row = rows.setdefault(number, {})
        row[member] = value
    yield from rows.values()


def _header(where: str, given: object) -> tuple[str, str]:
    if not isinstance(given, dict):
        raise InvalidType(f"{where} must be an object", pointer=f"/{where}")
    for member in ("name", "value"):
        if given.get(member) is None:
            raise MissingParameter(f"{where}/{member} is required", pointer=f"/{where}/{member}")
    name, value = (text(f"{where}/{member}", given[member]) for member in ("name", "value"))
    if not _HEADER_NAME.fullmatch(name):
        raise InvalidRequest(f"{where}/name must be an X- header's", pointer=f"/{where}/name")
    if not value.isprintable():
        raise InvalidRequest(f"{where}/value must hold no control characters", pointer=f"/{where}/value")
    return name, value


def _instructions(rows: tuple[Field, ...], fields: Fields) -> Instructions | None:
    given = _given(rows, fields)
    if "url" in given and "texml" in given:
        raise InvalidRequest("Url and Texml exclude each other", pointer="/Texml")
    return Instructions(**given) if {"url", "texml", "fallback_url"} & set(given) else None


def _given(rows: tuple[Field, ...], fields: Fields) -> dict[str, Any]:
    """Attributes and values of the rows that were given."""
    values = {row.attribute: read_field(row, fields) for row in rows}
    return {attribute: value for attribute, value in values.items() if attribute and value is not None}
