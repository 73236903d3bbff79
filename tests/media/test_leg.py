"""A leg as a whole, driven by hand: ports, learning, silence, RTCP."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from trunkline.config import MediaSettings
from trunkline.ids import LegId, RtpTime, Seconds, Ssrc
from trunkline.media.events import SilenceDetected
from trunkline.media.frames import BaseTap
from trunkline.media.leg import Leg
from trunkline.media.report import LegReport
from trunkline.media.rtp import rtcp
from trunkline.media.rtp.source import IN_SEQUENCE
from trunkline.sdp.values import Direction, Endpoint, MediaParams

RTCP_KEPT = 8
UNCONFIRMED_PACKETS = 10

if TYPE_CHECKING:
    from media.conftest import RecordingTap

MakeLeg = Callable[..., Leg]
MakeTap = Callable[..., "RecordingTap"]
Rtp = Callable[..., bytes]
PEER = ("127.0.0.1", 9)
NATTED = ("198.51.100.7", 61234)
UNEXPECTED = ("203.0.113.9", 5555)


def serve(leg: Leg, now: float) -> bool:
    """The leg's timers, as the engine serves them; True when they were due."""
    if leg.deadline > now:
        return False
    leg.handle_timer(Seconds(now))
    return True


def rtcp_report(datagram: bytes | None) -> rtcp.Report:
    assert datagram is not None
    first = rtcp.parse(datagram)[0]
    assert isinstance(first, rtcp.Report)
    return first


def test_a_new_leg_has_counted_nothing_and_knows_nothing_of_the_peer(make_leg: MakeLeg) -> None:
    counters = asdict(make_leg().report(Seconds(100)))
    agreed = {
        name: counters.pop(name) for name in ("codec", "codec_in", "local_port", "expected", "remote", "direction")
    }
    assert tuple(agreed.values()) == ("PCMU", "PCMU", 20000, "127.0.0.1:9", "127.0.0.1:9", "sendrecv")
    assert counters.pop("reorder_window_ms") == 60
    unknown = {name for name, value in counters.items() if value == -1}
    assert unknown == {
        *("seen_payload_type", "unexpected_source_ms", "last_packet_ms", "round_trip_ms"),
        *("loss_percent", "peer_loss_percent", "mos", "peer_mos"),
    }
    assert {name: value for name, value in counters.items() if value and name not in unknown} == {}


def test_a_tap_receives_frames_until_it_is_detached(make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp) -> None:
    leg, one, two = make_leg(), make_tap(), make_tap(inbound=False)
    leg.attach(one)
    leg.attach(two)
    leg.inbound.receive(rtp(0), Seconds(101))
    leg.detach(one)
    leg.detach(one)
    leg.inbound.receive(rtp(1), Seconds(101.02))
    assert (len(one.heard), len(two.heard)) == (1, 0)


