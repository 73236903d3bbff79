"""The operation around the event WebSocket (docs/reference/events.md). Trunkline's own."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import CALL_VIEWS, OPERATORS_KEY
from trunkline.api.operation import NUMBER, TEXT, ApiRequest, Operation, Schema, record
from trunkline.live.tickets import LIFETIME

SCHEMAS: Mapping[str, Schema] = {
    "EventTicket": record({"data": record({"ticket": TEXT, "expires_in": NUMBER})}),
}


async def _create(request: ApiRequest) -> Response:
    if request.principal.key_sid == OPERATORS_KEY:
        raise errors.PermissionDenied("The operator's key has no account, and so no events")
    ticket = request.services.ticket(request.principal)
    return JSONResponse({"data": {"ticket": ticket, "expires_in": round(LIFETIME)}}, 201)


OPERATIONS = (
    Operation(
        "POST",
        "/v2/events/tickets",
        "CreateEventTicket",
        _create,
        "Create a ticket, with which a browser opens `/v2/events` once within 30 s: it cannot send its key with a "
        "WebSocket.",
        "EventTicket",
        {"data": {"ticket": "0J9rV2x5Qw1m8s3bT6yUe4kLhN7cZaXgPfDiRoWtYvE", "expires_in": 30}},
        refusals=(errors.TooManyRequests("Too many tickets are not used yet", retry_after=30),),
        rights=CALL_VIEWS,
        status=201,
    ),
)
