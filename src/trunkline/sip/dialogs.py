"""Calls as SIP sees them (RFC 3261 sections 12 to 15), as the called side: pure.

A dialog goes `RINGING` (INVITE taken, not answered) -> `ANSWERED` (our 200 waits for its ACK) -> `CONFIRMED`, and out
by BYE, CANCEL, a rejection or a 200 that nobody confirms. `CLOSING` is a dialog that the application has done with
while the wire has not: our BYE waits for its response, or our 200 for the ACK without which section 15 forbids the
BYE. A re-INVITE lives beside the state, as the dialog's one open INVITE exchange.

In-dialog requests go where RFC 3261 section 12.2.1.1 says: the first Record-Route, else the peer's Contact, also when
that is a private address behind a NAT; a peer behind one registers or uses a proxy that rewrites it. They leave by the
flow on which the INVITE came.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Literal

from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Endpoint
from trunkline.sip.bodies import ACCEPT, pressed_key, session_description
from trunkline.sip.headers import one_line, parse_name_addr, parse_uri, quoted_string
from trunkline.sip.screen import ALLOW, SUPPORTED, Refused, Request
from trunkline.sip.transactions import Exchange, Flow, Transactions
from trunkline.sip.values import (
    AcceptReinvite,
    AckReceived,
    Answer,
    DialogEnded,
    DialogId,
    DigitReceived,
    Hangup,
    InviteReceived,
    ReinviteReceived,
    Reject,
    RejectReinvite,
    Ring,
    SipAction,
    SipEvent,
)

RETRY_AFTER = 5
"""Seconds after which a refused caller may try again."""
TRANSACTION_FACTOR = 4
"""Server transactions, per call of the limit on calls, over which new calls are refused without one."""
REINVITE_RETRY_AFTER = 2
"""Seconds; section 14.2 asks for 0 to 10."""

CAPABILITIES = (("Allow", ", ".join(ALLOW)), ("Supported", ", ".join(SUPPORTED)), ("Accept", ACCEPT))


class State(Enum):
    """Where a dialog is; see the head of this file."""

    RINGING = "ringing"
    ANSWERED = "answered"
    CONFIRMED = "confirmed"
    CLOSING = "closing"


Key = tuple[str, str]
"""Call-ID and the peer's tag: enough to find a dialog, as each peer's INVITE makes but one."""


@dataclass(slots=True, eq=False)
class Dialog:
    """One dialog."""

    id: DialogId
    key: Key
    call_id: str
    local_tag: str
    local: str
    """Our From in requests: the INVITE's To with our tag."""
    remote: str
    """Our To in requests: the INVITE's From."""
    remote_target: str
    """URI of the peer's Contact."""
    route_set: tuple[str, ...]
    """The INVITE's Record-Route values in order (section 12.1.1)."""
    flow: Flow
    invite: Exchange | None
    """The INVITE or re-INVITE under way, until its ACK."""
    remote_cseq: int
    local_cseq: int = 0
    state: State = State.RINGING
    answered: bool = False
    """A 200 to `invite` is out."""
    goodbye: str | None = None
    """`CLOSING`: the Reason header of the BYE that waits for the ACK."""


