"""The targets of names, with an independent DNS server."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from dns.rdata import from_text
from dns.rdtypes.IN.SRV import SRV
from dnslib.server import DNSServer
from dnslib.zoneresolver import ZoneResolver
from structlog.testing import capture_logs

from sip.bench import OFFER, Caller, Watched
from sip.sipp_uas import Scenario, sipp
from trunkline.config import SipSettings
from trunkline.demo.server import free_ports
from trunkline.outbound.names import Names, UnknownHost
from trunkline.sip import endpoint as endpoint_module
from trunkline.sip.endpoint import SipEndpoint
from trunkline.sip.peers import resolver as resolver_module
from trunkline.sip.peers.resolver import TargetResolver, in_order
from trunkline.sip.targets import Target, Unreachable, uri_target
from trunkline.sip.values import DialogEnded, InviteAccepted, InviteProgressed, InviteReceived, SendInvite, SipEvent

ZONE = """
$TTL 300
$ORIGIN carrier.test.
_sip._udp IN SRV 20 1 5090 last.carrier.test.
_sip._udp IN SRV 10 1 5080 first.carrier.test.
_sip._udp IN SRV 30 1 5080 nowhere.carrier.test.
_sip._tcp IN SRV 10 1 5070 first.carrier.test.
_sips._tcp IN SRV 10 1 5071 first.carrier.test.
first IN A 192.0.2.1
last IN A 192.0.2.2
last IN A 192.0.2.3
last IN AAAA 2001:db8::2
_sip._udp.here IN SRV 1 1 {port} host.here.carrier.test.
host.here IN A 127.0.0.1
naptr IN NAPTR 20 1 "s" "SIP+D2U" "" _sip._udp.carrier.test.
naptr IN NAPTR 10 2 "s" "SIP+D2T" "" _sip._tcp.carrier.test.
naptr IN NAPTR 10 1 "s" "SIP+D2S" "" _sip._sctp.carrier.test.
naptr IN NAPTR 10 3 "s" "SIPS+D2T" "" _secure.carrier.test.
_secure IN SRV 10 1 5072 first.carrier.test.
_sip._udp.naptr IN SRV 10 1 5099 first.carrier.test.
_sip._tcp.stream IN SRV 10 1 5073 first.carrier.test.
broken IN NAPTR 10 1 "s" "SIP+D2T" "" _nothing.carrier.test.
_sip._udp.calls IN SRV 1 1 {dead} host.here.carrier.test.
_sip._udp.calls IN SRV 2 1 {port} host.here.carrier.test.
"""
IDS = {"call_sid": "v3:one", "sip_call_id": "one@there"}


@pytest.fixture
def sipp_port() -> int:
    return free_ports(1)


@pytest.fixture
def dns_port(sipp_port: int) -> Iterator[int]:
    """Of a server for the zone."""
    zone = ZONE.format(port=sipp_port, dead=free_ports(1))
    server = DNSServer(ZoneResolver(zone), address="127.0.0.1", port=0, logger=_Quiet())
    server.start_thread()
    yield server.server.server_address[1]
    server.stop()
    server.server.server_close()


class _Quiet:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def settings(dns_port: int, **others: Any) -> SipSettings:
    return SipSettings.model_validate(
        {"port": 0, "dns_server": "127.0.0.1", "dns_port": dns_port, "connect_timeout": 2, **others}
    )


def target(uri: str) -> Target:
    found = uri_target(uri)
    assert isinstance(found, tuple)
    return found[0]


async def places(dns_port: int, uri: str, **others: Any) -> tuple[list[str], float]:
    found = await TargetResolver(settings(dns_port, **others), lambda *_: None).look_up(target(uri))
    assert all(one.uri == uri for one in found.targets), "certificates are checked against the name that was written"
    assert len({one.transport for one in found.targets}) == 1
    return [str(one.endpoint) for one in found.targets], found.ttl


async def transport(dns_port: int, uri: str) -> tuple[str, str]:
    """Of the first place, and that."""
    found = await TargetResolver(settings(dns_port), lambda *_: None).look_up(target(uri))
    return found.targets[0].transport, str(found.targets[0].endpoint)


async def test_srv_records_give_targets_and_their_order(dns_port: int) -> None:
    found, ttl = await places(dns_port, "sip:carrier.test")
    assert found[0] == "192.0.2.1:5080"
    assert sorted(found[1:]) == ["192.0.2.2:5090", "192.0.2.3:5090"]
    assert ttl == 300
    assert (await places(dns_port, "sip:carrier.test;transport=tcp"))[0] == ["192.0.2.1:5070"]
    assert (await places(dns_port, "sips:carrier.test"))[0] == ["192.0.2.1:5071"]
    assert (await places(dns_port, "sip:carrier.test", host="::1"))[0] == ["[2001:db8::2]:5090"]


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("sip:bob@naptr.carrier.test", ("tcp", "192.0.2.1:5070")),
        ("sips:bob@naptr.carrier.test", ("tls", "192.0.2.1:5072")),
        ("sip:bob@naptr.carrier.test;transport=udp", ("udp", "192.0.2.1:5099")),
        ("sip:bob@stream.carrier.test", ("tcp", "192.0.2.1:5073")),
    ],
)
async def test_naptr_records_choose_the_transport_if_the_uri_has_none(
    uri: str, found: tuple[str, str], dns_port: int
) -> None:
    assert await transport(dns_port, uri) == found


@pytest.mark.parametrize("host", ["broken.carrier.test", "nobody.carrier.test"])
async def test_an_unresolved_uri_has_a_reason(host: str, dns_port: int) -> None:
    found: asyncio.Queue[Sequence[Target] | Unreachable] = asyncio.Queue()
    lookups = TargetResolver(settings(dns_port), lambda *_: None)
    with capture_logs() as logs:
        lookups.find(target(f"sip:bob@{host}"), found.put_nowait, IDS)
        outcome = await asyncio.wait_for(found.get(), 10)
    await lookups.stop()
    assert isinstance(outcome, Unreachable)
    assert outcome.status == 503
    assert outcome.detail.startswith(f"{host} cannot be looked up: ")
    assert [(line["event"], line["host"]) for line in logs] == [("sip_lookup_failed", host)]
    assert logs[0].items() >= IDS.items()


async def test_a_look_up_has_a_timeout_and_ends_with_the_endpoint() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        found: asyncio.Queue[Sequence[Target] | Unreachable] = asyncio.Queue()
        lookups = TargetResolver(settings(port, connect_timeout=0.05), lambda *_: None)
        lookups.find(target("sip:bob@carrier.test"), found.put_nowait, IDS)
        outcome = await asyncio.wait_for(found.get(), 10)
        assert isinstance(outcome, Unreachable)
        patient = TargetResolver(settings(port, connect_timeout=60), lambda *_: None)
        patient.find(target("sip:bob@carrier.test"), found.put_nowait, IDS)
        await patient.stop()
        assert found.empty()


async def media_host(lookups: TargetResolver, host: str) -> str:
    found: asyncio.Queue[str] = asyncio.Queue()
    lookups.find_address(host, found.put_nowait, IDS)
    return await asyncio.wait_for(found.get(), 30)


@pytest.mark.parametrize(
    ("ours", "host", "address"),
    [
        ("127.0.0.1", "first.carrier.test", "192.0.2.1"),
        ("::1", "last.carrier.test", "2001:db8::2"),
        ("::1", "first.carrier.test", ""),
        ("127.0.0.1", "localhost", "127.0.0.1"),
        ("127.0.0.1", "nobody.carrier.test", ""),
        ("127.0.0.1", "x" * 70 + ".test", ""),
        ("127.0.0.1", "ü..test", ""),
    ],
)
async def test_a_media_host_is_an_address_of_our_family_or_empty(
    ours: str, host: str, address: str, dns_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver_module, "Names", lambda: Names(("127.0.0.1", dns_port)))
    lookups = TargetResolver(settings(dns_port, host=ours), lambda *_: None)
    assert await media_host(lookups, host) == address
    await lookups.stop()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """The address of a name server that does not respond."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


