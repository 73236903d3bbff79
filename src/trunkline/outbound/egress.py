"""Which addresses may be dialled (docs/operations/egress.md). Pure, but for its counters.

    metadata, link-local ──► never
    egress.allow, egress.deny: the smallest network that has the address decides, of equals deny
    private ──► by egress.private; always where the operator has configured the destination
    any other ──► yes

An IPv6 address that stands for an IPv4 address (mapped, NAT64, 6to4, …) may be dialled only if both may: else a
customer could name an address of ours in another form.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal
from urllib.parse import urlsplit

from trunkline.config import Settings
from trunkline.outbound.urls import PORTS

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Denial = Literal["metadata", "list", "private"]
"""By which rule an address may not be dialled."""


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(map(ip_network, text.split()))


NEVER = _networks(
    "169.254.0.0/16 fe80::/10 "  # link-local; the metadata of most clouds is there
    "100.100.100.200 fd00:100::100:200 "  # Alibaba Cloud
    "fd00:ec2::/32 fd20:ce::254 "  # AWS, Google Cloud
    "168.63.129.16 192.0.0.192 fd00:c1::a9fe:a9fe "  # Azure, Oracle Cloud
    "fd00:42::42 fd00:a9fe:a9fe::1"  # Scaleway, Akamai
)
"""Link-local addresses, and those where clouds give their machines credentials."""
PRIVATE = _networks(
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.0.0.0/24 192.168.0.0/16 198.18.0.0/15 "
    "224.0.0.0/4 240.0.0.0/4 :: ::1 64:ff9b:1::/48 100::/64 fc00::/7 fec0::/10 ff00::/8"
)
"""What the Internet does not route to one host (RFC 6890), but for examples (RFC 5737, RFC 3849)."""
DENIED = "egress_denied_"
"""Before the rule, the name of a counter."""
WORDS: dict[Denial, str] = {
    "metadata": "its address is link-local or a cloud's metadata service, which no egress setting allows",
    "list": "its address is in egress.deny",
    "private": "its address is private, which egress.private or egress.allow would have to allow",
}
"""For people, customers among them: without the address, which a name may hide from them."""


class Forbidden(OSError):
    """No address of the host may be dialled; the text is the reason, for people."""


@dataclass(frozen=True, slots=True)
class EgressRules:
    """The settings as one loop needs them; also goes to media workers."""

    allow: tuple[str, ...] = ()
    """Networks."""
    deny: tuple[str, ...] = ()
    private: bool = True
    """Private addresses may be dialled."""
    configured: tuple[tuple[str, str, int], ...] = ()
    """Account, host and port of the URLs that the operator has configured."""

    @classmethod
    def of(cls, settings: Settings, account: str) -> "EgressRules":
        """`account` is the one whose applications the configuration has."""
        egress = settings.egress
        places = {place for url in _configured(settings) for place in _places(url)}
        return cls(
            tuple(map(str, egress.allow)),
            tuple(map(str, egress.deny)),
            settings.private_egress,
            tuple(sorted((account, host, port) for host, port in places)),
        )


def _configured(settings: Settings) -> Iterable[str | None]:
    """The URLs of the configuration, also those that its documents have."""
    yield settings.stream
    for application in settings.applications:
        yield from (application.voice_fallback_url, application.status_callback)
    for one in (*settings.applications, *settings.numbers):
        yield from one.urls


def _places(url: str | None) -> Iterable[tuple[str, int]]:
    try:
        parts = urlsplit(url or "")
        if parts.hostname:
            yield parts.hostname, parts.port or PORTS[parts.scheme]
    except ValueError:
        return  # of a document: nothing is dialled


class Egress:
    """The rules of one loop, and how often they denied something."""

    def __init__(self, rules: EgressRules | None = None, counters: Counter[str] | None = None) -> None:
        """`rules` None: private addresses are allowed."""
        self.counters: Counter[str] = Counter() if counters is None else counters
        """egress_denied_metadata, egress_denied_list, egress_denied_private."""
        self.take(rules or EgressRules())

    def take(self, rules: EgressRules) -> None:
        """Go by these rules from now on."""
        self._private = rules.private
        self._configured = frozenset(rules.configured)
        listed = [(ip_network(text), False) for text in rules.deny] + [(ip_network(text), True) for text in rules.allow]
        self._listed = sorted(listed, key=lambda one: -one[0].prefixlen)
        """Networks, the smallest first of those of one family, and whether they are allowed."""

    def is_configured(self, account: str, host: str, port: int) -> bool:
        """Whether the operator has configured a URL of that host and port, for that account."""
        return (account, host, port) in self._configured

    def denial(self, address: str, *, configured: bool = False) -> Denial | None:
        """By which rule a literal address may not be dialled; None: it may. `configured`: the operator has named the
        destination, or it is a registered phone's. Raises ValueError for a name."""
        if is_never(address):
            return "metadata"
        return next(filter(None, (self._denial_of(one, configured=configured) for one in readings(address))), None)

    def _denial_of(self, address: Address, *, configured: bool) -> Denial | None:
        for network, allowed in self._listed:
            if address in network:
                return None if allowed else "list"
        if self._private or configured or not any(address in network for network in PRIVATE):
            return None
        return "private"

    def allowed(self, host: str, addresses: Iterable[str], *, configured: bool = False) -> list[str]:
        """The addresses of a host that may be dialled. Raises Forbidden if there are some, and none may."""
        denials = {address: self.denial(address, configured=configured) for address in addresses}
        found = [address for address, denial in denials.items() if denial is None]
        denial = next((one for one in denials.values() if one is not None), None)
        if denial is not None and not found:
            self.counters[f"{DENIED}{denial}"] += 1
            raise Forbidden(f"{host} may not be dialled: {WORDS[denial]}")
        return found


@lru_cache(maxsize=4096)
def is_never(address: str) -> bool:
    """Whether no setting allows a literal address. Raises ValueError for a name."""
    return any(one in network for network in NEVER for one in readings(address))


def readings(address: str) -> tuple[Address, ...]:
    """A literal address, and the IPv4 addresses that it stands for as an IPv6 address. Raises ValueError for a name."""
    literal = ip_address(address)
    if literal.version == 4:
        return (literal,)
    number = int(literal)
    return (literal, *(IPv4Address(one & 0xFFFFFFFF) for one in _embedded(number)))


_LOW = ("::ffff:0:0/96", "::/96", "::ffff:0:0:0/96", "64:ff9b::/96")
"""IPv4-mapped and -compatible (RFC 4291 section 2.5.5), translated (RFC 2765), NAT64 (RFC 6052)."""
_LOW_PREFIXES = {int(IPv6Network(text).network_address) >> 32 for text in _LOW}
_NAT64, _TEREDO, _6TO4 = 0x0064_FF9B_0001, 0x2001_0000, 0x2002
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def _embedded(number: int) -> Iterable[int]:
    """IPv4 addresses in an IPv6 address, each in the low 32 bits."""
    if number >> 32 in _LOW_PREFIXES or (number >> 32) & 0xFFFFFFFF in _ISATAP:  # RFC 5214 section 6.1
        yield number
    if number >> 80 == _NAT64:  # RFC 8215; the prefix may be as long as RFC 6052 section 2.2 has it, with a gap
        yield (number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF
        yield (number >> 64 & 0xFF) << 24 | number >> 32 & 0xFFFFFF
        yield number >> 24
        yield number
    if number >> 112 == _6TO4:  # RFC 3056 section 2
        yield number >> 80
    if number >> 96 == _TEREDO:  # RFC 4380 section 4: the server, and the client inverted
        yield number >> 64
        yield ~number
