"""Names to addresses, for all that we dial (driver). No thread is held while a name server is silent.

As the system's own look-up does: literal addresses, then the hosts file, then DNS by resolv.conf with its search list,
then, where nsswitch.conf names any, the system's other sources. DNS is asked by dnspython on the loop, for both
families at once. Its answers are kept for their TTL, and a second look-up of a name that
is being looked up waits for the same answer. Only for the other sources there is a small pool of threads, of our own.
"""

import asyncio
import os
import socket
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain, zip_longest
from pathlib import Path

from dns.asyncresolver import Resolver
from dns.exception import DNSException, Timeout
from dns.resolver import NXDOMAIN, Answer, NoAnswer, NoNameservers, NoResolverConfiguration

from trunkline.outbound.urls import is_address

HOSTS, RESOLV, NSSWITCH = Path("/etc/hosts"), Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")
LOOKUP_TIMEOUT = 5.0
"""Seconds that a name's servers may take altogether."""
RESOLUTION_DELAY = 0.05
"""Seconds that the other family may take once one has answered (RFC 8305 section 3)."""
TTL_OF_SYSTEM = 60.0
"""Seconds: of what the system knows, which has no TTL."""
FOR_GOOD = 3600.0
"""Seconds: of an address, which needs no look-up."""
CACHE_SIZE = 1000
"""Names. What has no address is asked for each time: many negative answers have no SOA record with a TTL (RFC 2308
section 5), and some servers deny a name that only lacks one kind of address (RFC 4074 section 4.2)."""
TTL_LIMIT = 3600.0
"""Seconds: a longer one is cut to this."""
ADDRESS_LIMIT = 20
"""Addresses of one name; more are left out."""
THREADS = 4
"""For the system's other sources."""
_LOOPBACK = ("::1", "127.0.0.1")
_ASKED_BY_US = {"files", "dns", "myhostname"}


class UnknownHost(OSError):
    """A name has no known address; the text is the reason, for people."""

    def __init__(self, host: str, words: str, *, silent: bool = False) -> None:
        super().__init__(f"{host}: {words}")
        self.host, self.words = host, words
        self.silent = silent
        """No name server answered: a repeat may help."""


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """Of a name: literal addresses, in the order in which to try them, and for how many seconds they hold."""

    addresses: tuple[str, ...]
    ttl: float