def test_the_source_is_learned_from_valid_packets_in_a_row(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    leg.receive_from(b"more garbage", UNEXPECTED, Seconds(101))
    leg.receive_from(rtp(0, kind=97), UNEXPECTED, Seconds(101))
    assert leg.source.learned is None
    for n in range(IN_SEQUENCE):
        leg.receive_from(rtp(n), NATTED, Seconds(101))
    leg.receive_from(rtp(0), UNEXPECTED, Seconds(101))
    assert serve(leg, 101.5)
    report = leg.report(Seconds(101.5))
    assert (report.remote, report.remote_learned) == ("198.51.100.7:61234", True)
    assert (report.malformed, report.unknown_payload_type, report.wrong_source, report.packets_in) == (1, 1, 1, 4)


def test_the_signalled_address_takes_over_and_its_stream_starts_at_once(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    leg.receive_from(rtp(500, b"unexpected", ssrc=1), UNEXPECTED, Seconds(101))
    leg.receive_from(rtp(0, b"peer", ssrc=2), PEER, Seconds(101.02))
    assert tap.payloads == [b"peer"]
    assert leg.latched
    assert leg.report(Seconds(101.02)).wrong_source == 1


def test_frames_kept_during_a_trial_keep_their_order_and_arrival_times(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    for n in (0, 2, 1, *range(3, 20)):
        leg.receive_from(rtp(n), NATTED, Seconds(101 + n / 50))
    assert tap.heard == []
    assert serve(leg, 101.5)
    assert [(payload[0], at) for payload, at, _ in tap.heard] == [(n, 1000 + 20 * n) for n in range(20)]
    talk(leg, rtp, NATTED, range(20, 300))
    assert (len(tap.heard), leg.latched) == (300, True)
    report = leg.report(Seconds(108))
    assert (report.lost, report.reordered, report.kept_dropped, report.wrong_source) == (0, 1, 0, 0)


def test_a_tap_that_raises_on_kept_packets_costs_other_taps_no_frame(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("a bug")

    leg, broken, tap = make_leg(), make_tap(), make_tap()
    monkeypatch.setattr(broken, "inbound_frame", fail)
    leg.attach(tap)
    leg.attach(broken)
    for n in range(10):
        leg.receive_from(rtp(n), NATTED, Seconds(101 + n / 50))
    with pytest.raises(OSError, match="a bug"):
        serve(leg, 101.5)
    leg.detach(broken)
    leg.receive_from(rtp(10), NATTED, Seconds(101.52))
    assert [payload[0] for payload in tap.payloads] == list(range(11))


# ---------------------------------------------------------------------- before the answer

UNKNOWN = Endpoint("0.0.0.0", 0)


def test_packets_before_the_answer_are_delivered_after_it(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(replace(params, remote=UNKNOWN, direction=Direction.INACTIVE)), make_tap()
    for n in range(10):
        leg.receive_from(rtp(n), PEER, Seconds(101 + n / 50))
    report = leg.report(Seconds(101.2))
    assert (report.remote, report.packets_in, report.while_on_hold) == ("", 0, 0)
    leg.update(params, Seconds(101.2))
    leg.attach(tap)
    leg.receive_from(rtp(10), PEER, Seconds(101.2))
    assert [(payload[0], at) for payload, at, _ in tap.heard] == [(n, 1000 + 20 * n) for n in range(11)]
    leg.receive_from(rtp(11), PEER, Seconds(101.22))
    assert leg.latched


def test_callee_audio_is_kept_for_a_tap_attached_within_a_second(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(replace(params, remote=UNKNOWN)), make_tap()
    leg.update(params, Seconds(101))
    for n in range(40):
        leg.receive_from(rtp(n), PEER, Seconds(101 + n / 50))
        serve(leg, 101 + n / 50)
    leg.attach(tap)
    serve(leg, 101.79)
    leg.receive_from(rtp(40), PEER, Seconds(101.8))
    assert [payload[0] for payload in tap.payloads] == list(range(41))
    assert leg.latched


def test_of_a_long_wait_for_a_tap_the_last_second_is_kept_and_the_rest_counted(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(replace(params, remote=UNKNOWN)), make_tap()
    for n in range(40):
        leg.receive_from(rtp(n), PEER, Seconds(101 + n / 50))
    leg.update(params, Seconds(101.8))
    for n in range(40, 80):
        serve(leg, 101 + n / 50)
        leg.receive_from(rtp(n), PEER, Seconds(101 + n / 50))
    leg.attach(tap)
    serve(leg, 102.6)
    assert [payload[0] for payload in tap.payloads] == list(range(29, 80))
    report = leg.report(Seconds(102.6))
    assert (report.kept_dropped, report.packets_in) == (29, 51)


def test_without_a_tap_callee_audio_is_not_kept_after_a_second(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(replace(params, remote=UNKNOWN)), make_tap()
    leg.update(params, Seconds(101))
    for n in range(60):
        leg.receive_from(rtp(n), PEER, Seconds(101 + n / 50))
        serve(leg, 101 + n / 50)
    assert leg.latched
    leg.attach(tap)
    leg.receive(rtp(60), Seconds(102.2))
    assert [payload[0] for payload in tap.payloads] == [60]
    assert leg.report(Seconds(102.2)).packets_in == 61


def test_a_call_that_ends_before_its_answer_delivers_nothing_and_counts_all(
    make_leg: MakeLeg, params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg(replace(params, remote=UNKNOWN))
    for n in range(10):
        leg.receive_from(rtp(n), PEER, Seconds(101 + n / 50))
    leg.close(Seconds(102))
    report = leg.report(Seconds(102))
    assert (report.packets_in, report.wrong_source, report.kept_dropped) == (0, 0, 10)


def test_rtcp_before_the_answer_and_during_a_trial_is_kept_like_rtp(
    make_leg: MakeLeg, params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg(replace(params, remote=UNKNOWN))
    plain = rtcp.build(rtcp.Report(Ssrc(7)), "p")
    leg.receive_rtcp(plain, (NATTED[0], NATTED[1] + 1), Seconds(101))
    leg.receive_rtcp(plain, UNEXPECTED, Seconds(101))
    for n in range(IN_SEQUENCE):
        leg.receive_from(rtp(n), NATTED, Seconds(101))
    leg.update(params, Seconds(101.1))
    serve(leg, 101.1)
    leg.receive_rtcp(plain, (NATTED[0], NATTED[1] + 1), Seconds(101.2))
    report = leg.report(Seconds(101.2))
    assert (report.rtcp_in, report.wrong_source, report.remote) == (0, 0, "127.0.0.1:9")
    assert serve(leg, 101.6)
    report = leg.report(Seconds(101.6))
    assert (report.rtcp_in, report.wrong_source, report.unexpected_source) == (2, 1, "203.0.113.9:5555")
    assert leg.rtcp_destination == (NATTED[0], NATTED[1] + 1)


def test_rtcp_before_the_answer_is_bounded(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(replace(params, remote=UNKNOWN))
    for _ in range(100):
        leg.receive_rtcp(b"junk", PEER, Seconds(101))
    assert leg.report(Seconds(101)).kept_dropped == 100 - RTCP_KEPT
    leg.close(Seconds(102))
    assert leg.report(Seconds(102)).kept_dropped == 100


# ---------------------------------------------------------------------- during the call

EARLIER = 300
"""Packets before the first of a test: the trial and the probation of their source."""


def talk(leg: Leg, rtp: Rtp, address: tuple[str, int], numbers: range, ssrc: int = 7, kind: int = 0) -> None:
    """Packet n at 101 + n / 50 s, the leg's timers served. Sockets are as the engine has them."""
    for n in numbers:
        now = Seconds(101 + n / 50)
        serve(leg, now)
        if address == leg.source.learned and leg.latched:
            leg.receive(rtp(n, ssrc=ssrc, kind=kind), now)
        else:
            leg.receive_from(rtp(n, ssrc=ssrc, kind=kind), address, now)


@pytest.mark.parametrize("between", [Direction.INACTIVE, Direction.SENDRECV], ids=["a hold", "nothing new"])
def test_after_signalling_the_peer_is_received_from_another_port(
    between: Direction, make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap, moved = make_leg(), make_tap(), (NATTED[0], 999)
    leg.attach(tap)
    talk(leg, rtp, NATTED, range(-EARLIER, 50))
    assert leg.latched
    leg.update(replace(params, direction=between), Seconds(102))
    assert not leg.latched
    leg.update(params, Seconds(102.5))
    leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(7)), "p"), (NATTED[0], 4444), Seconds(102.5))
    talk(leg, rtp, moved, range(75, 125), ssrc=9)
    assert leg.rtcp_destination == (moved[0], moved[1] + 1)
    assert [payload[0] for payload in tap.payloads[EARLIER:]] == [*range(50), *range(75, 125)]
    assert leg.source.destination == moved
    assert leg.report(Seconds(104)).wrong_source == 0


def test_a_refresh_leaves_a_peer_that_goes_on_undisturbed(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    talk(leg, rtp, NATTED, range(-EARLIER, 50))
    leg.update(params, Seconds(102))
    for n in range(50, 200):
        talk(leg, rtp, NATTED, range(n, n + 1))
        if not leg.latched:
            leg.receive_from(rtp(n, b"unexpected", ssrc=9), UNEXPECTED, Seconds(101 + n / 50))
    assert [payload[0] for payload in tap.payloads[EARLIER:]] == list(range(200))
    report = leg.report(Seconds(105))
    assert (report.restarts, report.lost, leg.latched) == (0, 0, True)
    assert report.wrong_source + report.kept_dropped == 100


def test_no_source_takes_over_during_a_hold_and_the_peer_resumes(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    talk(leg, rtp, NATTED, range(-EARLIER, 50))
    leg.update(replace(params, direction=Direction.INACTIVE), Seconds(102))
    talk(leg, rtp, UNEXPECTED, range(50, 500), ssrc=9)
    assert leg.source.destination == NATTED
    leg.update(params, Seconds(111))
    talk(leg, rtp, NATTED, range(500, 600))
    assert [payload[0] for payload in tap.payloads[EARLIER:]] == [n & 0xFF for n in [*range(50), *range(500, 600)]]
    assert leg.source.destination == NATTED


def test_without_signalling_a_stream_that_moves_is_accepted(make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp) -> None:
    leg, tap, moved = make_leg(), make_tap(), (NATTED[0], 999)
    leg.attach(tap)
    talk(leg, rtp, NATTED, range(-EARLIER, 50))
    talk(leg, rtp, moved, range(100, 300))  # in the first second of silence the kernel drops them
    assert [payload[0] for payload in tap.payloads[EARLIER:]] == [n & 0xFF for n in [*range(50), *range(100, 300)]]
    assert leg.source.destination == moved
    report = leg.report(Seconds(107))
    assert (report.lost, report.restarts, report.wrong_source) == (50, 0, 0)


@pytest.mark.parametrize(
    ("wrong", "strict", "after"),
    [
        ({"ssrc": 9}, False, 3.0),
        ({"kind": 13}, False, 3.0),
        ({"kind": 101}, False, 3.0),
        ({"n": 49}, False, 3.0),
        ({"n": 40}, False, 3.0),
        ({"n": 5000}, False, 3.0),
        ({"n": 49 + 100 + 300 + 1}, False, 3.0),
        ({}, False, 1.9),
        ({}, True, 3.0),
    ],
    ids=[
        "another SSRC", "comfort noise", "an event", "the same sequence", "an earlier sequence", "a jump",
        "more packets than fit", "too short a silence", "strict_source",
    ],
)  # fmt: skip
def test_without_signalling_other_sources_are_refused(
    wrong: dict[str, int], strict: bool, after: float, make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    leg, tap = make_leg(settings=MediaSettings(strict_source=strict)), make_tap()
    leg.attach(tap)
    source = PEER if strict else NATTED
    talk(leg, rtp, source, range(-EARLIER, 50))
    last, moved = 101.98, (NATTED[0], 999)
    packet = {"n": 100, "ssrc": 7, "kind": 0} | wrong
    leg.receive_from(rtp(packet["n"], ssrc=packet["ssrc"], kind=packet["kind"]), moved, Seconds(last + after))
    assert leg.source.learned == source
    leg.receive_from(rtp(50), source, Seconds(last + after + 0.02))
    assert len(tap.heard) == EARLIER + 51
    assert leg.report(Seconds(106)).wrong_source == 1


def test_while_the_source_sends_the_same_stream_from_elsewhere_is_refused(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    talk(leg, rtp, NATTED, range(50))
    for n in range(50, 250):
        leg.receive_from(rtp(n), NATTED, Seconds(101 + n / 50))
        leg.receive_from(rtp(n + 1, b"unexpected"), UNEXPECTED, Seconds(101.01 + n / 50))
    assert b"unexpected" not in tap.payloads
    assert (len(tap.heard), leg.source.destination) == (250, NATTED)


def test_a_changed_address_starts_a_new_stream_at_once(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    leg.receive_from(rtp(0), PEER, Seconds(101))
    leg.update(replace(params, remote=Endpoint("127.0.0.2", 4000)), Seconds(102))
    leg.receive_from(rtp(1), PEER, Seconds(102))
    leg.receive_from(rtp(9000, ssrc=3), ("127.0.0.2", 4000), Seconds(102))
    assert [payload[0] for payload in tap.payloads] == [0, 9000 & 0xFF]
    assert leg.report(Seconds(102)).wrong_source == 1


def test_a_signalled_address_that_speaks_late_takes_over_within_a_look_interval(
    make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp
) -> None:
    """A source that was never signalled streams from before the peer's first packet on, for as long as it likes."""
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    talk(leg, rtp, UNEXPECTED, range(500), ssrc=9)
    assert leg.latched
    for n in range(500, 800):
        talk(leg, rtp, UNEXPECTED, range(n, n + 1), ssrc=9)
        if not leg.latched:  # else the kernel drops them
            leg.receive_from(rtp(n, b"peer", ssrc=7), PEER, Seconds(101.01 + n / 50))
    assert leg.source.destination == PEER
    assert b"peer" in tap.payloads
    report = leg.report(Seconds(200))
    assert (report.unexpected_source, report.remote) == ("203.0.113.9:5555", "127.0.0.1:9")


def test_a_look_is_short_and_rare(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    talk(leg, rtp, NATTED, range(EARLIER))
    unlatched = 0
    for n in range(EARLIER, EARLIER + 1000):
        talk(leg, rtp, NATTED, range(n, n + 1))
        unlatched += not leg.latched
    assert 3 * 4 <= unlatched <= 4 * 6, "of 1000 packets in 20 s"


# ---------------------------------------------------------------------- a caller before its ACK


def sends(leg: Leg, start: float, end: float) -> list[bytes]:
    """What goes to the peer, as the engine asks for it."""
    sent = []
    for n in range(round(start * 50), round(end * 50)):
        if leg.deadline <= n / 50:
            leg.handle_timer(Seconds(n / 50))
        packet = leg.next_packet()
        sent += [packet] if packet is not None else []
    return sent


def test_a_caller_gets_ten_packets_and_no_rtcp_before_its_ack_and_then_the_rest(
    make_leg: MakeLeg, make_tap: MakeTap
) -> None:
    leg, tap = make_leg(confirmed=False), make_tap(plays=True)
    assert sends(leg, 101, 102) == []
    tap.to_play = [bytes([n]) * 160 for n in range(30)]
    leg.attach(tap)
    assert [packet[12] for packet in sends(leg, 102, 140)] == list(range(UNCONFIRMED_PACKETS))
    assert leg.report_due(Seconds(140)) is None
    leg.confirm(Seconds(140))
    leg.confirm(Seconds(140))
    assert [packet[12] for packet in sends(leg, 140, 141)] == [*range(UNCONFIRMED_PACKETS, 30), *[0xFF] * 30]
    assert leg.report_due(Seconds(150)) is not None


def test_a_caller_gets_no_silence_after_its_ack_either_if_none_is_to_be_sent(make_leg: MakeLeg) -> None:
    leg = make_leg(settings=MediaSettings(send_silence=False), confirmed=False)
    leg.confirm(Seconds(101))
    assert sends(leg, 101, 102) == []


def test_a_caller_that_begins_on_hold_is_learned_when_it_resumes(
    make_leg: MakeLeg, params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg(replace(params, direction=Direction.INACTIVE))
    talk(leg, rtp, UNEXPECTED, range(100))
    assert leg.source.learned is None
    leg.update(params, Seconds(103))
    talk(leg, rtp, NATTED, range(150, 250))
    assert leg.source.learned == NATTED


def test_a_key_of_ours_to_a_caller_before_its_ack_counts(make_leg: MakeLeg) -> None:
    leg = make_leg(confirmed=False)
    leg.outbound.send_dtmf("123456789")
    assert len(sends(leg, 101, 110)) == UNCONFIRMED_PACKETS


def test_a_caller_without_ack_that_hangs_up_gets_no_rtcp(make_leg: MakeLeg) -> None:
    assert make_leg(confirmed=False).close(Seconds(101)) is None


def test_rtp_from_a_callers_address_confirms_it(make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp) -> None:
    leg, tap = make_leg(confirmed=False), make_tap()
    leg.attach(tap)
    leg.receive_from(rtp(0), PEER, Seconds(101))
    assert (len(tap.heard), leg.latched) == (1, True)
    assert len(sends(leg, 101.02, 102.02)) == 50


def test_the_audio_of_a_caller_behind_a_nat_is_kept_for_its_ack(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, rtp: Rtp
) -> None:
    leg, tap = make_leg(replace(params, remote=Endpoint("192.168.1.20", 4000)), confirmed=False), make_tap()
    leg.attach(tap)
    for n in range(20):
        leg.receive_from(rtp(n), ("8.8.8.8", 4000), Seconds(101 + n / 50))
        serve(leg, 101 + n / 50)
    leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(7)), "p"), ("8.8.8.8", 4001), Seconds(101.4))
    assert (tap.heard, leg.source.destination) == ([], ("192.168.1.20", 4000))
    leg.confirm(Seconds(101.4))
    serve(leg, 101.4)
    assert [payload[0] for payload in tap.payloads] == list(range(20))
    assert leg.source.destination == ("8.8.8.8", 4000)
    report = leg.report(Seconds(102))
    assert (report.lost, report.kept_dropped, report.wrong_source, report.rtcp_in) == (0, 0, 0, 1)


# ---------------------------------------------------------------------- silence

FIVE = MediaSettings(silence_timeout=5, rtcp_interval=1000)


def silences(leg: Leg, start: float, end: float) -> list[float]:
    """When the leg reports silence; its timers are served as by the engine."""
    said = []
    now = start
    while now < end:
        if leg.deadline <= now and leg.handle_timer(Seconds(now)) == SilenceDetected(LegId(1), Seconds(5)):
            said.append(round(now, 1))
        now += 0.1
    return said


def test_silence_from_the_start_is_reported_once(make_leg: MakeLeg) -> None:
    assert silences(make_leg(settings=FIVE), 100.0, 120.0) == [pytest.approx(105.0, abs=0.11)]


def test_silence_counts_from_the_last_packet_and_is_reported_each_time(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg(settings=FIVE)
    leg.inbound.receive(rtp(0), Seconds(103.0))
    assert silences(leg, 103.0, 115.0) == [pytest.approx(108.0, abs=0.11)]
    leg.inbound.receive(rtp(1), Seconds(115.0))
    assert silences(leg, 115.0, 130.0) == [pytest.approx(120.0, abs=0.11)]


@pytest.mark.parametrize("heard", [None, 101.0])
def test_a_pause_of_our_own_is_no_silence(make_leg: MakeLeg, rtp: Rtp, heard: float | None) -> None:
    leg = make_leg(settings=FIVE)
    if heard is not None:
        leg.inbound.receive(rtp(0), Seconds(heard))
    leg.held_up(14_000, 20)
    since = (heard or 100.0) + 14
    assert silences(leg, 115.0, 130.0) == [pytest.approx(since + 5, abs=0.11)]


def test_a_held_call_may_be_silent_and_its_timeout_restarts_after_hold(make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(settings=FIVE)
    leg.update(replace(params, direction=Direction.SENDONLY), Seconds(101))
    assert silences(leg, 101.0, 120.0) == []
    leg.update(params, Seconds(120))
    assert silences(leg, 120.0, 130.0) == [pytest.approx(125.0, abs=0.11)]


def test_silence_is_not_reported_when_disabled_or_before_the_peer_is_known(
    make_leg: MakeLeg, params: MediaParams
) -> None:
    assert silences(make_leg(settings=FIVE.model_copy(update={"silence_timeout": 0})), 100.0, 120.0) == []
    leg = make_leg(replace(params, remote=Endpoint("0.0.0.0", 0)), FIVE)
    assert silences(leg, 100.0, 120.0) == []
    leg.update(params, Seconds(120))
    assert silences(leg, 120.0, 130.0) == [pytest.approx(125.0, abs=0.11)]


# ---------------------------------------------------------------------- RTCP


def test_reports_go_out_at_the_interval_as_sender_only_when_something_was_sent(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    assert leg.report_due(Seconds(104.9)) is None
    assert rtcp_report(leg.report_due(Seconds(105))).sent is None
    leg.outbound.next_packet()
    leg.inbound.receive(rtp(0), Seconds(105.5))
    leg.inbound.receive(rtp(2), Seconds(105.54))
    report = rtcp_report(leg.report_due(Seconds(110)))
    assert report.sent is not None
    assert (report.sent.packets, report.sent.octets) == (1, 160)
    assert report.sent.timestamp == leg.outbound.timestamp
    block = report.blocks[0]
    assert (block.ssrc, block.cumulative_lost, block.fraction_lost, block.highest_sequence) == (7, 1, 85, 2)
    assert leg.report_due(Seconds(111)) is None


def test_legs_opened_together_report_at_different_times(make_leg: MakeLeg) -> None:
    first, last = make_leg(phase=0), make_leg(phase=255)
    assert first.report_due(Seconds(102.6)) is not None
    assert last.report_due(Seconds(104.9)) is None
    assert last.report_due(Seconds(105)) is not None


def test_a_leg_sends_bye_unless_it_has_no_peer(make_leg: MakeLeg, params: MediaParams) -> None:
    goodbye = make_leg().close(Seconds(101))
    assert goodbye is not None
    assert isinstance(rtcp.parse(goodbye)[-1], rtcp.Bye)
    assert make_leg(replace(params, remote=Endpoint("0.0.0.0", 0))).close(Seconds(101)) is None


def test_closing_delivers_held_frames(make_leg: MakeLeg, make_tap: MakeTap, rtp: Rtp) -> None:
    waiting: set[LegId] = set()
    leg, tap = make_leg(waiting=waiting), make_tap()
    leg.attach(tap)
    leg.inbound.receive(rtp(0), Seconds(101))
    leg.inbound.receive(rtp(2), Seconds(101.04))
    leg.inbound.close()
    leg.close(Seconds(101.05))
    assert [missing for _, _, missing in tap.heard] == [0, 1]
    assert waiting == set()


def test_the_peers_reports_give_round_trip_time_and_its_loss(make_leg: MakeLeg) -> None:
    leg = make_leg()
    leg.outbound.next_packet()
    ours = rtcp_report(leg.report_due(Seconds(105)))
    assert ours.sent is not None
    block = rtcp.ReportBlock(ours.ssrc, 0, 4, 0, 80, rtcp.middle(ours.sent.ntp), 65536)
    leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(7), (block,)), "p"), ("127.0.0.1", 10), Seconds(106.05))
    report = leg.report(Seconds(107))
    assert report.round_trip_ms == pytest.approx(50, abs=0.1)
    assert (report.peer_lost, report.peer_jitter_ms, report.rtcp_in) == (4, 10.0, 1)


def test_rtcp_is_answered_to_its_source_and_unexpected_sources_are_refused(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    assert leg.rtcp_destination == ("127.0.0.1", 10)
    plain = rtcp.build(rtcp.Report(Ssrc(7)), "p")
    leg.receive_rtcp(plain, UNEXPECTED, Seconds(101))
    leg.receive_rtcp(b"more junk", ("127.0.0.1", 4444), Seconds(101))
    leg.receive_rtcp(plain, ("127.0.0.1", 4444), Seconds(101))
    assert leg.rtcp_destination == ("127.0.0.1", 10)
    leg.receive_from(rtp(0, ssrc=7), PEER, Seconds(101))
    leg.receive_rtcp(plain, ("127.0.0.1", 4444), Seconds(101))
    assert leg.rtcp_destination == ("127.0.0.1", 4444)
    report = leg.report(Seconds(102))
    assert (report.wrong_source, report.rtcp_malformed, report.rtcp_in) == (1, 1, 2)


def test_rtcp_on_our_ssrc_from_another_port_is_the_peers(make_leg: MakeLeg) -> None:
    leg = make_leg()
    blocks = [rtcp.ReportBlock(Ssrc(ssrc), 0, 0, 0, 0, 0, 0) for ssrc in (1, leg.outbound.ssrc)]
    for block, destination in zip(blocks, (10, 4444), strict=True):
        leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(9), (block,)), "p"), ("127.0.0.1", 4444), Seconds(101))
        assert leg.rtcp_destination == ("127.0.0.1", destination)


def test_the_expected_source_of_rtcp_takes_over_and_keeps_its_place(make_leg: MakeLeg, rtp: Rtp) -> None:
    leg = make_leg()
    leg.receive_from(rtp(0, ssrc=7), PEER, Seconds(101))
    for port, ssrc, destination in ((4444, 7, 4444), (4445, 7, 4445), (10, 99, 10), (4444, 7, 10)):
        leg.receive_rtcp(rtcp.build(rtcp.Report(Ssrc(ssrc)), "p"), ("127.0.0.1", port), Seconds(101))
        assert leg.rtcp_destination == ("127.0.0.1", destination)


@pytest.mark.parametrize("mux", [False, True], ids=["two ports", "one port"])
def test_strict_takes_rtcp_from_the_signalled_address_only(mux: bool, make_leg: MakeLeg, params: MediaParams) -> None:
    leg = make_leg(replace(params, rtcp_mux=mux), MediaSettings(strict_source=True))
    block = rtcp.ReportBlock(leg.outbound.ssrc, 0, 0, 0, 0, 0, 0)
    report = rtcp.build(rtcp.Report(Ssrc(7), (block,)), "p")
    for port in (9, 10, 11):
        leg.receive_rtcp(report, ("127.0.0.1", port), Seconds(101))
    counters = leg.report(Seconds(102))
    assert (counters.rtcp_in, counters.wrong_source) == (1, 2)
    leg.receive_rtcp(report, ("127.0.0.1", 9 if mux else 10), Seconds(102))
    assert leg.report(Seconds(102)).rtcp_in == 2
    assert leg.rtcp_destination == ("127.0.0.1", 10)


def test_rtcp_goes_where_sdp_says_until_another_source_is_learned(
    make_leg: MakeLeg, params: MediaParams, rtp: Rtp
) -> None:
    leg = make_leg(replace(params, remote_rtcp=Endpoint("127.0.0.1", 3000)))
    assert leg.rtcp_destination == ("127.0.0.1", 3000)
    for n in range(IN_SEQUENCE):
        leg.receive_from(rtp(n), NATTED, Seconds(101))
    assert serve(leg, 101.5)
    assert leg.rtcp_destination == ("198.51.100.7", 61235)


def test_rtcp_on_the_rtp_port_is_received_when_multiplexed(make_leg: MakeLeg, params: MediaParams) -> None:
    datagram = rtcp.build(rtcp.Report(Ssrc(7), (), rtcp.SenderInfo(1 << 40, RtpTime(1), 2, 3)), "p")
    leg = make_leg(replace(params, rtcp_mux=True))
    leg.receive_from(datagram, PEER, Seconds(101))
    leg.inbound.receive(datagram, Seconds(101))
    leg.receive_from(datagram, UNEXPECTED, Seconds(101))
    report = leg.report(Seconds(102))
    assert (report.rtcp_in, report.malformed, report.packets_in, report.wrong_source) == (2, 0, 0, 1)
    assert not report.remote_learned


def test_a_report_travels_as_plain_values(make_leg: MakeLeg) -> None:
    report = make_leg().report(Seconds(101))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=LegReport) == report
    assert {type(value) for value in asdict(report).values()} <= {int, float, str, bool}
    assert (report.local_port, report.duration_ms, report.last_packet_ms) == (20000, 1000.0, -1.0)


class HeldUp(BaseTap):
    """Notes delays of the clock."""

    def __init__(self, *, plays: bool) -> None:
        self.plays = plays
        self.delays: list[tuple[int, int, int]] = []

    def held_up(self, at: int, skipped: int, late: int) -> None:
        self.delays.append((at, skipped, late))


def test_who_plays_learns_of_a_delay_of_the_clock(make_leg: MakeLeg) -> None:
    leg = make_leg()
    plays, listens = HeldUp(plays=True), HeldUp(plays=False)
    leg.attach(plays)
    leg.attach(listens)
    leg.next_packet()
    leg.held_up(40, 20)
    assert (plays.delays, listens.delays) == ([(20, 40, 20)], [])
    assert leg.report(Seconds(101)).skipped_ms == 40
    leg.held_up(0, 60)
    assert plays.delays[1:] == [(60, 0, 60)]


def test_a_change_of_a_codec_or_the_packet_time_is_announced(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams
) -> None:
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    for changed in (replace(params, remote=Endpoint("127.0.0.1", 19)), replace(params, direction=Direction.RECVONLY)):
        leg.update(changed, Seconds(101))
    assert tap.changes == [("PCMU", 20)]
    leg.update(replace(params, ptime=30), Seconds(102))
    leg.update(replace(params, codec="PCMA", payload_type=8), Seconds(103))
    assert tap.changes == [("PCMU", 20), ("PCMU", 30), ("PCMA", 20)]
