"""One leg's audio played to another: across bad networks, clocks that are off, and codecs that differ."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from media.network import Network
from trunkline.ids import LegId, Seconds
from trunkline.media.bridge.bridge import BridgeSink, BridgeSource
from trunkline.media.bridge.buffer import LIMIT_MS, BridgeBuffer
from trunkline.media.codecs import CODECS
from trunkline.media.leg import Leg
from trunkline.media.rtp.packet import parse
from trunkline.sdp.values import Direction, MediaParams

if TYPE_CHECKING:
    from media.conftest import RecordingTap

MakeLeg = Callable[..., Leg]
MakeTap = Callable[..., "RecordingTap"]
Rtp = Callable[..., bytes]
START = 100.0


class Bridged:
    """Two legs on one clock; the audio of the first is played to the second."""

    def __init__(self, one: Leg, other: Leg, waiting: set[LegId]) -> None:
        self.one, self.other, self.waiting = one, other, waiting
        self.playout = BridgeBuffer()
        one.attach(BridgeSource(self.playout, other.outbound.relay_dtmf))
        other.attach(BridgeSink(self.playout))
        self.heard: list[bytes] = []
        self.waited: list[int] = []

    def run(self, arrivals: list[tuple[float, bytes]], seconds: float) -> None:
        """The second leg sends a packet every 20 ms; `heard` has the payloads."""
        arrivals = arrivals[::-1]
        for slot in range(round(seconds * 200)):
            now = START + slot * 0.005
            while arrivals and arrivals[-1][0] <= now:
                at, datagram = arrivals.pop()
                self.one.inbound.receive(datagram, Seconds(at))
            if self.waiting:
                self.one.inbound.handle_waiting(Seconds(now))
            if slot % 4 == 0:
                packet = parse(self.other.outbound.next_packet() or b"")
                assert packet is not None
                self.heard.append(packet.payload)
                self.waited.append(self.playout.queued_ms)


@pytest.fixture
def bridge(make_leg: MakeLeg, params: MediaParams) -> Callable[..., Bridged]:
    def make(source: str = "PCMU", sink: str = "PCMU", ptime: int = 20) -> Bridged:
        waiting: set[LegId] = set()
        one = make_leg(replace(params, codec=source), waiting=waiting)
        return Bridged(one, make_leg(replace(params, codec=sink, ptime=ptime)), waiting)

    return make


def tone(n: int, codec: str = "PCMU", hertz: float = 250) -> bytes:
    """Payload number `n` of a tone at -9 dBFS whose period is a whole number of samples."""
    rate = CODECS[codec].sample_rate
    time = np.arange(n * rate // 50, (n + 1) * rate // 50) / rate
    return CODECS[codec].encoder()(np.rint(12000 * np.sin(2 * np.pi * hertz * time)).astype("<i2").tobytes())


def rtp_stream(rtp: Rtp, count: int, ppm: float = 0) -> list[tuple[float, bytes]]:
    payloads = [tone(n) for n in range(2)]
    return [(START + 0.001 + n * 0.02 / (1 + ppm / 1e6), rtp(n, payloads[n % 2])) for n in range(count)]


def levels(codec: str, payloads: list[bytes]) -> list[float]:
    decode = CODECS[codec].decoder()
    return [float(np.sqrt(np.mean(np.frombuffer(decode(p), "<i2").astype(float) ** 2))) for p in payloads]


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722", "OPUS"])
def test_on_a_good_network_every_payload_passes_untouched_within_a_packet(
    bridge: Callable[..., Bridged], rtp: Rtp, codec: str
) -> None:
    bridged = bridge(codec, codec)
    # 0x7f is minus zero in mu-law, which decoding and encoding make plus zero.
    payloads = [tone(n, codec) if codec == "OPUS" else bytes((n + i) & 0xFF for i in range(160)) for n in range(500)]
    step = CODECS[codec].clock_rate // 50
    bridged.run(
        [(START + 0.001 + n * 0.02, rtp(n, payload, timestamp=n * step)) for n, payload in enumerate(payloads)], 10.02
    )
    assert bridged.heard[1:501] == payloads
    assert (bridged.playout.concealed_ms, bridged.playout.trimmed_ms, max(bridged.waited)) == (0, 0, 0)


@pytest.mark.parametrize("sink", ["PCMA", "G722", "OPUS"])
@pytest.mark.parametrize("source", ["PCMU", "G722"])
def test_codecs_and_packet_times_may_differ(bridge: Callable[..., Bridged], rtp: Rtp, source: str, sink: str) -> None:
    bridged = bridge(source, sink, 40)
    encode = CODECS[source].encoder()
    rate = CODECS[source].sample_rate
    wave = np.rint(12000 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype("<i2").tobytes()
    size = rate // 25
    frames = [encode(wave[n : n + size]) for n in range(0, len(wave), size)]
    # An offset that does not sit on a border of the listening leg's packets.
    bridged.run([(START + 0.001 + n * 0.02, rtp(n, frame)) for n, frame in enumerate(frames)], 2)
    # The test's clock asks every 20 ms, twice as fast as 40 ms packets are due, so every second one runs dry.
    assert bridged.playout.concealed_ms > 0
    assert max(levels(sink, bridged.heard)) == pytest.approx(12000 / 2**0.5, rel=0.15)


def test_lost_packets_are_concealed_without_added_delay(bridge: Callable[..., Bridged], rtp: Rtp) -> None:
    bridged = bridge()
    bridged.run(Network(21, loss=0.05).carry(rtp_stream(rtp, 3000)), 60)
    lost = bridged.one.report(Seconds(START + 60)).lost
    assert lost > 100
    assert bridged.playout.concealed_ms >= 20 * lost
    # The tone goes on through every loss: hardly a hole, no burst.
    loud = levels("PCMU", bridged.heard[10:2990])
    assert sum(each < 0.55 * 12000 / 2**0.5 for each in loud) < 20  # several in a row, before the window had adapted
    assert max(loud) < 1.1 * 12000 / 2**0.5
    assert max(bridged.waited) <= 80


def test_jitter_is_buffered_up_to_a_limit(bridge: Callable[..., Bridged], rtp: Rtp) -> None:
    bridged = bridge()
    sent = rtp_stream(rtp, 3000)
    calm, rough = sent[1500:], Network(22, delay=0.05, jitter=0.04).carry(sent[:1500])
    bridged.run(sorted(rough + [(at + 0.05, datagram) for at, datagram in calm]), 60)
    assert bridged.playout.concealed_ms < 1000  # the delay has adapted to the jitter
    assert max(bridged.waited) <= 160
    assert bridged.playout.trimmed_ms > 0
    assert max(bridged.waited[-500:]) <= 30


def test_a_burst_after_a_stall_is_bounded_and_caught_up_with(bridge: Callable[..., Bridged], rtp: Rtp) -> None:
    bridged = bridge()
    sent = [(START + 3 if START + 1 < at < START + 3 else at, datagram) for at, datagram in rtp_stream(rtp, 3000)]
    bridged.run(sent, 60)
    assert max(bridged.waited) <= LIMIT_MS
    assert bridged.playout.dropped_ms > 0
    assert max(bridged.waited[-100:]) <= 30


def test_silence_on_the_line_is_silence_not_a_stuck_tone(bridge: Callable[..., Bridged], rtp: Rtp) -> None:
    bridged = bridge()
    sent = rtp_stream(rtp, 200)
    bridged.run(sent[:100] + sent[150:], 4.1)
    loud = levels("PCMU", bridged.heard)
    assert loud[101] > 5000
    assert max(loud[106:149]) == 0
    assert min(loud[156:199]) > 8000


def test_a_key_of_one_leg_is_relayed_to_the_other_or_counted(
    bridge: Callable[..., Bridged], rtp: Rtp, params: MediaParams
) -> None:
    bridged = bridge()
    key = b"\x05\x8a\x03\x20"  # the end of a 5 after 100 ms
    bridged.one.inbound.receive(rtp(0, key, kind=101), Seconds(START))
    packet = parse(bridged.other.outbound.next_packet() or b"")
    assert packet is not None
    assert (packet.payload_type, packet.payload[0]) == (101, 5)
    bridged.other.update(replace(params, dtmf_payload_type=None), Seconds(START))
    bridged.one.inbound.receive(rtp(1, key, kind=101, timestamp=8000), Seconds(START + 1))
    report = bridged.other.report(Seconds(START + 1))
    assert (bridged.one.report(Seconds(START + 1)).digits, report.digits_lost) == (2, 1)


def test_bridged_audio_is_mixed_with_other_players(bridge: Callable[..., Bridged], make_tap: MakeTap, rtp: Rtp) -> None:
    bridged, app = bridge(), make_tap(plays=True)
    bridged.other.attach(app)
    app.to_play = [tone(n % 2, hertz=500) for n in range(50)]
    bridged.run(rtp_stream(rtp, 100), 2)
    loud = levels("PCMU", bridged.heard)
    assert np.mean(loud[5:45]) == pytest.approx(12000, rel=0.02)  # two tones of equal strength: the square root of 2
    assert np.mean(loud[55:95]) == pytest.approx(12000 / 2**0.5, rel=0.02)


def test_audio_during_the_listeners_hold_adds_no_delay(
    bridge: Callable[..., Bridged], rtp: Rtp, params: MediaParams
) -> None:
    bridged = bridge()
    sent = rtp_stream(rtp, 300)
    for n, (at, datagram) in enumerate(sent):
        if n in (100, 200):
            direction = Direction.INACTIVE if n == 100 else Direction.SENDRECV
            bridged.other.update(replace(params, direction=direction), Seconds(at))
        bridged.one.inbound.receive(datagram, Seconds(at))
        packet = parse(bridged.other.outbound.next_packet() or b"")
        assert (packet is None) is (100 <= n < 200)
        bridged.heard.append(packet.payload if packet else b"")
    assert bridged.heard[202:] == [datagram[12:] for _, datagram in sent[202:]]
    assert bridged.playout.queued_ms == 0
