"""URLs as they go on the wire (RFC 3986, RFC 3987). Pure."""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Self
from urllib.parse import SplitResult, quote, unquote_to_bytes, urljoin, urlsplit

URL_LIMIT = 2000
"""Characters of a URL that a customer gives."""

_AS_GIVEN = "".join(chr(code) for code in range(0x21, 0x7F))
"""Characters that a request line can carry; all others are percent-encoded as UTF-8 (RFC 3987 section 3.1)."""
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SECURE = ("https", "wss")
_WEBSOCKET = ("ws", "wss")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}")


class BadUrl(ValueError):
    """Nothing that can be dialled; the text is for the customer."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Where a URL leads."""

    scheme: str
    host: str
    """A name in ASCII or a literal address, without brackets, in lower case."""
    port: int
    authority: str
    """For the Host header: the port is there when the URL has it."""
    target: str
    """Path and query for the request line, byte for byte as given where that can be sent."""
    basic: str | None = field(repr=False)
    """The `Authorization` header that the user-info asks for."""

    @property
    def secure(self) -> bool:
        """By TLS."""
        return self.scheme in _SECURE

    @property
    def origin(self) -> tuple[str, str, int]:
        """RFC 6454 section 4."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """Without user-info and fragment."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def trusts(self, other: "Authority") -> bool:
        """Whether credentials for this place may be sent to the other: the same origin, or its host by TLS."""
        return self.origin == other.origin or (not self.secure and other.secure and self.host == other.host)


def place_of(url: str, *schemes: str) -> Authority:
    """Raises BadUrl."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in schemes or not host or port == 0:
            raise BadUrl(f"the URL is not {' or '.join(f'{scheme}://' for scheme in schemes)} with a host")
        host = _ascii(host)
        path, query = quote(parts.path or "/", safe=_AS_GIVEN), quote(parts.query, safe=_AS_GIVEN)
        basic = None
        if parts.username is not None:
            credentials = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
            basic = "Basic " + b64encode(credentials).decode()
    except BadUrl:
        raise
    except ValueError as problem:
        raise BadUrl(f"bad URL: {problem}") from problem
    authority = f"[{host}]" if ":" in host else host
    return Authority(
        scheme=parts.scheme,
        host=host,
        port=port or PORTS[parts.scheme],
        authority=authority if port is None else f"{authority}:{port}",
        target=path + (query and "?" + query),  # a fragment never goes on the wire (RFC 3986 section 3.5)
        basic=basic,
    )


@dataclass(frozen=True, slots=True)
class WebSocketUrl:
    """A `ws://` or `wss://` URL (RFC 6455 section 3), which `parse` makes."""

    text: str = field(repr=False)
    """Byte for byte as given; the form in which it is stored."""
    secure: bool
    """`wss`."""
    host: str
    """A name or a literal address, without brackets, in lower case."""
    port: int
    authority: str
    """For the Host header: with the port if the URL has one."""
    request_target: str = field(repr=False)
    """Path and query, byte for byte as given."""
    authorization: str | None = field(repr=False)
    """The `Authorization` header that the user-info asks for."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadUrl, whose text is a clause: `it has a fragment`."""
        reason = fault_of(text, *_WEBSOCKET)
        if reason is not None:
            raise BadUrl(reason)
        place = place_of(text, *_WEBSOCKET)
        return cls(text, place.secure, place.host, place.port, place.authority, place.target, place.basic)

    def display(self) -> str:
        """Without user-info and query, where customers put secrets."""
        return f"{'wss' if self.secure else 'ws'}://{self.authority}{self.request_target.partition('?')[0]}"

    def __str__(self) -> str:
        return self.text


def public_part(url: str) -> str:
    """A URL without user-info, query and fragment, where customers put secrets; empty if it is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.scheme and f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def fault_of(text: str, *schemes: str) -> str | None:
    """Why this is no absolute URL of one of the schemes that may go on the wire as it is, as a clause; None if it is.
    User-info is allowed."""
    if len(text) > URL_LIMIT:
        return f"it is longer than {URL_LIMIT} characters"
    # All else is percent-encoded (RFC 3986 section 2). This also keeps line ends out of requests.
    if not all("\x21" <= character <= "\x7e" for character in text):
        return "it holds a space, a control character or a character outside ASCII"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "its host or port is malformed"
    if parts.scheme not in schemes:
        return "it has another scheme" if parts.scheme else "it has no scheme"
    if port == 0 or not _is_host(parts):
        return "its host or port is malformed"
    # A WebSocket URI has no fragment (RFC 6455 section 3).
    return "it has a fragment" if "#" in text and parts.scheme in _WEBSOCKET else None


def _is_host(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return IPv6Address(host).version == 6
    except ValueError:
        return False


def moved(url: str, location: str) -> str:
    """Where a `Location` leads that `url` was answered with (RFC 9110 section 10.2.2). Raises BadUrl."""
    try:
        return urljoin(url, location.strip())
    except ValueError as problem:
        raise BadUrl(f"bad redirect: {problem}") from problem


def is_address(host: str) -> bool:
    """Whether there is no name to look up."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _ascii(host: str) -> str:
    if not host.isascii():
        host = host.encode("idna").decode()
    if any(character <= " " or character in '<>"\\^`{|}\x7f' for character in host):
        raise ValueError("a host cannot have such characters")
    return host
