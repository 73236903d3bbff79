"""Requests of ours outside any dialog, OPTIONS and REGISTER: pure.

The transaction layer waits 64*T1 for an answer (RFC 3261 section 17.1.2.2). Who has another target to try does not
wait that long: after `timeout` seconds the request is forgotten, so that those to a dead target never pile up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trunkline.sip.message.validation import Headers, SipResponse
from trunkline.sip.targets import Target
from trunkline.sip.transactions import ClientTransaction, Flow, Outgoing, Transactions


@dataclass(frozen=True, slots=True)
class OutOfDialogRequest:
    """A request."""

    method: str
    target: Target
    address: str
    """URI of From and To."""
    call_id: str
    cseq: int
    headers: Headers = ()


class OutOfDialogClient:
    """Asks. `tag` makes tags, `connect` gives the flow to a target."""

    def __init__(
        self,
        transactions: Transactions,
        connect: Callable[[Target], Flow],
        tag: Callable[[], str],
        timeout: float,
    ) -> None:
        self.connect = connect
        self.tag = tag
        self.timers = transactions.timers
        self._transactions = transactions
        self._timeout = timeout
        self._open: dict[ClientTransaction, Any] = {}
        """Requests that wait for their answers, and the timers of our timeout."""

    def __len__(self) -> int:
        """Requests that wait for their answers."""
        return len(self._open)

    def send(self, request: OutOfDialogRequest, on_final: Callable[[SipResponse], None]) -> None:
        """`on_final` gets the final response, once; one without headers is our own: 408 for none in time, 503 where the
        target cannot be reached, 500 where we could not send it."""

        def received(response: SipResponse) -> None:
            if response.status >= 200 and sent in self._open:
                self._open.pop(sent).cancel()
                on_final(response)

        def given_up() -> None:
            del self._open[sent]
            sent.abandon()
            on_final(SipResponse([], b"", 408, "No Answer"))

        try:
            sent = self._transactions.send(self._request(request), received)
        except Exception as error:
            # Who asks does so for ever, each time upon the last answer.
            on_final(SipResponse([], b"", 500, f"not sent: {error!r}"))
            return
        self._open[sent] = self.timers.after(self._timeout, given_up)

    def _request(self, request: OutOfDialogRequest) -> Outgoing:
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

    def stop(self) -> None:
        """Forget all that waits; nobody is told."""
        for sent, timer in self._open.items():
            timer.cancel()
            sent.abandon()
        self._open.clear()
