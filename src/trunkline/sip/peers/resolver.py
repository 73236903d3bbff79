"""Where names lead, of trunks' targets and of URIs that are called (driver; RFC 3263 section 4).

A name without a port is asked for as SRV (RFC 2782), in the order of its NAPTR records, unless its URI says which
transport; without NAPTR for UDP, TCP and TLS, and the first that has records is taken. They are tried by priority,
those of equal priority at random by weight. A name with a port, without a dot (of this machine or network, which DNS
would be asked for in vain), or without SRV records, is looked up as the system does (`outbound.names`).

A URI is looked up when it is called, from a cache where DNS allows. Each trunk is looked up again when the shortest TTL
of what was found has passed, within bounds; where that fails what was known stays.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
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
from trunkline.sip.targets import OnLocated, Target, Transport, Unreachable

log = structlog.get_logger()

TTL_LEAST, TTL_MOST = 10.0, 3600.0
"""Seconds."""
TTL_OF_SYSTEM = 60.0
"""Seconds: what the system's look-up does not tell."""
MEDIA_PATIENCE = 2.0
"""Seconds that a call waits for a name in its SDP: its caller hears nothing meanwhile."""
ADDRESS_LIMIT = 20
"""Addresses that one target may have; more are left out."""
CACHE_SIZE = 1000
"""Answers."""
SERVICES: dict[Transport, str] = {"udp": "_sip._udp", "tcp": "_sip._tcp", "tls": "_sips._tcp"}
"""Of SRV names, in the order in which they are asked for."""
NAPTR_SERVICES: dict[bytes, Transport] = {b"SIP+D2U": "udp", b"SIP+D2T": "tcp", b"SIPS+D2T": "tls"}


@dataclass(frozen=True, slots=True)
class ResolvedTargets:
    """Where a target is, in the order in which to try it."""

    targets: tuple[Target, ...]
    ttl: float


