"""Lists of what the server has beside calls: phones, trunks, registrations, media workers. They are Trunkline's own."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from starlette.responses import JSONResponse, Response

from trunkline.api.auth import VIEWS
from trunkline.api.operation import NUMBER, TEXT, TEXT_OR_NULL, ApiRequest, Handler, Operation, Schema, record
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
SCHEMAS: Mapping[str, Schema] = {one.member: record(one.schema) for one in LISTS} | {
    f"{one.member}List": record(
        {"data": {"type": "array", "items": {"$ref": f"#/components/schemas/{one.member}"}}},
    )
    for one in LISTS
}


def _handler(row: NodeList) -> Handler:
    async def serve(request: ApiRequest) -> Response:
        return JSONResponse({"data": list(row.members(request.services.control, request.principal.account))})

    return serve


OPERATIONS = tuple(
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
