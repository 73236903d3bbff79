"""URLs as they go on the wire (RFC 3986, RFC 3987). Pure."""

from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

_AS_GIVEN = "".join(chr(code) for code in range(0x21, 0x7F))
"""Characters that a request line can carry; all others are percent-encoded as UTF-8 (RFC 3987 section 3.1)."""
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_SECURE = ("https", "wss")


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
