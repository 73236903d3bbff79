"""The dialogs of an endpoint, the requests inside them, and the ways in which they end. Pure."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import count
from typing import Literal, Protocol

from trunkline.config import SipSettings
from trunkline.sip.dialog import Dialog, DialogState, Key, contact_of
from trunkline.sip.events import CallKey, CoreEvent
from trunkline.sip.message.digest import DigestClient
from trunkline.sip.message.validation import Headers, Rejection, SipResponse
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.transactions import Transactions
from trunkline.sip.values import DialogEnded, DialogId, DialogMoved

DETOUR_STATUSES = frozenset((403, 404, 408, 410, 481, 503))
"""Responses of a peer that does not know the dialog, or of ours where none came: the request is sent once more, to the
other address of the peer."""


class Purpose(Enum):
    """What a request inside a dialog is for."""

    END = auto()
    """BYE."""
    PRACK = auto()
    """PRACK."""
    PROBE = auto()
    """OPTIONS, to learn whether the peer still has the dialog."""
    REFRESH = auto()
    """UPDATE or re-INVITE that refreshes the session (RFC 4028)."""


@dataclass(slots=True, eq=False)
class DialogRequest:
    """A request of ours inside a dialog, sent once or, with credentials or to another address, again."""

    dialog: Dialog
    method: str
    purpose: Purpose
    headers: Headers = ()
    """Without credentials."""
    sdp: str | None = None
    digest_client: DigestClient | None = None
    """What has answered a challenge to it."""
    credentials: Headers = ()
    """Headers that answer the challenge, as last sent; for the ACK too."""
    cseq: int = 0
    """As last sent."""


class PlacedCall(Protocol):
    """A call that we place (`uac.UacInvite`)."""

    key: CallKey
    settled: bool

    def targets_found(self, found: Sequence[Target] | Unreachable) -> None:
        """Its targets, in order, or why there is none."""

    def success_received(self, response: SipResponse) -> bool:
        """A 2xx to an INVITE of the call. False: to none of its INVITEs."""

    def hang_up(self, header: str | None) -> None:
        """CANCEL; `header` is the Reason."""


class DialogStore:
    """The dialogs of one endpoint: `by_id` those that the application knows, `by_key` those that the peers know. `tag`
    makes tags."""

    def __init__(
        self, transactions: Transactions, tag: Callable[[], str], settings: SipSettings, counters: Counter[str]
    ) -> None:
        self.transactions = transactions
        self.timers = transactions.timers
        self.events: deque[CoreEvent] = deque()
        """For the endpoint, oldest first."""
        self.tag = tag
        self.settings = settings
        self.counters = counters
        self.by_id: dict[DialogId, Dialog] = {}
        self.by_key: dict[Key, Dialog] = {}
        self.outgoing: dict[DialogId, PlacedCall] = {}
        """Calls that we place, until they are answered or refused."""
        self.uac_invites: dict[CallKey, PlacedCall] = {}
        """The same, until no response can concern them any more."""
        self._ids = count(1)

    def new_id(self) -> DialogId:
        """An id that was never used."""
        return DialogId(next(self._ids))

    def refuse(self, transaction: ServerTransaction, refused: Rejection) -> None:
        """Answer a request with a failure, and count it."""
        self.counters[f"refused_{refused.status}"] += 1
        transaction.respond(refused.status, refused.reason, refused.headers)

    def end(self, dialog: Dialog, cause: Literal["bye", "cancel", "no-ack", "error"], detail: str) -> None:
        """The peer has ended the dialog, or it cannot go on; nothing more is sent."""
        self.settle(dialog)
        self.forget(dialog)
        if self.by_id.pop(dialog.id, None) is not None:
            self.events.append(DialogEnded(dialog.id, cause, detail))

    def settle(self, dialog: Dialog) -> None:
        """Finish the open INVITE or offer of a dialog that ends."""
        transaction, dialog.invite = dialog.invite, None
        if transaction is not None and dialog.answered:
            transaction.abandon()
        elif transaction is not None:
            transaction.respond(487, "Request Terminated")

    def forget(self, dialog: Dialog) -> None:
        """No more messages of the dialog are expected."""
        dialog.cancel_timers()
        if self.by_key.get(dialog.key) is dialog:
            del self.by_key[dialog.key]

    def give_up(
        self, dialog: Dialog, detail: str, reason: str | None, cause: Literal["no-ack", "error"] = "error"
    ) -> None:
        """The dialog cannot go on: BYE with that Reason, and `DialogEnded`."""
        ended = self.by_id.pop(dialog.id, None) is not None
        self.settle(dialog)
        self.send_bye(dialog, reason)
        if ended:
            self.events.append(DialogEnded(dialog.id, cause, detail))

    def note_move(self, dialog: Dialog) -> None:
        """Report, once, that the peer is reached in another way than by the text that was saved."""
        if dialog.saved is not None and dialog.saved != dialog.way and dialog.id in self.by_id:
            dialog.saved = dialog.way
            self.events.append(DialogMoved(dialog.id))

    def send_bye(self, dialog: Dialog, reason: str | None) -> None:
        """BYE; the dialog stays in `by_key` until the response."""
        dialog.cancel_timers()
        dialog.state = DialogState.CLOSING
        headers = () if reason is None else (("Reason", reason),)
        self.send(DialogRequest(dialog, "BYE", Purpose.END, headers))

    def acknowledge(self, dialog: Dialog, cseq: int, credentials: Headers = ()) -> None:
        """ACK the 2xx to an INVITE of ours, with the credentials of the INVITE (RFC 3261 section 13.2.2.4)."""
        dialog.ack_cseq = cseq
        request = dialog.request("ACK", credentials, cseq=cseq)
        dialog.resend_ack = self.transactions.acknowledge(request, dialog.next_hops[1:])

    def send(self, request: DialogRequest) -> None:
        """Send a request inside a dialog; each response goes to `response_received`."""
        dialog, client = request.dialog, request.digest_client
        outgoing = dialog.request(request.method, request.headers, request.sdp)
        request.cseq = outgoing.cseq
        if client is not None:
            request.credentials = client.headers(request.method, outgoing.uri)
            outgoing = replace(outgoing, headers=(*request.headers, *request.credentials))
        self.transactions.send(outgoing, request)

    def response_received(self, request: DialogRequest, response: SipResponse) -> bool:
        """A response to a request inside a dialog. True: it is the final one; else it was provisional, or the request
        was sent again, with credentials or to the other address of the peer."""
        if response.status < 200:
            return False
        dialog, client = request.dialog, request.digest_client
        wanted = request.method == "BYE" or dialog.state is not DialogState.CLOSING
        if wanted and response.status in DETOUR_STATUSES and dialog.detour():
            self.send(request)
            return False
        if response.status in (401, 407) and dialog.credentials is not None:
            client = client or DigestClient(dialog.credentials, self.tag, dialog.nonces)
            if client.challenged([(key, value) for key, _, value in response.headers]):
                request.digest_client = client
                self.send(request)
                return False
        if response.status < 300 and request.method in ("INVITE", "UPDATE"):
            dialog.remote_target = contact_of(response) or dialog.remote_target
            if request.method == "INVITE":
                self.acknowledge(dialog, request.cseq, request.credentials)
        self.note_move(dialog)
        return True
