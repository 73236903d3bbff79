"""The media driver with real sockets on the loopback interface."""

import asyncio
import gc
import itertools
import random
import socket
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from steady import SteadyClock
from trunkline.config import MediaSettings
from trunkline.demo.server import free_ports
from trunkline.ids import LegId, RtpTime, Seconds, Ssrc
from trunkline.media import engine as module
from trunkline.media import leg
from trunkline.media.engine import Engine, UnknownLeg
from trunkline.media.events import MediaEvent, SilenceDetected, TapFailed
from trunkline.media.leg import TooManyPlayers
from trunkline.media.report import LegReport
from trunkline.media.rtp import rtcp, source
from trunkline.media.rtp.packet import RtpPacket, parse
from trunkline.media.rtp.ports import NoPorts
from trunkline.media.rtp.source import IN_SEQUENCE
from trunkline.media.srtp import session
from trunkline.portable import ERRQUEUE
from trunkline.sdp.values import Direction, Endpoint, MediaParams, SrtpKeys

if TYPE_CHECKING:
    from media.conftest import RecordingTap

HOST = "127.0.0.1"
LEG = LegId(1)
PORTS = range(_FIRST := free_ports(40), _FIRST + 40)
MakeTap = Callable[..., "RecordingTap"]
Rtp = Callable[..., bytes]


class Peer:
    """A UDP socket that is not ours, with the RTCP one above it when there is one."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((HOST, 0))
        self.port: int = self.sock.getsockname()[1]

    def send(self, datagram: bytes, port: int) -> None:
        self.sock.sendto(datagram, (HOST, port))

    async def receive(self) -> tuple[bytes, int]:
        """The next datagram and the tap it came from."""
        async with asyncio.timeout(30):
            datagram, address = await asyncio.get_running_loop().sock_recvfrom(self.sock, 2048)
        return datagram, address[1]

    async def packet(self) -> RtpPacket:
        packet = parse((await self.receive())[0])
        assert packet is not None
        return packet

    async def packet_of(self, payload: bytes) -> RtpPacket:
        """The first packet with this payload."""
        while (packet := await self.packet()).payload != payload:
            pass
        return packet

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def make_peer() -> Iterator[Callable[[], Peer]]:
    peers: list[Peer] = []

    def make() -> Peer:
        peers.append(Peer())
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def peer(make_peer: Callable[[], Peer]) -> Peer:
    return make_peer()


@pytest.fixture
def params(peer: Peer) -> MediaParams:
    return MediaParams("PCMU", 0, 20, Endpoint(HOST, peer.port), dtmf_payload_type=101)


@pytest.fixture
async def events() -> "asyncio.Queue[MediaEvent]":
    return asyncio.Queue()


MakeEngine = Callable[..., Engine]


@pytest.fixture
async def make_engine(
    events: "asyncio.Queue[MediaEvent]", monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeEngine]:
    """Engines whose clock has only the stalls that a test makes."""
    monkeypatch.setattr(module, "_now", SteadyClock())
    engines: list[Engine] = []

    def make(settings: MediaSettings | None = None, ports: range = PORTS) -> Engine:
        settings = settings or MediaSettings(port_rest=0)
        engines.append(Engine(settings, ports, events.put_nowait, asyncio.get_running_loop()))
        engines[-1].start()
        return engines[-1]

    yield make
    for engine in engines:
        engine.stop()


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return make_engine()


Counted = Callable[[Engine, Callable[[LegReport], bool]], Awaitable[LegReport]]


async def one_more_sent(tap: "RecordingTap") -> None:
    """Wait for the next frame of the leg's clock."""
    sent = len(tap.sent)
    await tap.until(lambda: len(tap.sent) > sent)


@pytest.fixture
def counted(make_tap: MakeTap) -> Counted:
    """The first report of the leg that meets the condition; checked at each tick of the leg's clock."""

    async def wait(engine: Engine, true: Callable[[LegReport], bool]) -> LegReport:
        clock = make_tap(inbound=False, outbound=True)
        engine.attach(LEG, clock)
        await clock.until(lambda: true(engine.report(LEG)))
        engine.detach(LEG, clock)
        return engine.report(LEG)

    return wait


