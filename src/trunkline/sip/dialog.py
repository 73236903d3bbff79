"""One dialog (RFC 3261 section 12), whichever side made it: its state, and what requests inside it look like. Pure.

The called side goes `RINGING` (INVITE taken, not answered) -> `ANSWERED` (our 200 waits for its ACK) -> `CONFIRMED`;
the calling side `EARLY` (a provisional response made it) -> `CONFIRMED`. Out of it goes by BYE, CANCEL, a rejection
or a 200 that nobody confirms. `CLOSING` is a dialog that the application has done with while the wire has not: our BYE
waits for its response, or our 200 for the ACK without which section 15 forbids the BYE. An offer of the peer's, in a
re-INVITE or an UPDATE, lives beside the state, as the dialog's one open exchange.

Requests go to the first Record-Route (section 12.2.1.1). Where there is none, over UDP, they go where the peer's last
message came from, or where our INVITE went: a Contact behind a NAT is reached no other way. A peer whose Contact is
where its messages come from is behind no NAT, and is followed when it names another Contact. A request that does not
find the peer there is sent once more, to the other of the two places: to the peer of a proxy that does not record its
route, say. Requests leave by the flow on which the peer's last message came, or our INVITE went. A phone's REGISTER is
a message of it, too.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.bodies import ACCEPT
from trunkline.sip.message.headers import (
    USER_CHARACTERS,
    is_address,
    one_line,
    parse_name_addr,
    parse_uri,
    quoted_string,
)
from trunkline.sip.message.validation import ALLOW, SUPPORTED, Headers, SipMessage, SipRequest
from trunkline.sip.session_timer import SessionTimer
from trunkline.sip.targets import DEFAULT_PORTS, TRANSPORTS, takes_requests_at
from trunkline.sip.transactions import Flow, Outgoing, ServerTransaction
from trunkline.sip.values import Credentials, DialogId

CAPABILITIES = (("Allow", ", ".join(ALLOW)), ("Supported", ", ".join(SUPPORTED)), ("Accept", ACCEPT))


class DialogState(Enum):
    """Where a dialog is; see the head of this file."""

    EARLY = "early"
    RINGING = "ringing"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    CLOSING = "closing"


Key = tuple[str, str]
"""Call-ID and the peer's tag: enough to find a dialog, as each peer's INVITE makes but one."""


@dataclass(frozen=True, slots=True)
class Hop:
    """Where the host of a URI was found to be: by DNS, or where a phone registered from."""

    host: str
    port: int | None
    endpoint: Endpoint


@dataclass(slots=True, eq=False)
class Dialog:
    """One dialog."""

    id: DialogId
    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    """Our From in requests, with our tag."""
    remote: str
    """Our To in requests, with the peer's tag."""
    remote_target: str
    """URI of the peer's Contact."""
    route_set: tuple[str, ...]
    """Record-Route values, our neighbour's first (sections 12.1.1 and 12.1.2)."""
    flow: Flow
    source: Endpoint
    """Where the peer's last message came from, or our INVITE went."""
    state: DialogState
    remote_cseq: int
    """0 before the first request of the peer's."""
    direct: bool = False
    """Requests go to `source`, else to where the route set or the peer's Contact say."""
    detoured: bool = False
    """The other of the two has been tried."""
    local_cseq: int = 0
    hop: Hop | None = None
    credentials: Credentials | None = None
    """What answers challenges to our requests."""
    nonces: Counter[str] = field(default_factory=Counter)
    """How often each nonce was used."""
    invite: ServerTransaction | None = None
    """The peer's INVITE or offer under way, until its ACK."""
    answered: bool = False
    """A 200 to `invite` is out."""
    offer_pending: bool = False
    """A re-INVITE of ours is under way."""
    bye_reason: str | None = None
    """`CLOSING`: the Reason header of the BYE that waits for the ACK."""
    ack_cseq: int = 0
    resend_ack: Callable[[], None] | None = None
    """Sends our last ACK again, which was for the INVITE of that number."""
    invite_cseq: int = 0
    """Of the INVITE that made the dialog."""
    rseq: int = 0
    """Of the last reliable provisional response, the peer's or ours (RFC 3262)."""
    prack_received: bool = True
    """Ours has its PRACK."""
    is_uac: bool = False
    """The call was placed by us."""
    phone: str | None = None
    """User of the registered phone at the other end."""
    sdp: str = field(default="", repr=False)
    """Our last description."""
    takes_updates: bool = False
    """The peer takes UPDATE."""
    negotiated: tuple[SessionTimer | None, Headers] = (None, ())
    """`invite`: what our 200 will say of the session's timer."""
    session_timer: SessionTimer | None = None
    """When the session expires; None: never."""
    min_se: int = 0
    """Seconds: the least interval that the peer's side takes, as far as it has told."""
    timers: list[Any] = field(default_factory=list)
    """Timers of the session."""

    @property
    def key(self) -> Key:
        """What a request of the peer's knows it by."""
        return self.call_id, self.remote_tag

    def cancel_timers(self) -> None:
        """Stop the timers."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    def choose_next_hop(self, *, symmetric: bool) -> None:
        """Decide where requests go. `symmetric`: the peer takes them at the port that it sends from."""
        contact = self._endpoint(self.remote_target)
        if not is_address(contact.host):
            contact = self._found(self.remote_target)
        there = takes_requests_at(contact, self.source, symmetric=symmetric)
        self.direct = self.flow.transport == "udp" and not self.route_set and there != contact
        self.detoured = False

    def update_remote(self, request: SipRequest, source: Endpoint, flow: Flow) -> None:
        """A request of the peer's came; one from elsewhere than the last has ours go there."""
        if flow.transport == self.flow.transport and request.cseq[0] >= self.remote_cseq:
            self.flow = flow
            if source != self.source:
                self.source = source
                self.choose_next_hop(symmetric="rport" in request.via.params)

    def registered(self, uri: str, source: Endpoint, flow: Flow) -> None:
        """The phone at the other end has registered the contact `uri`, at which it takes requests at `source` by
        `flow` (RFC 5626 section 5.3): a NAT may have given it another port, or it a new connection."""
        ours, theirs = parse_uri(self.remote_target), parse_uri(uri)
        same = (ours.user, ours.host, ours.port) == (theirs.user, theirs.host, theirs.port)
        if same and not self.route_set and flow.transport == self.flow.transport:
            self.flow = flow
            if source != self.source:
                self.source = source
                self.choose_next_hop(symmetric=True)

    def is_peer(self, source: Endpoint) -> bool:
        """Whether this is a host that the peer, or the way to it, is known by."""
        uris = (self.remote_target, *(parse_name_addr(route).uri for route in self.route_set))
        return source.host in (self.source.host, *(parse_uri(uri).host for uri in uris))

    @property
    def next_hops(self) -> tuple[Endpoint, ...]:
        """Where requests go, and where else they could."""
        named = self._found(parse_name_addr(self.route_set[0]).uri if self.route_set else self.remote_target)
        if self.flow.transport != "udp":
            return (named,)
        return tuple(dict.fromkeys((self.source, named) if self.direct else (named, self.source)))

    def detour(self) -> bool:
        """The last request did not find the peer: have the next go the other way, once. False: there is none."""
        if self.detoured or len(self.next_hops) == 1:
            return False
        self.detoured, self.direct = True, not self.direct
        return True

    def request(self, method: str, headers: Headers = (), sdp: str | None = None, cseq: int | None = None) -> Outgoing:
        """The next request inside the dialog; `cseq` is given for an ACK, which takes its INVITE's."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes = self._next_request_uri()
        return Outgoing(
            method=method,
            uri=uri,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq,
            target=self.next_hops[0],
            flow=self.flow,
            routes=routes,
            headers=headers,
            sdp=sdp,
        )

    def _next_request_uri(self) -> tuple[str, tuple[str, ...]]:
        """Request-URI and Route values (section 12.2.1.1)."""
        if not self.route_set:
            return self.remote_target, ()
        first = parse_name_addr(self.route_set[0]).uri
        if "lr" in (parameter.partition("=")[0] for parameter in parse_uri(first).params):
            return self.remote_target, self.route_set
        return first, (*self.route_set[1:], f"<{self.remote_target}>")

    def _found(self, uri: str) -> Endpoint:
        parts = parse_uri(uri)
        if self.hop is not None and (parts.host, parts.port) == (self.hop.host, self.hop.port):
            return self.hop.endpoint
        return self._endpoint(uri)

    def _endpoint(self, uri: str) -> Endpoint:
        parts = parse_uri(uri)
        return Endpoint(parts.host, parts.port or DEFAULT_PORTS[TRANSPORTS[self.flow.transport]])


def contact(flow: Flow, user: str = "") -> tuple[str, str]:
    """Our Contact header."""
    suffix = "" if flow.transport == "udp" else f";transport={flow.transport}"
    before = f"{quote(user, safe=USER_CHARACTERS)}@" if user else ""
    return "Contact", f"<sip:{before}{flow.local}{suffix}>"


def contact_of(message: SipMessage) -> str | None:
    """URI of the one usable Contact in a message, None if there is none."""
    for value in message.listed("contact"):
        try:
            uri = parse_name_addr(value).uri
            return uri if parse_uri(uri).host else None
        except (ValueError, LookupError):
            return None
    return None


def warning(flow: Flow, text: str | None) -> Headers:
    """A Warning header with `text` for people (section 20.43)."""
    return () if text is None else (("Warning", f"399 {flow.local} {quoted_string(text)}"),)


def reason_of(message: SipMessage) -> str:
    """The Reason header, for people (RFC 3326)."""
    return one_line(message.value("reason"))[:200]


def reason_value(cause: int, text: str) -> str:
    """The value of a Reason header."""
    return f"SIP;cause={cause};text={quoted_string(text)}"
