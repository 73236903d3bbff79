"""Requests of ours outside any dialog: OPTIONS and REGISTER to trunks. Pure.

The transaction layer waits 64*T1 for a response (RFC 3261 section 17.1.2.2). A request here fails after `timeout`
seconds, since a trunk may have another target, and so that requests to a dead target do not pile up.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from trunkline.sip.client_transaction import ClientTransaction
from trunkline.sip.message.outgoing import Flow, Outgoing
from trunkline.sip.message.validation import Headers, SipResponse
from trunkline.sip.targets import Target
from trunkline.sip.transactions import Transactions


@dataclass(frozen=True, slots=True)
class OutOfDialogRequest:
    """A request outside any dialog."""

    method: str
    """OPTIONS or REGISTER."""
    target: Target
    """Where it goes; with a flow, by it."""
    address: str
    """URI of From and To."""
    call_id: str
    """Call-ID."""
    cseq: int
    """CSeq number."""
    headers: Headers = ()
    """Further headers."""
    context: object = None
    """Comes back in its `FinalResponse`."""


@dataclass(frozen=True, slots=True)
class FinalResponse:
    """The one final response to a request."""

    context: object
    """Of the request."""
    response: SipResponse
    """Without headers it is our own: 408 for none in time, 503 for an unreachable target, 500 if the request could not
    be sent."""


class OutOfDialogClient:
    """Sends requests, and keeps those that have no final response. `tag` makes tags, `connect` gives the flow to a
    target."""

    def __init__(
        self, transactions: Transactions, connect: Callable[[Target], Flow], tag: Callable[[], str], timeout: float
    ) -> None:
        self.connect = connect
        self.tag = tag
        self.timers = transactions.timers
        self.responses: deque[FinalResponse] = deque()
        """Final responses, oldest first."""
        self._transactions = transactions
        self._timeout = timeout
        self._pending: set[ClientTransaction] = set()

    def __len__(self) -> int:
        """Requests without a final response."""
        return len(self._pending)

    def send(self, request: OutOfDialogRequest) -> None:
        """Send a request; `responses` gets its final response, once."""
        try:
            self._pending.add(self._transactions.send(self._outgoing(request), request, self._timeout))
        except Exception as error:
            # Each request follows from the response to the last, so that one without a response would end them.
            self.responses.append(FinalResponse(request.context, SipResponse([], b"", 500, f"not sent: {error!r}")))

    def response_received(self, transaction: ClientTransaction, response: SipResponse) -> None:
        """A response to one of the requests."""
        request = transaction.user
        if response.status >= 200 and transaction in self._pending and isinstance(request, OutOfDialogRequest):
            self._pending.discard(transaction)
            self.responses.append(FinalResponse(request.context, response))

    def stop(self) -> None:
        """Forget all requests without a final response."""
        for transaction in self._pending:
            transaction.abandon()
        self._pending.clear()
        self.responses.clear()

    def _outgoing(self, request: OutOfDialogRequest) -> Outgoing:
        return Outgoing(
            method=request.method,
            uri=request.target.uri,
            from_=f"<{request.address}>;tag={self.tag()}",
            to=f"<{request.address}>",
            call_id=request.call_id,
            cseq=request.cseq,
            target=request.target.endpoint,
            flow=request.target.flow or self.connect(request.target),
            headers=request.headers,
        )