async def test_frames_reach_the_port_byte_for_byte(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, rtp: Rtp
) -> None:
    tap = make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    for n in range(50):
        peer.send(rtp(n), local)
    await tap.until(lambda: len(tap.heard) == 50)
    assert tap.payloads == [bytes([n]) * 160 for n in range(50)]
    assert sum(missing for _, _, missing in tap.heard) == 0


async def test_audio_of_a_player_is_sent_paced_after_silence(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap
) -> None:
    local = engine.open_leg(LEG, params)
    datagram, source = await peer.receive()
    first = parse(datagram)
    assert first is not None
    assert (source, first.payload, first.marker) == (local, b"\xff" * 160, True)
    tap = make_tap(plays=True)
    tap.to_play = [bytes([n]) * 160 for n in range(10)]
    engine.attach(LEG, tap)
    start = await peer.packet_of(bytes(160))
    played = [await peer.packet() for _ in range(9)]
    assert [packet.payload[0] for packet in played] == list(range(1, 10))
    assert [packet.timestamp - start.timestamp for packet in played] == [160 * n for n in range(1, 10)]
    assert tap.asked == sorted(tap.asked)


async def test_the_answer_goes_to_the_learned_source_despite_an_unexpected_one(
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    make_tap: MakeTap,
    rtp: Rtp,
) -> None:
    natted, unexpected, tap = make_peer(), make_peer(), make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    for n in range(IN_SEQUENCE):
        natted.send(rtp(n), local)
    await natted.packet()
    assert tap.payloads == [bytes([n]) * 160 for n in range(IN_SEQUENCE)]
    unexpected.send(rtp(1, b"unexpected", ssrc=8), local)
    natted.send(rtp(IN_SEQUENCE), local)
    await tap.until(lambda: len(tap.heard) == IN_SEQUENCE + 1)
    assert b"unexpected" not in tap.payloads
    report = engine.close_leg(LEG)
    assert (report.remote, report.wrong_source + report.kept_dropped) == (f"{HOST}:{natted.port}", 1)


async def test_a_settled_source_is_filtered_by_the_kernel(
    engine: Engine, params: MediaParams, peer: Peer, make_peer: Callable[[], Peer], make_tap: MakeTap, rtp: Rtp
) -> None:
    unexpected, tap = make_peer(), make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    unexpected.send(rtp(1, b"unexpected"), local)
    peer.send(rtp(1), local)
    peer.send(rtp(2), local)
    await tap.until(lambda: len(tap.heard) == 3)
    report = engine.report(LEG)
    assert b"unexpected" not in tap.payloads
    assert (report.packets_in, report.wrong_source, report.duplicate) == (3, 0, 0)


async def test_datagrams_of_other_sources_queued_before_the_accepted_one_are_refused(
    engine: Engine, params: MediaParams, peer: Peer, make_peer: Callable[[], Peer], make_tap: MakeTap, rtp: Rtp
) -> None:
    unexpected, tap = make_peer(), make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    # Nothing is read until this test awaits: all are in the socket's buffer when the peer's first packet is seen.
    peer.send(rtp(0), local)
    unexpected.send(rtp(1, b"unexpected"), local)
    peer.send(rtp(1), local)
    await tap.until(lambda: len(tap.heard) == 2)
    assert b"unexpected" not in tap.payloads
    assert engine.report(LEG).wrong_source == 1


async def test_a_peer_that_moves_is_learned_again_in_both_directions(
    counted: Counted,
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    make_tap: MakeTap,
    rtp: Rtp,
) -> None:
    moved, tap = make_peer(), make_tap(plays=True)
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    engine.update_leg(LEG, replace(params, remote=Endpoint(HOST, moved.port)))
    await moved.packet()
    peer.send(rtp(1, b"former"), local)
    moved.send(rtp(700, ssrc=8), local)
    moved.send(rtp(701, ssrc=8), local)
    await tap.until(lambda: len(tap.heard) == 3)
    await counted(engine, lambda report: report.wrong_source == 1)
    assert b"former" not in tap.payloads
    tap.to_play.append(b"m" * 160)
    assert (await moved.packet_of(b"m" * 160)).payload_type == 0


