"""The operation that erases one caller's data. It is Trunkline's own: Telnyx has none."""

from collections.abc import Mapping
from dataclasses import asdict

from starlette.responses import JSONResponse, Response

from trunkline.api.operation import NUMBER, ApiRequest, Operation, Schema, record

_EXAMPLE = {"calls": 2, "streams": 2, "callbacks": 9, "recordings": 1, "captures": 0, "in_progress": 0}


async def _erase(request: ApiRequest) -> Response:
    erased = await request.services.control.erase(request.principal.account, request.path["number"])
    return JSONResponse({"data": asdict(erased)})


OPERATIONS = (
    Operation(
        "DELETE",
        "/v2/trunkline/callers/{number}",
        "EraseCaller",
        _erase,
        "Erase what is kept of the account's calls from and to a number: the calls, their streams, callbacks, "
        "recordings and captures. Calls that are up stay, and are counted in `in_progress`: repeat the request once "
        "they are over.",
        "Erasure",
        {"data": _EXAMPLE},
    ),
)

SCHEMAS: Mapping[str, Schema] = {"Erasure": record({"data": record(dict.fromkeys(_EXAMPLE, NUMBER))})}
