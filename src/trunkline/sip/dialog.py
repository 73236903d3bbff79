"""One dialog (RFC 3261 section 12), as UAS or UAC: its state, and what requests inside it look like. Pure.

As UAS a dialog goes `RINGING` (INVITE not answered) -> `ANSWERED` (our 200 waits for its ACK) -> `CONFIRMED`; as UAC
`EARLY` (made by a provisional response) -> `CONFIRMED`. It ends with BYE, CANCEL, a rejection or a 200 without an ACK.
`CLOSING` is a dialog that the application has ended and the peer has not: our BYE waits for its response, or our 200
for the ACK before which section 15 forbids the BYE. An offer of the peer, in a re-INVITE or an UPDATE, is kept beside
the state, in `invite`.

Requests go to the first Record-Route (section 12.2.1.1). Without one, over UDP, they go to the source of the peer's
last message, or to the address of our INVITE: a Contact behind a NAT is reached no other way. A peer whose Contact is
the source of its messages is behind no NAT, and its new Contacts are followed. A request that does not find the peer
is sent once more to the other of the two addresses, as to the peer of a proxy that does not record its route. Requests
use the flow of the peer's last message, or of our INVITE; a phone's REGISTER counts as a message of the peer.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
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
from trunkline.sip.message.outgoing import Flow, Outgoing
from trunkline.sip.message.validation import ALLOW, SUPPORTED, Headers, SipMessage, SipRequest
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.session_timer import SessionTimer
from trunkline.sip.targets import DEFAULT_PORTS, TRANSPORTS, request_address
from trunkline.sip.timers import Timer
from trunkline.sip.values import Credentials, DialogId

CAPABILITIES = (("Allow", ", ".join(ALLOW)), ("Supported", ", ".join(SUPPORTED)), ("Accept", ACCEPT))


class DialogState(Enum):
    """State of a dialog; see the head of this file."""

    EARLY = auto()
    RINGING = auto()
    ANSWERED = auto()
    CONFIRMED = auto()
    CLOSING = auto()


Key = tuple[str, str]
"""Call-ID and the peer's tag: enough to find a dialog, since an INVITE of a peer makes only one."""


