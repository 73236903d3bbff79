"""The called side of an INVITE (RFC 3261 section 13.3), until it is confirmed: pure."""

from functools import partial

from trunkline.sdp.session import SessionDescription
from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, contact, reason, warning, why
from trunkline.sip.dialog_store import DialogStore
from trunkline.sip.message.bodies import session_description
from trunkline.sip.message.headers import one_line, parse_name_addr, parse_uri
from trunkline.sip.message.numbers import number_of
from trunkline.sip.message.validation import Headers, Rejection, SipRequest, SipResponse
from trunkline.sip.refresh import start, takes_updates
from trunkline.sip.session_timer import SessionTimer, negotiate_uas
from trunkline.sip.transactions import T1, TRANSACTION_TIME, ServerTransaction
from trunkline.sip.values import AcceptInvite, AckReceived, InviteReceived, ReinviteCancelled, RejectInvite, SendRinging

IDENTITY_HEADERS = ("diversion", "p-asserted-identity")
"""Told to the application, beside those that begin with `X-`."""


class Uas:
    """All calls to us."""

    def __init__(self, table: DialogStore) -> None:
        self._table = table

    def invited(self, exchange: ServerTransaction, phone: str | None) -> None:
        """A new INVITE outside any dialog, of a phone or of somebody else."""
        request = exchange.request
        try:
            offer = session_description(request)
            terms = self.grant(request)
        except Rejection as refused:
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
            source=exchange.source,
            state=DialogState.RINGING,
            remote_cseq=request.cseq[0],
            invite_cseq=request.cseq[0],
            invite=exchange,
            takes_updates=takes_updates(request),
            grant=terms,
            phone=phone,
        )
        dialog.aim(symmetric="rport" in request.via.params)
        self._table.live[dialog.id] = self._table.known[dialog.key] = dialog
        self.watch(dialog, exchange)
        self._table.counters["calls"] += 1
        self._table.tell(_invite_received(dialog, exchange, offer))

    def settle(
        self, dialog: Dialog, exchange: ServerTransaction, action: SendRinging | AcceptInvite | RejectInvite
    ) -> None:
        """What the application says to an INVITE."""
        if isinstance(action, SendRinging):
            self._ring(dialog, exchange)
        elif isinstance(action, AcceptInvite):
            dialog.state = DialogState.ANSWERED
            self.accept(dialog, exchange, action.sdp, action.headers)
        else:
            dialog.invite = None
            del self._table.live[dialog.id]
            self._table.forget(dialog)
            exchange.respond(action.status, action.reason, warning(dialog.flow, action.warning))

    def grant(self, request: SipRequest) -> tuple[SessionTimer | None, Headers]:
        """What our 200 will say of the session's timer. Raises Rejection."""
        settings = self._table.settings
        return negotiate_uas(request, settings.session_expires, settings.min_se)

    def _ring(self, dialog: Dialog, exchange: ServerTransaction) -> None:
        """180, reliably where the caller demands it (RFC 3262 section 3)."""
        if "100rel" not in (tag.lower() for tag in exchange.request.listed("require")):
            exchange.respond(180, "Ringing", (contact(dialog.flow),))
        elif exchange.request.body.strip() and dialog.acknowledged:
            dialog.rseq, dialog.acknowledged = dialog.rseq + 1, False
            headers = (contact(dialog.flow), ("Require", "100rel"), ("RSeq", str(dialog.rseq)))
            exchange.respond(180, "Ringing", headers)
            self._table.timers.after(T1, self._ring_again, dialog, exchange, T1)
        # Else not at all: where the offer is to be ours, the first reliable response has to bring it (section 5).

    def _ring_again(self, dialog: Dialog, exchange: ServerTransaction, interval: float) -> None:
        if dialog.acknowledged or dialog.state is not DialogState.RINGING or dialog.invite is not exchange:
            return
        if 2 * interval >= TRANSACTION_TIME:
            dialog.invite = None
            exchange.respond(504, "No PRACK")
            self._table.end(dialog, "error", "our 180 was not acknowledged by a PRACK")
            return
        exchange.repeat()
        self._table.timers.after(2 * interval, self._ring_again, dialog, exchange, 2 * interval)

    def acknowledged(self, dialog: Dialog, exchange: ServerTransaction) -> None:
        """PRACK."""
        wanted = [str(dialog.rseq), str(dialog.invite_cseq), "INVITE"]
        if dialog.acknowledged or exchange.request.value("rack").split() != wanted:
            self._table.refuse(exchange, Rejection(481, "No Such Response"))
        elif exchange.request.body.strip():
            self._table.refuse(exchange, Rejection(488, "No Offers In PRACK"))
        else:
            dialog.acknowledged = True
            exchange.respond(200, "OK")

    def hang_up(self, dialog: Dialog, text: str | None) -> None:
        """The application wants no more of a call that is not answered."""
        exchange, dialog.invite = dialog.invite, None
        self._table.forget(dialog)
        if exchange is not None:
            exchange.respond(480, "Temporarily Unavailable", () if text is None else (("Reason", text),))

    def accept(self, dialog: Dialog, exchange: ServerTransaction, sdp: str, headers: Headers = ()) -> None:
        """200 to an INVITE or a re-INVITE, or to an UPDATE, which has no ACK."""
        dialog.sdp = sdp
        terms, timer = dialog.grant
        headers = (contact(dialog.flow), *CAPABILITIES, *timer, *headers)
        if exchange.request.method == "UPDATE":
            dialog.invite = None
            exchange.respond(200, "OK", headers, sdp)
        else:
            dialog.answered = True
            exchange.respond(200, "OK", headers, sdp, on_ack=lambda ack: self._confirmed(dialog, exchange, ack))
        start(self._table, dialog, terms)

    def watch(self, dialog: Dialog, exchange: ServerTransaction) -> None:
        """See to the CANCEL of an INVITE or a re-INVITE, and to a 200 that is not confirmed."""
        exchange.watch(
            on_cancel=lambda cancel: self._cancelled(dialog, exchange, cancel),
            on_no_ack=lambda: self._not_confirmed(dialog, exchange),
        )

    def _cancelled(self, dialog: Dialog, exchange: ServerTransaction, cancel: SipRequest | None) -> None:
        if dialog.invite is not exchange:
            return
        dialog.invite = None
        if dialog.state is not DialogState.RINGING:  # a re-INVITE
            self._table.tell(ReinviteCancelled(dialog.id))
        elif cancel is None:
            self._table.end(dialog, "error", "the INVITE expired unanswered")
        else:
            self._table.end(dialog, "cancel", why(cancel))

    def _confirmed(self, dialog: Dialog, exchange: ServerTransaction, ack: SipRequest) -> None:
        if dialog.invite is not exchange:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is DialogState.CLOSING:
            self._table.send_bye(dialog, dialog.goodbye)
            return
        dialog.state = DialogState.CONFIRMED
        self._table.tell(AckReceived(dialog.id, self._late_answer(exchange.request, ack)))

    def _late_answer(self, invite: SipRequest, ack: SipRequest) -> SessionDescription | None:
        if invite.body.strip():
            return None
        try:
            return session_description(ack)
        except Rejection:
            self._table.counters["bad_answers"] += 1
            return None

    def _not_confirmed(self, dialog: Dialog, exchange: ServerTransaction) -> None:
        """64*T1 without an ACK: the session is over (section 13.3.1.4). After a re-INVITE it is only if the peer is
        gone, which an OPTIONS shows: who asks for a BYE (section 14.2) did not think of ACKs that alone get lost."""
        if dialog.invite is not exchange:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is DialogState.CONFIRMED:
            self._table.tell(AckReceived(dialog.id, None))
            self._table.request(dialog, "OPTIONS", partial(self._looked_after, dialog))
        else:
            self._gone(dialog)

    def _looked_after(self, dialog: Dialog, response: SipResponse) -> None:
        if dialog.state is DialogState.CONFIRMED and (response.status == 481 or not response.headers):
            self._gone(dialog)

    def _gone(self, dialog: Dialog) -> None:
        detail = "our 200 was not confirmed by an ACK"
        self._table.give_up(dialog, detail, dialog.goodbye or reason(408, "no ACK"), "no-ack")


def _invite_received(dialog: Dialog, exchange: ServerTransaction, offer: SessionDescription | None) -> InviteReceived:
    request = exchange.request
    sender = parse_name_addr(request.value("from"))
    return InviteReceived(
        dialog=dialog.id,
        from_uri=sender.uri,
        from_user=_number(sender.uri),
        from_name=one_line(sender.name),
        to_uri=parse_name_addr(request.value("to")).uri,
        to_user=_number(request.uri),
        offer=offer,
        headers=tuple(
            (name, value) for key, name, value in request.headers if key.startswith("x-") or key in IDENTITY_HEADERS
        ),
        source=exchange.source,
        transport=exchange.flow.transport,
        call_id=dialog.call_id,
        called_party=_uri_in(request.value("p-called-party-id")),
    )


def _uri_in(address: str) -> str:
    try:
        return parse_name_addr(address).uri
    except ValueError:
        return ""


def _number(uri: str) -> str:
    """The number or name in a URI, the host when there is none."""
    try:
        parts = parse_uri(uri)
    except LookupError:
        return one_line(uri)
    return one_line(number_of(parts) or parts.display_user)
