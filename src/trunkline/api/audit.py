"""The audit log: who changed what, from where, with which result. A driver: it writes the log.

Lines of the log and no table, because neither a key nor the database's password can change a line once it has left the
process, because they also come while the database is away, and because no request waits for one more row. They are
written whatever `log.level` is, and kept as long as the log (docs/operations/log.md#audit).
"""

import asyncio

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from trunkline.api.auth import permit
from trunkline.api.operation import ApiRequest, Operation
from trunkline.errors import ApiError

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_HIDDEN = {"account_sid"}
_MASKED = {"number": "caller"}
"""Parameters of paths that are phone numbers, and the keys under which those are masked."""


async def answered(operation: Operation, request: ApiRequest) -> Response:
    """What the operation answers, if the sender may have it. A change is noted, whether it was made or refused. Raises
    what the operation raises, and PermissionDenied."""
    if request.sender is None or operation.method == "GET":
        return await _answer(operation, request)
    try:
        response = await _answer(operation, request)
    except ApiError as error:
        _log.info("audit_change_refused", **_about(operation, request, error.status), reason=error.detail)
        raise
    except ClientDisconnect:  # Its body never came.
        raise
    except asyncio.CancelledError:
        _log.info(
            "audit_change_refused", **_about(operation, request, 503), reason="it took too long, or the sender left"
        )
        raise
    except Exception:
        _log.info("audit_change_refused", **_about(operation, request, 500), reason="unexpected error")
        raise
    _log.info("audit_change_made", **_about(operation, request, response.status_code))
    return response


async def _answer(operation: Operation, request: ApiRequest) -> Response:
    if request.sender is not None:
        permit(request.sender, operation.rights)
    return await operation.handler(request)


def _about(operation: Operation, request: ApiRequest, status: int) -> dict[str, object]:
    sender, peer = request.principal, request.http.client
    path = {_MASKED.get(name, name): value for name, value in request.path.items() if name not in _HIDDEN}
    return {
        "operation": operation.id,
        "key_name": sender.key_name,
        "key_sid": sender.key_sid,
        "account_sid": sender.account,
        "source": peer.host if peer else "",
        "status": status,
        **path,
        **request.made,
    }
