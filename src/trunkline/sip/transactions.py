"""The transaction layer (RFC 3261 section 17): requests and responses between us and a neighbour. Pure.

The state machines are in `transaction_states.py`; here are the messages, the tables in which a message finds its
transaction, and the timers. A message goes out through a `Flow`.

A request finds its server transaction by branch, sent-by and method (section 17.2.3) and, as not every device makes
its branches unique, by From tag, Call-ID and CSeq number; one of a peer from before RFC 3261 has its whole Via for a
branch. The ACK to a 2xx, which is a transaction of its own, finds the INVITE's by From tag, Call-ID, CSeq number and
To tag. A response finds its client transaction by branch and method (section 17.1.3).

What was answered is remembered for a while, in bounded memory, so that a request that comes again gets the same
response. A 2xx to an INVITE is left to the dialogs (section 13.2.2.4); those that come later are told too.
"""

from collections.abc import Callable, Iterable
from ipaddress import ip_address

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import is_address, one_line
from trunkline.sip.message.outgoing import USER_AGENT, Flow, Outgoing, message_text, request_text
from trunkline.sip.message.validation import Headers, SipRequest, SipResponse, answer_via
from trunkline.sip.timers import Timer, Timers
from trunkline.sip.transaction_states import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    T1,
    TRANSACTION_TIME,
    Do,
    Input,
    Transaction,
    TransactionState,
)

__all__ = ["T1", "TRANSACTION_TIME", "ClientTransaction", "Flow", "Outgoing", "ServerTransaction", "Transactions"]

MAGIC_COOKIE = "z9hG4bK"
"""Begins the branches of RFC 3261 (section 8.1.1.7)."""
MEMORY_LIMIT = 16 * 1024 * 1024
"""Bytes of responses, and `MEMORY_OVERHEAD` for each, that are remembered for 32 to 64 s in case a request comes
again; then the oldest are forgotten. Twice that is held at most."""
MEMORY_OVERHEAD = 500

Key = tuple[str, ...]


