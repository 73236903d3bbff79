"""The fields of TeXML applications, as tables: one row per field, giving how it is read, where in `Application` it
goes, and how the OpenAPI document describes it (docs/reference/rest.md#operations).

Fields that are documented and mean nothing here are kept and shown (`Application.other`).
"""

from collections.abc import Mapping
from typing import Any

from trunkline.api.bodies import Fields, fold
from trunkline.api.readers import (
    Field,
    Reader,
    boolean,
    enum_schema,
    one_of,
    read_field,
    text,
    unfolded,
    url,
    whole,
)
from trunkline.errors import InvalidRequest, InvalidType
from trunkline.outbound.urls import URL_LIMIT

NAME_LIMIT = 255
TAGS_LIMIT = 100
INTEGER_LIMIT = 999_999_999

_SITES = (
    "Latency",
    "Chicago, IL",
    "Ashburn, VA",
    "San Jose, CA",
    "Sydney, Australia",
    "Amsterdam, Netherlands",
    "London, UK",
    "Toronto, Canada",
    "Vancouver, Canada",
    "Frankfurt, Germany",
)


def _name(name: str, value: object) -> str:
    return text(name, value, limit=NAME_LIMIT)


def _method(of: str) -> dict[str, object]:
    return enum_schema("get", "post", default="post", description=f"The method for `{of}`.")


def _url(description: str, example: str) -> dict[str, object]:
    return {
        "type": "string",
        "format": "uri",
        "maxLength": URL_LIMIT,
        "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://",
        "description": description,
        "example": example,
    }


_WEB = url("http", "https")
_EITHER = one_of("get", "post", "GET", "POST", make=str.upper)
_TEXT_SCHEMA: Mapping[str, object] = {"type": "string", "maxLength": NAME_LIMIT}
_COUNT_SCHEMA: Mapping[str, object] = {"type": "integer", "minimum": 0, "maximum": INTEGER_LIMIT}
_COUNT = whole(0, INTEGER_LIMIT)

FIELDS = (
    Field(
        "friendly_name",
        _name,
        {**_TEXT_SCHEMA, "minLength": 1, "description": "Your name for it.", "example": "call-router"},
        "friendly_name",
        required=True,
    ),
    Field(
        "voice_url",
        _WEB,
        _url("Where its calls get their instructions.", "https://example.com"),
        "voice_url",
        required=True,
    ),
    Field("voice_method", _EITHER, _method("voice_url"), "voice_method"),
    Field(
        "voice_fallback_url",
        _WEB,
        _url("Where its calls get their instructions when `voice_url` fails.", "https://fallback.example.com"),
        "voice_fallback_url",
    ),
    Field(
        "status_callback",
        _WEB,
        _url("Where callbacks report the progress of its calls.", "https://example.com"),
        "status_callback",
    ),
    Field("status_callback_method", _EITHER, _method("status_callback"), "status_callback_method"),
    Field(
        "active",
        boolean,
        {"type": "boolean", "default": True, "description": "Whether it takes calls: else they are refused with 403."},
        "active",
    ),
)
"""Those that mean something."""

NULLABLE = ("voice_fallback_url", "status_callback")
"""Of these, the ones that an update may take away: with null, or in a form with nothing."""

OBJECTS: Mapping[str, Mapping[str, Reader]] = {
    "inbound": {
        "channel_limit": _COUNT,
        "shaken_stir_enabled": boolean,
        "sip_subdomain": _name,
        "sip_subdomain_receive_settings": one_of("only_my_connections", "from_anyone"),
    },
    "outbound": {"channel_limit": _COUNT, "outbound_voice_profile_id": _name},
}
"""Fields that are objects, with their members."""

