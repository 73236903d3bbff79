"""The fields of requests about accounts and keys, which are Trunkline's own."""

from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from trunkline.api.bodies import Fields
from trunkline.api.operation import TIME
from trunkline.api.readers import Field, enum_schema, one_of, read_field, text, time
from trunkline.calls.accounts import Scope

NAME_LIMIT = 64


def _name(name: str, value: object) -> str:
    return text(name, value, limit=NAME_LIMIT)


_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT}
ACCOUNT_FIELDS = (Field("name", _name, {**_NAME, "description": "For people.", "example": "acme"}, required=True),)
KEY_FIELDS = (
    Field(
        "name",
        _name,
        {**_NAME, "description": "Unique in the account.", "example": "ci"},
        required=True,
    ),
    Field(
        "scope",
        one_of(*get_args(Scope)),
        enum_schema(
            *get_args(Scope),
            default="full",
            description="`full`: everything. `calls`: calls, streams and recordings; calls are placed only to numbers "
            "that a trunk's `dial_prefixes` allow. `read`: GET only, and not the keys.",
        ),
    ),
    Field("expires_at", time, {**TIME, "description": "Default: never.", "example": "2035-01-31T12:00:00Z"}),
)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key that is wanted."""

    name: str
    scope: Scope
    expires_at: datetime | None


def key_request(fields: Fields) -> KeyRequest:
    """What the body asks for. Raises InvalidRequest and its kinds."""
    name, scope, expires_at = (read_field(row, fields) for row in KEY_FIELDS)
    return KeyRequest(name, scope or "full", expires_at)


def account_name(fields: Fields) -> str:
    """The name of a new account. Raises InvalidRequest and its kinds."""
    return str(read_field(ACCOUNT_FIELDS[0], fields))
