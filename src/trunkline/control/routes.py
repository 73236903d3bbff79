"""Numbers, phones and trunks of the settings, as they are shown, and what they would do with a number."""

from collections.abc import Callable, Sequence

from trunkline.calls.directory import Directory
from trunkline.calls.views import (
    InboundRouteView,
    OutboundRouteView,
    PhoneView,
    RoutesView,
    RoutingView,
    TargetView,
    TrunkView,
)
from trunkline.control.destinations import Destinations
from trunkline.errors import InvalidRequest
from trunkline.ids import AccountSid
from trunkline.sip.values import TrunkStatus


def routes_of(
    directory: Directory, account: AccountSid, contacts: Callable[[str], Sequence[str]], trunks: Sequence[TrunkStatus]
) -> RoutesView:
    """Those of an account: all of the one of the settings, else none. `contacts` are the addresses of a phone."""
    if not directory.is_of(account):
        return RoutesView()
    return RoutesView(
        directory.numbers,
        tuple(PhoneView(user, tuple(contacts(user))) for user in directory.phones),
        tuple(
            TrunkView(one.name, one.registered, tuple(TargetView(target.uri, target.up) for target in one.targets))
            for one in trunks
        ),
    )


def routing_of(
    directory: Directory, destinations: Destinations, number: str, trunk: str | None, phone: str | None
) -> RoutingView:
    """See `CallControl.routing`. Asks what a call asks. Raises InvalidRequest."""
    if (trunk or phone) and not directory.knows(trunk=trunk, phone=phone):
        kind, name = ("phone", phone) if phone else ("trunk", trunk)
        raise InvalidRequest(f"There is no {kind} {name}.", pointer=f"/From{kind.capitalize()}")
    service = directory.service_for(number, trunk=trunk, phone=phone)
    application = service.application
    inbound = InboundRouteView(
        number=service.number,
        application=application.friendly_name if application else None,
        application_sid=application.sid if application else None,
        runs=service.runs,
        refused=application is not None and not application.active,
        why=service.why,
    )
    placed, dialled = (_outbound(directory, destinations, number, dialled=by) for by in (False, True))
    return RoutingView(inbound, placed, dialled)


def _outbound(directory: Directory, destinations: Destinations, to: str, *, dialled: bool) -> OutboundRouteView:
    way = directory.way(to, dialled=dialled)
    route = way.route
    if route is None:
        return OutboundRouteView(None, None, None, way.why)
    try:
        destinations.check_route(route)
    except InvalidRequest as error:
        return OutboundRouteView(None, None, None, error.detail)
    return OutboundRouteView(route.kind, route.name or None, route.to, way.why)