async def test_the_signalled_peer_is_heard_if_the_socket_is_connected_to_another(
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    make_tap: MakeTap,
    rtp: Rtp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source, "PROBATION", 0.2)
    monkeypatch.setattr(leg, "LOOK_INTERVAL", 1.0)
    unexpected, tap, clock = make_peer(), make_tap(), make_tap(inbound=False, outbound=True)
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    engine.attach(LEG, clock)
    transport = engine._transports[LEG]
    n = 0
    while not transport.leg.latched:
        unexpected.send(rtp(n := n + 1, b"unexpected", ssrc=8), local)
        await one_more_sent(clock)
    assert engine.report(LEG).remote == f"{HOST}:{unexpected.port}"
    while engine.report(LEG).remote != f"{HOST}:{peer.port}":
        unexpected.send(rtp(n := n + 1, b"unexpected", ssrc=8), local)
        peer.send(rtp(n), local)
        await one_more_sent(clock)
    while not transport.leg.latched:
        peer.send(rtp(n := n + 1), local)
        await one_more_sent(clock)
    assert tap.payloads[-1] != b"unexpected"


async def test_a_caller_gets_the_silence_of_a_leg_once_it_is_confirmed(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap
) -> None:
    clock = make_tap(inbound=False, outbound=True)
    engine.open_leg(LEG, params, confirmed=False)
    engine.attach(LEG, clock)
    for _ in range(5):
        await one_more_sent(clock)
    assert engine.report(LEG).packets_out == 0
    engine.confirm_leg(LEG)
    assert (await peer.packet()).payload == b"\xff" * 160
    with pytest.raises(UnknownLeg):
        engine.confirm_leg(LegId(99))


@pytest.mark.parametrize("between", [Direction.INACTIVE, Direction.SENDRECV], ids=["a hold", "nothing new"])
async def test_after_signalling_another_port_is_learned_both_ways(
    between: Direction,
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    make_tap: MakeTap,
    rtp: Rtp,
) -> None:
    moved, tap = make_peer(), make_tap(plays=True)
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    engine.update_leg(LEG, replace(params, direction=between))
    engine.update_leg(LEG, params)
    for n in range(IN_SEQUENCE):
        moved.send(rtp(700 + n, b"moved", ssrc=8), local)
    await tap.until(lambda: tap.payloads[1:] == [b"moved"] * IN_SEQUENCE)
    tap.to_play.append(b"m" * 160)
    assert (await moved.packet_of(b"m" * 160)).payload_type == 0
    assert engine.report(LEG).wrong_source == 0


async def test_a_refresh_admits_no_other_source_while_the_peer_continues(
    counted: Counted,
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    make_tap: MakeTap,
    rtp: Rtp,
) -> None:
    unexpected, tap, clock = make_peer(), make_tap(), make_tap(inbound=False, outbound=True)
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    engine.update_leg(LEG, params)
    engine.attach(LEG, clock)
    for n in range(1, 150):
        peer.send(rtp(n), local)
        unexpected.send(rtp(n, b"unexpected", ssrc=8), local)
        await one_more_sent(clock)
    await tap.until(lambda: len(tap.heard) == 150)
    assert b"unexpected" not in tap.payloads
    report = await counted(engine, lambda report: report.wrong_source > 0)
    assert (report.lost, report.restarts) == (0, 0)


