"""The transaction layer (RFC 3261 section 17): the SIP library's, behind a door of our own. Pure.

The library's `SipTransactionManager` keeps server and client transactions: it absorbs and answers retransmissions,
repeats our 200 until its ACK comes or 64*T1 have passed, answers CANCEL, repeats our requests, and confirms failures
of our INVITEs. Its message parser, its sockets and its printing are left aside: it is given messages that `screen.py`
has passed, made of the few headers that transactions look at, and it sends through a `Flow`. Its timers come from the
dispatcher that the driver installs.

What it does otherwise than the RFC, and is put right here: intervals of repeated responses are capped at T2, nothing
but the 200 is repeated over a reliable transport, the memory of answered requests is bounded, the ACK to a failure
takes the INVITE's route, and goes out before the failure is told. A 2xx to an INVITE ends its transaction and is left
to the dialogs (section 13.2.2.4); those that come later are told too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import md5
from ipaddress import ip_address
from typing import Any, Protocol

import sippy.SipTransactionManager
from sippy.MsgBody import MsgBody
from sippy.SipCallId import SipCallId
from sippy.SipHeader import SipHeader
from sippy.SipRequest import SipRequest
from sippy.SipResponse import SipResponse
from sippy.SipTransactionManager import TERMINATED, TRYING
from sippy.Time.Timeout import Timeout

from trunkline.sdp.values import Endpoint
from trunkline.sip.headers import is_address, one_line, parse_name_addr
from trunkline.sip.library import Cache, NoLog, Verbatim, cancel_timers, library_headers, library_request
from trunkline.sip.screen import Headers, Request, Response

T1 = 0.5
"""Seconds: after which a message is sent again for the first time."""
T2 = 4.0
"""Seconds: the longest interval between repeats (section 17.1.1.1)."""
TRANSACTION_TIME = 32.0
"""Seconds: 64*T1, in which each request is answered or given up."""
RINGING_LIMIT = 3600
"""Seconds between two provisional responses; the application gives up earlier."""
USER_AGENT = "Trunkline"


def after(seconds: float, callback: Callable[..., object], *arguments: object) -> Any:
    """Call back once; the timer returned has `cancel()`."""
    return Timeout(callback, seconds, 1, *arguments)


class Flow(Protocol):
    """A way to a peer: the UDP socket, or one TCP connection."""

    transport: str
    """`udp`, `tcp` or `tls`."""

    @property
    def local(self) -> Endpoint:
        """What Via and Contact say of us."""

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one message; `to` may hold a host name. Never raises; a failure is the flow's to count."""


Transaction = Any
"""The library's transaction; kept by dialogs as a handle, looked into only here."""