class TargetResolver:
    """The look-ups of one endpoint, a task for each trunk and for each call that waits for one. `on_found` is called
    with a trunk's name and its targets; with none when the first look-up failed."""

    def __init__(self, settings: SipSettings, on_found: Callable[[str, Sequence[Target]], None]) -> None:
        self._settings = settings
        self._on_found = on_found
        self._random = SystemRandom().random
        self._records, self._family = ("AAAA", socket.AF_INET6) if ":" in settings.host else ("A", socket.AF_INET)
        self._names = Names()
        self._cache = LRUCache(CACHE_SIZE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._trunks: dict[str, asyncio.Task[None]] = {}
        """Those of them that go on, by trunk."""

    def start(self, trunk: str, targets: Sequence[Target]) -> None:
        """Keep the targets of a trunk up to date."""
        task = self._trunks[trunk] = asyncio.create_task(self._keep(trunk, targets))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, trunk: str) -> None:
        """A trunk is no more, or is to be started anew."""
        if trunk in self._trunks:
            self._trunks.pop(trunk).cancel()

    def find(self, target: Target, found: OnLocated) -> None:
        """Look up once: `found` is called with where the target is, at once where its host is an address, or with the
        reason why nobody knows, within `sip.connect_timeout` seconds."""
        if is_literal(target):
            found((target,))
            return
        task = asyncio.create_task(self._find(target, found))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def find_address(self, host: str, found: Callable[[str], None]) -> None:
        """Look the host of a peer's media up: `found` is called with an address of our family, empty where nobody knows
        one within `MEDIA_PATIENCE` seconds."""
        task = asyncio.create_task(self._find_address(host, found))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _find_address(self, host: str, found: Callable[[str], None]) -> None:
        address = ""
        try:
            async with asyncio.timeout(MEDIA_PATIENCE):
                address = (await self._names.look_up(host, self._family)).addresses[0]
        except Exception as error:
            # Whatever it was, the call goes on.
            log.warning("sip_media_host_not_found", host=host[:80], reason=_words(error))
        found(address)

    async def stop(self) -> None:
        """No more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._names.stop()

    async def _keep(self, trunk: str, targets: Sequence[Target]) -> None:
        known: dict[Target, ResolvedTargets] = {}
        while True:
            ttl = TTL_MOST
            for target in targets:
                try:
                    known[target] = await self.look_up(target)
                    ttl = min(ttl, known[target].ttl)
                except Exception as error:
                    # Whatever it was, the trunk is looked up again.
                    ttl = min(ttl, TTL_OF_SYSTEM)
                    log.warning("sip_lookup_failed", trunk=trunk, host=target.endpoint.host, reason=_words(error))
            found = [place for target in targets if target in known for place in known[target].targets]
            try:
                self._on_found(trunk, found)
            except Exception:
                log.exception("sip_lookup_not_taken", trunk=trunk)
            await asyncio.sleep(max(ttl, TTL_LEAST))

    async def _find(self, target: Target, found: OnLocated) -> None:
        outcome: Sequence[Target] | Unreachable
        try:
            outcome = (await self.look_up(target)).targets
        except Exception as error:  # whatever it was, somebody waits
            detail = f"{target.endpoint.host} cannot be looked up: {_words(error)}"
            log.warning("sip_lookup_failed", host=target.endpoint.host, reason=_words(error))
            outcome = Unreachable(503, "Service Unavailable", detail)
        found(outcome)

    async def look_up(self, target: Target) -> ResolvedTargets:
        """Raises OSError, UnicodeError or DNSException, within `sip.connect_timeout` seconds."""
        if is_literal(target):
            return ResolvedTargets((target,), TTL_MOST)
        async with asyncio.timeout(self._settings.connect_timeout):
            places, ttl = await self._by_records(target)
            if not places:
                endpoint = target.endpoint
                found = await self._names.look_up(endpoint.host, self._family)
                places = [replace(target, endpoint=Endpoint(address, endpoint.port)) for address in found.addresses]
                ttl = found.ttl
        return ResolvedTargets(tuple(dict.fromkeys(places))[:ADDRESS_LIMIT], ttl)

    async def _by_records(self, target: Target) -> tuple[list[Target], float]:
        """By NAPTR and SRV; empty where there are none, or none are to be asked for."""
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
            return endpoints, float(answer.rrset.ttl) if answer.rrset is not None else TTL_OF_SYSTEM
        return endpoints, TTL_OF_SYSTEM

    def _resolver(self) -> Resolver:
        server = self._settings.dns_server
        resolver = Resolver(configure=server is None)
        if server is not None:
            resolver.nameservers, resolver.port = [server], self._settings.dns_port
        resolver.lifetime = self._settings.connect_timeout
        resolver.cache = self._cache
        return resolver


async def _services(resolver: Resolver, host: str, transports: Sequence[Transport]) -> list[tuple[Transport, str]]:
    """Transports and the names of their SRV records, by a domain's NAPTR records (RFC 3263 section 4.1)."""
    with suppress(NXDOMAIN, NoAnswer):
        answer = await resolver.resolve(f"{host}.", "NAPTR")
        records = [record for record in answer if isinstance(record, NAPTR) and record.flags.lower() == b"s"]
        records.sort(key=lambda record: (record.order, record.preference))
        named = [(NAPTR_SERVICES.get(record.service.upper()), record.replacement.to_text()) for record in records]
        return [(transport, name) for transport, name in named if transport is not None and transport in transports]
    return []


def is_literal(target: Target) -> bool:
    """Whether there is nothing to look up."""
    return is_address(target.endpoint.host)


def in_order(records: Sequence[SRV], random: Callable[[], float]) -> list[SRV]:
    """By priority, then at random in proportion to the weights."""
    # A random number to the power of 1/weight, sorted, draws as RFC 2782 does (Efraimidis and Spirakis, 2006).
    return sorted(records, key=lambda one: (one.priority, -(random() ** (1 / one.weight) if one.weight else 0)))


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, UnknownHost):
        return error.words
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