@pytest.mark.parametrize("strict", [False, True], ids=["followed", "forbidden"])
async def test_a_stream_that_moves_to_another_port_is_accepted_unless_forbidden(
    strict: bool,
    make_engine: MakeEngine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    make_tap: MakeTap,
    rtp: Rtp,
) -> None:
    engine = make_engine(MediaSettings(port_rest=0, strict_source=strict))
    moved, unexpected, tap, clock = make_peer(), make_peer(), make_tap(), make_tap(inbound=False, outbound=True)
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    engine.attach(LEG, clock)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    for n in range(1, 150):
        moved.send(rtp(n, b"moved"), local)
        unexpected.send(rtp(n, b"unexpected", ssrc=8), local)
        await one_more_sent(clock)
    if strict:
        peer.send(rtp(1), local)
        await tap.until(lambda: len(tap.heard) == 2)
        assert tap.payloads == [bytes(160), b"\1" * 160]
    else:
        await tap.until(lambda: len(tap.heard) > 50)
        assert set(tap.payloads[1:]) == {b"moved"}
        tap.plays = True
        engine.taps_changed(LEG)
        tap.to_play.append(b"m" * 160)
        assert (await moved.packet_of(b"m" * 160)).payload_type == 0


async def test_hold_stops_our_packets_and_resume_brings_them_back(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap
) -> None:
    tap = make_tap(plays=True, outbound=True)
    engine.open_leg(LEG, params)
    await peer.packet()
    engine.update_leg(LEG, replace(params, direction=Direction.INACTIVE))
    engine.attach(LEG, tap)
    await tap.until(lambda: len(tap.sent) >= 3)
    assert tap.asked == []
    assert engine.report(LEG).on_hold
    tap.to_play = [b"r" * 160]
    engine.update_leg(LEG, params)
    assert (await peer.packet_of(b"r" * 160)).marker


async def test_a_codec_and_packet_time_of_a_reinvite_apply_to_both_ways(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, rtp: Rtp
) -> None:
    tap = make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    engine.update_leg(LEG, replace(params, codec="PCMA", payload_type=8, ptime=30))
    silence = await peer.packet_of(b"\xd5" * 240)
    assert silence.payload_type == 8
    peer.send(rtp(0, b"a" * 240, kind=8), local)
    await tap.until(lambda: tap.payloads == [b"a" * 240])


async def test_a_late_offer_opens_a_leg_before_the_peer_is_known(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, rtp: Rtp
) -> None:
    tap = make_tap()
    local = engine.open_leg(LEG, replace(params, remote=Endpoint("0.0.0.0", 0)))
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    engine.update_leg(LEG, params)
    await peer.packet()
    peer.send(rtp(1), local)
    await tap.until(lambda: len(tap.heard) == 2)
    assert tap.payloads == [bytes([n]) * 160 for n in range(2)]


async def test_send_errors_of_a_closed_peer_port_are_counted_and_sending_goes_on(
    counted: Counted,
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    make_tap: MakeTap,
    rtp: Rtp,
) -> None:
    other, tap = make_peer(), make_tap()
    local = engine.open_leg(LEG, params)
    engine.open_leg(LegId(2), replace(params, remote=Endpoint(HOST, other.port)))
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    peer.close()
    await counted(engine, lambda report: report.send_errors + report.receive_errors > 0)
    for _ in range(3):
        await other.packet()


@pytest.mark.skipif(ERRQUEUE is None, reason="only Linux reports them to a socket that is not connected")
async def test_send_errors_to_a_peer_that_is_gone_are_counted_after_a_second_too(
    counted: Counted, engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, rtp: Rtp
) -> None:
    tap = make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    peer.close()
    # More than in the second after which the socket accepts other sources again.
    report = await counted(engine, lambda report: report.send_errors + report.receive_errors > 80)
    assert report.packets_out < 500


async def test_garbage_is_counted_and_the_next_packet_is_received(
    counted: Counted, engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, rtp: Rtp
) -> None:
    tap = make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    for junk in (b"", b"\0", b"INVITE sip:x SIP/2.0\r\n\r\n", b"\xff" * 3000, b"\x80" * 11):
        peer.send(junk, local)
    peer.send(b"more junk", local + 1)
    peer.send(rtp(0), local)
    peer.send(b"\xff" * 3000, local)
    peer.send(rtp(1), local)
    await tap.until(lambda: len(tap.heard) == 2)
    report = await counted(engine, lambda report: report.rtcp_malformed == 1)
    assert (report.malformed, report.keepalives) == (3, 3)