async def test_the_look_up_of_a_media_host_has_a_timeout(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "Names", lambda: Names(("127.0.0.1", silent_port)))
    monkeypatch.setattr(resolver_module, "MEDIA_TIMEOUT", 0.05)
    lookups = TargetResolver(settings(silent_port), lambda *_: None)
    assert await media_host(lookups, "a.carrier.test") == ""
    monkeypatch.setattr(resolver_module, "MEDIA_TIMEOUT", 60)
    found: asyncio.Queue[str] = asyncio.Queue()
    lookups.find_address("b.carrier.test", found.put_nowait, IDS)
    await lookups.stop()
    assert found.empty()


async def test_calls_with_unknown_media_hosts_delay_no_others_and_go_on(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()

    async def patient(_names: object, host: str, *_: object) -> object:
        await released.wait()
        raise UnknownHost(host, "no response")

    monkeypatch.setattr(Names, "look_up", patient)
    events: asyncio.Queue[SipEvent] = asyncio.Queue()
    endpoint = SipEndpoint(settings(silent_port), events.put_nowait)
    await endpoint.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.connect(("127.0.0.1", endpoint.local.port))
        for number in range(20):
            named = OFFER.replace("c=IN IP4 192.0.2.10", "c=IN IP4 pbx.carrier.test")
            phone.send(Caller(call_id=f"named-{number}").request("INVITE", named))
        phone.send(Caller(call_id="plain").request("INVITE", OFFER))
        plain = await asyncio.wait_for(events.get(), 30)
        assert isinstance(plain, InviteReceived)
        assert plain.call_id == "plain"
        assert endpoint.sizes["held_events"] == 20
        released.set()
        for number in range(20):
            invite = await asyncio.wait_for(events.get(), 30)
            assert isinstance(invite, InviteReceived)
            assert invite.call_id == f"named-{number}"
            assert invite.offer is not None
            assert invite.offer.connection is not None
            assert invite.offer.connection.host == ""
    assert endpoint.counters["media_hosts_unknown"] == 20
    assert endpoint.sizes["held_events"] == 0
    await endpoint.stop(0)


async def test_names_with_a_port_or_without_srv_are_resolved_by_the_system(dns_port: int) -> None:
    assert await places(dns_port, "sip:localhost:5099") == (["127.0.0.1:5099"], 60)
    assert await places(dns_port, "sip:localhost;transport=tcp") == (["127.0.0.1:5060"], 60)
    assert await places(dns_port, "sip:localhost") == (["127.0.0.1:5060"], 60)
    assert await places(dns_port, "sip:192.0.2.9:5070") == (["192.0.2.9:5070"], 3600)


async def test_a_look_up_that_fails_is_logged_and_the_trunk_starts() -> None:
    found: asyncio.Queue[Sequence[Target]] = asyncio.Queue()
    lookups = TargetResolver(
        settings(free_ports(1), connect_timeout=0.05), lambda _trunk, targets: found.put_nowait(targets)
    )
    with capture_logs() as logs:
        lookups.start("a", [target("sip:carrier.test")])
        assert await asyncio.wait_for(found.get(), 30) == []
    await lookups.stop()
    assert [(line["event"], line["trunk"], line["host"]) for line in logs] == [
        ("sip_lookup_failed", "a", "carrier.test")
    ]


async def test_an_exception_stops_no_later_look_up_and_leaves_no_call_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, again = Counter[str](), asyncio.Event()

    def fails(trunk: str, _: Sequence[Target]) -> None:
        found[trunk] += 1
        if found[trunk] == 2:
            again.set()
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(resolver_module, "TTL_MAX", 0)
    monkeypatch.setattr(resolver_module, "TTL_MIN", 0)
    lookups = TargetResolver(SipSettings(), fails)
    lookups.start("carrier", [target("sip:127.0.0.1")])
    await asyncio.wait_for(again.wait(), 10)
    outcomes: asyncio.Queue[object] = asyncio.Queue()
    monkeypatch.setattr(lookups, "look_up", lambda _: fails("", ()))
    lookups.find(target("sip:some.test"), outcomes.put_nowait, IDS)
    assert isinstance(await asyncio.wait_for(outcomes.get(), 10), Unreachable)
    await lookups.stop()


def test_of_equal_priority_the_weights_decide() -> None:
    def record(priority: int, weight: int, name: str) -> SRV:
        found = from_text("IN", "SRV", f"{priority} {weight} 5060 {name}")
        assert isinstance(found, SRV)
        return found

    records = [record(2, 9, "later."), record(1, 30, "heavy."), record(1, 10, "light."), record(1, 0, "none.")]
    numbers = iter(_spread(9000))
    firsts: Counter[str] = Counter()
    for _ in range(3000):
        order = [str(one.target) for one in in_order(records, lambda: next(numbers))]
        assert order[-2:] == ["none.", "later."]
        firsts[order[0]] += 1
    assert 0.7 < firsts["heavy."] / 3000 < 0.8


def _spread(count: int) -> Iterator[float]:
    """Numbers from 0 up to 1 that look random and are the same each time."""
    state = 1
    for _ in range(count):
        state = state * 48271 % 2147483647
        yield state / 2147483647


@pytest.mark.peer
async def test_a_trunk_found_by_srv_is_registered_and_its_calls_recognised(
    dns_port: int, sipp_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "SHUTDOWN_TIME", 0.5)  # the caller sends no ACK
    events: asyncio.Queue[SipEvent] = asyncio.Queue()
    trunk = {"name": "a", "targets": ["sip:here.carrier.test"], "username": "me", "register": True, "keep_alive": 0}
    endpoint = SipEndpoint(settings(dns_port, trunks=[trunk], unknown_callers="none"), events.put_nowait)
    counters = endpoint.counters = Watched()
    scenario = Scenario().recv("REGISTER", ("To", "sip:me@here.carrier.test")).answer("200 OK", "Expires: 60")
    scenario.recv("REGISTER", ("Expires", "0")).answer("200 OK")
    async with sipp(scenario, tmp_path, port=sipp_port):
        await endpoint.start()
        try:
            await counters.reached("registered")
            assert [str(one.endpoint) for one in endpoint.trunks[0].targets] == [f"127.0.0.1:{sipp_port}"]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as carrier:
                carrier.sendto(Caller().request("INVITE", OFFER), ("127.0.0.1", endpoint.local.port))
                event = await asyncio.wait_for(events.get(), 30)
            assert isinstance(event, InviteReceived)
            assert event.trunk == "a"
        finally:
            await endpoint.stop()


@pytest.mark.peer
async def test_a_call_to_a_uri_follows_srv_and_skips_an_unreachable_target(
    dns_port: int, sipp_port: int, tmp_path: Path
) -> None:
    events: asyncio.Queue[SipEvent] = asyncio.Queue()
    endpoint = SipEndpoint(settings(dns_port, target_timeout=0.5), events.put_nowait)
    scenario = Scenario().recv("INVITE").send("180 Ringing").send("200 OK", sdp=True).recv("ACK")
    scenario.request("BYE", 1).response(200)
    async with sipp(scenario, tmp_path, port=sipp_port):
        await endpoint.start()
        try:
            number = endpoint.new_dialog()
            endpoint.perform(SendInvite(number, "uri", "", "sip:bob@calls.carrier.test", "ann", "", OFFER))
            seen = [await asyncio.wait_for(events.get(), 10) for _ in range(3)]
            assert [type(event) for event in seen] == [InviteProgressed, InviteAccepted, DialogEnded]
        finally:
            await endpoint.stop()
