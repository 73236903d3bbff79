"""The transaction layer (RFC 3261 section 17): the SIP library's, behind a door of our own. Pure.

The library's `SipTransactionManager` keeps server and client transactions: it absorbs and answers retransmissions,
repeats our 200 until its ACK comes or 64*T1 have passed, answers CANCEL, and repeats our requests. Its message parser,
its sockets and its printing are left aside: it is given messages that `screen.py` has passed, made of the few headers
that transactions look at, and it sends through a `Flow`. Its timers come from the dispatcher that the driver installs.

What it does otherwise than the RFC, and is put right here: intervals of repeated responses are capped at T2, nothing
but the 200 is repeated over a reliable transport, and the memory of answered requests is bounded.
"""

from collections.abc import Callable, Iterable
from hashlib import md5
from typing import Any, Protocol

import sippy.SipTransactionManager
from sippy.MsgBody import MsgBody
from sippy.SipCallId import SipCallId
from sippy.SipCSeq import SipCSeq
from sippy.SipExpires import SipExpires
from sippy.SipHeader import SipHeader
from sippy.SipRequest import SipRequest
from sippy.SipResponse import SipResponse
from sippy.SipVia import SipVia
from sippy.Time.Timeout import Timeout

from trunkline.sdp.values import Endpoint
from trunkline.sip.headers import one_line, parse_name_addr, parse_via
from trunkline.sip.screen import Headers, Message, Request, Response, answer_via

T2 = 4.0
"""Seconds: the longest interval between repeats (section 17.1.1.1)."""
CACHE_LIMIT = 16 * 1024 * 1024
"""Bytes of responses, and `CACHE_OVERHEAD` for each, remembered for 32 to 64 s in case a request comes again; then
the oldest are forgotten. Twice that is held at most."""
CACHE_OVERHEAD = 500
USER_AGENT = "Trunkline"


class Flow(Protocol):
    """A way to a peer: the UDP socket, or one TCP connection."""

    transport: str
    """`udp` or `tcp`."""

    @property
    def local(self) -> Endpoint:
        """What Via and Contact say of us."""

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one message; `to` may hold a host name. Never raises; a failure is the flow's to count."""


Transaction = Any
"""The library's transaction; kept by dialogs as a handle, looked into only here."""


class Verbatim:
    """A header value, or a URI, that the library carries without rewriting it; knows its tag, as From and To do."""

    parsed = True

    def __init__(self, text: str, name: str = "", tag: str | None = None) -> None:
        self._text = text
        self._name = name
        self._tag = tag

    def localStr(self, local: object = None, compact: bool = False) -> str:  # noqa: N802 (the library's name)
        """The value."""
        return self._text

    __str__ = localStr

    def getCanName(self, name: str, compact: bool = False) -> str:  # noqa: N802 (the library's name)
        """The header's name."""
        return self._name

    def getCopy(self) -> "Verbatim":  # noqa: N802 (the library's name)
        """A value that can get a tag of its own."""
        return Verbatim(self._text, self._name, self._tag)

    def getTag(self) -> str | None:  # noqa: N802 (the library's name)
        """The tag parameter."""
        return self._tag

    def setTag(self, tag: str) -> None:  # noqa: N802 (the library's name)
        """Add a tag where there is none."""
        if self._tag is None:
            self._text += f";tag={tag}"
            self._tag = tag


class VerbatimVia(Verbatim):
    """A Via of a request that came, as the library needs it to answer."""

    def __init__(self, text: str, target: Endpoint) -> None:
        super().__init__(text, "Via")
        self._target = target

    def getCopy(self) -> "VerbatimVia":  # noqa: N802 (the library's name)
        """Itself: nothing in it changes."""
        return self

    def getTAddr(self) -> tuple[str, int]:  # noqa: N802 (the library's name)
        """Where responses go."""
        return self._target.host, self._target.port

    def getBranch(self) -> str | None:  # noqa: N802 (the library's name)
        """The branch parameter, absent from RFC 2543 peers."""
        return parse_via(self._text).params.get("branch")


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
            _cancel_timers(self._transaction)
            self._transaction.cleanup()