async def test_digits_reach_every_port(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, rtp: Rtp
) -> None:
    one, two = make_tap(), make_tap(inbound=False)
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, one)
    engine.attach(LEG, two)
    peer.send(rtp(0, bytes([10, 10, 0, 160]), kind=101, timestamp=0), local)  # its end packets are lost
    await one.until(lambda: one.digits == "*")
    assert two.digits == "*"


async def test_a_closed_leg_sends_bye_and_its_port_rests(
    make_engine: MakeEngine, params: MediaParams, make_peer: Callable[[], Peer], peer: Peer
) -> None:
    engine = make_engine(MediaSettings(port_rest=1000), PORTS[:4])
    rtcp_peer = make_peer()
    first = engine.open_leg(LEG, replace(params, remote_rtcp=Endpoint(HOST, rtcp_peer.port)))
    await peer.packet()
    report = engine.close_leg(LEG)
    datagram, source = await rtcp_peer.receive()
    assert source == first + 1
    assert isinstance(rtcp.parse(datagram)[-1], rtcp.Bye)
    assert report.packets_out >= 1
    second = engine.open_leg(LegId(2), params)
    assert second != first
    with pytest.raises(NoPorts):
        engine.open_leg(LegId(3), params)


async def test_rtcp_is_exchanged_and_gives_the_round_trip(
    counted: Counted, make_engine: MakeEngine, params: MediaParams, make_peer: Callable[[], Peer]
) -> None:
    engine = make_engine(MediaSettings(rtcp_interval=0.05))
    rtcp_peer = make_peer()
    local = engine.open_leg(LEG, replace(params, remote_rtcp=Endpoint(HOST, rtcp_peer.port)))
    while True:
        report = rtcp.parse((await rtcp_peer.receive())[0])[0]
        assert isinstance(report, rtcp.Report)
        if report.sent is not None:
            break
    block = rtcp.ReportBlock(report.ssrc, 0, 0, 0, 0, rtcp.middle(report.sent.ntp), 0)
    rtcp_peer.send(rtcp.build(rtcp.Report(Ssrc(9), (block,)), "peer"), local + 1)
    measured = await counted(engine, lambda report: report.rtcp_in == 1)
    assert 0 <= measured.round_trip_ms < 1000


async def test_multiplexed_rtcp_shares_the_rtp_port(
    counted: Counted, make_engine: MakeEngine, params: MediaParams, peer: Peer, rtp: Rtp
) -> None:
    engine = make_engine(MediaSettings(rtcp_interval=0.02, send_silence=False))
    local = engine.open_leg(LEG, replace(params, rtcp_mux=True))
    assert (await peer.receive())[1] == local
    peer.send(rtp(0), local)
    peer.send(rtcp.build(rtcp.Report(Ssrc(9), (), rtcp.SenderInfo(1 << 40, RtpTime(0), 0, 0)), "p"), local)
    await counted(engine, lambda report: report.rtcp_in == 1)
    while not (blocks := rtcp.parse((await peer.receive())[0])[0]) or not getattr(blocks, "blocks", ()):
        pass


async def test_a_silent_peer_is_reported(
    make_engine: MakeEngine, params: MediaParams, events: "asyncio.Queue[MediaEvent]"
) -> None:
    engine = make_engine(MediaSettings(silence_timeout=0.05))
    engine.open_leg(LEG, params)
    async with asyncio.timeout(30):
        assert await events.get() == SilenceDetected(LEG, Seconds(0.05))


