"""The called side of an INVITE (RFC 3261 section 13.3), until it is confirmed: pure."""

from functools import partial

from trunkline.sdp.session import SessionDescription
from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, contact, reason_of, reason_value, warning
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

    def __init__(self, store: DialogStore) -> None:
        self._store = store

    def invited(self, transaction: ServerTransaction, phone: str | None) -> None:
        """A new INVITE outside any dialog, of a phone or of somebody else."""
        request = transaction.request
        try:
            offer = session_description(request)
            session_timer = self.negotiate_timer(request)
        except Rejection as refused:
            self._store.refuse(transaction, refused)
            return
        transaction.respond(100, "Trying")
        dialog = Dialog(
            id=self._store.new_id(),
            call_id=request.value("call-id"),
            local_tag=transaction.local_tag,
            remote_tag=request.tag("from"),
            local=f"{request.value('to')};tag={transaction.local_tag}",
            remote=request.value("from"),
            remote_target=parse_name_addr(request.listed("contact")[0]).uri,
            route_set=tuple(request.listed("record-route")),
            flow=transaction.flow,
            source=transaction.source,
            state=DialogState.RINGING,
            remote_cseq=request.cseq[0],
            invite_cseq=request.cseq[0],
            invite=transaction,
            takes_updates=takes_updates(request),
            negotiated=session_timer,
            phone=phone,
        )
        dialog.choose_next_hop(symmetric="rport" in request.via.params)
        self._store.by_id[dialog.id] = self._store.by_key[dialog.key] = dialog
        self.watch(dialog, transaction)
        self._store.counters["calls"] += 1
        self._store.tell(_invite_received(dialog, transaction, offer))

    def settle(
        self, dialog: Dialog, transaction: ServerTransaction, action: SendRinging | AcceptInvite | RejectInvite
    ) -> None:
        """What the application says to an INVITE."""
        if isinstance(action, SendRinging):
            self._ring(dialog, transaction)
        elif isinstance(action, AcceptInvite):
            dialog.state = DialogState.ANSWERED
            self.accept(dialog, transaction, action.sdp, action.headers)
        else:
            dialog.invite = None
            del self._store.by_id[dialog.id]
            self._store.forget(dialog)
            transaction.respond(action.status, action.reason, warning(dialog.flow, action.warning))

    def negotiate_timer(self, request: SipRequest) -> tuple[SessionTimer | None, Headers]:
        """What our 200 will say of the session's timer. Raises Rejection."""
        settings = self._store.settings
        return negotiate_uas(request, settings.session_expires, settings.min_se)

    def _ring(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """180, reliably where the caller demands it (RFC 3262 section 3)."""
        if "100rel" not in (tag.lower() for tag in transaction.request.listed("require")):
            transaction.respond(180, "Ringing", (contact(dialog.flow),))
        elif transaction.request.body.strip() and dialog.prack_received:
            dialog.rseq, dialog.prack_received = dialog.rseq + 1, False
            headers = (contact(dialog.flow), ("Require", "100rel"), ("RSeq", str(dialog.rseq)))
            transaction.respond(180, "Ringing", headers)
            self._store.timers.after(T1, self._ring_again, dialog, transaction, T1)
        # Else not at all: where the offer is to be ours, the first reliable response has to bring it (section 5).

    def _ring_again(self, dialog: Dialog, transaction: ServerTransaction, interval: float) -> None:
        if dialog.prack_received or dialog.state is not DialogState.RINGING or dialog.invite is not transaction:
            return
        if 2 * interval >= TRANSACTION_TIME:
            dialog.invite = None
            transaction.respond(504, "No PRACK")
            self._store.end(dialog, "error", "our 180 was not acknowledged by a PRACK")
            return
        transaction.repeat()
        self._store.timers.after(2 * interval, self._ring_again, dialog, transaction, 2 * interval)

    def acknowledged(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """PRACK."""
        wanted = [str(dialog.rseq), str(dialog.invite_cseq), "INVITE"]
        if dialog.prack_received or transaction.request.value("rack").split() != wanted:
            self._store.refuse(transaction, Rejection(481, "No Such Response"))
        elif transaction.request.body.strip():
            self._store.refuse(transaction, Rejection(488, "No Offers In PRACK"))
        else:
            dialog.prack_received = True
            transaction.respond(200, "OK")

    def hang_up(self, dialog: Dialog, text: str | None) -> None:
        """The application wants no more of a call that is not answered."""
        transaction, dialog.invite = dialog.invite, None
        self._store.forget(dialog)
        if transaction is not None:
            transaction.respond(480, "Temporarily Unavailable", () if text is None else (("Reason", text),))

    def accept(self, dialog: Dialog, transaction: ServerTransaction, sdp: str, headers: Headers = ()) -> None:
        """200 to an INVITE or a re-INVITE, or to an UPDATE, which has no ACK."""
        dialog.sdp = sdp
        session_timer, timer = dialog.negotiated
        headers = (contact(dialog.flow), *CAPABILITIES, *timer, *headers)
        if transaction.request.method == "UPDATE":
            dialog.invite = None
            transaction.respond(200, "OK", headers, sdp)
        else:
            dialog.answered = True
            transaction.respond(200, "OK", headers, sdp, on_ack=lambda ack: self._confirmed(dialog, transaction, ack))
        start(self._store, dialog, session_timer)

    def watch(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """See to the CANCEL of an INVITE or a re-INVITE, and to a 200 that is not confirmed."""
        transaction.watch(
            on_cancel=lambda cancel: self._cancelled(dialog, transaction, cancel),
            on_no_ack=lambda: self._not_confirmed(dialog, transaction),
        )

    def _cancelled(self, dialog: Dialog, transaction: ServerTransaction, cancel: SipRequest | None) -> None:
        if dialog.invite is not transaction:
            return
        dialog.invite = None
        if dialog.state is not DialogState.RINGING:  # a re-INVITE
            self._store.tell(ReinviteCancelled(dialog.id))
        elif cancel is None:
            self._store.end(dialog, "error", "the INVITE expired unanswered")
        else:
            self._store.end(dialog, "cancel", reason_of(cancel))

    def _confirmed(self, dialog: Dialog, transaction: ServerTransaction, ack: SipRequest) -> None:
        if dialog.invite is not transaction:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is DialogState.CLOSING:
            self._store.send_bye(dialog, dialog.bye_reason)
            return
        dialog.state = DialogState.CONFIRMED
        self._store.tell(AckReceived(dialog.id, self._late_answer(transaction.request, ack)))

    def _late_answer(self, invite: SipRequest, ack: SipRequest) -> SessionDescription | None:
        if invite.body.strip():
            return None
        try:
            return session_description(ack)
        except Rejection:
            self._store.counters["bad_answers"] += 1
            return None

    def _not_confirmed(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """64*T1 without an ACK: the session is over (section 13.3.1.4). After a re-INVITE it is only if the peer is
        gone, which an OPTIONS shows: who asks for a BYE (section 14.2) did not think of ACKs that alone get lost."""
        if dialog.invite is not transaction:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is DialogState.CONFIRMED:
            self._store.tell(AckReceived(dialog.id, None))
            self._store.request(dialog, "OPTIONS", partial(self._looked_after, dialog))
        else:
            self._gone(dialog)

    def _looked_after(self, dialog: Dialog, response: SipResponse) -> None:
        if dialog.state is DialogState.CONFIRMED and (response.status == 481 or not response.headers):
            self._gone(dialog)

    def _gone(self, dialog: Dialog) -> None:
        detail = "our 200 was not confirmed by an ACK"
        self._store.give_up(dialog, detail, dialog.bye_reason or reason_value(408, "no ACK"), "no-ack")


def _invite_received(
    dialog: Dialog, transaction: ServerTransaction, offer: SessionDescription | None
) -> InviteReceived:
    request = transaction.request
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
        source=transaction.source,
        transport=transaction.flow.transport,
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
