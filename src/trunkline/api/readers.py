"""How the fields of requests are read: one reader per kind of value, and the row that a table of fields is made of.

A reader takes the field's documented name and the value that was given, and returns the value that is meant. What
Telnyx or the specification knows and this version does not is refused by name ("is not supported yet"), so that
no client waits for an effect that will not come.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trunkline.api.bodies import Fields, parse_json
from trunkline.errors import InvalidEnum, InvalidRequest, InvalidType, InvalidUrl, MissingParameter
from trunkline.outbound.urls import BadUrl, WebSocketUrl, fault_of

Reader = Callable[[str, object], object]

_DIGITS = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request."""

    name: str
    """As documented, in CamelCase."""
    read: Reader
    schema: Mapping[str, object]
    """JSON schema, for the OpenAPI document."""
    attribute: str | None = None
    """Of the value that the request becomes; None where the field is checked only."""
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


def time(name: str, value: object) -> datetime:
    """A time by ISO 8601; UTC where it names no zone."""
    given = text(name, value, limit=64)
    try:
        at = datetime.fromisoformat(given)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name} must be a time as 2026-01-31T12:00:00Z", pointer=f"/{name}") from None


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


def whole(least: int, most: int) -> Reader:
    """A whole number: a JSON number, or its digits as forms send them."""

    def read(name: str, value: object) -> int:
        if isinstance(value, str) and _DIGITS.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidType(f"{name} must be a whole number", pointer=f"/{name}")
        if not least <= value <= most:
            raise InvalidRequest(f"{name} must be from {least} to {most}", pointer=f"/{name}")
        return value

    return read


def party(name: str, value: object) -> str:
    """Who calls or is called. A plus sign that the client did not percent-encode has been read as the space that forms
    mean by it."""
    given = text(name, value)
    return "+" + given[1:] if given.startswith(" ") else given


def url(*schemes: str) -> Reader:
    """An absolute URL of one of the schemes, returned byte for byte. User-info is allowed."""
    kind = " or ".join(f"{scheme}://" for scheme in schemes)

    def read(name: str, value: object) -> object:
        given = text(name, value)
        reason = fault_of(given, *schemes)
        if reason:
            raise InvalidUrl(f"{name} must be a {kind} URL: {reason}", pointer=f"/{name}")
        return given

    return read


def websocket_url(name: str, value: object) -> WebSocketUrl:
    """A `ws://` or `wss://` URL."""
    given = text(name, value)
    try:
        return WebSocketUrl.parse(given)
    except BadUrl as error:
        raise InvalidUrl(f"{name} must be a ws:// or wss:// URL: {error}", pointer=f"/{name}") from error


def base64(name: str, value: object) -> str:
    """Standard base64 with padding, returned as it is."""
    encoded = text(name, value)
    try:
        b64decode(encoded, validate=True)
    except ValueError:
        raise InvalidRequest(f"{name} must be base64", pointer=f"/{name}") from None
    return encoded


def unfolded(name: str, value: object) -> object:
    """An object or array that may also be given as its JSON text, as forms have it; anything else as it is."""
    if not isinstance(value, str):
        return value
    given = text(name, value)
    try:
        return parse_json(given)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error.detail}", pointer=f"/{name}") from None


def boolean(name: str, value: object) -> bool:
    """A JSON boolean, or its name as forms send it."""
    if value is False or value == "false":
        return False
    if value is True or value == "true":
        return True
    raise InvalidType(f"{name} must be true or false", pointer=f"/{name}")


def enum_schema(*members: str, default: str | None, description: str, example: str | None = None) -> dict[str, object]:
    """The schema of an enumeration of strings."""
    schema: dict[str, object] = {"type": "string", "enum": list(members)}
    if default is not None:
        schema["default"] = default
    return schema | {"description": description, "example": example or default or members[0]}


def read_field(row: Field, fields: Fields) -> Any:
    """The row's value, None when it was not given. Raises MissingParameter and what the reader raises."""
    given = fields.get(row.name)
    if given is not None:
        return row.read(row.name, given)
    if row.required:
        raise MissingParameter(f"{row.name} is required", pointer=f"/{row.name}")
    return None
