"""INVITEs and offers of peers, until they are confirmed: the UAS (RFC 3261 sections 13.3 and 14.2). Pure."""

from trunkline.sdp.session import SessionDescription
from trunkline.sip.dialog import (
    CAPABILITIES,
    Dialog,
    DialogState,
    contact,
    contact_of,
    reason_of,
    reason_value,
    warning,
)
from trunkline.sip.dialog_store import DialogRequest, DialogStore, Purpose
from trunkline.sip.message.bodies import session_description
from trunkline.sip.message.headers import one_line, parse_name_addr, parse_uri
from trunkline.sip.message.numbers import number_of
from trunkline.sip.message.validation import Headers, Rejection, SipRequest, SipResponse
from trunkline.sip.refresh import allows_update, start
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.session_timer import SessionTimer, negotiate_uas
from trunkline.sip.transaction_states import T1, TRANSACTION_TIME
from trunkline.sip.values import (
    AcceptInvite,
    AcceptReinvite,
    AckReceived,
    InviteReceived,
    PeerIdentity,
    ReinviteCancelled,
    ReinviteReceived,
    RejectInvite,
    RejectReinvite,
    SendRinging,
)

IDENTITY_HEADERS = ("diversion", "p-asserted-identity")
"""Headers that the application gets, beside those that begin with `X-`."""
RETRY_AFTER = 2
"""Seconds after which a caller may try again: about as long as a worker takes to start, or an outage is waited for."""
REINVITE_RETRY_AFTER = 2
"""Seconds; section 14.2 asks for 0 to 10."""
REINVITE_LIMIT = 20.0
"""Seconds until an offer that the application has not answered is refused: before the peer gives its UPDATE up after
64*T1, and after the time in which a frozen media worker is detected, which ends the call."""


