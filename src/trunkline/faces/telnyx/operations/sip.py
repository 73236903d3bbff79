"""The operations on the SIP messages of calls. They are Trunkline's own."""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from trunkline.api.auth import CALL_VIEWS, VIEWS
from trunkline.api.operation import NUMBER, TEXT, TEXT_OR_NULL, TIME, ApiRequest, Operation, Schema, record
from trunkline.calls.views import SipMessageView, SipTraceView
from trunkline.faces.telnyx.operations.base import CALL
from trunkline.live.hub import timestamp

_MESSAGE: Mapping[str, Schema] = {
    "number": {**NUMBER, "description": "In the call, from 1."},
    "occurred_at": TIME,
    "direction": {"enum": ["received", "sent"]},
    "local": {**TEXT, "description": "Our address and port."},
    "peer": {**TEXT, "description": "The other's."},
    "transport": {"enum": ["udp", "tcp", "tls"]},
    "summary": {**TEXT, "description": "The first line, without the protocol."},
    "cseq": TEXT,
    "text": {**TEXT, "description": "The message, without proofs of passwords and keys of media."},
}
_TRACE: Mapping[str, Schema] = {
    "call_sid": {**TEXT_OR_NULL, "description": "null: it became no call."},
    "sip_call_id": {**TEXT_OR_NULL, "description": "null: no message is kept."},
    "dropped": {**NUMBER, "description": "Messages that are not kept any more."},
    "messages": {"type": "array", "items": {"$ref": "#/components/schemas/SipMessage"}},
}
SCHEMAS: Mapping[str, Schema] = {
    "SipMessage": record(_MESSAGE),
    "SipTrace": record(_TRACE),
    "OneSipTrace": record({"data": record(_TRACE)}),
    "SipTraceList": record({"data": {"type": "array", "items": {"$ref": "#/components/schemas/SipTrace"}}}),
}
_EXAMPLE: Mapping[str, object] = {
    "call_sid": CALL,
    "sip_call_id": "a84b4c76e66710@192.0.2.20",
    "dropped": 0,
    "messages": [
        {
            "number": 1,
            "occurred_at": "2034-01-31T12:00:00.000000Z",
            "direction": "received",
            "local": "192.0.2.10:5060",
            "peer": "192.0.2.20:5060",
            "transport": "udp",
            "summary": "INVITE sip:+13125550123@192.0.2.10",
            "cseq": "1 INVITE",
            "text": "INVITE sip:+13125550123@192.0.2.10 SIP/2.0\r\n…",
        }
    ],
}


async def _fetch(request: ApiRequest) -> Response:
    control, account = request.services.control, request.principal.account
    return JSONResponse({"data": _trace(await control.sip_trace(account, request.call_sid))})


async def _refused(request: ApiRequest) -> Response:
    views = request.services.control.refused_calls(request.principal.account)
    return JSONResponse({"data": [_trace(view) for view in views]})


def _trace(view: SipTraceView) -> dict[str, object]:
    return {
        "call_sid": view.call_sid,
        "sip_call_id": view.sip_call_id,
        "dropped": view.dropped,
        "messages": [_message(one) for one in view.messages],
    }


def _message(view: SipMessageView) -> dict[str, object]:
    return {
        "number": view.number,
        "occurred_at": timestamp(view.at),
        "direction": view.direction,
        "local": view.local,
        "peer": view.peer,
        "transport": view.transport,
        "summary": view.summary,
        "cseq": view.cseq,
        "text": view.text,
    }


OPERATIONS = (
    Operation(
        "GET",
        "/v2/trunkline/calls/{call_sid}/sip",
        "FetchSipTrace",
        _fetch,
        "Fetch the SIP messages of a call, oldest first, as far as they are kept (`sip.trace.…`). Of an older call, or "
        "after a restart, there may be none.",
        "OneSipTrace",
        {"data": _EXAMPLE},
        rights=CALL_VIEWS,
    ),
    Operation(
        "GET",
        "/v2/trunkline/sip",
        "ListRefusedCalls",
        _refused,
        "List INVITEs that became no call with their messages, the newest first: of unknown callers, above a limit, or "
        "with a wrong password. Another account than that of the settings gets none.",
        "SipTraceList",
        {"data": [{**_EXAMPLE, "call_sid": None}]},
        rights=VIEWS,
    ),
)
