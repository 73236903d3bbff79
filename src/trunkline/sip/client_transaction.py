"""A request of ours and the responses to it: a client transaction (RFC 3261 section 17.1). Pure."""

from typing import Protocol

from trunkline.sip.message.outgoing import Outgoing, request_text
from trunkline.sip.message.validation import Headers, SipResponse
from trunkline.sip.timers import Timer
from trunkline.sip.transaction_matching import Key
from trunkline.sip.transaction_states import (
    CLIENT,
    INVITE_CLIENT,
    TRANSACTION_TIME,
    Transaction,
    TransactionState,
)


class ClientLayer(Protocol):
    """What a client transaction needs of the transaction layer."""

    def start(self, request: Outgoing, branch: str, user: object) -> "ClientTransaction":
        """Send a request with a given branch."""

    def arm(self, one: "ClientTransaction") -> None:
        """Set the timer to the next deadline of the state machine."""

    def end_in(self, transaction: "ClientTransaction", seconds: float) -> None:
        """End the present state after so many seconds."""

    def forget(self, transaction: "ClientTransaction") -> None:
        """The transaction is over."""


class ClientTransaction:
    """A request of ours that was sent."""

    __slots__ = (
        "_cancel",
        "_cancelled",
        "_data",
        "_layer",
        "branch",
        "icmp_tolerance",
        "machine",
        "request",
        "timer",
        "user",
    )

    def __init__(self, layer: ClientLayer, request: Outgoing, branch: str, user: object, now: float) -> None:
        self._layer = layer
        self.request = request
        self.branch = branch
        self.user = user
        """What the layer's user sent with the request, for its `ResponseReceived`; None: responses are not reported."""
        self.timer: Timer | None = None
        invite = request.method == "INVITE"
        self.machine = Transaction(INVITE_CLIENT if invite else CLIENT, now, reliable=request.flow.transport != "udp")
        self._data = request_text(request, branch)
        self._cancelled = False
        self._cancel: Headers | None = None
        """Headers of the CANCEL that waits for the first response."""
        self.icmp_tolerance = 0
        """ICMP errors that are ignored before the request fails."""

    @property
    def key(self) -> Key:
        """Identifies its responses (section 17.1.3)."""
        return self.branch, self.request.method

    def send(self) -> None:
        """Send the request, first or again."""
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

    def response_received(self, status: int) -> None:
        """The first provisional response lets a waiting CANCEL go out."""
        if status < 200 and self._cancel is not None:
            self._send_cancel()

    def abandon(self) -> None:
        """Forget a request other than INVITE: it is not sent again, and its responses are not reported."""
        self.user = None
        self.machine.terminate()
        self._layer.forget(self)

    def cancel(self, headers: Headers = ()) -> None:
        """CANCEL an INVITE: now, or after its first response (section 9.1), and until then it is not repeated. No
        effect after its final response or an earlier `cancel`."""
        if not self.machine.live or self._cancelled:
            return
        self._cancelled, self._cancel = True, headers
        if self.machine.state is TransactionState.PROCEEDING:
            self._send_cancel()
        else:
            self.machine.stop_repeating()
            self._layer.arm(self)

    def _send_cancel(self) -> None:
        """Section 9.1: without a final response within 64*T1 the INVITE counts as cancelled."""
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
