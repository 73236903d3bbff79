"""The called side of an INVITE (RFC 3261 section 13.3), until it is confirmed: pure."""

from trunkline.sdp.session import SessionDescription
from trunkline.sip.bodies import session_description
from trunkline.sip.dialog import CAPABILITIES, Dialog, State, contact, reason, user_of, warning, why
from trunkline.sip.headers import one_line, parse_name_addr
from trunkline.sip.screen import Headers, Refused, Request
from trunkline.sip.table import Table
from trunkline.sip.transactions import Exchange
from trunkline.sip.values import AckReceived, Answer, DialogEnded, InviteReceived, Reject, Ring

IDENTITY_HEADERS = ("diversion", "p-asserted-identity")
"""Told to the application, beside those that begin with `X-`."""


class Callee:
    """All calls to us."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def invited(self, exchange: Exchange) -> None:
        """A new INVITE outside any dialog."""
        request = exchange.request
        try:
            offer = session_description(request)
        except Refused as refused:
            self._table.refuse(exchange, refused)
            return
        exchange.respond(100, "Trying")
        dialog = Dialog(
            id=self._table.new_id(),
            call_id=request.value("call-id"),
            local_tag=exchange.local_tag,
            remote_tag=request.tag("from"),
            local=f"{request.value('to')};tag={exchange.local_tag}",
            remote=request.value("from"),
            remote_target=parse_name_addr(request.listed("contact")[0]).uri,
            route_set=tuple(request.listed("record-route")),
            flow=exchange.flow,
            state=State.RINGING,
            remote_cseq=request.cseq[0],
            invite=exchange,
        )
        self._table.live[dialog.id] = self._table.known[dialog.key] = dialog
        self.watch(dialog, exchange)
        self._table.counters["calls"] += 1
        self._table.tell(_invite_received(dialog, exchange, offer))

    def settle(self, dialog: Dialog, exchange: Exchange, action: Ring | Answer | Reject) -> None:
        """What the application says to an INVITE."""
        if isinstance(action, Ring):
            exchange.respond(180, "Ringing", (contact(dialog.flow),))
        elif isinstance(action, Answer):
            dialog.state = State.ANSWERED
            self.accept(dialog, exchange, action.sdp, action.headers)
        else:
            dialog.invite = None
            del self._table.live[dialog.id]
            self._table.forget(dialog)
            exchange.respond(action.status, action.reason, warning(dialog.flow, action.warning))

    def hang_up(self, dialog: Dialog, text: str | None) -> None:
        """The application wants no more of a call that is not answered."""
        exchange, dialog.invite = dialog.invite, None
        self._table.forget(dialog)
        if exchange is not None:
            exchange.respond(480, "Temporarily Unavailable", () if text is None else (("Reason", text),))

    def accept(self, dialog: Dialog, exchange: Exchange, sdp: str, headers: Headers = ()) -> None:
        """200 to an INVITE or a re-INVITE."""
        dialog.answered = True
        exchange.respond(
            200,
            "OK",
            (contact(dialog.flow), *CAPABILITIES, *headers),
            sdp,
            on_ack=lambda ack: self._confirmed(dialog, exchange, ack),
        )

    def watch(self, dialog: Dialog, exchange: Exchange) -> None:
        """See to the CANCEL of an INVITE or a re-INVITE, and to a 200 that is not confirmed."""
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
            self._table.end(dialog, "error", "the INVITE expired unanswered")
        else:
            self._table.end(dialog, "cancel", why(cancel))

    def _confirmed(self, dialog: Dialog, exchange: Exchange, ack: Request) -> None:
        if dialog.invite is not exchange:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is State.CLOSING:
            self._table.send_bye(dialog, dialog.goodbye)
            return
        dialog.state = State.CONFIRMED
        self._table.tell(AckReceived(dialog.id, self._late_answer(exchange.request, ack)))

    def _late_answer(self, invite: Request, ack: Request) -> SessionDescription | None:
        if invite.body.strip():
            return None
        try:
            return session_description(ack)
        except Refused:
            self._table.counters["bad_answers"] += 1
            return None

    def _not_confirmed(self, dialog: Dialog, exchange: Exchange) -> None:
        """64*T1 without an ACK: the session is over (section 13.3.1.4)."""
        if dialog.invite is not exchange:
            return
        dialog.invite, dialog.answered = None, False
        ended = self._table.live.pop(dialog.id, None) is not None
        self._table.send_bye(dialog, dialog.goodbye or reason(408, "no ACK"))
        if ended:
            self._table.tell(DialogEnded(dialog.id, "no-ack", "our 200 was not confirmed by an ACK"))


def _invite_received(dialog: Dialog, exchange: Exchange, offer: SessionDescription | None) -> InviteReceived:
    request = exchange.request
    sender = parse_name_addr(request.value("from"))
    return InviteReceived(
        dialog=dialog.id,
        from_uri=sender.uri,
        from_user=user_of(sender.uri),
        from_name=one_line(sender.name),
        to_uri=parse_name_addr(request.value("to")).uri,
        to_user=user_of(request.uri),
        offer=offer,
        headers=tuple(
            (name, value) for key, name, value in request.headers if key.startswith("x-") or key in IDENTITY_HEADERS
        ),
        source=exchange.source,
        transport=exchange.flow.transport,
        call_id=dialog.call_id,
    )
