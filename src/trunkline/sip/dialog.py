"""One dialog (RFC 3261 section 12), whichever side made it: its state, and what requests inside it look like. Pure.

The called side goes `RINGING` (INVITE taken, not answered) -> `ANSWERED` (our 200 waits for its ACK) -> `CONFIRMED`;
the calling side `EARLY` (a provisional response made it) -> `CONFIRMED`. Out of it goes by BYE, CANCEL, a rejection
or a 200 that nobody confirms. `CLOSING` is a dialog that the application has done with while the wire has not: our BYE
waits for its response, or our 200 for the ACK without which section 15 forbids the BYE. An offer of the peer's, in a
re-INVITE or an UPDATE, lives beside the state, as the dialog's one open exchange.

Requests go where section 12.2.1.1 says: the first Record-Route, else the peer's Contact, also when that is a private
address behind a NAT; a peer behind one registers or uses a proxy that rewrites it. They leave by the flow on which the
INVITE came or went.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import quote

from trunkline.sdp.values import Endpoint
from trunkline.sip.bodies import ACCEPT
from trunkline.sip.headers import USER_CHARACTERS, one_line, parse_name_addr, parse_uri, quoted_string
from trunkline.sip.screen import ALLOW, SUPPORTED, Headers, Message
from trunkline.sip.session_timer import Terms
from trunkline.sip.transactions import Exchange, Flow, Outgoing
from trunkline.sip.values import Credentials, DialogId

CAPABILITIES = (("Allow", ", ".join(ALLOW)), ("Supported", ", ".join(SUPPORTED)), ("Accept", ACCEPT))


class State(Enum):
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
    state: State
    remote_cseq: int
    """0 before the first request of the peer's."""
    local_cseq: int = 0
    hop: Hop | None = None
    credentials: Credentials | None = None
    """What answers challenges to our requests."""
    nonces: Counter[str] = field(default_factory=Counter)
    """How often each nonce was used."""
    invite: Exchange | None = None
    """The peer's INVITE or offer under way, until its ACK."""
    answered: bool = False
    """A 200 to `invite` is out."""
    offering: bool = False
    """A re-INVITE of ours is under way."""
    goodbye: str | None = None
    """`CLOSING`: the Reason header of the BYE that waits for the ACK."""
    ack_cseq: int = 0
    repeat_ack: Callable[[], None] | None = None
    """Sends our last ACK again, which was for the INVITE of that number."""
    invite_cseq: int = 0
    """Of the INVITE that made the dialog."""
    rseq: int = 0
    """Of the last reliable provisional response, the peer's or ours (RFC 3262)."""
    acknowledged: bool = True
    """Ours has its PRACK."""
    ours: bool = False
    """The call was placed by us."""
    sdp: str = field(default="", repr=False)
    """Our last description."""
    takes_updates: bool = False
    """The peer takes UPDATE."""
    grant: tuple[Terms | None, Headers] = (None, ())
    """`invite`: what our 200 will say of the session's timer."""
    terms: Terms | None = None
    """When the session expires; None: never."""
    min_se: int = 0
    """Seconds: the least interval that the peer's side takes, as far as it has told."""
    alarms: list[Any] = field(default_factory=list)
    """Timers of the session."""

    @property
    def key(self) -> Key:
        """What a request of the peer's knows it by."""
        return self.call_id, self.remote_tag

    def be_quiet(self) -> None:
        """Stop the timers."""
        for alarm in self.alarms:
            alarm.cancel()
        self.alarms.clear()

    def request(self, method: str, headers: Headers = (), sdp: str | None = None, cseq: int | None = None) -> Outgoing:
        """The next request inside the dialog; `cseq` is given for an ACK, which takes its INVITE's."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        uri, routes = self._way()
        return Outgoing(
            method=method,
            uri=uri,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq,
            target=self._next_hop(parse_name_addr(self.route_set[0]).uri if self.route_set else uri),
            flow=self.flow,
            routes=routes,
            headers=headers,
            sdp=sdp,
        )

    def _way(self) -> tuple[str, tuple[str, ...]]:
        """Request-URI and Route values (section 12.2.1.1)."""
        if not self.route_set:
            return self.remote_target, ()
        first = parse_name_addr(self.route_set[0]).uri
        if "lr" in (parameter.partition("=")[0] for parameter in parse_uri(first).params):
            return self.remote_target, self.route_set
        return first, (*self.route_set[1:], f"<{self.remote_target}>")

    def _next_hop(self, uri: str) -> Endpoint:
        parts = parse_uri(uri)
        if self.hop is not None and (parts.host, parts.port) == (self.hop.host, self.hop.port):
            return self.hop.endpoint
        return Endpoint(parts.host, parts.port or (5061 if self.flow.transport == "tls" else 5060))


def contact(flow: Flow, user: str = "") -> tuple[str, str]:
    """Our Contact header."""
    suffix = "" if flow.transport == "udp" else f";transport={flow.transport}"
    before = f"{quote(user, safe=USER_CHARACTERS)}@" if user else ""
    return "Contact", f"<sip:{before}{flow.local}{suffix}>"


def contact_of(message: Message) -> str | None:
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


def why(message: Message) -> str:
    """The Reason header, for people (RFC 3326)."""
    return one_line(message.value("reason"))[:200]


def reason(cause: int, text: str) -> str:
    """The value of a Reason header."""
    return f"SIP;cause={cause};text={quoted_string(text)}"


def user_of(uri: str) -> str:
    """User part, or the host when there is none."""
    try:
        return one_line(parse_uri(uri).display_user)
    except LookupError:
        return one_line(uri)
