"""Targets of our requests, in the order in which they are tried (RFC 3263 section 4.3). Pure.

The next target is tried, within the same call, if one does not respond, cannot be reached or says 503.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import parse_name_addr, parse_uri
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.values import Credentials

Transport = Literal["udp", "tcp", "tls"]
TRANSPORTS: dict[str, Transport] = {"udp": "udp", "tcp": "tcp", "tls": "tls"}
DEFAULT_PORTS: dict[Transport, int] = {"udp": 5060, "tcp": 5060, "tls": 5061}


@dataclass(frozen=True, slots=True)
class Target:
    """One address for a request."""

    uri: str
    """The Request-URI."""
    endpoint: Endpoint
    """The address of the URI's host, or of the first of `route`. The transport looks up the name in a phone's
    contact."""
    transport: Transport
    flow: Flow | None = None
    """The connection of a registered phone, or one prepared; None: the transports make one."""
    route: tuple[str, ...] = ()
    """Values of Route, first hop first: a phone's Path (RFC 3327), a trunk's outbound proxy."""
    credentials: Credentials | None = None
    """Answer challenges, unless the call has credentials of its own."""
    from_user: str = ""
    """User of the From URI, unless the call has one."""
    from_host: str = ""
    """Host of the From URI; empty for ours."""

    @property
    def server_name(self) -> str:
        """The domain that the TLS certificate must name (RFC 5922 section 4)."""
        return parse_uri(parse_name_addr(self.route[0]).uri if self.route else self.uri).host


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Why there is no target; becomes `InviteRefused`."""

    status: int
    """404 unknown user, 480 phone not registered, otherwise 503."""
    reason: str
    detail: str
    """For people."""


def request_address(contact: Endpoint, source: Endpoint, *, symmetric: bool) -> Endpoint:
    """Where a peer over UDP receives requests: at the source of its messages, since a NAT lets nothing else pass (RFC
    3581, RFC 5626 section 5.3). A Contact counts only if it is on the same host, and the peer is not `symmetric`: asks
    by `rport` for responses at the port that it sends from."""
    return contact if contact.host == source.host and not symmetric else source


def next_hop(uri: str, path: Sequence[str], transport: Transport) -> Endpoint:
    """Address of a contact, or of the first proxy in its Path or route set. Raises ValueError or LookupError."""
    there = parse_uri(parse_name_addr(path[0]).uri if path else uri)
    return Endpoint(there.host, there.port or DEFAULT_PORTS[transport])


def uri_target(uri: str) -> tuple[Target] | Unreachable:
    """The target of a SIP URI, its host not looked up. `;transport=` is honoured; `sips` is TLS."""
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
