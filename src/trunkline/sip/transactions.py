"""The transaction layer (RFC 3261 section 17): requests and responses between us and a neighbour. Pure.

The state machines are in `transaction_states.py`, the messages in `server_transaction.py` and `client_transaction.py`,
the rules by which a message finds its transaction in `transaction_matching.py`; here are the tables and the timers. A
message is sent by its `Flow` at once. What the user of the layer has to know becomes an event in `events`.

Server transactions that are over are remembered for a while, in bounded memory, so that a retransmitted request gets
the same response. 2xx responses to an INVITE after the first are left to the user agent (section 13.2.2.4).
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from math import inf

from trunkline.sdp.values import Endpoint
from trunkline.sip.client_transaction import ClientTransaction
from trunkline.sip.events import (
    InviteCancelled,
    ResponseReceived,
    SuccessAcknowledged,
    SuccessNotAcknowledged,
    TransactionEvent,
)
from trunkline.sip.message.headers import one_line
from trunkline.sip.message.outgoing import Flow, Outgoing, request_text
from trunkline.sip.message.validation import SipRequest, SipResponse
from trunkline.sip.server_transaction import ServerTransaction
from trunkline.sip.timers import Timer, Timers
from trunkline.sip.transaction_matching import MAGIC_COOKIE, Key, ack_key, same_address, server_key
from trunkline.sip.transaction_states import TRANSACTION_TIME, Do, Input, TransactionState

MEMORY_LIMIT = 16 * 1024 * 1024
"""Bytes of responses, with `MEMORY_OVERHEAD` for each, that are remembered for 32 to 64 s; beyond it the oldest are
forgotten. Twice that is held at most."""
MEMORY_OVERHEAD = 500


class Transactions:
    """All transactions of one endpoint. `token` makes the random part of a branch."""

    def __init__(self, timers: Timers, token: Callable[[], str]) -> None:
        self.timers = timers
        self.events: deque[TransactionEvent] = deque()
        """For the user of the layer, oldest first."""
        self._token = token
        self._server: dict[Key, ServerTransaction] = {}
        self._unacknowledged: dict[Key, ServerTransaction] = {}
        """Those whose 2xx waits for its ACK, by `ServerTransaction.ack_key`."""
        self._client: dict[Key, ClientTransaction] = {}
        self.unsettled: Counter[str] = Counter()
        """Server transactions that still wait for a message, by their `origin`."""
        self._memory = TransactionMemory(timers)

    @property
    def sizes(self) -> dict[str, int]:
        """Transactions that still wait for a message, for tests and reports."""
        return {
            "server": self.server_count,
            "client": sum(transaction.machine.live for transaction in self._client.values()),
        }

    @property
    def server_count(self) -> int:
        """Server transactions that still wait for a message."""
        return len(self._server)

    # ── from peers ──────────────────────────────────────────────────────────────────────────────────────────

    def absorb(self, request: SipRequest) -> bool:
        """Whether a request belongs to a transaction that exists: a retransmission, whose last response is sent again,
        or the ACK to a failure."""
        key = server_key(request)
        transaction = self._server.get(key)
        if request.method == "ACK":
            if transaction is None or transaction.machine.state is TransactionState.ACCEPTED:
                return key in self._memory
            self._apply_server(transaction, Input.ACK, request)
            return True
        if transaction is not None:
            self._apply_server(transaction, Input.REQUEST, request)
            return True
        finished = self._memory.get(key)
        if finished is None:
            return False
        if request.method != "INVITE":  # A finished INVITE has had its ACK.
            finished.repeat()
        return True

    def receive_request(
        self, request: SipRequest, source: Endpoint, flow: Flow, tag: str | None, origin: str = ""
    ) -> ServerTransaction | None:
        """Take a validated request that was not absorbed. Returns its transaction, to be answered now or later; None
        for ACK and CANCEL. `tag` is the To tag of the response to a CANCEL (section 9.2); with an `origin` it counts
        in `unsettled`."""
        if request.method == "ACK":
            invite = self._unacknowledged.get(ack_key(request))
            if invite is not None and invite.local_tag == request.tag("to"):
                self._apply_server(invite, Input.ACK, request)
            return None
        transaction = ServerTransaction(self, request, source, flow, self.timers.now)
        if request.method == "CANCEL":
            self._cancel(transaction, tag)
            return None
        self._server[transaction.key] = transaction
        if origin:
            transaction.origin = origin
            self.unsettled[origin] += 1
        self.arm(transaction)
        return transaction

    def has_invite_of(self, cancel: SipRequest) -> bool:
        """Whether there is an INVITE that a CANCEL can be of."""
        return server_key(cancel, "INVITE") in self._server

    def receive_response(self, response: SipResponse) -> bool:
        """Take a validated response. False: no transaction waits for it; a 2xx to an INVITE is then the user agent's,
        whether it is a retransmission or of another fork (RFC 6026 section 8.4)."""
        number, method = response.cseq
        transaction = self._client.get((response.via.params.get("branch", ""), method))
        if transaction is None or number != transaction.request.cseq:
            return False
        return self._apply_client(transaction, Input.of_status(response.status), response)

    def flow_failed(self, flow: Flow, reason: str, to: Endpoint | None = None) -> None:
        """What was sent by a flow, to that address alone if one is given, did not arrive: requests without a response
        fail (section 8.1.3.1)."""
        for transaction in list(self._client.values()):
            request = transaction.request
            if request.flow is not flow or (to is not None and not same_address(request.target, to)):
                continue
            if to is not None and transaction.icmp_tolerance:
                transaction.icmp_tolerance -= 1
            else:
                self._apply_client(transaction, Input.UNREACHABLE, SipResponse([], b"", 503, one_line(reason)))

    def _cancel(self, transaction: ServerTransaction, tag: str | None) -> None:
        invite = self._server.get(server_key(transaction.request, "INVITE"))
        if tag is not None:
            transaction.local_tag = tag
        if invite is None:
            transaction.respond(481, "Call/Transaction Does Not Exist")
            return
        transaction.respond(200, "OK")
        self._terminate_invite(invite, transaction.request)

    def _terminate_invite(self, invite: ServerTransaction, cancel: SipRequest | None) -> None:
        if invite.machine.state is TransactionState.PROCEEDING:
            invite.respond(487, "Request Terminated")
            self.events.append(InviteCancelled(invite, cancel))

    # ── from us ─────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, request: Outgoing, user: object, timeout: float | None = None) -> ClientTransaction:
        """Send a request. `user` comes back in its `ResponseReceived`. Without a final response it fails after 64*T1,
        or after `timeout` seconds."""
        transaction = self.start(request, MAGIC_COOKIE + self._token(), user)
        if timeout is not None:
            self.end_in(transaction, timeout)
        return transaction

    def start(self, request: Outgoing, branch: str, user: object) -> ClientTransaction:
        """Send a request with a given branch."""
        transaction = ClientTransaction(self, request, branch, user, self.timers.now)
        self._client[transaction.key] = transaction
        self.arm(transaction)
        transaction.send()
        return transaction

    def acknowledge(self, request: Outgoing, elsewhere: Iterable[Endpoint] = ()) -> Callable[[], None]:
        """Send the ACK to a 2xx. Returns a function that sends it again, and to `elsewhere` too."""
        data = request_text(request, MAGIC_COOKIE + self._token())
        targets = (request.target, *elsewhere)

        def send_again() -> None:
            for target in targets:
                request.flow.send(data, target)

        request.flow.send(data, request.target)
        return send_again

    def close(self) -> None:
        """Forget everything, timers included."""
        for transaction in self._server.values():
            _disarm(transaction)
        for request in self._client.values():
            _disarm(request)
        self._server.clear()
        self.unsettled.clear()
        self._unacknowledged.clear()
        self._client.clear()
        self.events.clear()
        self._memory.close()

    # ── for transactions ────────────────────────────────────────────────────────────────────────────────────

    def responded(self, transaction: ServerTransaction, kind: Input) -> None:
        """See `ServerLayer`."""
        self._apply_server(transaction, kind, None)

    def finish(self, transaction: ServerTransaction) -> None:
        """See `ServerLayer`."""
        _disarm(transaction)
        if self._server.get(transaction.key) is transaction:
            del self._server[transaction.key]
            self._settle(transaction.origin)
        if self._unacknowledged.get(transaction.ack_key) is transaction:
            del self._unacknowledged[transaction.ack_key]
        if transaction.response:
            self._memory.put(transaction)

    def _settle(self, origin: str) -> None:
        if self.unsettled[origin] > 1:
            self.unsettled[origin] -= 1
        else:
            del self.unsettled[origin]

    def forget(self, transaction: ClientTransaction) -> None:
        """See `ClientLayer`."""
        _disarm(transaction)
        if self._client.get(transaction.key) is transaction:
            del self._client[transaction.key]

    def end_in(self, transaction: ClientTransaction, seconds: float) -> None:
        """See `ClientLayer`."""
        transaction.machine.end_in(seconds, self.timers.now)
        self.arm(transaction)

    def arm(self, one: ServerTransaction | ClientTransaction) -> None:
        """See `ClientLayer`."""
        deadline = one.machine.next_deadline
        if one.timer is not None and one.timer.live:
            if one.timer.deadline == deadline:
                return
            one.timer.cancel()
        run = self._server_due if isinstance(one, ServerTransaction) else self._client_due
        one.timer = None if deadline == inf else self.timers.at(deadline, run, one)

    def _server_due(self, transaction: ServerTransaction) -> None:
        due = transaction.machine.due(self.timers.now)
        if due is not None:
            self._apply_server(transaction, due, None)

    def _client_due(self, transaction: ClientTransaction) -> None:
        due = transaction.machine.due(self.timers.now)
        if due is not None:
            self._apply_client(transaction, due, SipResponse([], b"", 408, "No Answer"))

    def _apply_server(self, transaction: ServerTransaction, what: Input, request: SipRequest | None) -> None:
        actions = transaction.machine.apply(what, self.timers.now)
        if transaction.machine.live:
            if transaction.machine.state is TransactionState.ACCEPTED:
                self._unacknowledged[transaction.ack_key] = transaction
            self.arm(transaction)
        else:
            self.finish(transaction)
        for action in actions:
            if action is Do.PASS and what is Input.ACK and request is not None:
                self.events.append(SuccessAcknowledged(transaction, request))
            elif action is Do.SEND or action is Do.PASS:
                transaction.repeat()
            elif action is Do.EXPIRE:
                self._terminate_invite(transaction, None)
            elif action is Do.NO_ACK:
                self.events.append(SuccessNotAcknowledged(transaction))

    def _apply_client(self, transaction: ClientTransaction, what: Input, response: SipResponse) -> bool:
        """Apply an input; `response` is what its event says. False: the user agent has to take it (`PASS_REPEATED`)."""
        actions = transaction.machine.apply(what, self.timers.now)
        if transaction.machine.state is TransactionState.TERMINATED:
            self.forget(transaction)
        else:
            self.arm(transaction)
        for action in actions:
            if action is Do.SEND:
                transaction.send()
            elif action is Do.ACKNOWLEDGE:
                transaction.acknowledge(response)
            elif action is not Do.PASS_REPEATED:
                transaction.response_received(response.status)
                if transaction.user is not None:
                    self.events.append(ResponseReceived(transaction, response))
        return Do.PASS_REPEATED not in actions


class TransactionMemory:
    """Server transactions that are over, in two generations; the older is forgotten every 64*T1."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._young: dict[Key, ServerTransaction] = {}
        self._old: dict[Key, ServerTransaction] = {}
        self._size = 0
        self._timer: Timer | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self._young or key in self._old

    def get(self, key: Key) -> ServerTransaction | None:
        """The transaction of a retransmitted request."""
        return self._young.get(key) or self._old.get(key)

    def put(self, transaction: ServerTransaction) -> None:
        """Remember a transaction."""
        if transaction.key in self._young:
            return
        self._young[transaction.key] = transaction
        self._size += _cost(transaction)
        while self._size > MEMORY_LIMIT:
            oldest = next(iter(self._young))
            self._size -= _cost(self._young.pop(oldest))
        if self._timer is None:
            self._timer = self._timers.after(TRANSACTION_TIME, self._turn)

    def close(self) -> None:
        """Forget everything."""
        self._young, self._old, self._size = {}, {}, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._old, self._young, self._size = self._young, {}, 0
        self._timer = self._timers.after(TRANSACTION_TIME, self._turn) if self._old else None


def _cost(transaction: ServerTransaction) -> int:
    return MEMORY_OVERHEAD + len(transaction.response)


def _disarm(one: ServerTransaction | ClientTransaction) -> None:
    if one.timer is not None:
        one.timer.cancel()
        one.timer = None