class Transactions:
    """All transactions of one endpoint. `on_request` gets each new request but ACK and CANCEL, once; only
    an INVITE may be answered later than from within it."""

    def __init__(self, on_request: Callable[[Exchange], None]) -> None:
        self._on_request = on_request
        self._manager = sippy.SipTransactionManager.SipTransactionManager({"_sip_logger": _NoLog()}, self._new_request)
        self._manager.timerA = self._repeat
        self._manager.l1rcache = _Cache()
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
        message = _library_request(request, source)
        message.screened, message.source_endpoint, message.flow = request, source, flow
        if tag is not None:
            message.getHFBody("to").setTag(tag)
        self._manager.incomingRequest(message, _digest(data), message.getTIds(), _Server(flow))

    def receive_response(self, data: bytes, response: Response) -> bool:
        """A screened response; False when no request of ours waits for it."""
        message = SipResponse(scode=response.status, reason=response.reason, sipver="SIP/2.0")
        message.headers = _library_headers(response)
        transaction = self._manager.tclient.get(message.getTId(True, True))
        if transaction is None:
            return False
        self._manager.incomingResponse(message, transaction, _digest(data))
        return True

    def send_request(
        self,
        method: str,
        uri: str,
        *,
        from_: str,
        to: str,
        call_id: str,
        cseq: int,
        routes: Iterable[str],
        headers: Headers,
        target: Endpoint,
        flow: Flow,
        on_final: Callable[[int], None],
    ) -> None:
        """Send a request inside a dialog; `on_final` gets the final status, 408 when none came within 64*T1."""
        message = SipRequest(
            method=method,
            ruri=Verbatim(uri),
            fr0m=Verbatim(from_, "From", parse_name_addr(from_).params.get("tag")),
            to=Verbatim(to, "To"),
            callid=SipCallId(call_id),
            cseq=cseq,
            target=((target.host, target.port), flow.transport),
            user_agent=USER_AGENT,
        )
        message.appendHeaders([SipHeader(name="route", body=Verbatim(route, "Route")) for route in routes])
        message.appendHeaders([SipHeader(name=name, body=Verbatim(one_line(value), name)) for name, value in headers])

        def response(received: Any) -> None:
            status = received.getSCode()[0]
            if status >= 200:
                on_final(status)

        self._manager.newTransaction(message, resp_cb=response, userv=_Server(flow))

    def close(self) -> None:
        """Forget everything, timers included."""
        for transaction in (*self._manager.tserver.values(), *self._manager.tclient.values()):
            _cancel_timers(transaction)
        self._manager.shutdown()

    def _new_request(self, message: Any, transaction: Transaction) -> None:
        exchange = Exchange(
            self._manager, transaction, message, message.screened, message.source_endpoint, message.flow
        )
        self._on_request(exchange)

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

    def _purge(self) -> None:
        self._manager.l2rcache = self._manager.l1rcache
        self._manager.l1rcache = _Cache()


class _Cache(dict[bytes, Any]):
    """A memory of requests that forgets the oldest."""

    def __init__(self) -> None:
        super().__init__()
        self._size = 0

    def __setitem__(self, key: bytes, value: Any) -> None:
        self._forget(key)
        super().__setitem__(key, value)
        self._size += _cost(value)
        while self._size > CACHE_LIMIT:
            self._forget(next(iter(self)))

    def _forget(self, key: bytes) -> None:
        if key in self:
            self._size -= _cost(self.pop(key))


def _cost(entry: Any) -> int:
    return CACHE_OVERHEAD + len(entry.data or "")


class _NoLog:
    """In place of the library's log of whole messages."""

    def write(self, *_: object, **__: object) -> None:
        """Nothing."""


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


class _NoSockets:
    """In place of the library's table of UDP sockets, which opens them by itself."""

    ploss_out_rate = 0.0
    pdelay_out_max = 0.0

    def __init__(self, *_: object) -> None:
        pass

    def shutdown(self) -> None:
        """Nothing."""


sippy.SipTransactionManager.local4remote = _NoSockets


def _digest(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).digest()


def _cancel_timers(transaction: Transaction) -> None:
    for name in ("teA", "teB", "teC", "teD", "teE", "teF", "teG"):
        timer = getattr(transaction, name, None)
        if timer is not None:
            timer.cancel()


def _library_request(request: Request, source: Endpoint) -> Any:
    first, *others = request.listed("via")
    expires = request.value("expires")
    message = SipRequest(
        method=request.method,
        ruri=Verbatim(request.uri),
        fr0m=_tagged(request, "From"),
        to=_tagged(request, "To"),
        via=VerbatimVia(*answer_via(first, source)),
        cseq=request.cseq[0],
        callid=SipCallId(request.value("call-id")),
        expires=SipExpires(number=int(expires)) if expires else None,
        target=((source.host, source.port), "udp"),
    )
    message.appendHeaders([SipHeader(name="via", body=VerbatimVia(via, source)) for via in others])
    routes = request.values("record-route")
    message.appendHeaders([SipHeader(name="record-route", body=Verbatim(x, "Record-Route")) for x in routes])
    return message


def _library_headers(response: Response) -> list[Any]:
    number, method = response.cseq
    return [
        SipHeader(name="via", body=SipVia(response.listed("via")[0])),
        SipHeader(name="from", body=_tagged(response, "From")),
        SipHeader(name="to", body=_tagged(response, "To")),
        SipHeader(name="call-id", body=SipCallId(response.value("call-id"))),
        SipHeader(name="cseq", body=SipCSeq(cseq=number, method=method)),
    ]


def _tagged(message: Message, name: str) -> Verbatim:
    """From or To, the one that a message has."""
    value = message.value(name.lower())
    return Verbatim(value, name, parse_name_addr(value).params.get("tag"))
