"""One request of a peer and our responses to it: a server transaction (RFC 3261 section 17.2). Pure."""

from collections.abc import Iterable
from typing import Protocol

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import one_line
from trunkline.sip.message.outgoing import USER_AGENT, Flow, message_text
from trunkline.sip.message.validation import SipRequest, answer_via
from trunkline.sip.timers import Timer
from trunkline.sip.transaction_matching import Key, ack_key, server_key
from trunkline.sip.transaction_states import INVITE_SERVER, SERVER, Input, Transaction


class ServerLayer(Protocol):
    """What a server transaction needs of the transaction layer."""

    def responded(self, transaction: "ServerTransaction", kind: Input) -> None:
        """A response was made: send it as the state machine says."""

    def finish(self, transaction: "ServerTransaction") -> None:
        """The transaction is over; its last response is remembered."""


class ServerTransaction:
    """A request of a peer."""

    __slots__ = (
        "_layer",
        "_target",
        "_via",
        "flow",
        "key",
        "local_tag",
        "machine",
        "origin",
        "request",
        "response",
        "source",
        "timer",
    )

    def __init__(self, layer: ServerLayer, request: SipRequest, source: Endpoint, flow: Flow, now: float) -> None:
        self._layer = layer
        self.request = request
        self.source = source
        self.flow = flow
        self.key = server_key(request)
        self.local_tag = request.tag("to")
        """To tag of the responses to come, the 487 to a cancelled INVITE included."""
        self.origin = ""
        """What it counts for; empty: nothing."""
        self.timer: Timer | None = None
        invite = request.method == "INVITE"
        self.machine = Transaction(INVITE_SERVER if invite else SERVER, now, reliable=flow.transport != "udp")
        expires = int(request.value("expires") or 0)
        if invite and expires > 0:
            self.machine.end_in(expires, now)
        first, *others = request.listed("via")
        answered, self._target = answer_via(first, source)
        self._via = [answered, *others]
        self.response = b""
        """The last one; empty before the first."""

    @property
    def ack_key(self) -> Key:
        """Identifies the ACK to a 2xx."""
        return ack_key(self.request)

    def respond(
        self, status: int, reason: str, headers: Iterable[tuple[str, str]] = (), sdp: str | None = None
    ) -> None:
        """Send a response; none may follow a final one (>= 200)."""
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
        self.response = message_text(lines, headers, sdp)
        self._layer.responded(self, Input.of_status(status))

    def repeat(self) -> None:
        """Send the last response again."""
        if self.response:
            self.flow.send(self.response, self._target)

    def abandon(self) -> None:
        """Stop repeating the final response and waiting for its ACK."""
        self.machine.terminate()
        self._layer.finish(self)