class Names:
    """The look-ups of one loop."""

    def __init__(self, server: tuple[str, int] | None = None) -> None:
        """`server` is the address and port of the name server to ask; None: those of resolv.conf."""
        self._server = server
        self._hosts = _File(HOSTS)
        self._resolv = _File(RESOLV)
        self._known: dict[str, list[str]] = {}
        """The hosts file."""
        self._resolver: Resolver | None = None
        self._cache: OrderedDict[str, tuple[ResolvedName, float]] = OrderedDict()
        """Answers of DNS, and until when by the loop's clock; the least recently used name first."""
        self._asking: dict[str, asyncio.Task[ResolvedName | UnknownHost]] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._other_sources = _other_sources()
        self._read()

    async def stop(self) -> None:
        """Give up what is under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def look_up(self, host: str, family: int = socket.AF_UNSPEC) -> ResolvedName:
        """Of one family or of both. Raises UnknownHost, within `LOOKUP_TIMEOUT` seconds or a little more."""
        found = await self._look_up(host)
        if family == socket.AF_UNSPEC:
            return found
        six = family == socket.AF_INET6
        ours = tuple(address for address in found.addresses if (":" in address) is six)
        if not ours:
            raise UnknownHost(host, f"there is no IPv{6 if six else 4} address of it")
        return ResolvedName(ours, found.ttl)

    async def _look_up(self, host: str) -> ResolvedName:
        if is_address(host):
            return ResolvedName((host,), FOR_GOOD)
        name = host.rstrip(".").lower()
        self._read()
        if (known := self._known.get(name)) is not None:
            return ResolvedName(tuple(known), TTL_OF_SYSTEM)
        now = asyncio.get_running_loop().time()
        cached, until = self._cache.get(name, (None, now))
        if cached is not None and until > now:
            self._cache.move_to_end(name)
            return ResolvedName(cached.addresses, until - now)
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
            return ResolvedName(_LOOPBACK, FOR_GOOD)
        if name == "invalid" or name.endswith(".invalid"):  # section 6.4
            raise UnknownHost(host, "there is no such name")
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._ask(name), name=f"look-up of {name}")
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        found = await asyncio.shield(task)  # others may wait for it, and the next will ask for it
        if isinstance(found, UnknownHost):
            raise UnknownHost(host, found.words, silent=found.silent)
        return found

    def _read(self) -> None:
        """The system's files, where they changed."""
        if (text := self._hosts.changed()) is not None:
            self._known = hosts_of(text)
        if self._resolv.changed() is not None or self._resolver is None:
            try:
                self._resolver = Resolver(str(RESOLV))
            except (NoResolverConfiguration, OSError):
                self._resolver = Resolver(configure=False)
            if self._server is not None:
                self._resolver.nameservers, self._resolver.port = [self._server[0]], self._server[1]
            self._resolver.lifetime = LOOKUP_TIMEOUT

    async def _ask(self, host: str) -> ResolvedName | UnknownHost:
        """The failure is a value: an exception would keep the frames that it went through."""
        assert self._resolver is not None
        try:
            found = await _by_dns(self._resolver, host)
        except (OSError, ValueError) as problem:
            return UnknownHost(host, str(problem) or type(problem).__name__)
        if isinstance(found, UnknownHost):
            if found.silent or not self._other_sources:
                return found
            return await self._by_system(host) or found
        self._cache[host] = found, asyncio.get_running_loop().time() + min(found.ttl, TTL_LIMIT)
        self._cache.move_to_end(host)
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return found

    async def _by_system(self, host: str) -> ResolvedName | None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "names")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                rows = await loop.run_in_executor(self._threads, socket.getaddrinfo, host, None, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return None
        return ResolvedName(tuple(dict.fromkeys(str(row[4][0]) for row in rows))[:ADDRESS_LIMIT], TTL_OF_SYSTEM)


class _File:
    """A file of the system's that may change under us."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def changed(self) -> str | None:
        """Its text, when it is another than at the last call."""
        try:
            stat = os.stat(self._path)
            seen = stat.st_mtime_ns, stat.st_ino
            if seen == self._seen:
                return None
            self._seen = seen
            return self._path.read_text(errors="replace")
        except OSError:
            before, self._seen = self._seen, None
            return None if before is None else ""


def hosts_of(text: str) -> dict[str, list[str]]:
    """The addresses of each name of a hosts file."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if is_address(address):
            for name in names:
                held = found.setdefault(name.lower(), [])
                if address not in held:
                    held.append(address)
    return {name: _in_order(addresses) for name, addresses in found.items()}


def _other_sources() -> bool:
    """Whether nsswitch.conf has names looked up elsewhere than in the hosts file and DNS, in mDNS for one."""
    try:
        lines = NSSWITCH.read_text(errors="replace").splitlines()
    except OSError:
        return False
    hosts = next((line.partition(":")[2] for line in lines if line.startswith("hosts:")), "")
    return any(word not in _ASKED_BY_US for word in hosts.partition("#")[0].split() if not word.startswith(("[", "!")))


def _in_order(addresses: list[str]) -> list[str]:
    """The families in turn, IPv6 first (RFC 8305 section 4)."""
    six = [address for address in addresses if ip_address(address).version == 6]
    four = [address for address in addresses if ip_address(address).version == 4]
    return [address for address in chain.from_iterable(zip_longest(six, four)) if address is not None]


async def _by_dns(resolver: Resolver, host: str) -> ResolvedName | UnknownHost:
    tasks = [asyncio.create_task(_one_family(resolver, host, kind)) for kind in ("AAAA", "A")]
    try:
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if pending:
            answered = isinstance(done.pop().result(), Answer)
            await asyncio.wait(pending, timeout=RESOLUTION_DELAY if answered else None)
    finally:
        for task in tasks:
            task.cancel()
    results = [task.result() for task in tasks if task.done() and not task.cancelled()]
    answers = [result for result in results if isinstance(result, Answer)]
    addresses = _in_order([record.to_text() for answer in answers for record in answer])
    if addresses:
        ttl = min(float(answer.rrset.ttl) for answer in answers if answer.rrset is not None)
        return ResolvedName(tuple(addresses)[:ADDRESS_LIMIT], ttl)
    failures = [result for result in results if isinstance(result, UnknownHost)]
    return next((failure for failure in failures if failure.silent), failures[0])


async def _one_family(resolver: Resolver, host: str, kind: str) -> Answer | UnknownHost:
    try:
        return await resolver.resolve(host, kind, search=True)
    except NXDOMAIN:
        return UnknownHost(host, "there is no such name")
    except NoAnswer:
        return UnknownHost(host, "the name has no address")
    except (Timeout, NoNameservers) as problem:
        for _, _, _, inner, _ in problem.kwargs.get("errors", ()):
            if isinstance(inner, BaseException):
                inner.__traceback__ = None  # its frames hold this list
        if isinstance(problem, Timeout):
            return UnknownHost(host, f"no name server answered within {LOOKUP_TIMEOUT:g} s", silent=True)
        return UnknownHost(host, "the name servers fail", silent=True)
    except DNSException as problem:
        return UnknownHost(host, str(problem) or type(problem).__name__)
