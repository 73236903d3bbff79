"""What the SIP library is given in place of its own parts: headers that it must not rewrite, a bounded memory, no log,
no sockets. Pure; used by `transactions.py` alone.
"""

from typing import Any

import sippy.SipTransactionManager
from sippy.SipCallId import SipCallId
from sippy.SipCSeq import SipCSeq
from sippy.SipExpires import SipExpires
from sippy.SipHeader import SipHeader
from sippy.SipRequest import SipRequest

from trunkline.sdp.values import Endpoint
from trunkline.sip.headers import parse_name_addr, parse_via
from trunkline.sip.screen import Message, Request, Response, answer_via

CACHE_LIMIT = 16 * 1024 * 1024
"""Bytes of responses, and `CACHE_OVERHEAD` for each, remembered for 32 to 64 s in case a request comes again; then
the oldest are forgotten. Twice that is held at most."""
CACHE_OVERHEAD = 500


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

    def getTAddr(self) -> Any:  # noqa: N802 (the library's name)
        """Where a URI leads to; the library asks, and then takes the address that the request had."""
        return ("", 0), "udp"

    def getTag(self) -> str | None:  # noqa: N802 (the library's name)
        """The tag parameter."""
        return self._tag

    def setTag(self, tag: str) -> None:  # noqa: N802 (the library's name)
        """Add a tag where there is none."""
        if self._tag is None:
            self._text += f";tag={tag}"
            self._tag = tag


class VerbatimVia(Verbatim):
    """A Via of a message that came, as the library needs it to answer."""

    def __init__(self, text: str, target: Endpoint) -> None:
        super().__init__(text, "Via")
        self._target = target

    def getCopy(self) -> "VerbatimVia":  # noqa: N802 (the library's name)
        """Itself: nothing in it changes."""
        return self

    def getTAddr(self) -> Any:  # noqa: N802 (the library's name)
        """Where responses go."""
        return self._target.host, self._target.port

    def getBranch(self) -> str | None:  # noqa: N802 (the library's name)
        """The branch parameter, absent from RFC 2543 peers."""
        return parse_via(self._text).params.get("branch")


class Cache(dict[bytes, Any]):
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


class NoLog:
    """In place of the library's log of whole messages."""

    def write(self, *_: object, **__: object) -> None:
        """Nothing."""


class _NoSockets:
    """In place of the library's table of UDP sockets, which opens them by itself."""

    ploss_out_rate = 0.0
    pdelay_out_max = 0.0

    def __init__(self, *_: object) -> None:
        pass

    def shutdown(self) -> None:
        """Nothing."""


sippy.SipTransactionManager.local4remote = _NoSockets


def cancel_timers(transaction: Any) -> None:
    for name in ("teA", "teB", "teC", "teD", "teE", "teF", "teG"):
        timer = getattr(transaction, name, None)
        if timer is not None:
            timer.cancel()


def library_request(request: Request, source: Endpoint) -> Any:
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


def library_headers(response: Response) -> list[Any]:
    number, method = response.cseq
    return [
        SipHeader(name="via", body=VerbatimVia(response.listed("via")[0], Endpoint("", 0))),
        SipHeader(name="from", body=_tagged(response, "From")),
        SipHeader(name="to", body=_tagged(response, "To")),
        SipHeader(name="call-id", body=SipCallId(response.value("call-id"))),
        SipHeader(name="cseq", body=SipCSeq(cseq=number, method=method)),
    ]


def _tagged(message: Message, name: str) -> Verbatim:
    """From or To, the one that a message has."""
    value = message.value(name.lower())
    return Verbatim(value, name, parse_name_addr(value).params.get("tag"))