class ServerTransaction:
    """One request of a peer's and our responses to it: a server transaction."""

    __slots__ = (
        "_headers",
        "_layer",
        "_on_ack",
        "_on_cancel",
        "_on_no_ack",
        "_response",
        "_target",
        "_via",
        "flow",
        "key",
        "local_tag",
        "machine",
        "request",
        "source",
        "timer",
    )

    def __init__(self, layer: "Transactions", request: SipRequest, source: Endpoint, flow: Flow, now: float) -> None:
        self._layer = layer
        self.request = request
        self.source = source
        self.flow = flow
        self.key = _key_of(request)
        self.local_tag = request.tag("to")
        self.timer: Timer | None = None
        invite = request.method == "INVITE"
        self.machine = Transaction(INVITE_SERVER if invite else SERVER, now, reliable=flow.transport != "udp")
        expires = int(request.value("expires") or 0)
        if invite and expires > 0:
            self.machine.last(expires, now)
        first, *others = request.listed("via")
        answered, self._target = answer_via(first, source)
        self._via = [answered, *others]
        self._response = b""
        self._on_cancel: Callable[[SipRequest | None], None] | None = None
        self._on_no_ack: Callable[[], None] | None = None
        self._on_ack: Callable[[SipRequest], None] | None = None

    @property
    def confirmation(self) -> Key:
        """What the ACK to a 2xx knows it by."""
        return self.request.value("call-id"), self.request.tag("from"), str(self.request.cseq[0])

    @property
    def response(self) -> bytes:
        """The last one; empty before the first."""
        return self._response

    def tag(self, tag: str) -> None:
        """Set the To tag of the responses to come, the automatic 487 included."""
        self.local_tag = tag

    def watch(self, *, on_cancel: Callable[[SipRequest | None], None], on_no_ack: Callable[[], None]) -> None:
        """For an INVITE: what to call when it was cancelled (with the CANCEL; None: it expired) and answered with
        487, and when a final response was never confirmed."""
        self._on_cancel, self._on_no_ack = on_cancel, on_no_ack

    def respond(
        self,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]] = (),
        sdp: str | None = None,
        on_ack: Callable[[SipRequest], None] | None = None,
    ) -> None:
        """Send a response; after a final one (>= 200) there must be no other."""
        self._on_ack = on_ack
        lines = [f"SIP/2.0 {status} {one_line(reason)}", *(f"Via: {value}" for value in self._via)]
        if status < 300:
            lines += [f"Record-Route: {value}" for value in self.request.values("record-route")]
        to = self.request.value("to")
        if self.local_tag and not self.request.tag("to"):
            to = f"{to};tag={self.local_tag}"
        lines += [
            f"From: {self.request.value('from')}",
            f"To: {to}",
            f"Call-ID: {self.request.value('call-id')}",
            f"CSeq: {self.request.value('cseq')}",
            f"Server: {USER_AGENT}",
        ]
        self._response = message_text(lines, headers, sdp)
        self._layer.responded(self, _kind(status))

    def repeat(self) -> None:
        """Send the last response again."""
        if self._response:
            self.flow.send(self._response, self._target)

    def abandon(self) -> None:
        """Stop repeating the final response and waiting for its ACK."""
        self.machine.terminate()
        self._layer.settle(self)

    def cancelled(self, cancel: SipRequest | None) -> None:
        """487 to the INVITE, and to whom it concerns."""
        if self.machine.state is TransactionState.PROCEEDING:
            self.respond(487, "Request Terminated")
            if self._on_cancel is not None:
                self._on_cancel(cancel)

    def confirmed(self, ack: SipRequest) -> None:
        """The ACK to a 2xx has come."""
        on_ack, self._on_ack = self._on_ack, None
        if on_ack is not None:
            on_ack(ack)

    def not_confirmed(self) -> None:
        """It never came."""
        if self._on_no_ack is not None:
            self._on_no_ack()


class ClientTransaction:
    """A request of ours that was sent, and what to call with its responses: a client transaction."""

    __slots__ = (
        "_cancel",
        "_cancelled",
        "_data",
        "_layer",
        "branch",
        "machine",
        "on_response",
        "request",
        "timer",
        "tolerance",
    )

    def __init__(
        self,
        layer: "Transactions",
        request: Outgoing,
        branch: str,
        on_response: Callable[[SipResponse], None] | None,
        now: float,
    ) -> None:
        self._layer = layer
        self.request = request
        self.branch = branch
        self.on_response = on_response
        self.timer: Timer | None = None
        invite = request.method == "INVITE"
        self.machine = Transaction(INVITE_CLIENT if invite else CLIENT, now, reliable=request.flow.transport != "udp")
        self._data = request_text(request, branch)
        self._cancelled = False
        self._cancel: Headers | None = None
        """Headers of the CANCEL that waits for the first response."""
        self.tolerance = 0
        """How often it may not be delivered at its address, and is repeated, before it fails."""

    @property
    def key(self) -> Key:
        """What its responses know it by (section 17.1.3)."""
        return self.branch, self.request.method

    def send(self) -> None:
        """The request, first or again."""
        self.request.flow.send(self._data, self.request.target)

    def acknowledge(self, response: SipResponse) -> None:
        """ACK to a failure: the INVITE's branch, route and Request-URI (section 17.1.1.3)."""
        ack = Outgoing(
            method="ACK",
            uri=self.request.uri,
            from_=self.request.from_,
            to=response.value("to"),
            call_id=self.request.call_id,
            cseq=self.request.cseq,
            target=self.request.target,
            flow=self.request.flow,
            routes=self.request.routes,
        )
        self.request.flow.send(request_text(ack, self.branch), self.request.target)

    def answered(self, response: SipResponse) -> None:
        """Tell who waits of a response."""
        if response.status < 200 and self._cancel is not None:
            self._send_cancel()
        if self.on_response is not None:
            self.on_response(response)

    def abandon(self) -> None:
        """Forget a request that is no INVITE: it is not sent again, and nobody waits for its responses."""
        self.on_response = None
        self.machine.terminate()
        self._layer.forget(self)

    def cancel(self, headers: Headers = ()) -> None:
        """CANCEL an INVITE: now, or not before its first response (section 9.1), and until then it is not sent again.
        One that has its final response, or was cancelled before, is left alone."""
        if not self.machine.live or self._cancelled:
            return
        self._cancelled, self._cancel = True, headers
        if self.machine.state is TransactionState.PROCEEDING:
            self._send_cancel()
        else:
            self.machine.stop_repeating()
            self._layer.arm(self)

    def _send_cancel(self) -> None:
        """Section 9.1: a peer that never sends the final response has cancelled after 64*T1."""
        headers, self._cancel = self._cancel or (), None
        self._layer.end_in(self, TRANSACTION_TIME)
        request = self.request
        cancel = Outgoing(
            method="CANCEL",
            uri=request.uri,
            from_=request.from_,
            to=request.to,
            call_id=request.call_id,
            cseq=request.cseq,
            target=request.target,
            flow=request.flow,
            routes=request.routes,
            headers=headers,
        )
        self._layer.start(cancel, self.branch, None)


