"""The HTTP upgrade to a WebSocket (RFC 6455 section 4.1, RFC 9110, RFC 9112). Pure.

The WebSocket library accepts one spelling of a 101 only. Servers and proxies have many: `Connection` is a list of
tokens, in one field line or in several, in any case; lines may be folded; other 1xx responses may come first. So the
response is checked here, and the library gets its own spelling of it.
"""

import re
from http import HTTPStatus

from trunkline import USER_AGENT
from trunkline.outbound.urls import WebSocketUrl

HEAD_LIMIT = 65536
"""Bytes of all responses up to the empty line that ends the last one."""

_LINE_END = re.compile(rb"\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LONGEST_END = 4
_FOLD = re.compile(rb"\r?\n[ \t]+")
"""Equal to a space (RFC 9112 section 5.2)."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[1-9][ \t]+([1-9][0-9]{2})(?:[ \t].*)?", re.IGNORECASE)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_NEEDED = {b"upgrade": "websocket", b"connection": "upgrade"}
_NOT_OFFERED = {b"sec-websocket-extensions": "an extension", b"sec-websocket-protocol": "a subprotocol"}
_SPELLING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


class BadAuthToken(ValueError):
    """The stream's auth token cannot be sent."""


class NoUpgrade(Exception):
    """The server did not upgrade the connection; the text says why, for the customer."""


class HandshakeRefused(NoUpgrade):
    """The server answered with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")


def request_headers(url: WebSocketUrl, auth_token: str | None) -> dict[str, str]:
    """The headers of the request beyond those of every WebSocket handshake. Raises BadAuthToken."""
    headers = {"User-Agent": USER_AGENT}
    if auth_token is not None:
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in auth_token):
            raise BadAuthToken("the auth token has control characters, which no HTTP header can carry")
        headers["x-telnyx-streaming-auth-token"] = auth_token
    if url.authorization is not None:
        headers["Authorization"] = url.authorization
    return headers


class HandshakeResponse:
    """The response to one upgrade request."""

    def __init__(self) -> None:
        self._came = b""
        self._read = 0

    def feed(self, data: bytes) -> bytes | None:
        """The next bytes. Returns, once the response is complete, the 101 as the library spells it and the bytes behind
        it. Raises NoUpgrade."""
        new = max(0, len(self._came) + 1 - _LONGEST_END)
        came = self._came = self._came + data
        while (end := _HEAD_END.search(came, new)) is not None and self._read + end.end() <= HEAD_LIMIT:
            accept = _accept(came[: end.start()])
            self._read += end.end()
            came = self._came = came[end.end() :]
            if accept is not None:
                return _SPELLING + accept + b"\r\n\r\n" + came
            new = 0
        if b"\n" in data and (line := _LINE_END.search(came)) is not None:
            _status(came[: line.start()])
        if self._read + len(came) > HEAD_LIMIT:
            raise NoUpgrade(f"its head is longer than {HEAD_LIMIT} bytes")
        return None


def _accept(head: bytes) -> bytes | None:
    """`Sec-WebSocket-Accept` of a 101; None for another 1xx, which is not the last response (RFC 9110 section 15.2)."""
    first, *lines = _LINE_END.split(_FOLD.sub(b" ", head))
    status = _status(first)
    if status != HTTPStatus.SWITCHING_PROTOCOLS:
        if status < HTTPStatus.OK:
            return None
        raise HandshakeRefused(status)
    fields = _fields(lines)
    for name, token in _NEEDED.items():
        if token.encode() not in _tokens(fields.get(name, [])):
            raise NoUpgrade(f"it has no {name.title().decode()}: {token}")
    for name, what in _NOT_OFFERED.items():
        if _tokens(fields.get(name, [])):
            raise NoUpgrade(f"it chooses {what}, and none was offered")
    # A 101 has no body, whatever its Content-Length says (RFC 9112 section 6.3).
    accepts = set(fields.get(b"sec-websocket-accept", []))
    if len(accepts) != 1:
        raise NoUpgrade(f"it has {'more than one' if accepts else 'no'} Sec-WebSocket-Accept")
    return accepts.pop()


def _status(line: bytes) -> int:
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise NoUpgrade("it does not begin with HTTP/1.1 and a status")
    return int(found[1])


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """The values by name, names in lower case."""
    fields: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if not colon or not _TOKEN.fullmatch(name):
            raise NoUpgrade("one of its lines is no header field")
        fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
    return fields


def _tokens(values: list[bytes]) -> set[bytes]:
    """The members of a list, in lower case, without empty ones (RFC 9110 section 5.6.1)."""
    return {token for value in values for member in value.split(b",") if (token := member.strip(b" \t").lower())}
