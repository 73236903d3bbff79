"""Calls as SIP sees them (RFC 3261 sections 12 to 15): where messages and actions find their dialog. Pure.

What belongs to one side of a call only is in `uas.py` and `uac.py`; here is the door, and what the peer may do
inside a dialog, whichever side made it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
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
from trunkline.sip.dialog_store import DialogStore
from trunkline.sip.message.bodies import pressed_key, session_description
from trunkline.sip.message.validation import Rejection, SipRequest, SipResponse
from trunkline.sip.refresh import start
from trunkline.sip.targets import Locator, Target
from trunkline.sip.timers import Timers
from trunkline.sip.transactions import Flow, ServerTransaction, Transactions
from trunkline.sip.uac import CallKey, UacInvite
from trunkline.sip.uas import Uas
from trunkline.sip.values import (
    AcceptReinvite,
    DialogId,
    EndDialog,
    InfoDigitReceived,
    InviteRefused,
    ReinviteCancelled,
    ReinviteReceived,
    RejectReinvite,
    SendInvite,
    SipAction,
    SipEvent,
)

RETRY_AFTER = 5
"""Seconds after which a refused caller may try again."""
TRANSACTION_FACTOR = 4
"""Server transactions, per call of the limit on calls, over which new calls are refused without one."""
REINVITE_RETRY_AFTER = 2
"""Seconds; section 14.2 asks for 0 to 10."""
REINVITE_LIMIT = 20.0
"""Seconds until an offer that the application has not answered is refused: before the peer gives an UPDATE up after
64*T1, and after a media worker that is frozen has been found out, which ends the call."""


class UserAgentCore:
    """All dialogs of one endpoint.

    `tag` makes tags: 64 random bits or more each. `locator` finds out where calls go, `connect` gives the flow to a
    target, `admit` Raises Rejection for who may not call, and tells which phone does. Events are told through
    `on_event` and may be answered by `perform` from within it."""

    def __init__(
        self,
        on_event: Callable[[SipEvent], None],
        tag: Callable[[], str],
        locator: Locator,
        connect: Callable[[Target], Flow],
        admit: Callable[[SipRequest, Endpoint], str | None],
        settings: SipSettings,
        counters: Counter[str],
        timers: Timers,
    ) -> None:
        self.transactions = Transactions(self._new_request, self._succeeded, timers, tag)
        self.draining = False
        self._store = DialogStore(self.transactions, on_event, tag, settings, counters)
        self._uas = Uas(self._store)
        self._uac_invites: dict[CallKey, UacInvite] = {}
        self._locator = locator
        self._connect = connect
        self._may_call = admit
        self._phone: str | None = None
        """That calls by the INVITE that is being taken."""
        self._on_event = on_event
        self._tag = tag
        self._limit = settings.call_limit
        self._counters = counters
        self._by_id = self._store.by_id
        self._by_key = self._store.by_key
        self._outgoing = self._store.outgoing

    @property
    def sizes(self) -> dict[str, int]:
        """Dialogs that the application knows, calls of ours that it waits for, dialogs that the wire knows."""
        tables = {"dialogs": len(self._by_id), "outgoing": len(self._outgoing), "by_key": len(self._by_key)}
        return {**tables, "uac_invites": len(self._uac_invites), **self.transactions.sizes}

    def new_dialog(self) -> DialogId:
        """A fresh number, for `SendInvite`."""
        return self._store.new_id()

    def when_empty(self, callback: Callable[[], None]) -> None:
        """Call back when no dialog is left, on the wire too; at once if there is none."""

        def look() -> None:
            if not self._by_key and all(caller.settled for caller in self._uac_invites.values()):
                callback()

        self._store.on_forgotten = look
        look()

    # From the peers.

    def receive(self, request: SipRequest, source: Endpoint, flow: Flow) -> None:
        """A screened request. Raises Rejection for what is refused without a transaction."""
        if self.transactions.absorbed(request):
            self._counters["retransmissions"] += request.method != "ACK"
            return
        dialog = self._by_key.get((request.value("call-id"), request.tag("from")))
        if dialog is not None and dialog.local_tag == request.tag("to"):
            dialog.update_remote(request, source, flow)
        elif dialog is not None:
            request = _to_us(dialog, request, source)
        outside = not request.tag("to")
        if request.method == "INVITE" and outside:
            if dialog is not None:
                # Forked to us twice (section 8.2.2.2), or begun anew by a peer that has lost its dialog.
                raise Rejection(482, "Loop Detected")
            self._admit()
            self._phone = self._may_call(request, source)
        elif request.method == "OPTIONS" and outside:
            if self.draining:
                self._admit()
        elif request.method not in ("ACK", "CANCEL") and (dialog is None or dialog.local_tag != request.tag("to")):
            # Without a transaction: a flood of them leaves nothing behind.
            raise Rejection(481, "Call/Transaction Does Not Exist")
        tag = dialog.local_tag if dialog is not None else self._tag()
        self.transactions.receive_request(request, source, flow, tag if request.method == "CANCEL" else None)

    def registered(self, phone: str, uri: str, source: Endpoint, flow: Flow) -> None:
        """A phone has registered a contact, at which it takes requests at `source` by `flow`."""
        for dialog in self._by_key.values():
            if dialog.phone == phone:
                dialog.registered(uri, source, flow)

    def _admit(self) -> None:
        headers = (("Retry-After", str(RETRY_AFTER)),)
        if self.draining:
            raise Rejection(503, "Shutting Down", headers)
        # Refused calls wait for their ACKs too: a flood of them must not fill the memory.
        if (
            len(self._by_id) + len(self._outgoing) >= self._limit
            or self.transactions.sizes["server"] >= TRANSACTION_FACTOR * self._limit
        ):
            raise Rejection(503, "Too Many Calls", headers)

    def _new_request(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        dialog = self._by_key.get((request.value("call-id"), request.tag("from")))
        outside = not request.tag("to")
        if outside:
            transaction.tag(self._tag())
        if outside and request.method == "OPTIONS":
            transaction.respond(200, "OK", CAPABILITIES)
        elif outside and request.method == "INVITE":
            self._uas.invited(transaction, self._phone)
        elif dialog is not None and request.cseq[0] <= dialog.remote_cseq and not _is_last_word(dialog, transaction):
            self._store.refuse(transaction, Rejection(500, "CSeq Out Of Order"))
        elif dialog is not None:
            dialog.remote_cseq = max(dialog.remote_cseq, request.cseq[0])
            self._in_dialog(dialog, transaction)

    def _in_dialog(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        method = transaction.request.method
        if method == "OPTIONS":
            transaction.respond(200, "OK", CAPABILITIES)
        elif method == "BYE":
            transaction.respond(200, "OK")
            self._store.end(dialog, "bye", reason_of(transaction.request))
        elif method == "INFO":
            self._info(dialog, transaction)
        elif method == "PRACK":
            self._uas.acknowledged(dialog, transaction)
        elif method == "UPDATE" and not transaction.request.body.strip():
            self._update(dialog, transaction)
        else:
            self._reinvite(dialog, transaction)

    def _info(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        try:
            key = pressed_key(transaction.request)
        except Rejection as refused:
            self._store.refuse(transaction, refused)
            return
        transaction.respond(200, "OK")
        if key is not None and dialog.id in self._by_id:
            self._counters["info_digits"] += 1
            self._on_event(InfoDigitReceived(dialog.id, key))

    def _update(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """UPDATE without an offer: the peer is still there, and perhaps elsewhere."""
        try:
            session_timer, headers = self._uas.negotiate_timer(transaction.request)
        except Rejection as refused:
            self._store.refuse(transaction, refused)
            return
        dialog.remote_target = contact_of(transaction.request) or dialog.remote_target
        transaction.respond(200, "OK", (contact(dialog.flow), *CAPABILITIES, *headers))
        if dialog.state is DialogState.CONFIRMED:
            start(self._store, dialog, session_timer)

    def _reinvite(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        """re-INVITE, or UPDATE with an offer (RFC 3311)."""
        try:
            self._one_at_a_time(dialog)
            offer = session_description(transaction.request)
            dialog.negotiated = self._uas.negotiate_timer(transaction.request)
        except Rejection as refused:
            self._store.refuse(transaction, refused)
            return
        dialog.invite = transaction
        if transaction.request.method == "INVITE":
            transaction.respond(100, "Trying")
            self._uas.watch(dialog, transaction)
        self._on_event(ReinviteReceived(dialog.id, offer))
        if dialog.invite is transaction and not dialog.answered:
            self._store.timers.after(REINVITE_LIMIT, self._too_late, dialog, transaction)

    def _too_late(self, dialog: Dialog, transaction: ServerTransaction) -> None:
        if dialog.invite is transaction and not dialog.answered:
            dialog.invite = None
            self._store.refuse(transaction, Rejection(504, "Server Time-out"))
            self._on_event(ReinviteCancelled(dialog.id))

    def _one_at_a_time(self, dialog: Dialog) -> None:
        """Section 14.2: no offer while one of ours waits for its answer, nor while one of theirs does, or the 200 to
        it for its ACK. Raises Rejection."""
        if dialog.offer_pending:
            raise Rejection(491, "Request Pending")
        if dialog.state is not DialogState.CONFIRMED or dialog.invite is not None:
            headers = (("Retry-After", str(REINVITE_RETRY_AFTER)),)
            raise Rejection(500, "Another INVITE Is Pending", headers)

    def _succeeded(self, response: SipResponse) -> bool:
        """A 2xx to an INVITE whose transaction is over: sent again, as our ACK was lost, or by another fork."""
        caller = self._uac_invites.get((response.value("call-id"), response.tag("from")))
        if caller is not None and caller.succeeded(response):
            return True
        dialog = self._by_key.get((response.value("call-id"), response.tag("to")))
        if dialog is None or dialog.resend_ack is None or dialog.ack_cseq != response.cseq[0]:
            return False
        dialog.resend_ack()
        return True

    # From the application.

    def perform(self, action: SipAction) -> None:
        """Do what the application asks; what comes too late, or for a dialog that is no more, is ignored."""
        if isinstance(action, SendInvite):
            self._invite(action)
            return
        dialog = self._by_id.get(action.dialog)
        if isinstance(action, EndDialog):
            self._hang_up(action, dialog)
        elif dialog is None or dialog.invite is None or dialog.answered:
            return
        elif isinstance(action, AcceptReinvite | RejectReinvite):
            if dialog.state is DialogState.CONFIRMED:
                self._settle_reinvite(dialog, dialog.invite, action)
        elif dialog.state is DialogState.RINGING:
            self._uas.settle(dialog, dialog.invite, action)

    def unreachable(self, flow: Flow, text: str, to: Endpoint | None = None) -> None:
        """What was sent by a flow, to that address alone if one is given, could not be delivered."""
        self.transactions.unreachable(flow, text, to)

    def hang_up_all(self, text: str) -> None:
        """End every dialog, also those whose ACK is still to come."""
        for number in [*self._by_id, *self._outgoing]:
            self.perform(EndDialog(number, text))
        for dialog in list(self._by_key.values()):
            if dialog.invite is not None:
                self._store.settle(dialog)
                self._store.send_bye(dialog, dialog.bye_reason)

    def _invite(self, action: SendInvite) -> None:
        if self.draining or len(self._by_id) + len(self._outgoing) >= self._limit:
            detail = "shutting down" if self.draining else "too many calls"
            self._on_event(InviteRefused(action.dialog, 503, "Service Unavailable", detail, False))
            return
        caller = UacInvite(action, self._store, self._locator, self._connect, self._over)
        self._uac_invites[caller.key] = self._outgoing[action.dialog] = caller
        self._counters["calls_placed"] += 1
        caller.start()

    def _over(self, caller: UacInvite) -> None:
        del self._uac_invites[caller.key]

    def _settle_reinvite(
        self, dialog: Dialog, transaction: ServerTransaction, action: AcceptReinvite | RejectReinvite
    ) -> None:
        if isinstance(action, AcceptReinvite):
            # Section 12.2.2: a re-INVITE that is accepted refreshes the remote target.
            dialog.remote_target = contact_of(transaction.request) or dialog.remote_target
            self._uas.accept(dialog, transaction, action.sdp)
        else:
            dialog.invite = None
            transaction.respond(action.status, action.reason, warning(dialog.flow, action.warning))

    def _hang_up(self, action: EndDialog, dialog: Dialog | None) -> None:
        header = None if action.reason is None else reason_value(action.cause, action.reason)
        caller = self._outgoing.pop(action.dialog, None)
        if caller is not None:
            caller.hang_up(header)
        if dialog is None:
            return
        del self._by_id[dialog.id]
        if dialog.state is DialogState.RINGING:
            self._uas.hang_up(dialog, header)
        elif dialog.state is DialogState.ANSWERED:
            # Section 15: no BYE before the ACK has come, or has not come in time.
            dialog.state, dialog.bye_reason = DialogState.CLOSING, header
        else:
            self._store.settle(dialog)
            self._store.send_bye(dialog, header)


def _is_last_word(dialog: Dialog, transaction: ServerTransaction) -> bool:
    """A BYE counts whatever its number: a proxy that ends a call in its party's name, say by its own timer, knows no
    number that is right, and whoever has gone will not ask again. Only from where the dialog's peer is: who has
    overheard the tags elsewhere may not replay one."""
    return transaction.request.method == "BYE" and dialog.is_peer(transaction.source)


def _to_us(dialog: Dialog, request: SipRequest, source: Endpoint) -> SipRequest:
    """A request with our To tag where a client has lost it, and there is no doubt of what it means: an ACK with another
    tag, whose number is that of the INVITE that we have answered; a BYE without a tag. Only from where the dialog's
    peer is: our tag is what others do not know."""
    if request.method == "ACK":
        meant = dialog.answered and dialog.invite is not None and dialog.invite.request.cseq[0] == request.cseq[0]
    else:
        meant = request.method == "BYE" and not request.tag("to")
    if not meant or not dialog.is_peer(source):
        return request
    headers = [(key, name, dialog.local if key == "to" else value) for key, name, value in request.headers]
    return replace(request, headers=headers)
