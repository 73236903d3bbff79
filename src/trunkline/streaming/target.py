"""Where a stream's URL leads: what to dial and what to say in the handshake (spec section 2.1). Pure."""

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes, urlsplit, urlunsplit

from trunkline import USER_AGENT

_AS_GIVEN = "".join(chr(code) for code in range(0x21, 0x7F))
"""Characters that a request line can carry; all others are percent-encoded as UTF-8 (RFC 3987 section 3.1)."""


class BadTarget(ValueError):
    """Nothing that can be dialled; the text is for the customer."""


@dataclass(frozen=True, slots=True)
class Target:
    """A place to dial."""

    url: str
    """ASCII only, without user-info; path and query byte for byte as given."""
    secure: bool
    host: str
    """A name or a literal address, without brackets."""
    port: int
    headers: dict[str, str] = field(repr=False)
    """Request headers beyond those that every WebSocket handshake has."""


def target(url: str, auth_token: str | None) -> Target:
    """Raises BadTarget."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("ws", "wss") or not host:
            raise BadTarget("the URL is not ws:// or wss:// with a host")
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError as problem:
        raise BadTarget(f"bad URL: {problem}") from problem
    secure = parts.scheme == "wss"
    authority = f"[{host}]" if ":" in host else host
    if port is not None:
        authority += f":{port}"
    path, query = quote(parts.path, safe=_AS_GIVEN), quote(parts.query, safe=_AS_GIVEN)
    headers = {"User-Agent": USER_AGENT}
    if auth_token is not None:
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in auth_token):
            raise BadTarget("the auth token has control characters, which no HTTP header can carry")
        headers["x-telnyx-streaming-auth-token"] = auth_token
    if parts.username is not None:
        credentials = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        headers["Authorization"] = "Basic " + b64encode(credentials).decode()
    return Target(
        # A fragment never goes on the wire (RFC 6455 section 3).
        url=urlunsplit((parts.scheme, authority, path, query, "")),
        secure=secure,
        host=host,
        port=port or (443 if secure else 80),
        headers=headers,
    )
