"""The public keys of callbacks: Telnyx's operation, and Trunkline's own that rotates them."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import OPERATOR
from trunkline.api.operation import ApiRequest, Operation, Schema, body_schema, record
from trunkline.api.readers import Field, read_field, whole
from trunkline.calls.views import PublicKeys
from trunkline.faces.telnyx.operations.base import BAD_BODY
from trunkline.faces.telnyx.resources import with_milliseconds

DAYS = 7
DAYS_LIMIT = 365
_KEY: Schema = {"type": "string", "contentEncoding": "base64"}
_FIRST, _NEXT = "iJ2TLo7UUqDAFJ0ZWXRYuGfTC2xXOeZLBqXoFQUgcZM=", "q0s0m8Jr1bq3pGQ1mXc9gV4oS3zJ1fT8Tt2xqkqk0mE="
_EXAMPLE = {"data": {"public": _FIRST, "accepted": [_FIRST, _NEXT], "next_from": "2035-01-31T12:00:00.000Z"}}
_DAYS = Field(
    "days",
    whole(0, DAYS_LIMIT),
    {
        "type": "integer",
        "minimum": 0,
        "maximum": DAYS_LIMIT,
        "default": DAYS,
        "description": "Until the new key signs. With 0 it signs at once, and no other is accepted: for a key that has "
        "leaked.",
    },
)

SCHEMAS: Mapping[str, Schema] = {
    "PublicKey": record(
        {
            "data": record(
                {
                    "public": {**_KEY, "description": "Signs now."},
                    "accepted": {
                        "type": "array",
                        "minItems": 1,
                        "items": _KEY,
                        "description": "A signature by any of these is good.",
                    },
                    "next_from": {
                        "type": ["string", "null"],
                        "format": "date-time",
                        "description": "When the second of `accepted` begins to sign, if one waits.",
                    },
                }
            )
        }
    ),
}


async def _fetch(request: ApiRequest) -> Response:
    return _answer(request.services.signing.public_keys())


async def _rotate(request: ApiRequest) -> Response:
    _, fields = await request.body()
    days = read_field(_DAYS, fields)
    return _answer(request.services.signing.rotate(DAYS if days is None else days))


def _answer(keys: PublicKeys) -> Response:
    at = keys.next_from and with_milliseconds(keys.next_from)
    return JSONResponse({"data": {"public": keys.accepted[0], "accepted": list(keys.accepted), "next_from": at}})


OPERATIONS = (
    Operation(
        "GET",
        "/v2/public_key",
        "GetPublicKey",
        _fetch,
        "The Ed25519 public keys that verify the signature of callbacks.",
        "PublicKey",
        _EXAMPLE,
        public=True,
    ),
    Operation(
        "POST",
        "/v2/trunkline/signing_key",
        "RotateSigningKey",
        _rotate,
        "Make a new key for callbacks. It is served at once and signs after some days. Needs the operator's key.",
        "PublicKey",
        _EXAMPLE,
        body=body_schema((_DAYS,)),
        body_example={"days": DAYS},
        refusals=(
            *BAD_BODY,
            errors.InvalidType("days must be a whole number", pointer="/days"),
            errors.InvalidRequest("A new key waits already: GET /v2/public_key says until when.", pointer="/days"),
        ),
        rights=OPERATOR,
    ),
)