class Exchange:
    """One request of a peer's and our responses to it."""

    __slots__ = ("_manager", "_message", "_transaction", "flow", "local_tag", "request", "source")

    def __init__(
        self, manager: Any, transaction: Transaction, message: Any, request: Request, source: Endpoint, flow: Flow
    ) -> None:
        self._manager = manager
        self._transaction = transaction
        self._message = message
        self.request = request
        self.source = source
        self.flow = flow
        self.local_tag = request.tag("to")

    def tag(self, tag: str) -> None:
        """Set the To tag of the responses to come, the automatic 487 included."""
        self.local_tag = tag
        self._message.getHFBody("to").setTag(tag)
        if self._transaction.r487 is not None:
            self._transaction.r487.getHFBody("to").setTag(tag)

    def watch(self, *, on_cancel: Callable[[Request | None], None], on_no_ack: Callable[[], None]) -> None:
        """For an INVITE: what to call when it was cancelled (with the CANCEL; None: it expired) and answered with
        487, and when a final response was never confirmed."""
        self._transaction.cancel_cb = lambda _time, cancel: on_cancel(getattr(cancel, "screened", None))
        self._transaction.noack_cb = on_no_ack

    def respond(
        self,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]] = (),
        sdp: str | None = None,
        on_ack: Callable[[Request], None] | None = None,
    ) -> None:
        """Send a response; after a final one (>= 200) there must be no other."""
        response = self._message.genResponse(status, one_line(reason), server=USER_AGENT)
        for name, value in headers:
            response.appendHeader(SipHeader(name=name, body=Verbatim(one_line(value), name)))
        if sdp is not None:
            response.setBody(MsgBody(sdp))
        confirmed = None if on_ack is None else lambda ack: on_ack(ack.screened)
        self._manager.sendResponse(response, t=self._transaction, ack_cb=confirmed)

    def repeat(self) -> None:
        """Send the last response again."""
        if self._transaction.address is not None:
            self._manager.transmitData(self._transaction.userv, self._transaction.data, self._transaction.address)

    def abandon(self) -> None:
        """Stop repeating the final response and waiting for its ACK."""
        if self._transaction.tid is not None:
            self._manager.tserver.pop(self._transaction.tid, None)
            cancel_timers(self._transaction)
            self._transaction.cleanup()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request of ours."""

    method: str
    uri: str
    from_: str
    to: str
    call_id: str
    cseq: int
    target: Endpoint
    """Where it goes: the first of `routes`, else `uri`."""
    flow: Flow
    routes: tuple[str, ...] = ()
    headers: Headers = ()
    sdp: str | None = field(default=None, repr=False)


class Sent:
    """A request of ours that was sent, and what to call with its responses."""

    __slots__ = ("_cancelled", "_manager", "_transaction", "on_response", "routes", "tolerance")

    def __init__(self, manager: Any, on_response: Callable[[Response], None], routes: tuple[str, ...]) -> None:
        self._manager = manager
        self._transaction: Transaction = None
        self._cancelled = False
        self.on_response = on_response
        self.routes = routes
        self.tolerance = 0
        """How often it may not be delivered at its address, and is repeated, before it fails."""

    def attach(self, transaction: Transaction) -> None:
        """The library's side of it."""
        self._transaction, transaction.sent = transaction, self

    def abandon(self) -> None:
        """Forget a request that is no INVITE: it is not sent again, and nobody waits for its responses."""
        if self._transaction.tid is not None:
            cancel_timers(self._transaction)
            self._manager.tclient.pop(self._transaction.tid, None)
            self._transaction.cleanup()

    def cancel(self, headers: Headers = ()) -> None:
        """CANCEL an INVITE: now, or not before its first response (section 9.1), and until then it is not sent again.
        One that has its final response, or was cancelled before, is left alone."""
        transaction = self._transaction
        if transaction.tid is None or transaction.state is TERMINATED or self._cancelled:
            return
        self._cancelled = True
        transaction.cancel.appendHeaders(_headers(headers))
        if transaction.state is TRYING:
            _stop(transaction, "teA")
        else:
            _stop(transaction, "teB")
            # Section 9.1: a peer that never sends the final response has cancelled after 64*T1.
            transaction.teB = Timeout(self._manager.timerB, TRANSACTION_TIME, 1, transaction)
        transaction.expires = TRANSACTION_TIME
        self._manager.cancelTransaction(transaction)


