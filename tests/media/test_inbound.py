"""The receiving half of a leg, driven by hand."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.test_rtcp import PINGS
from trunkline.config import MediaSettings
from trunkline.ids import LegId, Seconds
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp.clock import WINDOW
from trunkline.media.rtp.packet import parse
from trunkline.sdp.values import Direction, Endpoint, MediaParams

if TYPE_CHECKING:
    from media.conftest import RecordingTap

T0 = 100.0
MakeLeg = Callable[..., Leg]
Rtp = Callable[..., bytes]
Capture = Callable[[str], list[tuple[float, bytes]]]


@pytest.fixture
def tap(make_tap: "type[RecordingTap]") -> "RecordingTap":
    return make_tap()


def feed(leg: Leg, datagrams: list[bytes], start: float = T0 + 1.0, step: float = 0.02) -> None:
    for n, datagram in enumerate(datagrams):
        leg.inbound.receive(datagram, Seconds(start + n * step))


def test_frames_come_in_order_on_a_timeline_anchored_at_the_first_arrival(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    assert tap.changes == [("PCMU", 20)]
    feed(leg, [rtp(n) for n in range(65530, 65540)])
    assert tap.payloads == [bytes([n & 0xFF]) * 160 for n in range(65530, 65540)]
    assert [at for _, at, _ in tap.heard] == list(range(1000, 1200, 20))


@pytest.mark.parametrize("ptime", [10, 30, 40, 60])
def test_frames_keep_the_packet_time_that_they_arrive_in(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp, ptime: int
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(n, b"x" * 8 * ptime, timestamp=n * 8 * ptime) for n in range(4)], step=ptime / 1000)
    assert [len(payload) for payload in tap.payloads] == [8 * ptime] * 4
    assert [at for _, at, _ in tap.heard] == [1000 + n * ptime for n in range(4)]


def test_a_lost_packet_is_missing_before_the_next_frame_once_the_window_is_over(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp
) -> None:
    waiting: set[LegId] = set()
    leg = make_leg(waiting=waiting)
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(2)])
    assert waiting == {1}
    leg.inbound.handle_waiting(Seconds(T0 + 1.02 + 0.059))
    assert len(tap.heard) == 1
    leg.inbound.handle_waiting(Seconds(T0 + 1.02 + 0.061))
    assert [(at, missing) for _, at, missing in tap.heard] == [(1000, 0), (1040, 1)]
    assert waiting == set()
    assert leg.report(Seconds(T0 + 2)).lost == 1


def test_key_presses_are_digits_not_frames_and_not_loss(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    press = [rtp(n, bytes([5, 10, 0, n]), kind=101, timestamp=320) for n in range(2, 5)]
    press += [rtp(n, bytes([5, 0x8A, 0, 9]), kind=101, timestamp=320) for n in range(5, 8)]
    feed(leg, [rtp(0), rtp(1), *press, rtp(8), rtp(9)])
    assert tap.digits == "5"
    assert [(payload[0], at, missing) for payload, at, missing in tap.heard] == [
        (0, 1000, 0),
        (1, 1020, 0),
        (8, 1160, 0),
        (9, 1180, 0),
    ]
    report = leg.report(Seconds(T0 + 2))
    assert (report.digits, report.lost, report.packets_in, report.frames_in) == (1, 0, 10, 4)


def test_a_press_without_end_packets_ends_by_the_clock(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    waiting: set[LegId] = set()
    leg = make_leg(waiting=waiting)
    leg.attach(tap)
    feed(leg, [rtp(0, bytes([11, 10, 0, 160]), kind=101)])
    leg.inbound.handle_waiting(Seconds(T0 + 1.19))
    assert tap.digits == ""
    leg.inbound.handle_waiting(Seconds(T0 + 1.21))
    assert tap.digits == "#"
    assert waiting == set()


def test_events_in_their_own_ssrc_are_received_without_disturbing_audio(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    for n in range(40):
        at = Seconds(T0 + 1 + n * 0.02)
        leg.inbound.receive(rtp(n), at)
        key, place = divmod(n, 10)
        payload = bytes([key, 0x8A if place > 4 else 10]) + (min(place + 1, 6) * 160).to_bytes(2)
        leg.inbound.receive(rtp(900 + n, payload, kind=101, timestamp=77_000 + key * 1600, ssrc=5), at)
    assert tap.digits == "0123"
    assert [at for _, at, _ in tap.heard] == list(range(1000, 1800, 20))
    report = leg.report(Seconds(T0 + 2))
    assert (report.lost, report.stray, report.restarts, report.frames_in) == (0, 0, 0, 40)


def test_events_with_their_own_sequence_late_or_before_any_audio_are_received(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    end = b"\x8a\x03\x20"
    feed(leg, [rtp(7, b"\x01" + end, kind=101, timestamp=0)])
    feed(leg, [rtp(100), rtp(40_000, b"\x02" + end, kind=101, timestamp=5), rtp(101)], start=T0 + 2)
    feed(leg, [rtp(103), *[rtp(n) for n in range(104, 120)]], start=T0 + 3)
    feed(leg, [rtp(102, b"\x03" + end, kind=101, timestamp=102 * 160), rtp(120)], start=T0 + 4)
    assert tap.digits == "123"
    assert [payload[0] for payload in tap.payloads] == [100, 101, *range(103, 121)]
    report = leg.report(Seconds(T0 + 5))
    assert (report.lost, report.late, report.stray, report.restarts) == (1, 1, 0, 0)


def test_a_press_continues_when_the_audio_restarts(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(1), rtp(2, b"\x05\x0a\x00\xa0", kind=101, timestamp=320)])
    restarted = [rtp(500 + n, ssrc=8, timestamp=9_000_000 + n * 160) for n in range(4)]
    feed(leg, [*restarted, rtp(504, b"\x05\x8a\x03\xc0", kind=101, timestamp=320, ssrc=8)], start=T0 + 1.06)
    leg.inbound.close()
    assert tap.digits == "5"


def test_a_key_reported_by_rtp_and_by_signalling_is_one_digit(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    for n, key in enumerate([1, 2, 2, 3]):
        at = T0 + 1 + n * 0.2
        feed(leg, [rtp(n, bytes([key]) + b"\x8a\x03\x20", kind=101, timestamp=n * 1600)], start=at)
        leg.inbound.signalled(str(key), Seconds(at + 0.05))
    leg.inbound.signalled("4", Seconds(T0 + 3))
    assert tap.digits == "12234"
    assert leg.report(Seconds(T0 + 4)).digits == 5


def test_comfort_noise_and_empty_packets_are_neither_frames_nor_loss(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(1, b"\x40", kind=13), rtp(2)[:12], rtp(3, b"\x40", kind=19), rtp(4)])
    assert [(payload[0], at, missing) for payload, at, missing in tap.heard] == [(0, 1000, 0), (4, 1080, 0)]
    assert leg.report(Seconds(T0 + 2)).unknown_payload_type == 0


def test_loss_around_packets_without_audio_is_reported(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(3, b"\x40", kind=13), rtp(5), rtp(6)], step=0.1)
    assert [(payload[0], missing) for payload, _, missing in tap.heard] == [(0, 0), (5, 3), (6, 0)]


def test_other_payload_types_are_counted_and_dropped(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(1, kind=8), rtp(2)])
    assert [(payload[0], missing) for payload, _, missing in tap.heard] == [(0, 0), (2, 0)]
    assert leg.report(Seconds(T0 + 2)).unknown_payload_type == 1


def test_garbage_is_counted_and_nothing_else_is_lost(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    cut_short = rtp(1, bytes(3000))[:2048]
    feed(leg, [rtp(0), b"OPTIONS sip:x SIP/2.0\r\n\r\n", b"\x90" + rtp(1)[1:13], cut_short, rtp(1)])
    assert [payload[0] for payload in tap.payloads] == [0, 1]
    assert leg.report(Seconds(T0 + 2)).malformed == 3


@pytest.mark.parametrize(("agreed", "mux", "is_rtcp"), [(0, False, True), (72, False, False), (72, True, True)])
def test_a_payload_type_like_rtcps_is_rtp_where_it_was_agreed_for_this_port(
    make_leg: MakeLeg, params: MediaParams, agreed: int, mux: bool, is_rtcp: bool
) -> None:
    leg = make_leg(replace(params, payload_type=agreed, rtcp_mux=mux))
    assert leg.inbound.is_rtcp(bytes([0x80, 0x80 | 72]) + bytes(20)) is is_rtcp
    assert not leg.inbound.is_rtcp(b"\x80")


@pytest.mark.parametrize("latched", [False, True])
def test_keepalives_and_rtcp_on_the_rtp_port_are_no_errors_and_no_audio(
    make_leg: MakeLeg, tap: "RecordingTap", params: MediaParams, rtp: Rtp, latched: bool
) -> None:
    leg = make_leg(replace(params, rtcp_mux=False))
    leg.attach(tap)
    peer = ("127.0.0.1", 9)
    leg.receive_from(rtp(0), peer, Seconds(T0 + 1))
    report = bytes.fromhex("80c90001 00000009 81ca0003 00000009 01026869 00000000")
    for datagram in (*PINGS, report):
        if latched:
            leg.receive(datagram, Seconds(T0 + 2))
        else:
            leg.receive_from(datagram, peer, Seconds(T0 + 2))
        leg.receive_rtcp(datagram, ("127.0.0.1", 10), Seconds(T0 + 2))
    counted = leg.report(Seconds(T0 + 3))
    assert (counted.malformed, counted.rtcp_malformed, counted.unknown_payload_type) == (0, 0, 0)
    assert (counted.keepalives, counted.rtcp_in, counted.packets_in) == (2 * len(PINGS), 2, 1)
    assert counted.last_packet_ms == 2000


def test_keepalives_of_an_unexpected_source_are_not_learned(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    for datagram in PINGS:
        leg.receive_from(datagram, ("203.0.113.9", 5555), Seconds(T0 + 1))
    assert leg.source.learned is None
    leg.receive_from(rtp(0), ("127.0.0.1", 9), Seconds(T0 + 1))
    assert leg.report(Seconds(T0 + 2)).remote == "127.0.0.1:9"


def test_a_new_ssrc_restarts_the_timeline(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(1)])
    feed(leg, [rtp(n, ssrc=99, timestamp=4_000_000_000 + n * 160) for n in range(700, 703)], start=T0 + 5)
    assert [at for _, at, _ in tap.heard] == [1000, 1020, 5000, 5020, 5040]
    assert leg.report(Seconds(T0 + 6)).restarts == 1


@pytest.mark.parametrize("stamps", [0, -60 * 160, 7_000_000, -7_000_000], ids=str)
@pytest.mark.parametrize("numbers", [-5000, -90, -60, -12, 0, 500, 2900, 5000], ids=str)
def test_a_stream_that_restarts_with_the_same_ssrc_loses_no_frame(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp, numbers: int, stamps: int
) -> None:
    """Whatever jumps: the sequence, the timestamps, or both."""
    waiting: set[LegId] = set()
    leg = make_leg(waiting=waiting)
    leg.attach(tap)
    for n in range(400):
        begun = n // 100
        number, stamp = 10_000 + n + begun * numbers, n * 160 + begun * stamps
        now = Seconds(T0 + 1 + n * 0.02)
        if waiting:
            leg.inbound.handle_waiting(now)
        leg.inbound.receive(rtp(number, n.to_bytes(2) * 80, timestamp=stamp), now)
    assert [int.from_bytes(payload[:2]) for payload in tap.payloads] == [*range(400)]
    times = [at for _, at, _ in tap.heard]
    assert times == sorted(times)
    assert max(abs(at - 1000 - n * 20) for n, at in enumerate(times)) <= 300
    assert sum(missing for _, _, missing in tap.heard) == 0


def test_duplicate_or_late_packets_restart_nothing(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(n) for n in range(100)])
    for n in (97, 98, 99, 40, 41, 42, 43, 44, 45, 46, 47):
        feed(leg, [rtp(n)], start=T0 + 3.02)
    feed(leg, [rtp(n) for n in range(100, 110)], start=T0 + 3.04)
    feed(leg, [rtp(112), rtp(113), rtp(114), rtp(115), rtp(116), rtp(110), rtp(111), rtp(117)], start=T0 + 3.3)
    assert [payload[0] for payload in tap.payloads] == [*range(110), *range(112, 118)]
    report = leg.report(Seconds(T0 + 4))
    assert (report.duplicate, report.late, report.lost, report.restarts) == (11, 2, 2, 0)


@pytest.mark.parametrize(
    ("ahead", "silence", "continues"),
    [(0, 0, False), (1, 0, True), (100, 0, True), (101, 0, False), (200, 1, True), (201, 1, False), (-1, 1, False)],
)
@pytest.mark.parametrize("last", [9, 65535])
def test_a_stream_from_elsewhere_continues_within_what_the_silence_allows(
    make_leg: MakeLeg, rtp: Rtp, last: int, ahead: int, silence: float, continues: bool
) -> None:
    leg = make_leg()
    feed(leg, [rtp(n) for n in range(last - 9, last + 1)])
    assert leg.inbound.continues(rtp(last + ahead), silence) == continues
    assert not leg.inbound.continues(rtp(last + ahead, ssrc=8), silence)
    assert not leg.inbound.continues(rtp(last + ahead, kind=8), silence)


def test_a_loss_of_many_packets_is_a_loss(make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(n) for n in range(10)])
    feed(leg, [rtp(n) for n in range(500, 510)], start=T0 + 11)
    assert [(at, missing) for _, at, missing in tap.heard][9:12] == [(1180, 0), (11000, 490), (11020, 0)]
    assert (leg.report(Seconds(T0 + 12)).lost, leg.report(Seconds(T0 + 12)).restarts) == (490, 0)


def test_a_jump_of_the_rtp_clock_restarts_the_timeline_and_a_pause_does_not(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(1, timestamp=3_000_000_000)])
    feed(leg, [rtp(2, timestamp=3_000_000_000 + 8 * 4000)], start=T0 + 5.02)
    assert [at for _, at, _ in tap.heard] == [1000, 1020, 5020]


@pytest.mark.parametrize(("stall", "anchored"), [(1.0 - 1 / 64, False), (1.0, True), (1.5, True)])
def test_after_a_stall_of_a_second_the_timeline_is_anchored_again(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp, stall: float, anchored: bool
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(n) for n in range(25)])
    feed(leg, [rtp(25), rtp(26)], start=T0 + 1.5 + stall)
    first = 1500 + round(stall * 1000) if anchored else 1500
    assert [at for _, at, _ in tap.heard][24:] == [1480, first, first + 20]


def test_a_timeline_that_is_anchored_again_is_not_held_back_any_more(
    make_leg: MakeLeg, tap: "RecordingTap", rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    # The first packets are late, so the timeline is ahead of all others.
    for n in range(WINDOW):
        leg.inbound.receive(rtp(n), Seconds(T0 + max(1.5, 1 + n * 0.02)))
    feed(leg, [rtp(WINDOW), rtp(WINDOW + 1)], start=T0 + 1 + WINDOW * 0.02)
    held_back, also = (later - at for (_, at, _), (_, later, _) in pairwise(tap.heard[-3:]))
    assert held_back == also == 10
    feed(leg, [rtp(WINDOW + 2 + n) for n in range(4)], start=T0 + 5)
    assert [at for _, at, _ in tap.heard][-4:] == [5000, 5020, 5040, 5060]


def test_while_on_hold_packets_are_counted_and_dropped(
    make_leg: MakeLeg, tap: "RecordingTap", params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0)])
    leg.update(replace(params, direction=Direction.SENDONLY), Seconds(T0 + 1.01))
    feed(leg, [rtp(1), rtp(5)], start=T0 + 1.02, step=0.1)
    leg.inbound.handle_waiting(Seconds(T0 + 2))
    leg.update(params, Seconds(T0 + 2))
    feed(leg, [rtp(60)], start=T0 + 2)
    assert [(payload[0], at, missing) for payload, at, missing in tap.heard] == [(0, 1000, 0), (60, 2000, 0)]
    assert leg.report(Seconds(T0 + 2)).while_on_hold == 2


def test_a_renegotiation_that_changes_nothing_disturbs_nothing(
    make_leg: MakeLeg, tap: "RecordingTap", params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0), rtp(2)])
    leg.update(replace(params), Seconds(T0 + 1.03))
    feed(leg, [rtp(1)], start=T0 + 1.04)
    assert [(payload[0], missing) for payload, _, missing in tap.heard] == [(0, 0), (1, 0), (2, 0)]
    assert tap.changes == [("PCMU", 20)]


def test_a_codec_change_takes_effect_and_is_notified(
    make_leg: MakeLeg, tap: "RecordingTap", params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(0)])
    leg.update(replace(params, codec="PCMA", payload_type=8, ptime=30), Seconds(T0 + 1.01))
    feed(leg, [rtp(1, kind=8), rtp(2, kind=0)], start=T0 + 1.02)
    assert tap.changes == [("PCMU", 20), ("PCMA", 30)]
    assert [payload[0] for payload in tap.payloads] == [0, 1]


def test_the_timeline_continues_when_the_clock_rate_changes(
    make_leg: MakeLeg, tap: "RecordingTap", params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg()
    leg.attach(tap)
    feed(leg, [rtp(n) for n in range(50)])
    jitter = leg.report(Seconds(T0 + 2)).jitter_ms
    leg.update(replace(params, codec="OPUS", payload_type=111), Seconds(T0 + 2))
    assert leg.report(Seconds(T0 + 2)).jitter_ms == jitter
    for n in range(3):
        datagram = bytearray(rtp(50 + n, b"\x08", kind=111))  # 20 ms (RFC 6716 section 3.1)
        datagram[4:8] = (960 * n).to_bytes(4)
        leg.inbound.receive(bytes(datagram), Seconds(T0 + 2 + 0.02 * n))
    leg.update(params, Seconds(T0 + 2.06))
    feed(leg, [rtp(53 + n) for n in range(2)], start=T0 + 2.06)
    assert [at for _, at, _ in tap.heard][-6:] == [1980, 2000, 2020, 2040, 2060, 2080]
    assert leg.report(Seconds(T0 + 3)).restarts == 0


def test_jitter_is_that_of_the_rfc(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    expected = 0.0
    for n in range(50):
        leg.inbound.receive(rtp(n), Seconds(T0 + 1 + n * 0.02 + (0.005 if n % 2 else 0)))
        if n:
            expected += (5.0 - expected) / 16
    assert leg.report(Seconds(T0 + 3)).jitter_ms == pytest.approx(expected, abs=0.01)


def test_captured_rtp_of_a_phone_passes_byte_for_byte(
    make_leg: MakeLeg, tap: "RecordingTap", params: MediaParams, capture: Capture
) -> None:
    packets = capture("g711a.pcap")
    leg = make_leg(replace(params, codec="PCMA", payload_type=8))
    leg.attach(tap)
    for at, datagram in packets:
        leg.inbound.receive(datagram, Seconds(T0 + 1 + at - packets[0][0]))
    assert tap.payloads == [datagram[12:] for _, datagram in packets]
    assert [at for _, at, _ in tap.heard] == [1000 + 30 * n for n in range(len(packets))]
    report = leg.report(Seconds(T0 + 10))
    assert (report.lost, report.restarts, report.malformed) == (0, 0, 0)


@given(st.lists(st.binary(max_size=60), max_size=30))
def test_no_datagram_makes_a_leg_raise(datagrams: list[bytes]) -> None:
    params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", 9), dtmf_payload_type=101, rtcp_mux=True)
    leg = Leg(
        LegId(1),
        params,
        MediaSettings(),
        random=bytes(RANDOM_BYTES),
        now=Seconds(T0),
        wall=0.0,
        waiting=set(),
        local_port=20000,
        first_at=0,
    )
    for datagram in datagrams:
        leg.receive_from(b"\x80" + datagram, ("127.0.0.1", 9), Seconds(T0 + 1))
        leg.receive_from(datagram, ("127.0.0.1", 9), Seconds(T0 + 1))
        leg.receive_rtcp(datagram, ("127.0.0.1", 10), Seconds(T0 + 1))
    valid = sum(parse(datagram) is not None for datagram in datagrams)
    assert leg.report(Seconds(T0 + 2)).packets_in <= valid + len(datagrams)


def test_zeros_are_no_packet_of_a_stream_on_hold(make_leg: MakeLeg, params: MediaParams, rtp: Rtp) -> None:
    leg = make_leg()
    feed(leg, [rtp(65535, ssrc=0)])
    leg.update(replace(params, direction=Direction.SENDONLY), Seconds(T0 + 1.01))
    feed(leg, [bytes(172)], start=T0 + 1.02)  # the next in its sequence, were it RTP
    report = leg.report(Seconds(T0 + 2))
    assert (report.keepalives, report.packets_in, report.frames_in) == (1, 1, 1)


def test_only_a_leg_that_has_something_to_wait_for_waits(make_leg: MakeLeg, rtp: Rtp) -> None:
    waiting: set[LegId] = set()
    leg = make_leg(waiting=waiting)
    feed(leg, [rtp(0), rtp(1, marker=True), rtp(2, kind=13), rtp(3)])  # 2: comfort noise, not by the fast path
    assert waiting == set()
    feed(leg, [rtp(5)], start=T0 + 1.1)
    assert waiting == {LegId(1)}
    leg.inbound.handle_waiting(Seconds(T0 + 1.2))
    assert waiting == set()
    feed(leg, [rtp(6, bytes((7, 0, 0, 160)), kind=101)], start=T0 + 1.3)
    assert waiting == {LegId(1)}
    leg.inbound.handle_waiting(Seconds(T0 + 1.499))
    assert waiting == {LegId(1)}
    leg.inbound.handle_waiting(Seconds(T0 + 1.5))
    assert waiting == set()
