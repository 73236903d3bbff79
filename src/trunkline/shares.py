"""Origins of peers, and how much of what all share one of them may hold. Pure.

A limit that is the same for all would let one host shut all others out, and a fixed one for each would let many do so.
So each may hold half of the places that the others leave: one half, the next a quarter, …; a place is always left.
"""

from collections import Counter
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

PREFIX = 64
"""Bits of an IPv6 address that one customer of a network has (RFC 6177); any host has all the rest."""


def address_of(host: str) -> IPv4Address | IPv6Address:
    """The address of a literal, without its zone; IPv4 in IPv6 as IPv4. Raises ValueError."""
    address = ip_address(host.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def origin_of(host: str) -> str:
    """One for all addresses that a peer can choose from: the IPv4 address, the /64 of an IPv6 address."""
    address = address_of(host)
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, PREFIX), strict=False))


def may_take(held: int, free: int) -> bool:
    """Whether an origin that holds `held` places may take one of the `free`: it may have half of both together, and
    one in any case."""
    return free > 0 and held < max(1, (free + held) // 2)


class Rate:
    """Places that are free again each second, of which origins have their shares."""

    def __init__(self) -> None:
        self._second = -1
        self._taken: Counter[str] = Counter()
        self._free = 0

    def take(self, origin: str, limit: int, now: float) -> bool:
        """Take a place of this second's `limit`, if the origin may have one."""
        if int(now) != self._second:
            self._second, self._free = int(now), limit
            self._taken.clear()
        if not may_take(self._taken[origin], self._free):
            return False
        self._taken[origin] += 1
        self._free -= 1
        return True