class Dialogs:
    """All dialogs of one endpoint.

    `tag` makes tags: 64 random bits or more each. `limit` is the number of calls at once. Events are told through
    `on_event` and may be answered by `perform` from within it.
    """

    def __init__(
        self, on_event: Callable[[SipEvent], None], tag: Callable[[], str], limit: int, counters: Counter[str]
    ) -> None:
        self.transactions = Transactions(self._new_request)
        self.draining = False
        self._on_event = on_event
        self._tag = tag
        self._limit = limit
        self._counters = counters
        self._ids = count(1)
        self._live: dict[DialogId, Dialog] = {}
        self._known: dict[Key, Dialog] = {}
        self._on_empty: Callable[[], None] | None = None

    @property
    def sizes(self) -> dict[str, int]:
        """Dialogs that the application knows, and all."""
        return {"live": len(self._live), "known": len(self._known), **self.transactions.sizes}

    def when_empty(self, callback: Callable[[], None]) -> None:
        """Call back when no dialog is left, on the wire too; at once if there is none."""
        self._on_empty = callback
        if not self._known:
            callback()

    # From the peers.

    def receive(self, data: bytes, request: Request, source: Endpoint, flow: Flow) -> None:
        """A screened request. Raises Refused for what is refused without a transaction."""
        dialog = self._known.get((request.value("call-id"), request.tag("from")))
        outside = not request.tag("to")
        if request.method == "INVITE" and outside:
            if dialog is not None:
                return self._repeated_invite(dialog, request)
            self._admit()
        elif request.method == "OPTIONS" and outside:
            if self.draining:
                self._admit()
        elif request.method not in ("ACK", "CANCEL") and (dialog is None or dialog.local_tag != request.tag("to")):
            # Without a transaction: a flood of them leaves nothing behind.
            raise Refused(481, "Call/Transaction Does Not Exist")
        elif request.method == "CANCEL" and dialog is not None:
            self._late_cancel(dialog, request)
        tag = dialog.local_tag if dialog is not None else self._tag()
        self.transactions.receive_request(data, request, source, flow, tag if request.method == "CANCEL" else None)
        return None

    def _admit(self) -> None:
        headers = (("Retry-After", str(RETRY_AFTER)),)
        if self.draining:
            raise Refused(503, "Shutting Down", headers)
        # Refused calls wait for their ACKs too: a flood of them must not fill the memory.
        if len(self._live) >= self._limit or self.transactions.sizes["server"] >= TRANSACTION_FACTOR * self._limit:
            raise Refused(503, "Too Many Calls", headers)

    def _repeated_invite(self, dialog: Dialog, request: Request) -> None:
        """An INVITE of a dialog that we have: sent again in other bytes, or forked to us twice (section 8.2.2.2)."""
        exchange = dialog.invite
        if exchange is None or _same_branch(exchange.request, request):
            self._counters["retransmissions"] += 1
            if exchange is not None:
                exchange.repeat()
            return
        raise Refused(482, "Loop Detected")

    def _late_cancel(self, dialog: Dialog, request: Request) -> None:
        """A CANCEL that crossed our 200: answered, without effect (section 9.2)."""
        if dialog.answered and dialog.invite is not None and _same_branch(dialog.invite.request, request):
            raise Refused(200, "OK", tag=dialog.local_tag)

    def _new_request(self, exchange: Exchange) -> None:
        request = exchange.request
        dialog = self._known.get((request.value("call-id"), request.tag("from")))
        outside = not request.tag("to")
        if outside:
            exchange.tag(self._tag())
        if outside and request.method == "OPTIONS":
            exchange.respond(200, "OK", CAPABILITIES)
        elif outside and request.method == "INVITE":
            self._new_invite(exchange)
        elif dialog is not None and request.cseq[0] <= dialog.remote_cseq:
            self._refuse(exchange, Refused(500, "CSeq Out Of Order"))
        elif dialog is not None:
            dialog.remote_cseq = request.cseq[0]
            self._in_dialog(dialog, exchange)

    def _in_dialog(self, dialog: Dialog, exchange: Exchange) -> None:
        method = exchange.request.method
        if method == "OPTIONS":
            exchange.respond(200, "OK", CAPABILITIES)
        elif method == "BYE":
            exchange.respond(200, "OK")
            self._end(dialog, "bye", _why(exchange.request))
        elif method == "INFO":
            self._info(dialog, exchange)
        else:
            self._reinvite(dialog, exchange)

    def _info(self, dialog: Dialog, exchange: Exchange) -> None:
        try:
            key = pressed_key(exchange.request)
        except Refused as refused:
            self._refuse(exchange, refused)
            return
        exchange.respond(200, "OK")
        if key is not None and dialog.id in self._live:
            self._counters["info_digits"] += 1
            self._on_event(DigitReceived(dialog.id, key))

    def _new_invite(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            offer = session_description(request)
        except Refused as refused:
            self._refuse(exchange, refused)
            return
        exchange.respond(100, "Trying")
        dialog = Dialog(
            id=DialogId(next(self._ids)),
            key=(request.value("call-id"), request.tag("from")),
            call_id=request.value("call-id"),
            local_tag=exchange.local_tag,
            local=f"{request.value('to')};tag={exchange.local_tag}",
            remote=request.value("from"),
            remote_target=parse_name_addr(request.listed("contact")[0]).uri,
            route_set=tuple(request.listed("record-route")),
            flow=exchange.flow,
            invite=exchange,
            remote_cseq=request.cseq[0],
        )
        self._live[dialog.id] = self._known[dialog.key] = dialog
        self._watch(dialog, exchange)
        self._counters["calls"] += 1
        self._on_event(_invite_received(dialog, exchange, offer))

    def _reinvite(self, dialog: Dialog, exchange: Exchange) -> None:
        if dialog.state is not State.CONFIRMED or dialog.invite is not None:
            # Section 14.2: one at a time; also while our 200 to the one before waits for its ACK.
            headers = (("Retry-After", str(REINVITE_RETRY_AFTER)),)
            self._refuse(exchange, Refused(500, "Another INVITE Is Pending", headers))
            return
        try:
            offer = session_description(exchange.request)
        except Refused as refused:
            self._refuse(exchange, refused)
            return
        exchange.respond(100, "Trying")
        dialog.invite = exchange
        self._watch(dialog, exchange)
        self._on_event(ReinviteReceived(dialog.id, offer))

    def _refuse(self, exchange: Exchange, refused: Refused) -> None:
        self._counters[f"refused_{refused.status}"] += 1
        exchange.respond(refused.status, refused.reason, refused.headers)

    def _watch(self, dialog: Dialog, exchange: Exchange) -> None:
        exchange.watch(
            on_cancel=lambda cancel: self._cancelled(dialog, exchange, cancel),
            on_no_ack=lambda: self._not_confirmed(dialog, exchange),
        )

    def _cancelled(self, dialog: Dialog, exchange: Exchange, cancel: Request | None) -> None:
        if dialog.invite is not exchange:
            return
        dialog.invite = None
        if dialog.state is not State.RINGING:
            return  # A re-INVITE: the dialog goes on as it was.
        if cancel is None:
            self._end(dialog, "error", "the INVITE expired unanswered")
        else:
            self._end(dialog, "cancel", _why(cancel))

    def _confirmed(self, dialog: Dialog, exchange: Exchange, ack: Request) -> None:
        if dialog.invite is not exchange:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is State.CLOSING:
            self._send_bye(dialog, dialog.goodbye)
            return
        dialog.state = State.CONFIRMED
        self._on_event(AckReceived(dialog.id, self._late_answer(exchange.request, ack)))

    def _late_answer(self, invite: Request, ack: Request) -> SessionDescription | None:
        if invite.body.strip():
            return None
        try:
            return session_description(ack)
        except Refused:
            self._counters["bad_answers"] += 1
            return None

    def _not_confirmed(self, dialog: Dialog, exchange: Exchange) -> None:
        """64*T1 without an ACK: the session is over (section 13.3.1.4)."""
        if dialog.invite is not exchange:
            return
        dialog.invite, dialog.answered = None, False
        ended = self._live.pop(dialog.id, None) is not None
        self._send_bye(dialog, dialog.goodbye or _reason(408, "no ACK"))
        if ended:
            self._on_event(DialogEnded(dialog.id, "no-ack", "our 200 was not confirmed by an ACK"))

    def _end(self, dialog: Dialog, cause: Literal["bye", "cancel", "error"], detail: str) -> None:
        self._settle(dialog)
        self._forget(dialog)
        if self._live.pop(dialog.id, None) is not None:
            self._on_event(DialogEnded(dialog.id, cause, detail))

    def _settle(self, dialog: Dialog) -> None:
        """Finish the open INVITE exchange of a dialog that ends."""
        exchange, dialog.invite = dialog.invite, None
        if exchange is not None and dialog.answered:
            exchange.abandon()
        elif exchange is not None:
            exchange.respond(487, "Request Terminated")

    def _forget(self, dialog: Dialog) -> None:
        if self._known.get(dialog.key) is dialog:
            del self._known[dialog.key]
        if not self._known and self._on_empty is not None:
            self._on_empty()

    # From the application.

    def perform(self, action: SipAction) -> None:
        """Do what the application asks; what comes too late, or for a dialog that is no more, is ignored."""
        dialog = self._live.get(action.dialog)
        if dialog is None:
            return
        exchange = None if dialog.answered else dialog.invite
        if isinstance(action, Hangup):
            self._hang_up(dialog, action.reason)
        elif exchange is None:
            return
        elif isinstance(action, AcceptReinvite | RejectReinvite):
            if dialog.state is State.CONFIRMED:
                self._settle_reinvite(dialog, exchange, action)
        elif dialog.state is State.RINGING:
            self._settle_invite(dialog, exchange, action)

    def hang_up_all(self, reason: str) -> None:
        """End every dialog, also those whose ACK is still to come."""
        for dialog in list(self._live.values()):
            self._hang_up(dialog, reason)
        for dialog in list(self._known.values()):
            if dialog.invite is not None:
                self._settle(dialog)
                self._send_bye(dialog, dialog.goodbye)

    def _settle_invite(self, dialog: Dialog, exchange: Exchange, action: Ring | Answer | Reject) -> None:
        if isinstance(action, Ring):
            exchange.respond(180, "Ringing", (self._contact(dialog),))
        elif isinstance(action, Answer):
            dialog.state = State.ANSWERED
            self._accept(dialog, exchange, action.sdp, action.headers)
        else:
            dialog.invite = None
            del self._live[dialog.id]
            self._forget(dialog)
            exchange.respond(action.status, action.reason, self._warning(dialog, action.warning))

    def _settle_reinvite(self, dialog: Dialog, exchange: Exchange, action: AcceptReinvite | RejectReinvite) -> None:
        if isinstance(action, AcceptReinvite):
            # Section 12.2.2: a re-INVITE that is accepted refreshes the remote target.
            dialog.remote_target = parse_name_addr(exchange.request.listed("contact")[0]).uri
            self._accept(dialog, exchange, action.sdp, ())
        else:
            dialog.invite = None
            exchange.respond(action.status, action.reason, self._warning(dialog, action.warning))

    def _accept(self, dialog: Dialog, exchange: Exchange, sdp: str, headers: tuple[tuple[str, str], ...]) -> None:
        dialog.answered = True
        exchange.respond(
            200,
            "OK",
            (self._contact(dialog), *CAPABILITIES, *headers),
            sdp,
            on_ack=lambda ack: self._confirmed(dialog, exchange, ack),
        )

    def _hang_up(self, dialog: Dialog, reason: str | None) -> None:
        del self._live[dialog.id]
        header = None if reason is None else _reason(200, reason)
        if dialog.state is State.RINGING:
            exchange, dialog.invite = dialog.invite, None
            self._forget(dialog)
            if exchange is not None:
                exchange.respond(480, "Temporarily Unavailable", () if header is None else (("Reason", header),))
        elif dialog.state is State.ANSWERED:
            # Section 15: no BYE before the ACK has come, or has not come in time.
            dialog.state, dialog.goodbye = State.CLOSING, header
        else:
            self._settle(dialog)
            self._send_bye(dialog, header)

    def _send_bye(self, dialog: Dialog, reason: str | None) -> None:
        dialog.state = State.CLOSING
        dialog.local_cseq += 1
        uri, routes = _route(dialog)
        hop = parse_uri(parse_name_addr(dialog.route_set[0]).uri if dialog.route_set else uri)
        self.transactions.send_request(
            "BYE",
            uri,
            from_=dialog.local,
            to=dialog.remote,
            call_id=dialog.call_id,
            cseq=dialog.local_cseq,
            routes=routes,
            headers=() if reason is None else (("Reason", reason),),
            target=Endpoint(hop.host, hop.port or 5060),
            flow=dialog.flow,
            on_final=lambda _status: self._forget(dialog),
        )

    def _contact(self, dialog: Dialog) -> tuple[str, str]:
        suffix = "" if dialog.flow.transport == "udp" else f";transport={dialog.flow.transport}"
        return "Contact", f"<sip:{dialog.flow.local}{suffix}>"

    def _warning(self, dialog: Dialog, text: str | None) -> tuple[tuple[str, str], ...]:
        return () if text is None else (("Warning", f"399 {dialog.flow.local} {quoted_string(text)}"),)


def _same_branch(one: Request, other: Request) -> bool:
    return one.via.params.get("branch") == other.via.params.get("branch")


def _invite_received(dialog: Dialog, exchange: Exchange, offer: SessionDescription | None) -> InviteReceived:
    request = exchange.request
    sender = parse_name_addr(request.value("from"))
    return InviteReceived(
        dialog=dialog.id,
        from_uri=sender.uri,
        from_user=_user(sender.uri),
        from_name=one_line(sender.name),
        to_uri=parse_name_addr(request.value("to")).uri,
        to_user=_user(request.uri),
        offer=offer,
        headers=tuple((name, value) for key, name, value in request.headers if key.startswith("x-")),
        source=exchange.source,
        transport=exchange.flow.transport,
        call_id=dialog.call_id,
    )


def _user(uri: str) -> str:
    try:
        return one_line(parse_uri(uri).display_user)
    except LookupError:
        return one_line(uri)


def _route(dialog: Dialog) -> tuple[str, tuple[str, ...]]:
    """Request-URI and Route values of a request inside the dialog (section 12.2.1.1)."""
    if not dialog.route_set:
        return dialog.remote_target, ()
    first = parse_name_addr(dialog.route_set[0]).uri
    if "lr" in (parameter.partition("=")[0] for parameter in parse_uri(first).params):
        return dialog.remote_target, dialog.route_set
    return first, (*dialog.route_set[1:], f"<{dialog.remote_target}>")


def _why(request: Request) -> str:
    """The Reason header, for people (RFC 3326)."""
    return one_line(request.value("reason"))[:200]


def _reason(cause: int, text: str) -> str:
    return f"SIP;cause={cause};text={quoted_string(text)}"
