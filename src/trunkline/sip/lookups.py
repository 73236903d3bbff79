"""Where the names of trunks' targets lead (driver; RFC 3263 section 4.2, in the small).

A name without a port is asked for as SRV (RFC 2782); its records are tried by priority, those of equal priority at
random by weight. A name with a port, or without SRV records, is left to the system's own look-up. Each trunk is looked
up again when the shortest TTL of what was found has passed, within bounds. Where a look-up fails what was known stays.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from secrets import SystemRandom

import structlog
from dns.asyncresolver import Resolver
from dns.rdtypes.IN.SRV import SRV
from dns.resolver import NXDOMAIN, NoAnswer

from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.headers import parse_uri
from trunkline.sip.targets import Target

log = structlog.get_logger()

TTL_LEAST, TTL_MOST = 10.0, 3600.0
"""Seconds."""
TTL_OF_SYSTEM = 60.0
"""Seconds: what the system's look-up does not tell."""
ADDRESS_LIMIT = 20
"""Addresses that one target may have; more are left out."""
SERVICES = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}


@dataclass(frozen=True, slots=True)
class Found:
    """Where a target is, in the order in which to try it."""

    targets: tuple[Target, ...]
    ttl: float


class Lookups:
    """The look-ups of one endpoint, a task for each trunk. `on_found` is called with a trunk's name and its targets;
    with none when the first look-up failed."""

    def __init__(self, settings: SipSettings, on_found: Callable[[str, Sequence[Target]], None]) -> None:
        self._settings = settings
        self._on_found = on_found
        self._random = SystemRandom().random
        self._records, self._family = ("AAAA", socket.AF_INET6) if ":" in settings.host else ("A", socket.AF_INET)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, trunk: str, targets: Sequence[Target]) -> None:
        """Keep the targets of a trunk up to date."""
        self._tasks.append(asyncio.create_task(self._keep(trunk, targets)))

    async def stop(self) -> None:
        """No more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, trunk: str, targets: Sequence[Target]) -> None:
        known: dict[Target, Found] = {}
        while True:
            ttl = TTL_MOST
            for target in targets:
                try:
                    async with asyncio.timeout(self._settings.connect_timeout):
                        known[target] = await self.look_up(target)
                    ttl = min(ttl, known[target].ttl)
                except Exception as error:
                    # Whatever it was, the trunk is looked up again.
                    ttl = min(ttl, TTL_OF_SYSTEM)
                    reason = str(error) or type(error).__name__
                    log.warning("sip_lookup_failed", trunk=trunk, host=target.endpoint.host, reason=reason)
            self._on_found(trunk, [place for target in targets if target in known for place in known[target].targets])
            await asyncio.sleep(max(ttl, TTL_LEAST))

    async def look_up(self, target: Target) -> Found:
        """Raises OSError, UnicodeError or DNSException."""
        if is_literal(target):
            return Found((target,), TTL_MOST)
        endpoints: list[Endpoint] = []
        ttl = TTL_OF_SYSTEM
        if parse_uri(target.uri).port is None:
            endpoints, ttl = await self._by_srv(target)
        if not endpoints:
            endpoint = target.endpoint
            addresses = await asyncio.get_running_loop().getaddrinfo(
                endpoint.host, endpoint.port, family=self._family, type=socket.SOCK_DGRAM
            )
            endpoints = [Endpoint(str(one[4][0]), endpoint.port) for one in addresses]
        unique = list(dict.fromkeys(endpoints))[:ADDRESS_LIMIT]
        return Found(tuple(replace(target, endpoint=endpoint) for endpoint in unique), ttl)

    async def _by_srv(self, target: Target) -> tuple[list[Endpoint], float]:
        resolver = self._resolver()
        with suppress(NXDOMAIN, NoAnswer):
            answer = await resolver.resolve(f"{SERVICES[target.transport]}.{target.endpoint.host}.", "SRV")
            endpoints = []
            ttl = float(answer.rrset.ttl) if answer.rrset is not None else TTL_OF_SYSTEM
            for record in in_order([record for record in answer if isinstance(record, SRV)], self._random):
                with suppress(NXDOMAIN, NoAnswer):
                    hosts = await resolver.resolve(record.target, self._records)
                    endpoints += [Endpoint(host.to_text(), record.port) for host in hosts]
            return endpoints, ttl
        return [], TTL_OF_SYSTEM

    def _resolver(self) -> Resolver:
        server = self._settings.dns_server
        resolver = Resolver(configure=server is None)
        if server is not None:
            resolver.nameservers, resolver.port = [server], self._settings.dns_port
        resolver.lifetime = self._settings.connect_timeout
        return resolver


def is_literal(target: Target) -> bool:
    """Whether there is nothing to look up."""
    try:
        ip_address(target.endpoint.host)
    except ValueError:
        return False
    return True


def in_order(records: Sequence[SRV], random: Callable[[], float]) -> list[SRV]:
    """By priority, then at random in proportion to the weights."""
    # A random number to the power of 1/weight, sorted, draws as RFC 2782 does (Efraimidis and Spirakis, 2006).
    return sorted(records, key=lambda one: (one.priority, -(random() ** (1 / one.weight) if one.weight else 0)))
