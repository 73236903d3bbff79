"""What all calls of an endpoint share: the tables of dialogs, and the ways in which both sides of a call end. Pure."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Literal, Protocol

from trunkline.config import SipSettings
from trunkline.sip.dialog import Dialog, DialogState, Key, contact_of
from trunkline.sip.message.digest import DigestClient
from trunkline.sip.message.validation import Headers, Rejection, SipResponse
from trunkline.sip.transactions import ClientTransaction, ServerTransaction, Transactions
from trunkline.sip.values import DialogEnded, DialogId, SipEvent

DETOUR_STATUSES = frozenset((403, 404, 408, 410, 481, 503))
"""What is said to a request in a dialog by who does not know the dialog, or by us where nobody answers."""


class PendingInvite(Protocol):
    """A call of ours that is not answered yet, as the table sees it."""

    def hang_up(self, header: str | None) -> None:
        """CANCEL."""


class DialogStore:
    """The dialogs of one endpoint. `by_id` are those that the application knows, `by_key` those that the wire does."""

    def __init__(
        self,
        transactions: Transactions,
        tell: Callable[[SipEvent], None],
        tag: Callable[[], str],
        settings: SipSettings,
        counters: Counter[str],
    ) -> None:
        self.transactions = transactions
        self.timers = transactions.timers
        self.tell = tell
        self.tag = tag
        self.settings = settings
        self.counters = counters
        self.by_id: dict[DialogId, Dialog] = {}
        self.by_key: dict[Key, Dialog] = {}
        self.outgoing: dict[DialogId, PendingInvite] = {}
        """Calls of ours that are not answered yet."""
        self.on_forgotten: Callable[[], None] | None = None
        self._ids = count(1)

    def new_id(self) -> DialogId:
        """A fresh one."""
        return DialogId(next(self._ids))

    def refuse(self, transaction: ServerTransaction, refused: Rejection) -> None:
        """Answer a request with a failure, and count it."""
        self.counters[f"refused_{refused.status}"] += 1
        transaction.respond(refused.status, refused.reason, refused.headers)

    def end(self, dialog: Dialog, cause: Literal["bye", "cancel", "no-ack", "error"], detail: str) -> None:
        """The peer ended it, or it broke."""
        self.settle(dialog)
        self.forget(dialog)
        if self.by_id.pop(dialog.id, None) is not None:
            self.tell(DialogEnded(dialog.id, cause, detail))

    def settle(self, dialog: Dialog) -> None:
        """Finish the open transaction of a dialog that ends."""
        transaction, dialog.invite = dialog.invite, None
        if transaction is not None and dialog.answered:
            transaction.abandon()
        elif transaction is not None:
            transaction.respond(487, "Request Terminated")

    def forget(self, dialog: Dialog) -> None:
        """The wire is done with it, too."""
        dialog.cancel_timers()
        if self.by_key.get(dialog.key) is dialog:
            del self.by_key[dialog.key]
        if self.on_forgotten is not None:
            self.on_forgotten()

    def give_up(
        self, dialog: Dialog, detail: str, reason: str | None, cause: Literal["no-ack", "error"] = "error"
    ) -> None:
        """It broke, and the peer gets a BYE."""
        ended = self.by_id.pop(dialog.id, None) is not None
        self.settle(dialog)
        self.send_bye(dialog, reason)
        if ended:
            self.tell(DialogEnded(dialog.id, cause, detail))

    def send_bye(self, dialog: Dialog, reason: str | None) -> None:
        """BYE; the dialog stays known until its response."""
        dialog.cancel_timers()
        dialog.state = DialogState.CLOSING
        headers = () if reason is None else (("Reason", reason),)
        self.request(dialog, "BYE", lambda _response: self.forget(dialog), headers)

    def acknowledge(self, dialog: Dialog, cseq: int, credentials: Headers = ()) -> None:
        """ACK the 2xx to an INVITE of ours, with the credentials of the INVITE (RFC 3261 section 13.2.2.4)."""
        dialog.ack_cseq = cseq
        request = dialog.request("ACK", credentials, cseq=cseq)
        dialog.resend_ack = self.transactions.acknowledge(request, dialog.next_hops[1:])

    def request(
        self,
        dialog: Dialog,
        method: str,
        on_final: Callable[[SipResponse], None],
        headers: Headers = (),
        sdp: str | None = None,
        digest_client: DigestClient | None = None,
    ) -> ClientTransaction:
        """Send a request inside a dialog and answer what challenges come; where the peer is not to be found, send it
        once more, the other way. `on_final` gets the final response."""
        request = dialog.request(method, headers, sdp)
        credentials = () if digest_client is None else digest_client.headers(method, request.uri)
        request = replace(request, headers=(*headers, *credentials))

        def received(response: SipResponse) -> None:
            if response.status < 200:
                return
            wanted = method == "BYE" or dialog.state is not DialogState.CLOSING
            if wanted and response.status in DETOUR_STATUSES and dialog.detour():
                self.request(dialog, method, on_final, headers, sdp, digest_client)
                return
            again = None
            if response.status in (401, 407) and dialog.credentials is not None:
                again = digest_client or DigestClient(dialog.credentials, self.tag, dialog.nonces)
            if again is not None and again.challenged([(key, value) for key, _, value in response.headers]):
                self.request(dialog, method, on_final, headers, sdp, again)
                return
            if method in ("INVITE", "UPDATE") and response.status < 300:
                dialog.remote_target = contact_of(response) or dialog.remote_target
            if method == "INVITE" and response.status < 300:
                self.acknowledge(dialog, request.cseq, credentials)
            on_final(response)

        return self.transactions.send(request, received)
