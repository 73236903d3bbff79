"""Whether a page may open a socket here: the `Origin` and `Host` of a browser (RFC 6454, RFC 6455 section 10.2). Pure.

A page of another site must not use our sockets, and neither must one whose name was pointed at this machine (DNS
rebinding): a name must be one that the settings know. An address, and `localhost`, cannot be pointed anywhere else.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from trunkline.errors import PermissionDenied


def check(origin: str | None, host: str | None, public_url: str | None) -> None:
    """`origin` and `host` are the headers' values. Without an Origin it is no browser, and nothing is checked. Raises
    PermissionDenied."""
    if origin is None:
        return
    public = urlsplit(public_url or "")
    try:
        ours, theirs = urlsplit(f"//{host or ''}"), urlsplit(origin)
        name = ours.hostname or ""
        _ = ours.port, theirs.port
    except ValueError:
        raise PermissionDenied("Host or Origin is not valid") from None
    if not (_is_local(name) or name == (public.hostname or "")):
        raise PermissionDenied(f"Host {name} is not known: set http.public_url to the address that browsers use")
    if theirs.netloc.lower() not in ((host or "").lower(), public.netloc.lower()) or theirs.scheme not in _SCHEMES:
        raise PermissionDenied(f"A page of {origin} may not use this server")


_SCHEMES = ("http", "https")


def _is_local(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return True
