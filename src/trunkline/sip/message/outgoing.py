"""Requests that we send, their text, and the flow that sends them (RFC 3261 section 8.1.1). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import one_line
from trunkline.sip.message.validation import Headers

USER_AGENT = "Trunkline"


class Flow(Protocol):
    """A transport to a peer: the UDP socket, or one TCP or TLS connection."""

    transport: str
    """`udp`, `tcp` or `tls`."""

    @property
    def local(self) -> Endpoint:
        """Our host and port, for Via and Contact."""

    def send(self, data: bytes, to: Endpoint) -> None:
        """Send one message; `to` may have a host name. Never raises: the flow counts failures."""

    def admitted(self, *, identified: bool) -> None:
        """A request of the peer was admitted, if `identified` of a trunk or with a phone's password: its connection
        makes no room for others."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request that we send."""

    method: str
    uri: str
    from_: str
    to: str
    call_id: str
    cseq: int
    target: Endpoint
    """Address of the first of `routes`, else of `uri`."""
    flow: Flow
    routes: tuple[str, ...] = ()
    headers: Headers = ()
    sdp: str | None = field(default=None, repr=False)


def request_text(request: Outgoing, branch: str) -> bytes:
    """The text of a request (RFC 3261 section 8.1.1)."""
    local = request.flow.local
    host = f"[{local.host}]" if ":" in local.host else local.host
    lines = [
        f"{request.method} {request.uri} SIP/2.0",
        f"Via: SIP/2.0/{request.flow.transport.upper()} {host}:{local.port};rport;branch={branch}",
        "Max-Forwards: 70",
        *(f"Route: {one_line(route)}" for route in request.routes),
        f"From: {request.from_}",
        f"To: {request.to}",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.cseq} {request.method}",
        f"User-Agent: {USER_AGENT}",
    ]
    return message_text(lines, request.headers, request.sdp)


def message_text(lines: list[str], headers: Iterable[tuple[str, str]], sdp: str | None) -> bytes:
    """The text of a message: start line and headers in `lines`, further headers, and a session description."""
    lines += [f"{name}: {one_line(value)}" for name, value in headers]
    body = b"" if sdp is None else sdp.encode("utf-8", "backslashreplace")
    if sdp is not None:
        lines.append("Content-Type: application/sdp")
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8", "backslashreplace") + body