class Uas:
    """The calls to one endpoint, and the offers inside all its calls."""

    def __init__(self, store: DialogStore) -> None:
        self._store = store

    # ── from peers ──────────────────────────────────────────────────────────────────────────────────────────

    def invite_received(self, transaction: ServerTransaction, peer: PeerIdentity) -> None:
        """A new INVITE outside any dialog."""
        request = transaction.request
        try:
            offer = session_description(request)
            negotiated = self.negotiate_timer(request)
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
            allows_update=allows_update(request),
            negotiated=negotiated,
            phone=peer.phone,
        )
        dialog.choose_next_hop(symmetric="rport" in request.via.params)
        self._store.by_id[dialog.id] = self._store.by_key[dialog.key] = dialog
        self._store.counters["calls"] += 1
        self._store.events.append(_invite_received(dialog, transaction, offer, peer))

    def offer_received(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """A re-INVITE, or an UPDATE with an offer (RFC 3311)."""
        try:
            _check_no_pending_offer(dialog)
            offer = session_description(transaction.request)
            dialog.negotiated = self.negotiate_timer(transaction.request)
        except Rejection as refused:
            self._store.refuse(transaction, refused)
            return
        dialog.invite = transaction
        if transaction.request.method == "INVITE":
            transaction.respond(100, "Trying")
        self._store.events.append(ReinviteReceived(dialog.id, offer))
        self._store.timers.after(REINVITE_LIMIT, self._reinvite_timed_out, dialog, transaction)

    def negotiate_timer(self, request: SipRequest) -> tuple[SessionTimer | None, Headers]:
        """The session timer of our 2xx, and its headers. Raises Rejection."""
        settings = self._store.settings
        return negotiate_uas(request, settings.session_expires, settings.min_se)

    def prack_received(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """PRACK (RFC 3262 section 3)."""
        wanted = [str(dialog.rseq), str(dialog.invite_cseq), "INVITE"]
        if dialog.prack_received or transaction.request.value("rack").split() != wanted:
            self._store.refuse(transaction, Rejection(481, "No Such Response"))
        elif transaction.request.body.strip():
            self._store.refuse(transaction, Rejection(488, "No Offers In PRACK"))
        else:
            dialog.prack_received = True
            transaction.respond(200, "OK")

    def cancelled(self, transaction: ServerTransaction, cancel: SipRequest | None) -> None:
        """An INVITE or re-INVITE was cancelled, or has expired (`cancel` is None)."""
        dialog = self._dialog_of(transaction)
        if dialog is None:
            return
        dialog.invite = None
        if dialog.state is not DialogState.RINGING:
            self._store.events.append(ReinviteCancelled(dialog.id))
        elif cancel is None:
            self._store.end(dialog, "error", "the INVITE expired unanswered")
        else:
            self._store.end(dialog, "cancel", reason_of(cancel))

    def acknowledged(self, transaction: ServerTransaction, ack: SipRequest) -> None:
        """The ACK to our 200."""
        dialog = self._dialog_of(transaction)
        if dialog is None:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is DialogState.CLOSING:
            self._store.send_bye(dialog, dialog.bye_reason)
            return
        dialog.state = DialogState.CONFIRMED
        self._store.events.append(AckReceived(dialog.id, self._late_answer(transaction.request, ack)))

    def not_acknowledged(self, transaction: ServerTransaction) -> None:
        """64*T1 without an ACK: the session is over (section 13.3.1.4). After a re-INVITE it is only if the peer is
        gone, which an OPTIONS shows: where only ACKs get lost, the BYE of section 14.2 would end a working call."""
        dialog = self._dialog_of(transaction)
        if dialog is None:
            return
        dialog.invite, dialog.answered = None, False
        if dialog.state is DialogState.CONFIRMED:
            self._store.events.append(AckReceived(dialog.id, None))
            self._store.send(DialogRequest(dialog, "OPTIONS", Purpose.PROBE))
        else:
            self._give_up(dialog)

    def probe_answered(self, dialog: Dialog, response: SipResponse) -> None:
        """The final response to that OPTIONS."""
        if dialog.state is DialogState.CONFIRMED and (response.status == 481 or not response.headers):
            self._give_up(dialog)

    # ── from the application ────────────────────────────────────────────────────────────────────────────────

    def answer_invite(
        self, dialog: Dialog, transaction: ServerTransaction, action: SendRinging | AcceptInvite | RejectInvite
    ) -> None:
        """Respond to an INVITE."""
        if isinstance(action, SendRinging):
            self._ring(dialog, transaction)
        elif isinstance(action, AcceptInvite):
            dialog.state = DialogState.ANSWERED
            self._accept(dialog, transaction, action.sdp, action.headers)
        else:
            dialog.invite = None
            del self._store.by_id[dialog.id]
            self._store.forget(dialog)
            headers = warning(dialog.flow, action.warning)
            seconds = RETRY_AFTER if action.retry_after is None and action.status == 503 else action.retry_after
            if seconds is not None:
                headers = (*headers, ("Retry-After", str(seconds)))
            transaction.respond(action.status, action.reason, headers)

    def answer_offer(
        self, dialog: Dialog, transaction: ServerTransaction, action: AcceptReinvite | RejectReinvite
    ) -> None:
        """Respond to a re-INVITE or an UPDATE."""
        if isinstance(action, AcceptReinvite):
            # Section 12.2.2: a re-INVITE that is accepted refreshes the remote target.
            dialog.remote_target = contact_of(transaction.request) or dialog.remote_target
            self._accept(dialog, transaction, action.sdp)
        else:
            dialog.invite = None
            headers = warning(dialog.flow, action.warning)
            if action.status == 503:
                headers = (*headers, ("Retry-After", str(RETRY_AFTER)))
            transaction.respond(action.status, action.reason, headers)

    def hang_up(self, dialog: Dialog, reason: str | None) -> None:
        """Refuse an INVITE that is not answered, with that Reason header."""
        transaction, dialog.invite = dialog.invite, None
        self._store.forget(dialog)
        if transaction is not None:
            transaction.respond(480, "Temporarily Unavailable", () if reason is None else (("Reason", reason),))

    def _ring(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """180, reliably if the caller requires it (RFC 3262 section 3)."""
        if "100rel" not in (tag.lower() for tag in transaction.request.listed("require")):
            transaction.respond(180, "Ringing", (contact(dialog.flow),))
        elif transaction.request.body.strip() and dialog.prack_received:
            dialog.rseq, dialog.prack_received = dialog.rseq + 1, False
            headers = (contact(dialog.flow), ("Require", "100rel"), ("RSeq", str(dialog.rseq)))
            transaction.respond(180, "Ringing", headers)
            self._store.timers.after(T1, self._repeat_ringing, dialog, transaction, T1)
        # Else no 180: without an offer in the INVITE the first reliable response must have one (RFC 3262 section 5).

    def _repeat_ringing(self, dialog: Dialog, transaction: ServerTransaction, interval: float) -> None:
        if dialog.prack_received or dialog.state is not DialogState.RINGING or dialog.invite is not transaction:
            return
        if 2 * interval >= TRANSACTION_TIME:
            dialog.invite = None
            transaction.respond(504, "No PRACK")
            self._store.end(dialog, "error", "our 180 was not acknowledged by a PRACK")
            return
        transaction.repeat()
        self._store.timers.after(2 * interval, self._repeat_ringing, dialog, transaction, 2 * interval)

    def _accept(self, dialog: Dialog, transaction: ServerTransaction, sdp: str, headers: Headers = ()) -> None:
        """200 to an INVITE or a re-INVITE, or to an UPDATE, which has no ACK."""
        dialog.sdp = sdp
        session_timer, timer_headers = dialog.negotiated
        if transaction.request.method == "UPDATE":
            dialog.invite = None
        else:
            dialog.answered = True
        transaction.respond(200, "OK", (contact(dialog.flow), *CAPABILITIES, *timer_headers, *headers), sdp)
        start(self._store, dialog, session_timer)

    def _reinvite_timed_out(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        if dialog.invite is transaction and not dialog.answered:
            dialog.invite = None
            self._store.refuse(transaction, Rejection(504, "Server Time-out"))
            self._store.events.append(ReinviteCancelled(dialog.id))

    def _dialog_of(self, transaction: ServerTransaction) -> Dialog | None:
        """The dialog in which this INVITE is pending."""
        request = transaction.request
        dialog = self._store.by_key.get((request.value("call-id"), request.tag("from")))
        return dialog if dialog is not None and dialog.invite is transaction else None

    def _late_answer(self, invite: SipRequest, ack: SipRequest) -> SessionDescription | None:
        if invite.body.strip():
            return None
        try:
            return session_description(ack)
        except Rejection:
            self._store.counters["bad_answers"] += 1
            return None

    def _give_up(self, dialog: Dialog) -> None:
        detail = "our 200 was not confirmed by an ACK"
        self._store.give_up(dialog, detail, dialog.bye_reason or reason_value(408, "no ACK"), "no-ack")


def _check_no_pending_offer(dialog: Dialog) -> None:
    """Section 14.2: no offer while ours waits for its answer, nor while the peer's does, or the 200 to it for its ACK.
    Raises Rejection."""
    if dialog.offer_pending:
        raise Rejection(491, "Request Pending")
    if dialog.state is not DialogState.CONFIRMED or dialog.invite is not None:
        headers = (("Retry-After", str(REINVITE_RETRY_AFTER)),)
        raise Rejection(500, "Another INVITE Is Pending", headers)


def _invite_received(
    dialog: Dialog, transaction: ServerTransaction, offer: SessionDescription | None, peer: PeerIdentity
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
        trunk=peer.trunk,
        phone=peer.phone,
        called_party=_uri_in(request.value("p-called-party-id")),
    )


def _uri_in(address: str) -> str:
    try:
        return parse_name_addr(address).uri
    except ValueError:
        return ""


def _number(uri: str) -> str:
    """The number or user part of a URI, else its host."""
    try:
        parts = parse_uri(uri)
    except LookupError:
        return one_line(uri)
    return one_line(number_of(parts) or parts.display_user)
