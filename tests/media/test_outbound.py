"""The sending half of a leg, driven by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.network import event_of
from trunkline.config import MediaSettings
from trunkline.ids import LegId, Seconds
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp.dtmf import DIGITS, NoTelephoneEvent
from trunkline.media.rtp.packet import RtpPacket, parse
from trunkline.media.rtp.presses import DigitReceiver
from trunkline.sdp.values import Direction, Endpoint, MediaParams

if TYPE_CHECKING:
    from media.conftest import RecordingTap

MakeLeg = Callable[..., Leg]
SILENCE = b"\xff" * 160
QUIET = MediaSettings(send_silence=False)


@pytest.fixture
def player(make_tap: "type[RecordingTap]") -> "RecordingTap":
    return make_tap(plays=True)


@pytest.fixture
def listener(make_tap: "type[RecordingTap]") -> "RecordingTap":
    return make_tap(outbound=True)


def tick(leg: Leg, times: int = 1) -> list[RtpPacket | None]:
    packets = [leg.outbound.next_packet() for _ in range(times)]
    return [None if packet is None else parse(packet) for packet in packets]


def sent(packets: list[RtpPacket | None]) -> list[RtpPacket]:
    return [packet for packet in packets if packet is not None]


def test_audio_of_a_player_is_sent_with_silence_between(make_leg: MakeLeg, player: "RecordingTap") -> None:
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
    make_leg: MakeLeg, player: "RecordingTap"
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
    make_leg: MakeLeg, params: MediaParams, player: "RecordingTap", listener: "RecordingTap"
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


def test_taps_receive_silence_even_when_none_is_sent(make_leg: MakeLeg, listener: "RecordingTap") -> None:
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


def test_a_skip_moves_the_timeline_not_the_sequence(make_leg: MakeLeg, player: "RecordingTap") -> None:
    leg = make_leg()
    leg.attach(player)
    before = sent(tick(leg))[0]
    leg.outbound.skip(500)
    after = sent(tick(leg))[0]
    assert (after.sequence - before.sequence, after.timestamp - before.timestamp) == (1, 160 + 4000)
    assert player.asked == [0, 520]
    assert leg.report(Seconds(101)).skipped_ms == 500


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_replaces_audio_which_waits(make_leg: MakeLeg, player: "RecordingTap", listener: "RecordingTap") -> None:
    leg = make_leg()
    leg.attach(player)
    leg.attach(listener)
    player.to_play = [b"a" * 160, b"b" * 160]
    before = sent(tick(leg))[0]
    leg.outbound.send_dtmf("5")
    events = sent(tick(leg, 10))
    after = sent(tick(leg))[0]
    assert {packet.payload_type for packet in events} == {101}
    assert {packet.timestamp - before.timestamp for packet in events} == {160}
    assert [packet.marker for packet in events] == [True] + [False] * 9
    assert [packet.sequence - before.sequence for packet in (*events, after)] == [*range(1, 12)]
    assert (after.payload, after.timestamp - before.timestamp) == (b"b" * 160, 11 * 160)
    assert player.asked == [0, 220]
    assert listener.sent == [(b"a" * 160, 0), *[(SILENCE, at) for at in range(20, 220, 20)], (b"b" * 160, 220)]
    assert leg.outbound.packets == 12
    report = leg.report(Seconds(101))
    assert (report.digits_out, report.digits_waiting) == (1, 0)


def test_the_rest_of_a_pause_after_end_packets_is_not_filled(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(replace(params, ptime=10))
    leg.outbound.send_dtmf("12")
    packets = tick(leg, 41)
    assert [packet is None for packet in packets] == ([False] * 18 + [True] * 2) * 2 + [False]
    one, other, audio = sent(packets)[0], sent(packets)[18], sent(packets)[-1]
    assert [packet.marker for packet in (one, other, audio)] == [True, True, True]
    assert [packet.timestamp - one.timestamp for packet in (other, audio)] == [20 * 80, 40 * 80]
    assert audio.sequence - one.sequence == 36


def test_keys_need_a_peer_that_takes_them(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(replace(params, dtmf_payload_type=None))
    with pytest.raises(NoTelephoneEvent, match="RFC 4733"):
        leg.outbound.send_dtmf("1")
    assert sent(tick(leg))[0].payload == SILENCE


def test_keys_wait_while_the_call_is_on_hold(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg()
    leg.update(replace(params, direction=Direction.RECVONLY), Seconds(101))
    leg.outbound.send_dtmf("1")
    assert tick(leg, 3) == [None] * 3
    assert leg.report(Seconds(102)).digits_waiting == 1
    leg.update(params, Seconds(103))
    assert sent(tick(leg))[0].payload_type == 101


def test_keys_wait_while_the_peer_takes_none_and_go_out_at_the_new_number(
    make_leg: MakeLeg, params: MediaParams
) -> None:
    leg = make_leg()
    leg.outbound.send_dtmf("12")
    assert sent(tick(leg))[0].payload == b"\x01\x0a\x00\xa0"
    leg.update(replace(params, dtmf_payload_type=None), Seconds(101))
    assert sent(tick(leg))[0].payload == SILENCE
    leg.update(replace(params, dtmf_payload_type=96), Seconds(102))
    packet = sent(tick(leg))[0]
    assert (packet.payload_type, packet.payload, packet.marker) == (96, b"\x02\x0a\x00\xa0", True)


def test_another_source_does_not_repeat_the_pressed_key(make_leg: MakeLeg) -> None:
    leg = make_leg()
    leg.outbound.send_dtmf("1")
    tick(leg, 3)
    leg.outbound.change_ssrc()
    assert sent(tick(leg))[0].payload == SILENCE


def test_a_key_goes_on_through_a_change_that_does_not_concern_it(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg()
    leg.outbound.send_dtmf("1")
    tick(leg, 3)
    leg.update(replace(params, remote=Endpoint("127.0.0.1", 11)), Seconds(101))
    packet = sent(tick(leg))[0]
    assert (packet.payload, packet.marker) == (b"\x01\x0a\x02\x80", False)


@given(st.lists(st.tuples(st.integers(0, 40), st.text(DIGITS, min_size=1, max_size=3)), max_size=8), st.data())
def test_any_keys_arrive_in_order_and_nothing_that_is_played_is_lost(
    presses: list[tuple[int, str]], data: st.DataObject
) -> None:
    from media.conftest import RecordingTap

    ptime = data.draw(st.sampled_from((10, 20, 30, 60)))
    params = MediaParams("PCMU", 0, ptime, Endpoint("127.0.0.1", 9), dtmf_payload_type=101)
    leg = Leg(LegId(1), params, MediaSettings(), random=bytes(RANDOM_BYTES), now=Seconds(0), wall=0.0,
              waiting=set(), local_port=0, first_at=0)  # fmt: skip
    tap = RecordingTap(plays=True, outbound=True)
    leg.attach(tap)
    played = [bytes([n % 200]) * (8 * ptime) for n in range(1000)]
    tap.to_play = list(played)
    packets: list[RtpPacket | None] = []
    for wait, digits in presses:
        packets += tick(leg, wait)
        leg.outbound.send_dtmf(digits)
    packets += tick(leg, 24 * 21)
    receiver, heard, audio = DigitReceiver(), "", []
    for at, packet in enumerate(packets):
        if packet is None:
            continue
        if packet.payload_type == 101:
            heard += receiver.receive(event_of(packet, at * ptime / 1000)) or ""
        else:
            audio.append(packet.payload)
            assert packet.timestamp == at * ptime * 8
    assert heard == "".join(digits for _, digits in presses)
    assert audio == played[: len(audio)]
    assert [packet.sequence for packet in sent(packets)] == [*range(len(sent(packets)))]
    assert [at for _, at in tap.sent] == [n * ptime for n in range(len(packets))]