class Transactions:
    """All transactions of one endpoint.

    `on_request` gets each new request but ACK and CANCEL, once; each must be answered, from within it or later.
    `on_success` gets each 2xx to an INVITE whose transaction is over: repeated, forked, or late; False from it says
    that nobody waited for it.
    """

    def __init__(self, on_request: Callable[[Exchange], None], on_success: Callable[[Response], bool]) -> None:
        self._on_request = on_request
        self._on_success = on_success
        self._manager = sippy.SipTransactionManager.SipTransactionManager({"_sip_logger": NoLog()}, self._new_request)
        self._manager.timerA = self._repeat
        self._manager.transmitReq = self._acknowledge_failure
        self._manager.l1rcache = Cache()
        self._manager.rCachePurge = self._purge
        self._manager.cp_timer.cancel()
        self._manager.cp_timer = Timeout(self._purge, 32, -1)

    @property
    def sizes(self) -> dict[str, int]:
        """Live transactions, for tests and reports."""
        return {"server": len(self._manager.tserver), "client": len(self._manager.tclient)}

    def repeated(self, data: bytes) -> bool:
        """Whether these bytes were taken before; the response, if there was one, is sent again."""
        digest = _digest(data)
        known = self._manager.l1rcache.get(digest) or self._manager.l2rcache.get(digest)
        if known is None:
            return False
        if known.data is not None:
            self._manager.transmitData(known.userv, known.data, known.address)
        return True

    def receive_request(self, data: bytes, request: Request, source: Endpoint, flow: Flow, tag: str | None) -> None:
        """A screened request; `data` is what came. `tag` is the To tag of a response to CANCEL (section 9.2)."""
        message = library_request(request, source)
        message.screened, message.source_endpoint, message.flow = request, source, flow
        if tag is not None:
            message.getHFBody("to").setTag(tag)
        # No transaction ids: it would take a call from ourselves to ourselves for a loop.
        self._manager.incomingRequest(message, _digest(data), (), _Server(flow))

    def receive_response(self, data: bytes, response: Response) -> bool:
        """A screened response; False when no request of ours waits for it."""
        message = SipResponse(scode=response.status, reason=response.reason, sipver="SIP/2.0")
        message.headers = library_headers(response)
        transaction = self._manager.tclient.get(message.getTId(True, True))
        sent = None if transaction is None or transaction.state is TERMINATED else _sent(transaction)
        if response.cseq[1] == "INVITE" and 200 <= response.status < 300:
            if sent is None:
                return self._on_success(response)
            self._drop(transaction)
        elif transaction is None:
            return False
        else:
            self._manager.incomingResponse(message, transaction, _digest(data))
        if sent is not None:
            sent.on_response(response)
        return True

    def send(self, request: Outgoing, on_response: Callable[[Response], None]) -> Sent:
        """Send a request. `on_response` gets its responses; one without headers is our own: 408 when none came in
        time, 503 when the flow failed."""
        sent = Sent(self._manager, on_response, request.routes)
        message = _message(request)

        def timed_out(received: Any) -> None:
            # Responses come by `receive_response`; what the library makes up has no Via that anybody has seen.
            if received.getSCode()[0] == 408 and _sent(transaction) is sent and transaction.state is TERMINATED:
                sent.on_response(Response([], b"", 408, "No Answer"))

        transaction = self._manager.newTransaction(message, resp_cb=timed_out, userv=_Server(request.flow))
        if request.method == "INVITE":
            transaction.expires = RINGING_LIMIT
        sent.attach(transaction)
        return sent

    def acknowledge(self, request: Outgoing, elsewhere: Iterable[Endpoint] = ()) -> Callable[[], None]:
        """Send the ACK to a 2xx; call what is returned to send it again, and `elsewhere` too."""
        server = _Server(request.flow)
        text = _message(request).localStr(server.getSIPaddr())
        places = [(place.host, place.port) for place in (request.target, *elsewhere)]

        def send_again() -> None:
            for place in places:
                server.send_to(text, place)

        server.send_to(text, places[0])
        return send_again

    def unreachable(self, flow: Flow, reason: str, to: Endpoint | None = None) -> None:
        """What was sent by a flow, to that address alone if one is given, did not arrive: requests that have no
        response yet fail (section 8.1.3.1)."""
        for transaction in list(self._manager.tclient.values()):
            if transaction.tid is None or transaction.userv.flow is not flow or transaction.state is not TRYING:
                continue
            sent = _sent(transaction)
            if to is not None and sent is not None and sent.tolerance and _is_at(transaction, to):
                sent.tolerance -= 1
            elif to is None or _is_at(transaction, to):
                self._drop(transaction)
                if sent is not None:
                    sent.on_response(Response([], b"", 503, one_line(reason)))

    def close(self) -> None:
        """Forget everything, timers included."""
        for transaction in (*self._manager.tserver.values(), *self._manager.tclient.values()):
            cancel_timers(transaction)
        self._manager.shutdown()

    def _new_request(self, message: Any, transaction: Transaction) -> tuple[None, object, object]:
        exchange = Exchange(
            self._manager, transaction, message, message.screened, message.source_endpoint, message.flow
        )
        self._on_request(exchange)
        # Without this the library would forget a request that is no INVITE and has no answer yet.
        return None, transaction.cancel_cb, transaction.noack_cb

    def _repeat(self, transaction: Transaction) -> None:
        """Timers A, E and G, and the repeating of a 2xx (section 13.3.1.4)."""
        is_success = transaction.data.startswith("SIP/2.0 2")
        if transaction.userv.transport != "udp" and not is_success:
            return
        self._manager.transmitData(transaction.userv, transaction.data, transaction.address)
        transaction.tout *= 2
        if not transaction.data.startswith("INVITE "):
            transaction.tout = min(transaction.tout, T2)
        transaction.teA = Timeout(self._repeat, transaction.tout, 1, transaction)

    def _acknowledge_failure(self, transaction: Transaction, message: Any, address: Any, digest: bytes) -> None:
        """Section 17.1.1.3: the ACK to a failure goes the way of its INVITE."""
        message.appendHeaders(_headers(tuple(("Route", route) for route in transaction.sent.routes)))
        self._manager.transmitMsg(transaction.userv, message, address, digest)

    def _drop(self, transaction: Transaction) -> None:
        cancel_timers(transaction)
        self._manager.tclient.pop(transaction.tid, None)
        transaction.cleanup()

    def _purge(self) -> None:
        self._manager.l2rcache = self._manager.l1rcache
        self._manager.l1rcache = Cache()


