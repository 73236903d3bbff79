"""What the server has beside calls: lists of phones, trunks, registrations and media workers, and the way of a number.

Telnyx has none of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import VIEWS
from trunkline.api.operation import NUMBER, TEXT, TEXT_OR_NULL, ApiRequest, Handler, Operation, Schema, record
from trunkline.api.readers import Field, party, read_field, text
from trunkline.calls.control import CallControl
from trunkline.calls.views import RoutesView
from trunkline.ids import AccountSid

_TRUE_OR_FALSE: Schema = {"type": "boolean"}
_OTHERS = " Another account than that of the settings has none."


@dataclass(frozen=True, slots=True)
class NodeList:
    """One list, which is short and has no pages."""

    name: str
    """In the path."""
    member: str
    """Name of the schema of a member."""
    schema: Mapping[str, Schema]
    example: Mapping[str, object]
    summary: str
    members: Callable[[CallControl, AccountSid], Iterable[dict[str, object]]]


def _phones(control: CallControl, account: AccountSid) -> Iterable[dict[str, object]]:
    return map(asdict, control.routes(account).phones)


def _trunks(control: CallControl, account: AccountSid) -> Iterable[dict[str, object]]:
    return map(asdict, control.routes(account).trunks)


def _registrations(control: CallControl, account: AccountSid) -> Iterable[dict[str, object]]:
    return registrations(control.routes(account))


def _workers(control: CallControl, account: AccountSid) -> Iterable[dict[str, object]]:
    return map(asdict, control.workers(account))


def registrations(routes: RoutesView) -> Iterable[dict[str, object]]:
    """Each address that a phone is at, then each trunk where we register."""
    for phone in routes.phones:
        for address in phone.contacts:
            yield {"kind": "phone", "name": phone.user, "address": address, "registered": True}
    for trunk in routes.trunks:
        if trunk.registered is not None:
            yield {"kind": "trunk", "name": trunk.name, "address": None, "registered": trunk.registered}


LISTS = (
    NodeList(
        "phones",
        "Phone",
        {"user": TEXT, "contacts": {"type": "array", "items": TEXT}},
        {"user": "alice", "contacts": ["192.0.2.20:5060"]},
        "List the phones with the addresses that each is registered at now.",
        _phones,
    ),
    NodeList(
        "trunks",
        "Trunk",
        {
            "name": TEXT,
            "registered": {"type": ["boolean", "null"], "description": "null: the server does not register there."},
            "targets": {"type": "array", "items": record({"target": TEXT, "up": _TRUE_OR_FALSE})},
        },
        {"name": "carrier", "registered": True, "targets": [{"target": "sip:sip.example.com", "up": True}]},
        "List the trunks with the state of their registration and targets.",
        _trunks,
    ),
    NodeList(
        "registrations",
        "Registration",
        {
            "kind": {"enum": ["phone", "trunk"], "description": "A phone is registered here, the server at a trunk."},
            "name": TEXT,
            "address": {**TEXT_OR_NULL, "description": "Of the phone."},
            "registered": _TRUE_OR_FALSE,
        },
        {"kind": "phone", "name": "alice", "address": "192.0.2.20:5060", "registered": True},
        "List the phones that are registered, an entry for each address, and the trunks where the server registers.",
        _registrations,
    ),
    NodeList(
        "workers",
        "Worker",
        {
            "worker": NUMBER,
            "pid": {"type": ["integer", "null"], "description": "null: it takes no calls, or is started again."},
            "lags": {**_TRUE_OR_FALSE, "description": "It gets no new call while another worker does not lag."},
            "lag_ms": {**NUMBER, "description": "By which its packets or its reports are late."},
            "share": {"type": "number", "description": "Of a core, in the last second."},
            "legs": NUMBER,
            "streams": NUMBER,
        },
        {"worker": 0, "pid": 4711, "lags": False, "lag_ms": 0, "share": 0.034, "legs": 12, "streams": 12},
        "List the media workers with their load, by their last report.",
        _workers,
    ),
)
_TO, _FROM_TRUNK, _FROM_PHONE = _ROUTE_FIELDS = (
    Field("To", party, {**TEXT, "description": "The number, a phone's name or a SIP URI; required."}, required=True),
    Field("FromTrunk", text, {**TEXT, "description": "The trunk that a call to it comes by."}),
    Field("FromPhone", text, {**TEXT, "description": "The phone that calls it."}),
)
_WAY_EXAMPLE: Mapping[str, object] = {
    "kind": "trunk",
    "name": "carrier",
    "to": "+13125550123",
    "why": "trunk carrier is the first whose prefixes match it (+1*)",
}
_ROUTE_EXAMPLE: Mapping[str, object] = {
    "inbound": {
        "number": "+1312*",
        "application": "support",
        "application_sid": "1293384261075731499",
        "runs": "voice_url https://app.example.com/texml",
        "refused": False,
        "why": "of the numbers, +1312* is the most exact that matches",
    },
    "placed": _WAY_EXAMPLE,
    "dialled": {
        **dict.fromkeys(_WAY_EXAMPLE),
        "why": "the dial_prefixes of trunk carrier do not allow documents to call this number",
    },
}
_WAY = record({**dict.fromkeys(("kind", "name", "to"), TEXT_OR_NULL), "why": TEXT})
_ROUTE: Mapping[str, Schema] = {
    "inbound": record(
        {
            "number": {**TEXT_OR_NULL, "description": "The pattern that matches."},
            "application": TEXT_OR_NULL,
            "application_sid": TEXT_OR_NULL,
            "runs": {**TEXT_OR_NULL, "description": "The instructions; URLs without user-info and query."},
            "refused": {**_TRUE_OR_FALSE, "description": "The application is not active."},
            "why": TEXT,
        }
    ),
    "placed": {**_WAY, "description": "Placed by REST; `kind` null: nowhere."},
    "dialled": {**_WAY, "description": "Dialled by a document, or with a key of the scope `calls`."},
}
SCHEMAS: Mapping[str, Schema] = {
    **{one.member: record(one.schema) for one in LISTS},
    **{
        f"{one.member}List": record(
            {"data": {"type": "array", "items": {"$ref": f"#/components/schemas/{one.member}"}}},
        )
        for one in LISTS
    },
    "Routing": record({"data": record(_ROUTE)}),
}


def _handler(row: NodeList) -> Handler:
    async def serve(request: ApiRequest) -> Response:
        return JSONResponse({"data": list(row.members(request.services.control, request.principal.account))})

    return serve


_LIST_OPERATIONS = tuple(
    Operation(
        "GET",
        f"/v2/trunkline/{one.name}",
        f"List{one.name.capitalize()}",
        _handler(one),
        one.summary + _OTHERS,
        f"{one.member}List",
        {"data": [one.example]},
        rights=VIEWS,
    )
    for one in LISTS
)


async def _route(request: ApiRequest) -> Response:
    to, trunk, phone = (read_field(row, request.query()) for row in _ROUTE_FIELDS)
    found = request.services.control.routing(request.principal.account, to, trunk=trunk, phone=phone)
    return JSONResponse({"data": asdict(found)})


OPERATIONS = (
    *_LIST_OPERATIONS,
    Operation(
        "GET",
        "/v2/trunkline/route",
        "ShowRoute",
        _route,
        "Show what a call to a number would run, where one would go, and why, without a call. Another account than "
        "that of the settings gets 404.",
        "Routing",
        {"data": _ROUTE_EXAMPLE},
        query={row.name: row.schema for row in _ROUTE_FIELDS},
        refusals=(
            errors.MissingParameter("To is required", pointer="/To"),
            errors.InvalidRequest("There is no trunk carrier.", pointer="/FromTrunk"),
        ),
        rights=VIEWS,
    ),
)