@dataclass(frozen=True, slots=True)
class Hop:
    """The address of a URI's host: found by DNS, or the source of a phone's REGISTER."""

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
    """Source of the peer's last message, or the address of our INVITE."""
    state: DialogState
    remote_cseq: int
    """CSeq number of the peer's last request; 0 before the first."""
    direct: bool = False
    """Requests go to `source`; else to the first route or the peer's Contact."""
    detoured: bool = False
    """The other of the two addresses has been tried."""
    local_cseq: int = 0
    """CSeq number of our last request."""
    hop: Hop | None = None
    """Address of the host that we have called."""
    credentials: Credentials | None = None
    """Answer challenges to our requests."""
    nonces: Counter[str] = field(default_factory=Counter)
    """Uses of each nonce (`nc`, RFC 7616 section 3.4)."""
    invite: ServerTransaction | None = None
    """The INVITE or offer of the peer that is pending, until its ACK."""
    answered: bool = False
    """200 to `invite` has been sent."""
    offer_pending: bool = False
    """A re-INVITE of ours is pending."""
    bye_reason: str | None = None
    """`CLOSING`: Reason header of the BYE that waits for the ACK."""
    ack_cseq: int = 0
    """CSeq number of the INVITE of ours that was acknowledged last."""
    resend_ack: Callable[[], None] | None = None
    """Sends the ACK to that INVITE again."""
    invite_cseq: int = 0
    """CSeq number of the INVITE that made the dialog."""
    rseq: int = 0
    """RSeq of the last reliable provisional response, of the peer or of ours (RFC 3262)."""
    prack_received: bool = True
    """Our last reliable provisional response has its PRACK."""
    is_uac: bool = False
    """We have placed the call."""
    phone: str | None = None
    """User of the registered phone that is the peer."""
    sdp: str = field(default="", repr=False)
    """Our last session description."""
    allows_update: bool = False
    """The peer allows UPDATE."""
    negotiated: tuple[SessionTimer | None, Headers] = (None, ())
    """Session timer and headers of our 200 to `invite`."""
    session_timer: SessionTimer | None = None
    """The agreed session timer; None: the session does not expire."""
    min_se: int = 0
    """Seconds: the Min-SE of the peer, 0 if unknown."""
    refresh_interval: int = 0
    """Seconds: the session interval that our pending refresh asks for."""
    timers: list[Timer] = field(default_factory=list)
    """Timers of the session."""
    trunk: str = ""
    """The trunk whose `credentials` these are; empty: none's."""
    saved: tuple[object, ...] | None = None
    """`way` when the dialog was saved last; None: never."""

    @property
    def key(self) -> Key:
        """Identifies the dialog of a peer's request."""
        return self.call_id, self.remote_tag

    @property
    def way(self) -> tuple[object, ...]:
        """How the peer is reached."""
        return self.remote_target, self.source, self.direct, self.flow.transport

    def cancel_timers(self) -> None:
        """Stop the session timer."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    def choose_next_hop(self, *, symmetric: bool) -> None:
        """Choose the address of requests. `symmetric`: the peer receives at the port that it sends from (RFC 3581)."""
        contact = self._endpoint(self.remote_target)
        if not is_address(contact.host):
            contact = self._found(self.remote_target)
        there = request_address(contact, self.source, symmetric=symmetric)
        self.direct = self.flow.transport == "udp" and not self.route_set and there != contact
        self.detoured = False

    def update_remote(self, request: SipRequest, source: Endpoint, flow: Flow) -> None:
        """A request of the peer was received: its source and flow become those of the dialog."""
        if flow.transport == self.flow.transport and request.cseq[0] >= self.remote_cseq:
            self.flow = flow
            if source != self.source:
                self.source = source
                self.choose_next_hop(symmetric="rport" in request.via.params)

    def contact_registered(self, uri: str, source: Endpoint, flow: Flow) -> None:
        """The peer, a phone, has registered the contact `uri`, and receives at `source` by `flow` (RFC 5626 section
        5.3): a NAT may have given it a new port, or it has a new connection."""
        ours, theirs = parse_uri(self.remote_target), parse_uri(uri)
        same = (ours.user, ours.host, ours.port) == (theirs.user, theirs.host, theirs.port)
        if same and not self.route_set and flow.transport == self.flow.transport:
            self.flow = flow
            if source != self.source:
                self.source = source
                self.choose_next_hop(symmetric=True)

    def is_peer(self, source: Endpoint) -> bool:
        """Whether this is the host of the peer, of its Contact or of a proxy in its route set."""
        uris = (self.remote_target, *(parse_name_addr(route).uri for route in self.route_set))
        return source.host in (self.source.host, *(parse_uri(uri).host for uri in uris))

    @property
    def next_hops(self) -> tuple[Endpoint, ...]:
        """Address of requests, then the other address of the peer, if there is one."""
        named = self._found(parse_name_addr(self.route_set[0]).uri if self.route_set else self.remote_target)
        if self.flow.transport != "udp":
            return (named,)
        return tuple(dict.fromkeys((self.source, named) if self.direct else (named, self.source)))

    def detour(self) -> bool:
        """The last request did not reach the peer: use the other address, once. False: there is none."""
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
    """A Warning header with `text` for people (RFC 3261 section 20.43)."""
    return () if text is None else (("Warning", f"399 {flow.local} {quoted_string(text)}"),)


def reason_of(message: SipMessage) -> str:
    """The Reason header of a message (RFC 3326), for people."""
    return one_line(message.value("reason"))[:200]


def reason_value(cause: int, text: str) -> str:
    """The value of a Reason header (RFC 3326)."""
    return f"SIP;cause={cause};text={quoted_string(text)}"
