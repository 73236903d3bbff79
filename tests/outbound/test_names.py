"""Names to addresses: the hosts file, and a DNS server that is not ours."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import CNAME, QTYPE, RR, A
from dnslib.server import DNSServer
from dnslib.zoneresolver import ZoneResolver

from trunkline.outbound import names as names_module
from trunkline.outbound.names import Names, UnknownHost, hosts_of

ZONE = """
$TTL 300
$ORIGIN app.test.
four IN A 192.0.2.1
four IN A 192.0.2.2
six IN AAAA 2001:db8::1
both IN A 192.0.2.3
both IN AAAA 2001:db8::3
short 1 IN A 192.0.2.4
"""


class _Quiet:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Zone:
    """The zone above; names that begin with `silent` get no answer, nor do AAAA questions of `half`."""

    def __init__(self) -> None:
        self.zone = ZoneResolver(ZONE)
        self.asked: list[str] = []

    def resolve(self, request: Any, handler: Any) -> Any:
        name = str(request.q.qname)
        self.asked.append(f"{name} {QTYPE[request.q.qtype]}")
        if name.startswith("half"):
            if request.q.qtype == QTYPE.AAAA:
                raise TimeoutError  # which leaves it without an answer
            reply = request.reply()
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A("192.0.2.5"), ttl=60))
            return reply
        if name.startswith("silent"):
            raise TimeoutError
        if name.startswith("alias"):
            reply = request.reply()
            reply.add_answer(RR(request.q.qname, QTYPE.CNAME, rdata=CNAME("four.app.test."), ttl=60))
            if request.q.qtype == QTYPE.A:
                reply.add_answer(RR("four.app.test.", QTYPE.A, rdata=A("192.0.2.1"), ttl=60))
            return reply
        if name.startswith("empty"):
            return request.reply()
        if name.startswith("broken"):
            reply = request.reply()
            reply.header.rcode = 2
            return reply
        return self.zone.resolve(request, handler)


@pytest.fixture
def zone() -> Iterator[tuple[Zone, int]]:
    zone = Zone()
    server = DNSServer(zone, address="127.0.0.1", port=0, logger=_Quiet())
    server.server.handle_error = lambda *_: None
    server.start_thread()
    yield zone, server.server.server_address[1]
    server.stop()
    server.server.server_close()


@pytest.fixture
async def names(zone: tuple[Zone, int]) -> AsyncIterator[Names]:
    names = Names(("127.0.0.1", zone[1]))
    yield names
    await names.stop()


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("192.0.2.9", ("192.0.2.9",)),
        ("::1", ("::1",)),
        ("four.app.test", ("192.0.2.1", "192.0.2.2")),
        ("FOUR.app.test.", ("192.0.2.1", "192.0.2.2")),
        ("six.app.test", ("2001:db8::1",)),
        ("both.app.test", ("2001:db8::3", "192.0.2.3")),
        ("alias.app.test", ("192.0.2.1",)),
        ("any.localhost", ("::1", "127.0.0.1")),
    ],
)
async def test_where_a_name_leads(names: Names, host: str, addresses: tuple[str, ...]) -> None:
    found = await names.look_up(host)
    assert sorted(found.addresses) == sorted(addresses)
    assert [":" in one for one in found.addresses] == [":" in one for one in addresses], "IPv6 first"


async def test_one_family_may_be_asked_for(names: Names) -> None:
    assert (await names.look_up("both.app.test", socket.AF_INET)).addresses == ("192.0.2.3",)
    assert (await names.look_up("both.app.test", socket.AF_INET6)).addresses == ("2001:db8::3",)
    with pytest.raises(UnknownHost, match="no IPv6 address"):
        await names.look_up("four.app.test", socket.AF_INET6)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("none.app.test", "there is no such name"),
        ("empty.app.test", "the name has no address"),
        ("broken.app.test", "the name servers fail"),
        ("x.invalid", "there is no such name"),
        ("a..b", "empty"),
        ("x" * 70 + ".test", "label"),
    ],
)
async def test_a_name_that_leads_nowhere_says_why(names: Names, host: str, words: str) -> None:
    with pytest.raises(UnknownHost, match=words):
        await names.look_up(host)


async def test_an_answer_is_kept_as_long_as_its_ttl_says(names: Names, zone: tuple[Zone, int]) -> None:
    assert (await names.look_up("four.app.test")).ttl == 300
    assert 299 < (await names.look_up("Four.app.test")).ttl < 300
    assert len(zone[0].asked) == 2, "A and AAAA"
    assert (await names.look_up("short.app.test")).ttl == 1
    asked = len(zone[0].asked)
    deadline = time.monotonic() + 10
    while len(zone[0].asked) == asked and time.monotonic() < deadline:
        await names.look_up("short.app.test")
    assert len(zone[0].asked) > asked


async def test_a_family_without_an_answer_holds_up_the_other_hardly(names: Names) -> None:
    before = time.monotonic()
    assert (await names.look_up("half.app.test")).addresses == ("192.0.2.5",)
    assert time.monotonic() - before < 1


async def test_silent_names_delay_no_others_and_are_asked_for_once_each(
    names: Names, zone: tuple[Zone, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = [asyncio.create_task(names.look_up(f"silent{n % 100}.app.test")) for n in range(200)]
    await asyncio.sleep(0)
    before = time.monotonic()
    await names.look_up("four.app.test")
    assert time.monotonic() - before < 2
    assert len({line for line in zone[0].asked if line.startswith("silent")}) <= 200
    for task in silent:
        task.cancel()
    await asyncio.gather(*silent, return_exceptions=True)


async def test_a_silent_name_fails_in_time_and_leaves_nothing_behind(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "LOOKUP_TIMEOUT", 0.3)
    assert names._resolver is not None
    names._resolver.lifetime = 0.3

    async def fail(number: int) -> None:
        with pytest.raises(UnknownHost, match="no name server answered") as error:
            await names.look_up(f"silent{number}.app.test")
        assert error.value.silent

    await fail(0)
    gc.collect()
    gc.disable()
    try:
        await fail(1)
        await asyncio.sleep(0)
        assert gc.collect() < 30, "the media workers run without a cyclic collector"
    finally:
        gc.enable()


def test_a_hosts_file_is_read_with_its_comments_and_aliases() -> None:
    text = "127.0.0.1 localhost four # five\n::1\tlocalhost\n\n# 192.0.2.1 no\nnonsense here\n192.0.2.7 Mixed.Case\n"
    assert hosts_of(text) == {
        "localhost": ["::1", "127.0.0.1"],
        "four": ["127.0.0.1"],
        "mixed.case": ["192.0.2.7"],
    }


async def test_the_hosts_file_comes_first_and_is_read_again_when_it_changes(
    zone: tuple[Zone, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.50 four.app.test\n")
    monkeypatch.setattr(names_module, "HOSTS", hosts)
    names = Names(("127.0.0.1", zone[1]))
    assert (await names.look_up("four.app.test")).addresses == ("192.0.2.50",)
    fresh = tmp_path / "fresh"
    fresh.write_text("192.0.2.51 four.app.test\n")
    fresh.rename(hosts)
    assert (await names.look_up("four.app.test")).addresses == ("192.0.2.51",)
    hosts.unlink()
    assert (await names.look_up("four.app.test")).addresses[0] in ("192.0.2.1", "192.0.2.2")
    assert zone[0].asked
    await names.stop()


async def test_the_systems_other_sources_are_asked_last(
    names: Names, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, zone: tuple[Zone, int]
) -> None:
    switch = tmp_path / "nsswitch.conf"
    switch.write_text("passwd: files\nhosts: files mdns4_minimal [NOTFOUND=return] dns\n")
    monkeypatch.setattr(names_module, "NSSWITCH", switch)
    other = Names(("127.0.0.1", zone[1]))
    with pytest.raises(UnknownHost):
        await other.look_up("none.app.test")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [(socket.AF_INET, 1, 6, "", ("192.0.2.60", 0))])
    assert (await other.look_up("none.app.test")).addresses == ("192.0.2.60",)
    with pytest.raises(UnknownHost):
        await names.look_up("none.app.test")
    await other.stop()
