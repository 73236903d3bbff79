"""The user agent core (RFC 3261 sections 12 to 15): messages and actions find their dialog here. Pure.

Each method of `UserAgentCore` takes one input and the time; the driver then takes the events with `next_event`, and
runs the timers at `Timers.next_deadline`. Messages are written to their `Flow` at once. `uas.py` has the calls of
peers, `uac.py` those that we place; here is what both have in common.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.shares import may_take, origin_of
from trunkline.sip.client_transaction import ClientTransaction
from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, contact, contact_of, reason_of, reason_value
from trunkline.sip.dialog_store import DialogRequest, DialogStore, Purpose
from trunkline.sip.events import (
    CallKey,
    CoreEvent,
    InviteCancelled,
    OutOfDialogResponse,
    ResponseReceived,
    SuccessAcknowledged,
    TransactionEvent,
)
from trunkline.sip.message.bodies import pressed_key
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.message.validation import Discard, Rejection, SipRequest, SipResponse
from trunkline.sip.refresh import refreshed, start
from trunkline.sip.saved_dialog import decode_dialog, encode_dialog
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.timers import Timers
from trunkline.sip.transactions import Transactions
from trunkline.sip.uac import Attempt, UacInvite
from trunkline.sip.uas import Uas
from trunkline.sip.values import (
    AcceptReinvite,
    Credentials,
    DialogId,
    EndDialog,
    InfoDigitReceived,
    InviteRefused,
    PeerIdentity,
    RejectReinvite,
    SendInvite,
    SipAction,
)

RETRY_AFTER = 5
"""Seconds after which a refused caller may try again."""
TRANSACTION_FACTOR = 4
"""Server transactions, per call of the limit on calls, above which new calls are refused without a transaction."""


class Admission(Protocol):
    """Decides which calls are admitted (`peers.access.Access`)."""

    def identify(self, request: SipRequest, source: Endpoint, now: float) -> PeerIdentity:
        """The origin of an INVITE outside any dialog. Raises Rejection."""


class UserAgentCore:
    """All dialogs of one endpoint. `tag` makes tags, of at least 64 random bits; `connect` gives the flow to a
    target."""

    def __init__(
        self,
        tag: Callable[[], str],
        connect: Callable[[Target], Flow],
        admission: Admission,
        settings: SipSettings,
        counters: Counter[str],
        timers: Timers,
    ) -> None:
        self.transactions = Transactions(timers, tag)
        self.draining = False
        """Calls of peers are refused."""
        self._ended = False
        """All calls have been ended: none is placed either."""
        self._timers = timers
        self._store = DialogStore(self.transactions, tag, settings, counters)
        self._uas = Uas(self._store)
        self._connect = connect
        self._admission = admission
        self._tag = tag
        self._limit = settings.call_limit
        self._counters = counters

    @property
    def sizes(self) -> dict[str, int]:
        """Dialogs of the application, calls of ours that are not answered, dialogs of the peers, and transactions."""
        store = self._store
        tables = {"dialogs": len(store.by_id), "outgoing": len(store.outgoing), "by_key": len(store.by_key)}
        return {**tables, "uac_invites": len(store.uac_invites), **self.transactions.sizes}

    @property
    def empty(self) -> bool:
        """No dialog is left, for the peers too."""
        return not self._store.by_key and all(call.settled for call in self._store.uac_invites.values())

    def uses(self, flow: Flow) -> bool:
        """Whether a dialog uses a flow."""
        return any(dialog.flow is flow for dialog in self._store.by_key.values())

    def new_dialog(self) -> DialogId:
        """An id for a `SendInvite`."""
        return self._store.new_id()

    def call_id_of(self, dialog: DialogId) -> str | None:
        """The Call-ID of a dialog; None if the application does not know the dialog any more."""
        known = self._store.by_id.get(dialog)
        if known is not None:
            return known.call_id
        placed = self._store.outgoing.get(dialog)
        return None if placed is None else placed.key[0]

    def dialog_of(self, message: SipRequest | SipResponse) -> DialogId | None:
        """The dialog that a message of a peer belongs to. Raises ValueError if From or To cannot be read."""
        tag = message.tag("from" if isinstance(message, SipRequest) else "to")
        dialog = self._store.by_key.get((message.value("call-id"), tag))
        return None if dialog is None else dialog.id

    def next_event(self) -> CoreEvent | None:
        """The oldest event; None if there is none."""
        events, lower = self._store.events, self.transactions.events
        while lower and not events:
            self._transaction_event(lower.popleft())
        return events.popleft() if events else None

    # ── from peers ──────────────────────────────────────────────────────────────────────────────────────────

    def receive_request(self, request: SipRequest, source: Endpoint, flow: Flow, now: float) -> None:
        """Take a validated request. Raises Rejection for a refusal without a transaction."""
        self._timers.now = now
        if self.transactions.absorb(request):
            self._counters["retransmissions"] += request.method != "ACK"
            return
        dialog = self._store.by_key.get((request.value("call-id"), request.tag("from")))
        if dialog is not None and dialog.local_tag == request.tag("to"):
            dialog.update_remote(request, source, flow)
            self._store.note_move(dialog)
            flow.admitted(identified=False)
        elif dialog is not None:
            request = _with_our_tag(dialog, request, source)
        outside = not request.tag("to")
        peer = PeerIdentity()
        if request.method == "INVITE" and outside:
            if dialog is not None:
                # Forked to us twice (section 8.2.2.2), or sent by a peer that has restarted and lost the dialog.
                raise Rejection(482, "Loop Detected")
            peer = self._identify(request, source, flow, now)
        elif request.method == "OPTIONS" and outside:
            if self.draining:
                self._check_limits()
            # Without a transaction too, as anyone may send them.
            raise Rejection(200, "OK", CAPABILITIES)
        elif request.method != "ACK" and not self._is_expected(request, dialog):
            # Without a transaction, so that a flood of them takes no memory.
            raise Rejection(481, "Call/Transaction Does Not Exist")
        tag = dialog.local_tag if dialog is not None else self._tag()
        cancel_tag = tag if request.method == "CANCEL" else None
        origin = origin_of(source.host) if request.method == "INVITE" and outside and peer == PeerIdentity() else ""
        transaction = self.transactions.receive_request(request, source, flow, cancel_tag, origin)
        if transaction is not None:
            self._request_received(transaction, dialog, peer)

    def receive_response(self, response: SipResponse, now: float) -> None:
        """Take a validated response. Raises Discard if no request of ours waits for it."""
        self._timers.now = now
        if self.transactions.receive_response(response):
            return
        success = response.cseq[1] == "INVITE" and 200 <= response.status < 300
        if not success or not self._success_received(response):
            raise Discard("response without a request of ours")

    def flow_failed(self, flow: Flow, reason: str, to: Endpoint | None, now: float) -> None:
        """What was sent by a flow, to that address alone if one is given, could not be delivered."""
        self._timers.now = now
        self.transactions.flow_failed(flow, reason, to)

    def contact_registered(self, phone: str, uri: str, source: Endpoint, flow: Flow) -> None:
        """A phone has registered the contact `uri`, and receives at `source` by `flow`."""
        for dialog in self._store.by_key.values():
            if dialog.phone == phone:
                dialog.contact_registered(uri, source, flow)
                self._store.note_move(dialog)

    def targets_found(self, call: CallKey, found: Sequence[Target] | Unreachable, now: float) -> None:
        """The targets of a call, in order, or why there is none: the reply to `TargetsRequired`."""
        self._timers.now = now
        invite = self._store.uac_invites.get(call)
        if invite is not None:
            invite.targets_found(found)

    def _identify(self, request: SipRequest, source: Endpoint, flow: Flow, now: float) -> PeerIdentity:
        """The origin of an INVITE outside any dialog. Of unknown callers one address may have half of the free places
        with INVITEs that are not answered, or not acknowledged. Raises Rejection."""
        self._check_limits()
        peer = self._admission.identify(request, source, now)
        identified = peer != PeerIdentity()
        if not identified:
            free = self._limit - len(self._store.by_id) - len(self._store.outgoing)
            if not may_take(self.transactions.unsettled[origin_of(source.host)], free):
                raise Rejection(503, "Too Many Unanswered Calls", (("Retry-After", str(RETRY_AFTER)),))
        flow.admitted(identified=identified)
        return peer

    def _check_limits(self) -> None:
        headers = (("Retry-After", str(RETRY_AFTER)),)
        if self.draining:
            raise Rejection(503, "Draining", headers)
        # Refused calls wait for their ACKs too: a flood of them must not fill the memory.
        if self._at_limit() or self.transactions.server_count >= TRANSACTION_FACTOR * self._limit:
            raise Rejection(503, "Too Many Calls", headers)

    def _is_expected(self, request: SipRequest, dialog: Dialog | None) -> bool:
        """Whether there is the dialog of a request, or the INVITE of a CANCEL."""
        if request.method == "CANCEL":
            return self.transactions.has_invite_of(request)
        return dialog is not None and dialog.local_tag == request.tag("to")

    def _at_limit(self) -> bool:
        return len(self._store.by_id) + len(self._store.outgoing) >= self._limit

    def _request_received(self, transaction: ServerTransaction, dialog: Dialog | None, peer: PeerIdentity) -> None:
        request = transaction.request
        outside = not request.tag("to")
        if outside:
            transaction.local_tag = self._tag()
        if outside and request.method == "INVITE":
            self._uas.invite_received(transaction, peer)
        elif dialog is not None and request.cseq[0] <= dialog.remote_cseq and not _is_late_bye(dialog, transaction):
            self._store.refuse(transaction, Rejection(500, "CSeq Out Of Order"))
        elif dialog is not None:
            dialog.remote_cseq = max(dialog.remote_cseq, request.cseq[0])
            self._request_in_dialog(dialog, transaction)

    def _request_in_dialog(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        method = transaction.request.method
        if method == "OPTIONS":
            transaction.respond(200, "OK", CAPABILITIES)
        elif method == "BYE":
            transaction.respond(200, "OK")
            self._store.end(dialog, "bye", reason_of(transaction.request))
        elif method == "INFO":
            self._info_received(dialog, transaction)
        elif method == "PRACK":
            self._uas.prack_received(dialog, transaction)
        elif method == "UPDATE" and not transaction.request.body.strip():
            self._update_received(dialog, transaction)
        else:
            self._uas.offer_received(dialog, transaction)

    def _info_received(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        try:
            key = pressed_key(transaction.request)
        except Rejection as refused:
            self._store.refuse(transaction, refused)
            return
        transaction.respond(200, "OK")
        if key is not None and dialog.id in self._store.by_id:
            self._counters["info_digits"] += 1
            self._store.events.append(InfoDigitReceived(dialog.id, key))

    def _update_received(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """UPDATE without an offer: refreshes the session and the remote target (RFC 3311 section 5.2, RFC 4028)."""
        try:
            session_timer, headers = self._uas.negotiate_timer(transaction.request)
        except Rejection as refused:
            self._store.refuse(transaction, refused)
            return
        dialog.remote_target = contact_of(transaction.request) or dialog.remote_target
        self._store.note_move(dialog)
        transaction.respond(200, "OK", (contact(dialog.flow), *CAPABILITIES, *headers))
        if dialog.state is DialogState.CONFIRMED:
            start(self._store, dialog, session_timer)

    def _success_received(self, response: SipResponse) -> bool:
        """A 2xx to an INVITE, retransmitted or of another fork (section 13.2.2.4). False: not of a call of ours."""
        invite = self._store.uac_invites.get((response.value("call-id"), response.tag("from")))
        if invite is not None and invite.success_received(response):
            return True
        dialog = self._store.by_key.get((response.value("call-id"), response.tag("to")))
        if dialog is None or dialog.resend_ack is None or dialog.ack_cseq != response.cseq[0]:
            return False
        dialog.resend_ack()
        return True

    def _transaction_event(self, event: TransactionEvent) -> None:
        if isinstance(event, ResponseReceived):
            self._response_received(event.transaction, event.response)
        elif isinstance(event, SuccessAcknowledged):
            self._uas.acknowledged(event.transaction, event.ack)
        elif isinstance(event, InviteCancelled):
            self._uas.cancelled(event.transaction, event.cancel)
        else:
            self._uas.not_acknowledged(event.transaction)

    def _response_received(self, transaction: ClientTransaction, response: SipResponse) -> None:
        user = transaction.user
        if isinstance(user, Attempt):
            user.call.response_received(user, response)
        elif not isinstance(user, DialogRequest):
            self._store.events.append(OutOfDialogResponse(transaction, response))
        elif not self._store.response_received(user, response):
            return
        elif user.purpose is Purpose.END:
            self._store.forget(user.dialog)
        elif user.purpose is Purpose.PROBE:
            self._uas.probe_answered(user.dialog, response)
        elif user.purpose is Purpose.REFRESH:
            refreshed(self._store, user.dialog, response)

    # ── from the application ────────────────────────────────────────────────────────────────────────────────

    def perform(self, action: SipAction, now: float) -> None:
        """Do an action. It has no effect if it is too late, or if its dialog has ended."""
        self._timers.now = now
        if isinstance(action, SendInvite):
            self._send_invite(action)
            return
        dialog = self._store.by_id.get(action.dialog)
        if isinstance(action, EndDialog):
            self._end_dialog(action, dialog)
        elif dialog is None or dialog.invite is None or dialog.answered:
            return
        elif isinstance(action, AcceptReinvite | RejectReinvite):
            if dialog.state is DialogState.CONFIRMED:
                self._uas.answer_offer(dialog, dialog.invite, action)
                self._store.note_move(dialog)
        elif dialog.state is DialogState.RINGING:
            self._uas.answer_invite(dialog, dialog.invite, action)

    def end_all(self, reason: str, now: float) -> None:
        """End every dialog, also those whose ACK has not come, and begin no other."""
        self.draining = self._ended = True
        for number in [*self._store.by_id, *self._store.outgoing]:
            self.perform(EndDialog(number, reason), now)
        for dialog in list(self._store.by_key.values()):
            if dialog.invite is not None:
                self._store.settle(dialog)
                self._store.send_bye(dialog, dialog.bye_reason)

    def saved(self, number: DialogId) -> str | None:
        """A dialog as a text from which `end_saved` of another life can end it; None if there is none."""
        dialog = self._store.by_id.get(number)
        if dialog is None:
            return None
        dialog.saved = dialog.way
        return encode_dialog(dialog)

    def end_saved(
        self,
        text: str,
        connect: Callable[[str, Endpoint], Flow],
        credentials: Callable[[str], Credentials | None],
        reason: str,
        now: float,
    ) -> None:
        """BYE in a dialog that an earlier life has left; `credentials` has those of a trunk. Raises ValueError or
        LookupError for a bad text."""
        self._timers.now = now
        dialog = decode_dialog(text, self._store.new_id(), connect)
        dialog.credentials = credentials(dialog.trunk) if dialog.trunk else None
        if dialog.key not in self._store.by_key:
            self._store.by_key[dialog.key] = dialog
            self._store.send_bye(dialog, reason_value(200, reason))

    def _send_invite(self, action: SendInvite) -> None:
        if self._ended or self._at_limit():
            detail = "shutting down" if self._ended else "too many calls"
            self._store.events.append(InviteRefused(action.dialog, 503, "Service Unavailable", detail, False))
            return
        self._counters["calls_placed"] += 1
        UacInvite(action, self._store, self._connect).start()

    def _end_dialog(self, action: EndDialog, dialog: Dialog | None) -> None:
        header = None if action.reason is None else reason_value(action.cause, action.reason)
        call = self._store.outgoing.pop(action.dialog, None)
        if call is not None:
            call.hang_up(header)
        if dialog is None:
            return
        del self._store.by_id[dialog.id]
        if dialog.state is DialogState.RINGING:
            self._uas.hang_up(dialog, header)
        elif dialog.state is DialogState.ANSWERED:
            # Section 15: no BYE before the ACK has come, or has not come in time.
            dialog.state, dialog.bye_reason = DialogState.CLOSING, header
        else:
            self._store.settle(dialog)
            self._store.send_bye(dialog, header)


def _is_late_bye(dialog: Dialog, transaction: ServerTransaction) -> bool:
    """A BYE is taken whatever its CSeq number: a proxy that ends a call in the name of a party, by a timer of its own,
    does not know the number. Only from the host of the peer: others that have seen the tags cannot replay one."""
    return transaction.request.method == "BYE" and dialog.is_peer(transaction.source)


def _with_our_tag(dialog: Dialog, request: SipRequest, source: Endpoint) -> SipRequest:
    """A request with our To tag, if a client has lost it and its meaning is certain: an ACK with another tag and the
    CSeq number of the INVITE that we have answered, or a BYE without a tag. Only from the host of the peer, since our
    tag is what others do not know."""
    if request.method == "ACK":
        meant = dialog.answered and dialog.invite is not None and dialog.invite.request.cseq[0] == request.cseq[0]
    else:
        meant = request.method == "BYE" and not request.tag("to")
    if not meant or not dialog.is_peer(source):
        return request
    headers = [(key, name, dialog.local if key == "to" else value) for key, name, value in request.headers]
    return replace(request, headers=headers)
