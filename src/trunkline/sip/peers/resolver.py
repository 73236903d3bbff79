"""Look-ups in DNS of trunks' targets, of URIs that are called, and of media hosts (driver; RFC 3263 section 4).

A name without a port is resolved by SRV records (RFC 2782), for the transport that its URI names, or in the order of
its NAPTR records; without NAPTR for UDP, TCP and TLS, and the first that has records is taken. Targets are ordered by
priority, those of equal priority at random by weight. A name with a port, without a dot (of this machine or network,
which DNS does not know) or without SRV records is resolved as the system does (`outbound.names`).

A URI is looked up when it is called, from a cache as DNS allows. Each trunk is looked up again when the shortest TTL of
its records has passed, within bounds; if that fails the known targets stay.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from secrets import SystemRandom

import structlog
from dns.asyncresolver import Resolver
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV
from dns.resolver import NXDOMAIN, LRUCache, NoAnswer

from trunkline.config import SipSettings
from trunkline.outbound.names import Names, UnknownHost
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import is_address, parse_uri
from trunkline.sip.targets import Target, Transport, Unreachable

log = structlog.get_logger()

TTL_MIN, TTL_MAX = 10.0, 3600.0
"""Seconds between two look-ups of a trunk."""
SYSTEM_TTL = 60.0
"""Seconds: the TTL of the system's look-ups, which have none."""
MEDIA_TIMEOUT = 2.0
"""Seconds that a call waits for a name in its SDP: the caller hears nothing meanwhile."""
ADDRESS_LIMIT = 20
"""Addresses of one target; further ones are ignored."""
CACHE_SIZE = 1000
"""Responses of DNS."""
SERVICES: dict[Transport, str] = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
"""First labels of SRV names, in the order of the queries."""
NAPTR_SERVICES: dict[bytes, Transport] = {b"SIP+D2U": "udp", b"SIP+D2T": "tcp", b"SIPS+D2T": "tls"}

OnFound = Callable[[Sequence[Target] | Unreachable], None]
"""Gets the targets of a URI, in order, or why there is none."""


@dataclass(frozen=True, slots=True)
class ResolvedTargets:
    """The addresses of a target."""

    targets: tuple[Target, ...]
    """In the order in which they are tried."""
    ttl: float
    """Seconds for which they are valid."""