class Transactions:
    """All transactions of one endpoint.

    `on_request` gets each new request but ACK and CANCEL, once; each must be answered, from within it or later.
    `on_success` gets each 2xx to an INVITE whose transaction is over: repeated, forked, or late; False from it says
    that nobody waited for it. `token` makes what is random in a branch.
    """

    def __init__(
        self,
        on_request: Callable[[ServerTransaction], None],
        on_success: Callable[[SipResponse], bool],
        timers: Timers,
        token: Callable[[], str],
    ) -> None:
        self._on_request = on_request
        self._on_success = on_success
        self._token = token
        self.timers = timers
        self._server: dict[Key, ServerTransaction] = {}
        self._unconfirmed: dict[Key, ServerTransaction] = {}
        """Those whose 2xx waits for its ACK, by `ServerTransaction.confirmation`."""
        self._client: dict[Key, ClientTransaction] = {}
        self._answered = TransactionMemory(timers)

    @property
    def sizes(self) -> dict[str, int]:
        """Transactions in which somebody waits for something, for tests and reports."""
        return {
            "server": len(self._server),
            "client": sum(sent.machine.live for sent in self._client.values()),
        }

    # ── from peers ──────────────────────────────────────────────────────────────────────────────────────────

    def absorbed(self, request: SipRequest) -> bool:
        """Whether a request belongs to a transaction that we have: one that came before, whose response, if there was
        one, is sent again; or the ACK to a failure."""
        key = _key_of(request)
        transaction = self._server.get(key)
        if request.method == "ACK":
            if transaction is None or transaction.machine.state is TransactionState.ACCEPTED:
                return key in self._answered
            self._take_server(transaction, Input.ACK, request)
            return True
        if transaction is not None:
            self._take_server(transaction, Input.REQUEST, request)
            return True
        answered = self._answered.get(key)
        if answered is None:
            return False
        if request.method != "INVITE":  # Whoever has confirmed an answer needs it no more.
            answered.repeat()
        return True

    def receive_request(self, request: SipRequest, source: Endpoint, flow: Flow, tag: str | None) -> None:
        """A screened request that was not absorbed. `tag` is the To tag of a response to CANCEL (section 9.2)."""
        if request.method == "ACK":
            transaction = self._unconfirmed.get(_confirmation(request))
            if transaction is not None and transaction.local_tag == request.tag("to"):
                self._take_server(transaction, Input.ACK, request)
            return
        transaction = ServerTransaction(self, request, source, flow, self.timers.now)
        if request.method == "CANCEL":
            self._cancel(transaction, tag)
            return
        self._server[transaction.key] = transaction
        self.arm(transaction)
        self._on_request(transaction)

    def receive_response(self, response: SipResponse) -> bool:
        """A screened response; False when no request of ours waits for it."""
        number, method = response.cseq
        sent = self._client.get((response.via.params.get("branch", ""), method))
        if sent is None or number != sent.request.cseq:
            return method == "INVITE" and 200 <= response.status < 300 and self._on_success(response)
        return self._take_client(sent, _kind(response.status), response)

    def unreachable(self, flow: Flow, reason: str, to: Endpoint | None = None) -> None:
        """What was sent by a flow, to that address alone if one is given, did not arrive: requests that have no
        response yet fail (section 8.1.3.1)."""
        for sent in list(self._client.values()):
            request = sent.request
            if request.flow is not flow or (to is not None and not _same(request.target, to)):
                continue
            if to is not None and sent.tolerance:
                sent.tolerance -= 1
            else:
                self._take_client(sent, Input.UNREACHABLE, SipResponse([], b"", 503, one_line(reason)))

    def _cancel(self, transaction: ServerTransaction, tag: str | None) -> None:
        invite = self._server.get(_key_of(transaction.request, "INVITE"))
        if tag is not None:
            transaction.tag(tag)
        if invite is None:
            transaction.respond(481, "Call/Transaction Does Not Exist")
            return
        transaction.respond(200, "OK")
        invite.cancelled(transaction.request)

    # ── from us ─────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, request: Outgoing, on_response: Callable[[SipResponse], None]) -> ClientTransaction:
        """Send a request. `on_response` gets its responses; one without headers is our own: 408 when none came in
        time, 503 when the flow failed."""
        return self.start(request, MAGIC_COOKIE + self._token(), on_response)

    def start(
        self, request: Outgoing, branch: str, on_response: Callable[[SipResponse], None] | None
    ) -> ClientTransaction:
        """The same, with a branch that is given."""
        sent = ClientTransaction(self, request, branch, on_response, self.timers.now)
        self._client[sent.key] = sent
        self.arm(sent)
        sent.send()
        return sent

    def acknowledge(self, request: Outgoing, elsewhere: Iterable[Endpoint] = ()) -> Callable[[], None]:
        """Send the ACK to a 2xx; call what is returned to send it again, and `elsewhere` too."""
        data = request_text(request, MAGIC_COOKIE + self._token())
        places = (request.target, *elsewhere)

        def send_again() -> None:
            for place in places:
                request.flow.send(data, place)

        request.flow.send(data, request.target)
        return send_again

    def close(self) -> None:
        """Forget everything, timers included."""
        for transaction in self._server.values():
            _disarm(transaction)
        for sent in self._client.values():
            _disarm(sent)
        self._server.clear()
        self._unconfirmed.clear()
        self._client.clear()
        self._answered.close()

    # ── what transactions need ──────────────────────────────────────────────────────────────────────────────

    def responded(self, transaction: ServerTransaction, kind: Input) -> None:
        """A response was made."""
        self._take_server(transaction, kind, None)

    def settle(self, transaction: ServerTransaction) -> None:
        """Nobody waits for anything in a server transaction: what was answered is remembered."""
        _disarm(transaction)
        if self._server.get(transaction.key) is transaction:
            del self._server[transaction.key]
        if self._unconfirmed.get(transaction.confirmation) is transaction:
            del self._unconfirmed[transaction.confirmation]
        if transaction.response:
            self._answered.put(transaction)

    def forget(self, sent: ClientTransaction) -> None:
        """A client transaction is over."""
        _disarm(sent)
        if self._client.get(sent.key) is sent:
            del self._client[sent.key]

    def end_in(self, sent: ClientTransaction, seconds: float) -> None:
        """Let a client transaction end so much later."""
        sent.machine.last(seconds, self.timers.now)
        self.arm(sent)

    def arm(self, one: "ServerTransaction | ClientTransaction") -> None:
        """Have one timer run at the machine's next deadline."""
        deadline = one.machine.next_deadline
        if one.timer is not None and one.timer.live:
            if one.timer.deadline == deadline:
                return
            one.timer.cancel()
        run = self._server_due if isinstance(one, ServerTransaction) else self._client_due
        one.timer = None if deadline == float("inf") else self.timers.at(deadline, run, one)

    def _server_due(self, transaction: ServerTransaction) -> None:
        due = transaction.machine.due(self.timers.now)
        if due is not None:
            self._take_server(transaction, due, None)

    def _client_due(self, sent: ClientTransaction) -> None:
        due = sent.machine.due(self.timers.now)
        if due is not None:
            self._take_client(sent, due, SipResponse([], b"", 408, "No Answer"))

    def _take_server(self, transaction: ServerTransaction, what: Input, request: SipRequest | None) -> None:
        actions = transaction.machine.apply(what, self.timers.now)
        if transaction.machine.live:
            if transaction.machine.state is TransactionState.ACCEPTED:
                self._unconfirmed[transaction.confirmation] = transaction
            self.arm(transaction)
        else:
            self.settle(transaction)
        for action in actions:
            if action is Do.SEND:
                transaction.repeat()
            elif action is Do.PASS and what is Input.ACK and request is not None:
                transaction.confirmed(request)
            elif action is Do.PASS:
                transaction.repeat()
            elif action is Do.EXPIRE:
                transaction.cancelled(None)
            elif action is Do.NO_ACK:
                transaction.not_confirmed()

    def _take_client(self, sent: ClientTransaction, what: Input, response: SipResponse) -> bool:
        """Apply an input; `response` is what is told of it. False: a 2xx that nobody waited for."""
        actions = sent.machine.apply(what, self.timers.now)
        if sent.machine.state is TransactionState.TERMINATED:
            self.forget(sent)
        else:
            self.arm(sent)
        awaited = True
        for action in actions:
            if action is Do.SEND:
                sent.send()
            elif action is Do.ACKNOWLEDGE:
                sent.acknowledge(response)
            elif action is Do.PASS_REPEATED:
                awaited = self._on_success(response)
            else:
                sent.answered(response)
        return awaited


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
        """The transaction of a request that came again."""
        return self._young.get(key) or self._old.get(key)

    def put(self, transaction: ServerTransaction) -> None:
        """Remember one."""
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


