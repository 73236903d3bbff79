"""The types of settings: how a value from the file, the environment or a flag is read, and what a section is."""

import json
import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr, unescape

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from trunkline.codecs import CALL_CODECS

NUMBER_LIMIT = 10**12
"""Of any setting: more than anything here can be meant to be, and results of arithmetic stay within 64 bits."""


class Clash(ValueError):
    """Settings that are right one by one and wrong together."""

    def __init__(self, text: str, *names: str) -> None:
        """`names` are of these settings, dotted, relative to this section."""
        super().__init__(text)
        self.names = names


Port = Annotated[int, Field(ge=0, le=65535)]
Milliseconds = Annotated[int, Field(ge=0)]


def _literal(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be a literal IPv4 or IPv6 address") from None


Address = Annotated[str, AfterValidator(_literal)]


def _host_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    try:
        bare = host[1:-1] if host.startswith("[") else host
        usable = (ip_address(bare).version == 6) == host.startswith("[") and 0 < int(port) < 65536
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an address and a port, as 192.0.2.30:9060 or [2001:db8::1]:9060")
    return value


HostPort = Annotated[str, AfterValidator(_host_port)]


def check_reachable(host: str, advertised: str | None) -> None:
    """Raises Clash for addresses that peers cannot reach."""
    if advertised is None and ip_address(host).is_unspecified:
        words = f"host {host} is no address that peers can reach: set advertised_host too"
        raise Clash(words, "host", "advertised_host")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def off(value: object) -> object:
    """`off` is None."""
    return None if value == "off" else value


def split(value: object) -> object:
    """A list as text: its members, separated by commas."""
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",")] if value.strip() else []


def tables(value: object) -> object:
    """A list of tables as text, which is how flags and the environment have it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be a JSON list of objects: {error}") from None


def _call_codec(value: str) -> str:
    if value not in CALL_CODECS:
        raise ValueError(f"must be one of {', '.join(CALL_CODECS)}")
    return value


def _url(value: str, scheme: str) -> str:
    """Of that scheme, or of its form with TLS."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in (scheme, f"{scheme}s") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    # RFC 3986 section 2: anything else is percent-encoded.
    if not usable or not all("\x21" <= character <= "\x7e" for character in value):
        raise ValueError(f"must be {'an' if scheme == 'http' else 'a'} {scheme}:// or {scheme}s:// URL")
    return value


def _http_url(value: str) -> str:
    return _url(value, "http")


def _stream_url(value: str) -> str:
    if "#" in value:  # RFC 6455 section 3
        raise ValueError("must be a ws:// or wss:// URL without a fragment")
    return _url(value, "ws")


CallCodec = Annotated[str, AfterValidator(_call_codec)]
HttpUrl = Annotated[str, Field(max_length=2000), AfterValidator(_http_url)]
StreamUrl = Annotated[str, Field(max_length=2000), AfterValidator(_stream_url)]
HttpMethod = Literal["GET", "POST"]

_SIP_TARGET = re.compile(r"sips?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(;transport=(udp|tcp|tls))?")


def _sip_target(value: str) -> str:
    match = _SIP_TARGET.fullmatch(value)
    if match is None or not 0 < int((match[2] or ":5060")[1:]) < 65536:
        raise ValueError("must be sip:host, sip:host:port or sips:host, with ;transport=udp, tcp or tls if need be")
    return value


def _network(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"must be a network as 192.0.2.0/24: {error}") from None


SipTarget = Annotated[str, AfterValidator(_sip_target)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9.!%*_+`'~-]+$", max_length=255)]
"""RFC 3261 section 25.1: a token."""
Srtp = Literal["off", "optional", "required"]
Pattern = Annotated[str, Field(min_length=1, max_length=255)]
"""A number or SIP user, in which each `*` stands for any characters, none included."""


def check_unlike(kind: str, names: Iterable[str]) -> None:
    """Raises Clash for equal names; `kind` is also the setting that they are in."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Clash(f"two {kind} are called {name!r}", kind)
        seen.add(name)


def check_one(what: str, given: Sequence[str], of: str) -> None:
    """Raises ValueError unless exactly one of some settings is given."""
    if len(given) != 1:
        found = "none" if not given else " and ".join(given)
        raise ValueError(f"{what} needs exactly one of {of}, and has {found}")


_DIALLED = re.compile(r"(?:https?|wss?)://[^\s\"'<>]+", re.IGNORECASE)


def stream_document(url: str) -> str:
    """The TeXML document that a `stream` means (docs/configuration.md)."""
    stream = f'<Stream url={quoteattr(url)} track="inbound_track" codec="PCMU"'
    return f'<Response><Connect>{stream} bidirectionalMode="rtp" bidirectionalCodec="PCMU"/></Connect></Response>'


def urls_of(document: str) -> list[str]:
    """The absolute URLs that a TeXML document of the operator's may have dialled."""
    return [unescape(url) for url in _DIALLED.findall(document)]


class Section(BaseModel):
    """A group of settings: frozen, and strict about names so that a misspelling is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: object) -> object:
        if isinstance(value, int | float) and not -NUMBER_LIMIT <= value <= NUMBER_LIMIT:  # nor is NaN
            raise ValueError(f"must be a number below {NUMBER_LIMIT:,}")
        return value
