"""The sending half of a leg, driven by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from trunkline.config import MediaSettings
from trunkline.ids import Seconds
from trunkline.media.leg import Leg
from trunkline.media.rtp import RtpPacket, parse
from trunkline.sdp.values import Direction, Endpoint, MediaParams

if TYPE_CHECKING:
    from media.conftest import RecordingPort

MakeLeg = Callable[..., Leg]
SILENCE = b"\xff" * 160
QUIET = MediaSettings(send_silence=False)


@pytest.fixture
def player(make_port: "type[RecordingPort]") -> "RecordingPort":
    return make_port(plays=True)


@pytest.fixture
def listener(make_port: "type[RecordingPort]") -> "RecordingPort":
    return make_port(outbound=True)


def tick(leg: Leg, times: int = 1) -> list[RtpPacket | None]:
    packets = [leg.outbound.next_packet() for _ in range(times)]
    return [None if packet is None else parse(packet) for packet in packets]


def sent(packets: list[RtpPacket | None]) -> list[RtpPacket]:
    return [packet for packet in packets if packet is not None]


def test_what_the_port_plays_is_sent_and_silence_between(make_leg: MakeLeg, player: "RecordingPort") -> None:
    leg = make_leg()
    leg.attach(player)
    player.to_play = [b"a" * 160, b"b" * 160]
    packets = sent(tick(leg, 3))
    assert [packet.payload for packet in packets] == [b"a" * 160, b"b" * 160, SILENCE]
    assert player.asked == [0, 20, 40]


def test_sequence_and_timestamp_run_on_and_the_marker_opens_the_talkspurt(make_leg: MakeLeg) -> None:
    packets = sent(tick(make_leg(), 4))
    first = packets[0]
    assert [packet.sequence - first.sequence for packet in packets] == [0, 1, 2, 3]
    assert [packet.timestamp - first.timestamp for packet in packets] == [0, 160, 320, 480]
    assert [packet.marker for packet in packets] == [True, False, False, False]
    assert {packet.ssrc for packet in packets} == {first.ssrc}


def test_without_silence_the_timestamp_goes_on_and_speech_starts_with_a_marker(
    make_leg: MakeLeg, player: "RecordingPort"
) -> None:
    leg = make_leg(settings=QUIET)
    leg.attach(player)
    player.to_play = [b"a" * 160]
    assert tick(leg)[0] is not None
    assert tick(leg, 9) == [None] * 9
    player.to_play = [b"b" * 160]
    after = sent(tick(leg))[0]
    assert after.marker
    assert (leg.outbound.packets, after.timestamp) == (2, leg.outbound.timestamp - 160)


def test_nothing_is_sent_or_asked_for_while_the_peer_does_not_listen(
    make_leg: MakeLeg, params: MediaParams, player: "RecordingPort", listener: "RecordingPort"
) -> None:
    leg = make_leg()
    leg.attach(player)
    leg.attach(listener)
    player.to_play = [b"a" * 160]
    leg.update(replace(params, direction=Direction.RECVONLY), Seconds(101))
    assert tick(leg, 3) == [None] * 3
    assert player.asked == []
    leg.update(params, Seconds(102))
    resumed = sent(tick(leg))[0]
    assert (resumed.payload, resumed.marker) == (b"a" * 160, True)
    assert listener.sent == [(SILENCE, 0), (SILENCE, 20), (SILENCE, 40), (b"a" * 160, 60)]


def test_listeners_hear_silence_even_when_none_is_sent(make_leg: MakeLeg, listener: "RecordingPort") -> None:
    leg = make_leg(settings=QUIET)
    leg.attach(listener)
    assert tick(leg, 2) == [None, None]
    assert listener.sent == [(SILENCE, 0), (SILENCE, 20)]


def test_nothing_is_sent_before_the_peers_address_is_known(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(replace(params, remote=Endpoint("0.0.0.0", 0)))
    assert tick(leg) == [None]
    leg.update(params, Seconds(101))
    assert tick(leg)[0] is not None


def test_packets_follow_the_negotiated_time_and_codec(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(replace(params, codec="G722", payload_type=9, ptime=30))
    first, second = sent(tick(leg, 2))
    assert (first.payload_type, len(first.payload), second.timestamp - first.timestamp) == (9, 240, 240)


@pytest.mark.parametrize(("asked", "used"), [(0, 10), (15, 10), (20, 20), (60, 60), (120, 60)])
def test_odd_packet_times_become_usable_ones(make_leg: MakeLeg, params: MediaParams, asked: int, used: int) -> None:
    assert make_leg(replace(params, ptime=asked)).outbound.ptime == used


def test_a_skip_moves_the_timeline_not_the_sequence(make_leg: MakeLeg, player: "RecordingPort") -> None:
    leg = make_leg()
    leg.attach(player)
    before = sent(tick(leg))[0]
    leg.outbound.skip(500)
    after = sent(tick(leg))[0]
    assert (after.sequence - before.sequence, after.timestamp - before.timestamp) == (1, 160 + 4000)
    assert player.asked == [0, 520]
    assert leg.report(Seconds(101)).skipped_ms == 500