class TargetResolver:
    """The look-ups of one endpoint: a task for each trunk, and for each call that waits for one. `on_found` gets a
    trunk's name and its targets; none if the first look-up has failed."""

    def __init__(self, settings: SipSettings, on_found: Callable[[str, Sequence[Target]], None]) -> None:
        self._settings = settings
        self._on_found = on_found
        self._random = SystemRandom().random
        self._records, self._family = ("AAAA", socket.AF_INET6) if ":" in settings.host else ("A", socket.AF_INET)
        self._names = Names()
        self._cache = LRUCache(CACHE_SIZE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._trunks: dict[str, asyncio.Task[None]] = {}
        """Tasks of trunks, by name."""

    def start(self, trunk: str, targets: Sequence[Target]) -> None:
        """Look the targets of a trunk up, now and whenever their TTL has passed."""
        task = self._trunks[trunk] = asyncio.create_task(self._keep(trunk, targets))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, trunk: str) -> None:
        """Stop the look-ups of a trunk."""
        if trunk in self._trunks:
            self._trunks.pop(trunk).cancel()

    def find(self, target: Target, found: OnFound, ids: Mapping[str, str]) -> None:
        """Look a target up, once. `found` gets its addresses, or why there is none, within `sip.connect_timeout`
        seconds; at once if its host is an address. `ids` are those of the call, for the log."""
        if is_literal(target):
            found((target,))
            return
        task = asyncio.create_task(self._find(target, found, ids))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def find_address(self, host: str, found: Callable[[str], None], ids: Mapping[str, str]) -> None:
        """Look a media host up. `found` gets an address of our family; empty if there is none within `MEDIA_TIMEOUT`
        seconds. `ids` are those of the call, for the log."""
        task = asyncio.create_task(self._find_address(host, found, ids))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _find_address(self, host: str, found: Callable[[str], None], ids: Mapping[str, str]) -> None:
        address = ""
        try:
            async with asyncio.timeout(MEDIA_TIMEOUT):
                address = (await self._names.look_up(host, self._family)).addresses[0]
        except Exception as error:
            # The call goes on without the address.
            log.warning("sip_media_host_lookup_failed", host=host[:80], reason=_reason(error), **ids)
        found(address)

    async def stop(self) -> None:
        """End all look-ups."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._names.stop()

    async def _keep(self, trunk: str, targets: Sequence[Target]) -> None:
        known: dict[Target, ResolvedTargets] = {}
        while True:
            ttl = TTL_MAX
            for target in targets:
                try:
                    known[target] = await self.look_up(target)
                    ttl = min(ttl, known[target].ttl)
                except Exception as error:
                    # After any error the trunk is looked up again.
                    ttl = min(ttl, SYSTEM_TTL)
                    log.warning("sip_lookup_failed", trunk=trunk, host=target.endpoint.host, reason=_reason(error))
            found = [place for target in targets if target in known for place in known[target].targets]
            try:
                self._on_found(trunk, found)
            except Exception:
                log.exception("sip_lookup_handling_failed", trunk=trunk)
            await asyncio.sleep(max(ttl, TTL_MIN))

    async def _find(self, target: Target, found: OnFound, ids: Mapping[str, str]) -> None:
        outcome: Sequence[Target] | Unreachable
        try:
            outcome = (await self.look_up(target)).targets
        except Exception as error:  # A call waits for the result.
            detail = f"{target.endpoint.host} cannot be looked up: {_reason(error)}"
            log.warning("sip_lookup_failed", host=target.endpoint.host, reason=_reason(error), **ids)
            outcome = Unreachable(503, "Service Unavailable", detail)
        found(outcome)

    async def look_up(self, target: Target) -> ResolvedTargets:
        """Raises OSError, UnicodeError or DNSException, within `sip.connect_timeout` seconds."""
        if is_literal(target):
            return ResolvedTargets((target,), TTL_MAX)
        async with asyncio.timeout(self._settings.connect_timeout):
            places, ttl = await self._by_records(target)
            if not places:
                endpoint = target.endpoint
                found = await self._names.look_up(endpoint.host, self._family)
                places = [replace(target, endpoint=Endpoint(address, endpoint.port)) for address in found.addresses]
                ttl = found.ttl
        return ResolvedTargets(tuple(dict.fromkeys(places))[:ADDRESS_LIMIT], ttl)

    async def _by_records(self, target: Target) -> tuple[list[Target], float]:
        """By NAPTR and SRV records; empty if there are none, or the URI rules them out."""
        uri = parse_uri(target.uri)
        host = target.endpoint.host.rstrip(".")
        if uri.port is not None or "." not in host:
            return [], 0
        said = any(parameter.startswith("transport=") for parameter in uri.params)
        transports = (target.transport,) if said or uri.scheme == "sips" else tuple(SERVICES)
        resolver = self._resolver()
        services = [] if said else await _services(resolver, host, transports)
        for transport, name in services or [(one, f"{SERVICES[one]}.{host}.") for one in transports]:
            endpoints, ttl = await self._by_srv(resolver, name)
            if endpoints:
                return [replace(target, endpoint=endpoint, transport=transport) for endpoint in endpoints], ttl
        return [], 0

    async def _by_srv(self, resolver: Resolver, name: str) -> tuple[list[Endpoint], float]:
        endpoints = []
        with suppress(NXDOMAIN, NoAnswer):
            answer = await resolver.resolve(name, "SRV")
            for record in in_order([record for record in answer if isinstance(record, SRV)], self._random):
                with suppress(NXDOMAIN, NoAnswer):
                    hosts = await resolver.resolve(record.target, self._records)
                    endpoints += [Endpoint(host.to_text(), record.port) for host in hosts]
            return endpoints, float(answer.rrset.ttl) if answer.rrset is not None else SYSTEM_TTL
        return endpoints, SYSTEM_TTL

    def _resolver(self) -> Resolver:
        server = self._settings.dns_server
        resolver = Resolver(configure=server is None)
        if server is not None:
            resolver.nameservers, resolver.port = [server], self._settings.dns_port
        resolver.lifetime = self._settings.connect_timeout
        resolver.cache = self._cache
        return resolver


async def _services(resolver: Resolver, host: str, transports: Sequence[Transport]) -> list[tuple[Transport, str]]:
    """Transports and names of SRV records, by the NAPTR records of a domain (RFC 3263 section 4.1)."""
    with suppress(NXDOMAIN, NoAnswer):
        answer = await resolver.resolve(f"{host}.", "NAPTR")
        records = [record for record in answer if isinstance(record, NAPTR) and record.flags.lower() == b"s"]
        records.sort(key=lambda record: (record.order, record.preference))
        named = [(NAPTR_SERVICES.get(record.service.upper()), record.replacement.to_text()) for record in records]
        return [(transport, name) for transport, name in named if transport is not None and transport in transports]
    return []


def is_literal(target: Target) -> bool:
    """Whether the host of a target is an address."""
    return is_address(target.endpoint.host)


def in_order(records: Sequence[SRV], random: Callable[[], float]) -> list[SRV]:
    """By priority, then at random in proportion to the weights."""
    # A random number to the power of 1/weight, sorted, draws as RFC 2782 does (Efraimidis and Spirakis, 2006).
    return sorted(records, key=lambda one: (one.priority, -(random() ** (1 / one.weight) if one.weight else 0)))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, UnknownHost):
        return error.words
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
