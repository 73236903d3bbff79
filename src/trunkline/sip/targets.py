"""Where an INVITE of ours may go: the border between the calling side of a dialog and those who know trunks, phones
and DNS. Pure.

A `Locator` turns an `SendInvite` into targets in the order in which they are to be tried (RFC 3263 section 4.3); the
next one is tried, within the same call, where one does not answer at all, cannot be reached or says 503."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import parse_name_addr, parse_uri
from trunkline.sip.transactions import Flow
from trunkline.sip.values import Credentials, SendInvite

Transport = Literal["udp", "tcp", "tls"]
TRANSPORTS: dict[str, Transport] = {"udp": "udp", "tcp": "tcp", "tls": "tls"}
DEFAULT_PORTS: dict[Transport, int] = {"udp": 5060, "tcp": 5060, "tls": 5061}


@dataclass(frozen=True, slots=True)
class Target:
    """One place to send a request to."""

    uri: str
    """The Request-URI."""
    endpoint: Endpoint
    """Where the request goes: the address of the URI's host, or of the first of `route`. The name of a phone's contact
    is looked up by the transport."""
    transport: Transport
    flow: Flow | None = None
    """The connection of a registered phone, or one prepared; None: the transports make one."""
    route: tuple[str, ...] = ()
    """Values of Route, first hop first: a phone's Path (RFC 3327), a trunk's outbound proxy."""
    credentials: Credentials | None = None
    """What answers challenges, where the call brings none of its own."""
    from_user: str = ""
    """User of the From URI for a call that brings none."""
    from_host: str = ""
    """Host of the From URI; empty for ours."""

    @property
    def server_name(self) -> str:
        """Whom a TLS certificate must name (RFC 5922 section 4)."""
        return parse_uri(parse_name_addr(self.route[0]).uri if self.route else self.uri).host


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Why there is no target; becomes `Refused`."""

    status: int
    """404 for who is not known, 480 for a phone that is not registered, 503 else."""
    reason: str
    detail: str
    """For people."""


OnLocated = Callable[[Sequence[Target] | Unreachable], None]


class Locator(Protocol):
    """Finds targets."""

    def locate(self, invite: SendInvite, found: OnLocated) -> None:
        """Call `found` once, from within or later, with at least one target or with the reason why there is none."""

    def tried(self, target: Target, *, answered: bool) -> None:
        """A call to a target had some response, or none in time."""


class UriLocator:
    """Calls by URI, to the host that the URI names; `look_up` finds out where that is."""

    def __init__(self, look_up: Callable[[Target, OnLocated], None]) -> None:
        self._look_up = look_up

    def locate(self, invite: SendInvite, found: OnLocated) -> None:
        """See `Locator`."""
        target = uri_target(invite.to)
        if isinstance(target, Unreachable):
            found(target)
        else:
            self._look_up(*target, found)

    def tried(self, target: Target, *, answered: bool) -> None:
        """Each call looks for itself."""


def takes_requests_at(contact: Endpoint, source: Endpoint, *, symmetric: bool) -> Endpoint:
    """Where a peer over UDP takes requests: where its messages come from, as a NAT lets nothing else pass (RFC 3581,
    RFC 5626 section 5.3). Only a Contact on that very host counts as it stands, unless the peer is `symmetric`: it
    asks by `rport` for answers at the port that it sends from."""
    return contact if contact.host == source.host and not symmetric else source


def uri_target(uri: str) -> tuple[Target] | Unreachable:
    """The one target of a SIP URI, its host as it stands there. `;transport=` is honoured; `sips` is TLS."""
    try:
        parts = parse_uri(uri)
    except (ValueError, LookupError) as error:
        return Unreachable(404, "Not Found", f"not a SIP URI: {error.args[0]}")
    if parts.scheme == "tel":
        return Unreachable(404, "Not Found", "a tel URI names no host to call")
    named = dict(parameter.partition("=")[::2] for parameter in parts.params).get("transport", "udp")
    transport: Transport | None = "tls" if parts.scheme == "sips" else TRANSPORTS.get(named)
    if transport is None:
        return Unreachable(503, "Service Unavailable", f"no transport {named}")
    return (Target(uri.partition("?")[0], Endpoint(parts.host, parts.port or DEFAULT_PORTS[transport]), transport),)