def _disarm(one: "ServerTransaction | ClientTransaction") -> None:
    if one.timer is not None:
        one.timer.cancel()
        one.timer = None


def _same(one: Endpoint, other: Endpoint) -> bool:
    """Whether these are one address, in whatever spelling."""
    return one.port == other.port and _spelled(one.host) == _spelled(other.host)


def _spelled(host: str) -> str:
    host = host.strip("[]").lower()
    return str(ip_address(host)) if is_address(host) else host


def _kind(status: int) -> Input:
    return Input.PROVISIONAL if status < 200 else Input.SUCCESS if status < 300 else Input.FAILURE


def _key_of(request: SipRequest, method: str | None = None) -> Key:
    """What tells a request's transaction from others (section 17.2.3). `method` is that of a CANCEL's INVITE."""
    named = method or ("INVITE" if request.method == "ACK" else request.method)
    via = request.via
    branch = via.params.get("branch", "").lower()
    if branch.startswith(MAGIC_COOKIE.lower()):
        # Branches are unique, but not those of every device.
        return branch, via.host.lower(), str(via.port or ""), *_confirmation(request), named
    return "", request.listed("via")[0], *_confirmation(request), named


def _confirmation(request: SipRequest) -> Key:
    return request.value("call-id"), request.tag("from"), str(request.cseq[0])
