"""What `trunkline doctor` asks the network: ports, addresses, names, trunks.

While no server runs, the ports are bound and let go of again, and each target of a trunk is sent an OPTIONS request
(RFC 3261 section 11) from another port than the server's. Else the server knows all of it better, and is asked.
"""

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from dns.exception import DNSException

from trunkline.client import base_url, request
from trunkline.config import Settings
from trunkline.doctor_values import Subject, Symptom
from trunkline.errors import StartupError
from trunkline.sdp.values import Endpoint
from trunkline.setting_tables import TrunkSettings
from trunkline.setting_types import is_loopback
from trunkline.sip.peers.resolver import TargetResolver
from trunkline.sip.targets import Target, Unreachable, uri_target

ANSWER_TIMEOUT = 4.0
"""Seconds for the answer to OPTIONS, or for a connection."""
REPEAT = 0.5
"""Seconds after which a request over UDP is sent again (RFC 3261: T1)."""
LOOK_UP_TIMEOUT = 5.0
"""Seconds for a name."""
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The ports that the kernel gives out by itself."""
_OPTIONS = (
    "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {here};branch=z9hG4bK{tag};rport\r\nMax-Forwards: 70\r\n"
    "From: <sip:doctor@{here}>;tag={tag}\r\nTo: <{uri}>\r\nCall-ID: {tag}@doctor\r\nCSeq: 1 OPTIONS\r\n"
    "Contact: <sip:doctor@{here}>\r\nContent-Length: 0\r\n\r\n"
)


def server(subject: Subject) -> Iterator[Symptom]:
    """Whether a server runs on the store's directory, and takes calls; why it does not in the words of `/readyz`."""
    if subject.pid is None:
        yield Symptom("ok", f"none runs on {subject.settings.store.directory}: what it would find is examined")
        return
    import httpx

    url = f"{base_url(subject.settings.http)}/readyz"
    try:
        # Whose certificate it is does not matter: nothing secret is said.
        answer = httpx.get(url, timeout=ANSWER_TIMEOUT, trust_env=False, verify=False).json()
        reason = answer["reason"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        text = f"process {subject.pid} runs and does not answer {url}: {error}"
        yield Symptom("error", text, "read its log; it is started again by `systemctl restart trunkline`")
        return
    if reason is None:
        yield Symptom("ok", f"process {subject.pid} is ready")
    else:
        change = "wait if it starts, drains or is busy; else its log says more"
        yield Symptom("error", f"process {subject.pid} is not ready: {reason}", change)


def ports(subject: Subject) -> Iterator[Symptom]:
    """Whether HTTP, SIP and RTP can have the ports of the settings."""
    settings = subject.settings
    if subject.pid is not None:
        http, sip = settings.http, settings.sip
        yield Symptom("ok", f"the server has HTTP {http.host}:{http.port} and SIP {sip.host}:{sip.port}")
    else:
        yield from _listening(settings)
        yield from _rtp(settings)
    media = settings.media
    if media.port_pairs < settings.sip.call_limit:
        text = f"media.port_min to port_max is for {media.port_pairs} legs of calls; sip.call_limit allows more"
        yield Symptom("warning", text, f"widen the range, or set sip.call_limit={media.port_pairs}")
    with suppress(OSError, ValueError):
        first, last = map(int, _EPHEMERAL.read_text().split())
        if first <= media.port_max and media.port_min <= last:
            text = f"RTP ports {media.port_min}-{media.port_max} are among those that Linux gives out, {first}-{last}"
            change = f"sysctl -w net.ipv4.ip_local_reserved_ports={media.port_min}-{media.port_max}"
            yield Symptom("warning", f"{text}: single ones may be taken", change)


def _listening(settings: Settings) -> Iterator[Symptom]:
    http, sip = settings.http, settings.sip
    wanted: list[tuple[str, int, str, int | None]] = [
        ("http.port", socket.SOCK_STREAM, http.host, http.port),
        ("http.operators_port", socket.SOCK_STREAM, http.operators_host, http.operators_port),
        ("sip.port", socket.SOCK_DGRAM, sip.host, sip.port),
        ("sip.port", socket.SOCK_STREAM, sip.host, sip.port),
        ("sip.tls_port", socket.SOCK_STREAM, sip.host, sip.tls_port),
    ]
    for name, kind, host, port in wanted:
        if port is not None:
            protocol = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
            problem = bound(host, port, kind)
            what = f"{name}: {protocol} {Endpoint(host, port)}"
            if problem is None:
                yield Symptom("ok", f"{what} is free")
            else:
                yield Symptom("error", f"{what}: {problem.strerror}", _way_out(problem, name))


def _way_out(problem: OSError, name: str) -> str:
    section = name.partition(".")[0]
    return {
        errno.EADDRINUSE: f"`ss -lnp` shows who has it: end that, or set {name}",
        errno.EADDRNOTAVAIL: f"no interface has this address: set {section}.host to one of `ip address`",
        errno.EACCES: f"ports below 1024 need CAP_NET_BIND_SERVICE (the unit has it), or set {name}",
    }.get(problem.errno or 0, f"set {section}.host and {name} to what this machine can listen on")


def bound(host: str, port: int, kind: int) -> OSError | None:
    """Why nothing can listen there; None: something can."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
    except OSError as problem:
        return problem
    return None


def _rtp(settings: Settings) -> Iterator[Symptom]:
    media = settings.media
    what = f"RTP: UDP {Endpoint(media.host, media.port_min)}-{media.port_max}"
    taken = []
    for port in range(media.port_min, media.port_max + 1):
        problem = bound(media.host, port, socket.SOCK_DGRAM)
        if problem is None:
            continue
        if problem.errno != errno.EADDRINUSE:
            yield Symptom("error", f"{what}: {problem.strerror}", _way_out(problem, "media.port_min"))
            return
        taken.append(port)
    if taken:
        shown = ", ".join(map(str, taken[:5])) + (", …" if len(taken) > 5 else "")
        change = "`ss -lnup` shows who has them; calls take the others"
        yield Symptom("warning", f"{what}: {len(taken)} are taken: {shown}", change)
    else:
        yield Symptom("ok", f"{what} are free")


def addresses(subject: Subject) -> Iterator[Symptom]:
    """Whether peers can reach what our SIP and SDP name."""
    settings = subject.settings
    peers = [trunk.name for trunk in settings.sip.trunks]
    for name, host, advertised in (
        ("sip", settings.sip.host, settings.sip.advertised_host),
        ("media", settings.media.host, settings.media.advertised_host),
    ):
        said = advertised or host
        text = f"peers are told {name} {said}"
        if is_loopback(said):
            change = f"set {name}.host to an address of this machine"
            yield Symptom("error" if peers else "ok", f"{text}: only this machine reaches it", change if peers else "")
        elif _is_private(said) and peers:
            change = f"if trunks are on the internet, set {name}.advertised_host to the public address (NAT)"
            yield Symptom("warning", f"{text}, a private address", change)
        else:
            yield Symptom("ok", text)
    if (url := settings.http.public_url) is None and not is_loopback(settings.http.host):
        text = f"customers are given URLs of {settings.http.host}"
        yield Symptom("warning", text, "set http.public_url to the base that customers reach")
    elif url is not None:
        yield Symptom("ok", f"customers are given URLs of {url}")


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return False


def names(subject: Subject) -> Iterator[Symptom]:
    """Whether the hosts that the settings name are found: those of instructions, and our own."""
    settings = subject.settings
    urls = [settings.http.public_url, settings.stream]
    urls += [url for one in (*settings.applications, *settings.numbers) for url in one.urls]
    hosts = list(dict.fromkeys(host for url in urls if url and (host := urlsplit(url).hostname)))
    lost = 0
    for host in hosts:
        try:
            asyncio.run(_found(host))
        except (OSError, TimeoutError) as error:
            lost += 1
            reason = getattr(error, "strerror", None) or f"no answer in {LOOK_UP_TIMEOUT:g} s"
            yield Symptom("error", f"{host}: {reason}", "correct the name, or look at /etc/resolv.conf")
    if not lost:
        yield Symptom("ok", f"found: {', '.join(hosts)}" if hosts else "the settings name no host")


async def _found(host: str) -> None:
    async with asyncio.timeout(LOOK_UP_TIMEOUT):
        await asyncio.get_running_loop().getaddrinfo(host, None)


def trunks(subject: Subject) -> Iterator[Symptom]:
    """Whether trunks answer, and know us: as the running server sees it, else by OPTIONS."""
    settings = subject.settings
    if not settings.sip.trunks:
        yield Symptom("ok", "there are none")
    elif subject.pid is not None:
        yield from _seen_by_the_server(settings)
    else:
        for trunk in settings.sip.trunks:
            yield from _asked(settings, trunk)


def _seen_by_the_server(settings: Settings) -> Iterator[Symptom]:
    try:
        seen = request(settings, "GET", "/v2/trunkline/routes")["data"]["trunks"]
    except StartupError as error:
        yield Symptom("warning", f"not known: {error}", "give an API key of the account of the settings")
        return
    for trunk in seen:
        for target in trunk["targets"]:
            text = f"{trunk['name']}: {target['target']} {'answers' if target['up'] else 'does not answer'}"
            yield Symptom("ok", text) if target["up"] else Symptom("error", text, SILENT)
        if trunk["registered"] is not None:
            text = f"{trunk['name']} is {'' if trunk['registered'] else 'not '}registered"
            change = "correct username and password of the trunk; `sip_registration_failed` in the log has the answer"
            yield Symptom("ok", text) if trunk["registered"] else Symptom("error", text, change)


SILENT = "let the firewall pass SIP both ways; ask the carrier whether it knows this address"
"""What to do about a target that does not answer."""


def _asked(settings: Settings, trunk: TrunkSettings) -> Iterator[Symptom]:
    for text in trunk.targets:
        targets = uri_target(text)
        assert not isinstance(targets, Unreachable)  # the settings take no other
        try:
            found = asyncio.run(_places(settings, targets[0]))
        except (OSError, UnicodeError, DNSException) as error:
            reason = str(error) or f"no answer in {LOOK_UP_TIMEOUT:g} s"
            yield Symptom("error", f"{trunk.name}: {text}: {reason}", "correct the name, or look at sip.dns_server")
            continue
        for place in found:
            where = f"{trunk.name}: {text} at {place.transport} {place.endpoint}"
            try:
                yield Symptom("ok", f"{where} answers {_exchange(place, settings.sip.host)}")
            except OSError as error:
                yield Symptom("error", f"{where}: {error.strerror or 'no answer'}", SILENT)


async def _places(settings: Settings, target: Target) -> Sequence[Target]:
    resolver = TargetResolver(settings.sip, lambda _trunk, _targets: None)
    try:
        async with asyncio.timeout(LOOK_UP_TIMEOUT):
            return (await resolver.look_up(target)).targets
    finally:
        await resolver.stop()


def _exchange(target: Target, host: str) -> str:
    """The status line of the answer to OPTIONS; of a TLS target that it is connected to. Raises OSError."""
    place = (target.endpoint.host, target.endpoint.port)
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    udp = target.transport == "udp"
    with closing(socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)) as sock:
        sock.bind((host, 0))
        sock.settimeout(REPEAT if udp else ANSWER_TIMEOUT)
        sock.connect(place)
        if target.transport == "tls":
            return "a connection; TLS and SIP were not tried"
        here = Endpoint(*sock.getsockname()[:2])
        text = _OPTIONS.format(uri=target.uri, transport=target.transport.upper(), here=here, tag=secrets.token_hex(8))
        return _answer(partial(sock.send, text.encode()), sock, tries=int(ANSWER_TIMEOUT / REPEAT) if udp else 1)


def _answer(send: Callable[[], int], sock: socket.socket, tries: int) -> str:
    for _ in range(tries):
        send()
        with suppress(TimeoutError):
            line = sock.recv(65536).split(b"\r\n", 1)[0].decode("utf-8", "replace")
            return line.removeprefix("SIP/2.0 ")[:80]
    raise TimeoutError