async def test_a_port_that_raises_is_detached_and_the_others_go_on(
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_tap: MakeTap,
    rtp: Rtp,
    events: "asyncio.Queue[MediaEvent]",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("a bug")

    broken, silent, tap = make_tap(), make_tap(inbound=False, plays=True), make_tap()
    monkeypatch.setattr(broken, "inbound_frame", fail)
    monkeypatch.setattr(silent, "next_frame", fail)
    local = engine.open_leg(LEG, params)
    for each in (broken, silent, tap):
        engine.attach(LEG, each)
    peer.send(rtp(0), local)
    peer.send(rtp(1), local)
    async with asyncio.timeout(30):
        failed = [await events.get(), await events.get()]
    assert all(isinstance(event, TapFailed) for event in failed)
    assert {id(event.tap) for event in failed if isinstance(event, TapFailed)} == {id(broken), id(silent)}
    await tap.until(lambda: len(tap.heard) > 0)
    await peer.packet()
    assert engine.counters["tap_failures"] == 2


async def test_a_stalled_loop_skips_instead_of_bursting(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap = make_tap(inbound=False, outbound=True)
    engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    await tap.until(lambda: len(tap.sent) == 2)
    real = module._now
    monkeypatch.setattr(module, "_now", lambda: real() + 3.0)
    await tap.until(lambda: len(tap.sent) == 4)
    times = [at for _, at in tap.sent]
    assert times[1] - times[0] == 20
    assert 2500 < max(b - a for a, b in itertools.pairwise(times)) <= 3200
    assert engine.counters["stalls"] == 1
    assert engine.report(LEG).skipped_ms == engine.counters["skipped_ms"] > 2500
    assert 1.0 < engine.lag.take(module._now()) <= 1.5, "half of the stall on average, and little time since"


@pytest.mark.parametrize(("stall", "skipped"), [(0.15, 0), (0.4, 360)])
async def test_a_late_tick_reads_waiting_packets_and_then_notifies_players(
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_tap: MakeTap,
    rtp: Rtp,
    monkeypatch: pytest.MonkeyPatch,
    stall: float,
    skipped: int,
) -> None:
    tap, silent = make_tap(plays=True), make_tap(plays=False)
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    engine.attach(LEG, silent)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1 and len(tap.asked) > 2)
    for n in range(1, 7):
        peer.send(rtp(n), local)
    real = module._now
    monkeypatch.setattr(module, "_now", lambda: real() + stall)
    await tap.until(lambda: bool(tap.holdups))
    asked = len(tap.asked)
    await tap.until(lambda: len(tap.asked) > asked + 1)
    ((at, jump, late, heard),) = tap.holdups
    assert (jump, heard) == (skipped, 7)
    assert stall * 1000 - skipped - 10 <= late <= stall * 1000 - skipped + 60
    before = tap.asked.index(at + skipped) - 1
    assert tap.asked[before] == at - 20
    assert all(later - earlier == 20 for earlier, later in itertools.pairwise(tap.asked[before + 1 :]))
    assert silent.holdups == []


async def test_taps_that_are_not_asked_for_audio_are_not_notified(
    engine: Engine, params: MediaParams, make_tap: MakeTap, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap, clock = make_tap(plays=True), make_tap(inbound=False, outbound=True)
    engine.open_leg(LEG, replace(params, direction=Direction.RECVONLY))
    engine.attach(LEG, tap)
    engine.attach(LEG, clock)
    await clock.until(lambda: len(clock.sent) > 1)
    real = module._now
    monkeypatch.setattr(module, "_now", lambda: real() + 0.4)
    await clock.until(lambda: engine.counters["stalls"] == 1)
    assert (tap.holdups, tap.asked) == ([], [])


async def test_a_delayed_loop_reads_all_waiting_datagrams_at_once(
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_tap: MakeTap,
    rtp: Rtp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tap = make_tap()
    local = engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    peer.send(rtp(0), local)
    await tap.until(lambda: len(tap.heard) == 1)
    for n in range(1, 20):
        peer.send(rtp(n), local)
    real = module._now
    monkeypatch.setattr(module, "_now", lambda: real() + 0.15)
    await tap.until(lambda: len(tap.heard) > 1)
    assert 7 <= len(tap.heard) < 20


async def test_a_leg_on_ipv6_learns_its_source(make_engine: MakeEngine, make_tap: MakeTap, rtp: Rtp) -> None:
    with closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        engine, tap = make_engine(MediaSettings(host="::1")), make_tap()
        remote = Endpoint("0:0:0:0:0:0:0:1", sock.getsockname()[1])
        local = engine.open_leg(LEG, MediaParams("PCMU", 0, 20, remote))
        engine.attach(LEG, tap)
        sock.sendto(rtp(0), ("::1", local))
        sock.sendto(rtp(1), ("::1", local))
        await tap.until(lambda: len(tap.heard) == 2)
        assert engine._transports[LEG].leg.source.latched


async def test_encryption_that_begins_in_the_call_holds_on_the_connected_socket(
    engine: Engine, peer: Peer, params: MediaParams, make_tap: MakeTap, rtp: Rtp
) -> None:
    keys = SrtpKeys("AES_CM_128_HMAC_SHA1_80", 1, bytes(range(30)), bytes(range(30, 60)))
    tap, local = make_tap(), engine.open_leg(LEG, params)
    engine.attach(LEG, tap)
    peer.send(rtp(0, b"plain"), local)
    await tap.until(lambda: tap.payloads == [b"plain"])
    engine.update_leg(LEG, replace(params, srtp=keys))
    sends, receives = session(keys.suite, keys.theirs, inbound=False), session(keys.suite, keys.ours, inbound=True)
    peer.send(rtp(1), local)
    peer.send(sends.protect(rtp(1, b"encrypted")), local)
    await tap.until(lambda: len(tap.payloads) == 2)
    assert tap.payloads[1] == b"encrypted"
    # What was sent before the change is plain, and shorter by the authentication tag.
    while len(datagram := (await peer.receive())[0]) < 12 + 160 + 10:
        pass
    assert parse(receives.unprotect(datagram)) is not None
    assert engine.report(LEG).srtp_auth_failed == 1


async def test_a_port_in_use_is_skipped(make_engine: MakeEngine, params: MediaParams) -> None:
    engine = make_engine(ports=PORTS[:6])
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
        taken.bind((HOST, PORTS[1]))
        assert engine.open_leg(LEG, params) == PORTS[2]
    assert engine.counters["busy_ports"] == 1


async def test_a_host_of_another_machine_is_refused_with_a_reason(make_engine: MakeEngine, params: MediaParams) -> None:
    engine = make_engine(MediaSettings(host="203.0.113.1"))
    with pytest.raises(NoPorts, match=r"203\.0\.113\.1 port"):
        engine.open_leg(LEG, params)


async def test_an_unknown_leg_is_refused_but_detaching_from_it_does_nothing(engine: Engine, make_tap: MakeTap) -> None:
    for use in (engine.close_leg, engine.report):
        with pytest.raises(UnknownLeg):
            use(LEG)
    with pytest.raises(UnknownLeg):
        engine.attach(LEG, make_tap())
    engine.detach(LEG, make_tap())


async def test_a_closed_leg_leaves_nothing_to_the_garbage_collector(
    engine: Engine, params: MediaParams, peer: Peer, make_tap: MakeTap, rtp: Rtp
) -> None:
    gc.collect()
    gc.disable()
    try:
        tap = make_tap(plays=True, outbound=True)
        local = engine.open_leg(LEG, params)
        engine.attach(LEG, tap)
        peer.send(rtp(0), local)
        await tap.until(lambda: len(tap.heard) == 1 and len(tap.sent) > 1)
        leg = weakref.ref(engine._transports[LEG].leg)
        engine.close_leg(LEG)
        other = make_tap(outbound=True)
        engine.open_leg(LegId(2), params)
        engine.attach(LegId(2), other)
        await other.until(lambda: len(other.sent) > 2)  # the closed leg's slot in the ring has passed
        assert leg() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------------- bridges


OTHER = LegId(2)


class Relay:
    """A small bad network between a peer and a leg: each datagram is lost, doubled or overtaken, by chance."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._peer = Peer()
        self.port = self._peer.port
        self.target = 0
        self.lost = 0
        self._kept: list[bytes] = []
        asyncio.get_running_loop().add_reader(self._peer.sock, self._forward)

    def _forward(self) -> None:
        datagram, (_, source) = self._peer.sock.recvfrom(2048)
        if source == self.target:
            return  # the leg's own audio is not needed here
        draw = self._chance.random()
        if draw < 0.08:
            self.lost += 1
        elif draw < 0.14:
            self._kept.append(datagram)
        else:
            for each in [datagram] * (2 if draw < 0.2 else 1) + self._kept:
                self._peer.send(each, self.target)
            self._kept.clear()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._peer.sock)
        self._peer.close()


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    made = Relay(5)
    yield made
    made.close()


async def test_bridged_legs_receive_each_other_across_a_bad_network(
    engine: Engine, params: MediaParams, make_peer: Callable[[], Peer], make_tap: MakeTap, rtp: Rtp, relay: Relay
) -> None:
    """The relay is on the sender's side; the listener receives no gaps, and the stream no concealed audio."""
    speaker, listener, fork = make_peer(), make_peer(), make_tap()
    relay.target = engine.open_leg(LEG, replace(params, remote=Endpoint(HOST, relay.port)))
    engine.open_leg(OTHER, replace(params, remote=Endpoint(HOST, listener.port)))
    engine.attach(LEG, fork)
    engine.bridge(LEG, OTHER)
    square = (b"\x90" * 8 + b"\x10" * 8) * 10  # 500 Hz
    heard = []
    for n in range(120):
        speaker.send(rtp(n, square[n % 2 :] + square[: n % 2]), relay.port)
        heard.append((await listener.packet()).payload)
    report = engine.close_leg(LEG)
    assert report.lost == sum(missing for _, _, missing in fork.heard) > 0
    assert report.duplicate > 0
    assert report.reordered > 0
    assert {payload for payload, _, _ in fork.heard} == {square, square[1:] + square[:1]}
    loud = sum(len(set(payload) - {0xFF}) > 0 for payload in heard[5:])
    assert loud > 105
    assert engine.report(OTHER).packets_out >= 120
    while any(byte != 0xFF for byte in (await listener.packet()).payload):
        pass  # no packet of the closed leg


@pytest.mark.parametrize("stall", [0.16, 0.4])
async def test_a_stall_adds_no_delay_to_a_bridge(
    engine: Engine,
    params: MediaParams,
    peer: Peer,
    make_peer: Callable[[], Peer],
    rtp: Rtp,
    monkeypatch: pytest.MonkeyPatch,
    stall: float,
) -> None:
    other = make_peer()
    local = engine.open_leg(LEG, params)
    engine.open_leg(OTHER, replace(params, remote=Endpoint(HOST, other.port)))
    engine.bridge(LEG, OTHER)
    piled = round(stall * 50)
    said = [bytes([n]) * 160 for n in range(piled + 3)]
    peer.send(rtp(0), local)
    first = await other.packet_of(said[0])
    for n in range(1, piled + 1):
        peer.send(rtp(n), local)
    real = module._now
    monkeypatch.setattr(module, "_now", lambda: real() + stall)
    peer.send(rtp(piled + 1), local)
    peer.send(rtp(piled + 2), local)
    last = await other.packet_of(said[-1])
    # Where the clock has moved on by a tick or two meanwhile, that was concealed.
    assert (last.timestamp - first.timestamp) & 0xFFFFFFFF <= (piled + 2 + 4) * 160


async def test_a_refused_bridge_leaves_nothing_behind(
    make_engine: MakeEngine, params: MediaParams, make_tap: MakeTap, peer: Peer
) -> None:
    engine = make_engine(MediaSettings(port_rest=0, players_per_leg=1))
    engine.open_leg(LEG, params)
    engine.open_leg(OTHER, params)
    with pytest.raises(UnknownLeg):
        engine.bridge(LEG, LegId(3))
    taken = make_tap(plays=True)
    engine.attach(LEG, taken)
    with pytest.raises(TooManyPlayers):
        engine.bridge(LEG, OTHER)
    engine.detach(LEG, taken)
    engine.bridge(OTHER, LEG)
    with pytest.raises(TooManyPlayers):
        engine.attach(OTHER, taken)
    engine.unbridge(LEG)
    engine.attach(OTHER, taken)
    engine.attach(LEG, make_tap(plays=True))