_COUNT_OR_NULL = {"type": ["integer", "null"]}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_KEPT = "Kept and shown, without effect."
OTHER_FIELDS = (
    Field("anchorsite_override", one_of(*_SITES), enum_schema(*_SITES, default="Latency", description=_KEPT)),
    Field("call_cost_in_webhooks", boolean, {"type": "boolean", "default": False, "description": _KEPT}),
    Field(
        "dtmf_type",
        one_of("RFC 2833", "Inband", "SIP INFO"),
        enum_schema("RFC 2833", "Inband", "SIP INFO", default="RFC 2833", description=_KEPT),
    ),
    Field("first_command_timeout", boolean, {"type": "boolean", "default": False, "description": _KEPT}),
    Field("first_command_timeout_secs", _COUNT, {**_COUNT_SCHEMA, "default": 30, "description": _KEPT}),
)
"""Those that are only kept, but for objects and tags."""

MORE_SCHEMAS: Mapping[str, Mapping[str, object]] = {
    "inbound": {
        "type": "object",
        "properties": {
            "channel_limit": _COUNT_OR_NULL,
            "shaken_stir_enabled": {"type": "boolean", "default": False},
            "sip_subdomain": _TEXT_OR_NULL,
            "sip_subdomain_receive_settings": {
                "type": "string",
                "enum": ["only_my_connections", "from_anyone"],
                "default": "from_anyone",
            },
        },
        "description": _KEPT,
    },
    "outbound": {
        "type": "object",
        "properties": {"channel_limit": _COUNT_OR_NULL, "outbound_voice_profile_id": _TEXT_OR_NULL},
        "description": _KEPT,
    },
    "tags": {"type": "array", "maxItems": TAGS_LIMIT, "items": _TEXT_SCHEMA, "description": _KEPT},
}

DEFAULTS: Mapping[str, Any] = {
    **{row.name: row.schema["default"] for row in OTHER_FIELDS},
    "inbound": {
        "channel_limit": None,
        "shaken_stir_enabled": False,
        "sip_subdomain": None,
        "sip_subdomain_receive_settings": "from_anyone",
    },
    "outbound": {"channel_limit": None, "outbound_voice_profile_id": None},
    "tags": [],
}
"""What is shown of `Application.other` where nothing was given."""


def application_changes(fields: Fields, *, create: bool) -> dict[str, Any]:
    """The changes as `control.Applications` takes them. Raises InvalidRequest and its kinds."""
    changes: dict[str, Any] = {}
    for row in FIELDS:
        if create or fields.get(row.name) is not None:
            value = read_field(row, fields)
            if value is not None:
                changes[str(row.attribute)] = value
    taken = {fold(key) for key, value in fields.pairs if value is None or value == ""}
    changes |= {name: None for name in NULLABLE if fold(name) in taken}
    values = ((row.name, read_field(row, fields)) for row in OTHER_FIELDS)
    other = {name: value for name, value in values if value is not None}
    other |= {name: members for name in OBJECTS if (members := _object(name, fields))}
    tags = _tags(fields)
    return changes | {"other": other | ({"tags": tags} if tags is not None else {})}


def _object(name: str, fields: Fields) -> dict[str, Any]:
    """An object, the same as JSON text, or its members in brackets as forms send them."""
    given = unfolded(name, fields.get(name))
    if not isinstance(given, dict | None):
        raise InvalidType(f"{name} must be an object", pointer=f"/{name}")
    bracketed = {key[len(name) + 1 : -1]: value for key, value in fields.pairs if key.startswith(f"{name}[")}
    members: dict[str, Any] = {}
    for member, read in OBJECTS[name].items():
        both = {**(given or {}), **bracketed}
        if member in both:
            value = both[member]
            members[member] = DEFAULTS[name][member] if value in (None, "") else read(f"{name}/{member}", value)
    return members


def _tags(fields: Fields) -> list[str] | None:
    """An array, the same as JSON text, or its members one by one as forms send them."""
    single = [value for key, value in fields.pairs if key.startswith("tags[")]
    given = single or unfolded("tags", fields.get("tags"))
    if not isinstance(given, list | None):
        raise InvalidType("tags must be an array", pointer="/tags")
    if given is not None and len(given) > TAGS_LIMIT:
        raise InvalidRequest(f"tags must be at most {TAGS_LIMIT}", pointer="/tags")
    return None if given is None else [_name(f"tags/{place}", tag) for place, tag in enumerate(given)]