class _Server:
    """A flow under the names by which the library knows its sockets."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.transport = flow.transport
        self.uopts = self

    def isWildCard(self) -> bool:  # noqa: N802 (the library's name)
        """Every flow has a definite local address."""
        return False

    def getSIPaddr(self) -> tuple[tuple[str, int], str]:  # noqa: N802 (the library's name)
        """What the library puts into the Via of our requests."""
        local = self.flow.local
        return (f"[{local.host}]" if ":" in local.host else local.host, local.port), self.transport

    def addr2str(self, address: tuple[str, int]) -> str:
        """For the library's log."""
        return f"{address[0]}:{address[1]}"

    def send_to(self, data: str, address: tuple[str, int]) -> None:
        """Send."""
        self.flow.send(data.encode("utf-8", "backslashreplace"), Endpoint(address[0].strip("[]"), int(address[1])))


def _digest(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).digest()


def _message(request: Outgoing) -> Any:
    """The library's form of a request."""
    message = SipRequest(
        method=request.method,
        ruri=Verbatim(request.uri),
        fr0m=Verbatim(request.from_, "From", parse_name_addr(request.from_).params.get("tag")),
        to=Verbatim(request.to, "To", parse_name_addr(request.to).params.get("tag")),
        callid=SipCallId(request.call_id),
        cseq=request.cseq,
        target=((request.target.host, request.target.port), request.flow.transport),
        user_agent=USER_AGENT,
        body=None if request.sdp is None else MsgBody(request.sdp),
    )
    message.delHFs("expires")
    message.appendHeaders(_headers(tuple(("Route", route) for route in request.routes) + request.headers))
    return message


def _headers(headers: Headers) -> list[Any]:
    return [SipHeader(name=name.lower(), body=Verbatim(one_line(value), name)) for name, value in headers]


def _sent(transaction: Transaction) -> Sent | None:
    """None for a CANCEL, whose responses tell nothing."""
    sent: Sent | None = getattr(transaction, "sent", None)
    return sent


def _is_at(transaction: Transaction, to: Endpoint) -> bool:
    host, port = transaction.address
    return int(port) == to.port and _plain(host) == _plain(to.host)


def _plain(host: str) -> str:
    """An address has several spellings."""
    host = host.strip("[]").lower()
    return str(ip_address(host)) if is_address(host) else host


def _stop(transaction: Transaction, timer: str) -> None:
    if getattr(transaction, timer) is not None:
        getattr(transaction, timer).cancel()
        setattr(transaction, timer, None)
