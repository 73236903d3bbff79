"""The timeline of a peer whose RTP clock is right, wrong, or jumps: it follows real time, and never runs backwards."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.config import MediaSettings
from trunkline.ids import LegId, PayloadType, RtpTime, Seconds, Ssrc
from trunkline.media.audio.recorder import Recorder
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp.clock import Clock
from trunkline.media.rtp.packet import RtpPacket, build
from trunkline.sdp.values import Endpoint, MediaParams

AHEAD_MS = 250
FIRM = 10
FOLLOW_EVERY = 256
FORGIVEN = 50
GAP_MS = 200
LATER_MS = 100
SHORT_MS = 60
WINDOW = 32

if TYPE_CHECKING:
    from media.conftest import RecordingTap

T0 = 100.0
MakeLeg = Callable[..., Leg]
MakeTap = Callable[..., "RecordingTap"]


@dataclass
class Peer:
    """Sends in real time, with an RTP clock that may be wrong."""

    step: int = 160
    """By how much the timestamp grows with each packet."""
    payload: bytes = b"\x55" * 160
    ptime: float = 20
    speed: float = 1.0
    """Of the timestamp in pauses."""
    kind: int = 0
    jitter: float = 0.0
    """Milliseconds that packets may be late, without overtaking each other."""
    sequence: int = 0
    stamp: int = 50_000
    ssrc: int = 7
    at: float = 1000.0
    """When it sends the next one, in ms since the leg opened."""
    sent: list[float] = field(default_factory=list)
    """When it has sent each."""
    _chance: random.Random = field(default_factory=lambda: random.Random(5))
    _arrived: float = 0.0

    def talk(self, count: int) -> Iterator[tuple[Seconds, bytes]]:
        """`count` packets, each with its time of arrival."""
        for _ in range(count):
            self._arrived = max(self._arrived + 0.01, self.at + self._chance.uniform(0, self.jitter))
            yield Seconds(T0 + self._arrived / 1000), self.packet()
            self.sent.append(self.at)
            self.at += self.ptime
            self.stamp += self.step
            self.sequence += 1

    def packet(self) -> bytes:
        stamp = RtpTime(self.stamp & 0xFFFFFFFF)
        return build(
            RtpPacket(PayloadType(self.kind), False, self.sequence & 0xFFFF, stamp, Ssrc(self.ssrc), self.payload)
        )

    def pause(self, milliseconds: float) -> None:
        """Send nothing, as with silence suppression: the sequence number stays."""
        self.at += milliseconds
        self.stamp += round(milliseconds * 8 * self.speed)


def receive(leg: Leg, packets: Iterable[tuple[Seconds, bytes]]) -> None:
    for now, packet in packets:
        leg.inbound.receive(packet, now)


def off(tap: "RecordingTap", peer: Peer) -> list[float]:
    """The milliseconds from the sending of each frame to its time on the timeline, which must increase."""
    times = [at for _, at, _ in tap.heard]
    assert len(times) == len(peer.sent)
    assert all(later > earlier for earlier, later in pairwise(times))
    return [at - sent for at, sent in zip(times, peer.sent, strict=True)]


WRONG = {
    "right": Peer(),
    "twice too fast, as G.722 at 16 kHz": Peer(step=320, speed=2),
    "six times too fast": Peer(step=960, speed=6),
    "half": Peer(step=80, speed=0.5),
    "standing still": Peer(step=0, speed=0),
    "running backwards": Peer(step=-160, speed=-1),
    "counting packets": Peer(step=1, speed=0),
    "20 % fast": Peer(step=192, speed=1.2),
    "10 ms": Peer(step=80, payload=bytes(80), ptime=10),
    "10 ms, twice too fast": Peer(step=160, payload=bytes(80), ptime=10, speed=2),
    "33 ms": Peer(step=264, payload=bytes(264), ptime=33),
    "60 ms, twice too fast": Peer(step=960, payload=bytes(480), ptime=60, speed=2),
    "four bytes more than are counted": Peer(payload=bytes(164)),
}


@pytest.mark.parametrize("jitter", [0, 8, 40])
@pytest.mark.parametrize("peer", WRONG.values(), ids=WRONG)
def test_frame_times_follow_real_time_whatever_the_clock(
    make_leg: MakeLeg, make_tap: MakeTap, peer: Peer, jitter: float
) -> None:
    peer = replace(peer, jitter=jitter, sent=[])
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    receive(leg, peer.talk(1500))
    offs = off(tap, peer)
    # What a wrong clock added before it was rejected is corrected.
    assert max(map(abs, offs)) <= jitter + FIRM * 20
    assert max(map(abs, offs[100:])) <= jitter + 25
    if not jitter:
        assert max(map(abs, offs)) <= 4
    assert leg.report(Seconds(T0 + 60)).jitter_ms <= max(jitter, 1)


@pytest.mark.parametrize("jitter", [0, 15])
@pytest.mark.parametrize("step", [0, 80, 320, 960])
def test_a_clock_that_becomes_wrong_in_mid_stream_and_right_again(
    make_leg: MakeLeg, make_tap: MakeTap, step: int, jitter: float
) -> None:
    peer = Peer(jitter=jitter)
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    for each in (160, step, 160):
        peer.step = each
        receive(leg, peer.talk(300))
    offs = off(tap, peer)
    assert max(map(abs, offs)) <= jitter + FIRM * 20
    assert max(map(abs, offs[400:])) <= jitter + 25


@pytest.mark.parametrize("jitter", [0, 20])
@pytest.mark.parametrize("pause", [40, 100, 400, 900, 3000, 60_000])
def test_with_a_right_clock_gaps_are_as_long_as_the_pauses(
    make_leg: MakeLeg, make_tap: MakeTap, pause: float, jitter: float
) -> None:
    peer = Peer(jitter=jitter)
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    receive(leg, peer.talk(60))
    for _ in range(8):
        peer.pause(pause)
        receive(leg, peer.talk(75))
    offs = off(tap, peer)
    # After more than a second of silence the clock may have jumped: the first packet decides.
    assert max(offs) - min(offs) <= (4 if pause < 1000 else jitter + 4)


@pytest.mark.parametrize("jitter", [0, 15])
@pytest.mark.parametrize("speed", [0, 0.5, 2, 6])
def test_with_a_wrong_clock_the_arrivals_show_the_pauses(
    make_leg: MakeLeg, make_tap: MakeTap, speed: float, jitter: float
) -> None:
    peer = Peer(step=round(160 * speed), speed=speed, jitter=jitter)
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    for pause in (0, 300, 700, 2000, 500):
        peer.pause(pause)
        receive(leg, peer.talk(100))
    offs = off(tap, peer)
    assert max(map(abs, offs)) <= jitter + FIRM * 20
    assert max(map(abs, offs[50:])) <= jitter + 30


def test_a_clock_that_stops_in_pauses_is_corrected(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    """As with senders whose timestamps count only what they send: they look right, but packets arrive later."""
    peer = Peer(speed=0)
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    for pause in (0, 120, 350, 1500):
        peer.pause(pause)
        receive(leg, peer.talk(64))
    assert max(map(abs, off(tap, peer)[-20:])) <= 4


def test_short_pauses_of_a_clock_that_was_right_are_exact_in_any_jitter(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    peer = Peer(jitter=35)
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    receive(leg, peer.talk(60))
    for _ in range(20):
        peer.pause(20)
        receive(leg, peer.talk(60))
    offs = off(tap, peer)
    assert max(offs) - min(offs) <= 20  # by `STEP_MS` in five seconds


@pytest.mark.parametrize("jump", [-4_000_000_000, -900_000, -8000, -800, 900, 8000, 24_000, 900_000, 2_000_000_000])
def test_a_jump_of_the_clock_alone_is_no_pause(make_leg: MakeLeg, make_tap: MakeTap, jump: int) -> None:
    peer = Peer()
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    for _ in range(6):
        receive(leg, peer.talk(20))
        peer.stamp += jump
    assert set(off(tap, peer)) == {0.0}
    assert leg.report(Seconds(T0 + 9)).restarts == 0


@pytest.mark.parametrize("skip", [1, 5, 19, 20, 500, 4000])
def test_a_sequence_that_skips_alone_is_no_pause_and_what_is_lost_is(
    make_leg: MakeLeg, make_tap: MakeTap, skip: int
) -> None:
    for lost in (False, True):
        peer, waiting = Peer(), set[LegId]()
        leg, tap = make_leg(waiting=waiting), make_tap()
        leg.attach(tap)
        for _ in range(4):
            receive(leg, peer.talk(60))
            peer.sequence += skip
            if lost:
                peer.at, peer.stamp = peer.at + skip * 20, peer.stamp + skip * 160
        assert set(off(tap, peer)) == {0.0}
        lost_packets = leg.report(Seconds(T0 + 1000)).lost
        assert lost_packets == (3 * skip if lost and skip < 3000 else 3 * skip if skip < 20 else 0)


def test_a_stall_of_the_network_is_no_pause(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    peer = Peer()
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    receive(leg, peer.talk(60))
    stalled = list(peer.talk(30))
    receive(leg, [(stalled[-1][0], packet) for _, packet in stalled])
    receive(leg, peer.talk(200))
    assert set(off(tap, peer)) == {0.0}


def test_a_late_first_packet_shifts_the_timeline_only_briefly(make_leg: MakeLeg, make_tap: MakeTap) -> None:
    peer = Peer()
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    late = list(peer.talk(20))
    receive(leg, [(late[-1][0], packet) for _, packet in late])
    receive(leg, peer.talk(200))
    offs = off(tap, peer)
    assert offs[0] == 380
    assert abs(offs[-1]) <= 1
    assert all(later - earlier >= -10 for earlier, later in pairwise(offs)), "half the pace at least"
    assert AHEAD_MS < 380


@pytest.mark.parametrize("step", [160, 320, 480, 960, 2880])
def test_opus_durations_come_from_the_packets(
    make_leg: MakeLeg, make_tap: MakeTap, params: MediaParams, step: int
) -> None:
    leg, tap = make_leg(replace(params, codec="OPUS", payload_type=111)), make_tap()
    leg.attach(tap)
    peer = Peer(step=step, payload=b"\x08" + bytes(30), kind=111)
    receive(leg, peer.talk(200))
    assert max(map(abs, off(tap, peer))) <= 4
    peer.payload = b"\x10" + bytes(30)  # 40 ms (RFC 6716 section 3.1)
    peer.ptime, peer.step = 40, 2 * step
    receive(leg, peer.talk(200))
    assert max(map(abs, off(tap, peer))) <= 25


def test_a_new_ssrc_in_mid_speech_leaves_no_gap_and_one_after_a_pause_does(
    make_leg: MakeLeg, make_tap: MakeTap
) -> None:
    peer = Peer()
    leg, tap = make_leg(), make_tap()
    leg.attach(tap)
    for ssrc, pause in ((8, 0), (9, 30), (10, 0), (11, 500)):
        receive(leg, peer.talk(50))
        peer.ssrc, peer.sequence, peer.stamp = ssrc, peer.sequence + 20_000, peer.stamp + 7_000_000 * ssrc
        peer.at += pause
    receive(leg, peer.talk(50))
    offs = off(tap, peer)
    assert min(offs) >= -30
    assert max(offs[-50:]) == 0, "500 ms are not to be overheard"
    assert leg.report(Seconds(T0 + 9)).restarts == 4


def recording(leg: Leg, packets: list[tuple[Seconds, bytes]], seconds: float) -> bytes:
    """The first channel of what a recorder makes of it, 8000 samples of 16 bits a second."""
    blocks: list[bytes] = []
    recorder = Recorder(
        1, max_length=0, silence=0, loud=-40, finish_on="", on_block=blocks.append, on_over=lambda why, key: None
    )
    leg.attach(recorder)
    for n in range(round(seconds * 50)):
        now = T0 + n * 0.02
        while packets and packets[0][0] <= now:
            at, packet = packets.pop(0)
            leg.inbound.receive(packet, at)
        leg.outbound.next_packet()
    leg.detach(recorder)
    recorder.finish()
    return b"".join(blocks)


def silent_ms(pcm: bytes) -> int:
    return sum(pcm[n : n + 16] == bytes(16) for n in range(0, len(pcm), 16))


@pytest.mark.parametrize("peer", WRONG.values(), ids=WRONG)
def test_a_recording_of_any_clock_has_no_holes_and_real_length(make_leg: MakeLeg, peer: Peer) -> None:
    peer = replace(peer, sent=[], payload=b"\x55" * len(peer.payload))
    pcm = recording(make_leg(), list(peer.talk(round(6000 / peer.ptime))), 7)
    assert len(pcm) == 7 * 16_000
    speech = pcm[16 * 1000 :]
    assert silent_ms(speech) <= 20
    assert silent_ms(pcm[: 16 * 1000]) >= 980


@pytest.mark.parametrize("speed", [0, 1, 2])
def test_a_recording_keeps_pauses_whatever_the_clock(make_leg: MakeLeg, speed: float) -> None:
    peer = Peer(step=round(160 * speed), speed=speed)
    packets = list(peer.talk(100))
    peer.pause(1500)
    packets += peer.talk(100)
    pcm = recording(make_leg(), packets, 6.5)
    assert abs(silent_ms(pcm) - (1000 + 1500)) <= 20
    assert abs(silent_ms(pcm[16 * 3000 : 16 * 4500]) - 1500) <= 20


LENGTHS = st.sampled_from([0, 1, 80, 160, 240, 480, 1000])
STAMPS = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 4000), st.just(0))


@given(st.lists(st.tuples(LENGTHS, STAMPS, st.floats(0, 3), st.sampled_from([1, 1, 1, 2, 30_000]))), st.booleans())
@example(  # a step of -1 where the clock is new
    [(0, 1, 2.375, 1), *3 * [(0, 0, 0.0, 1)], (0, 0, 2.0, 1), (0, 0, 2.593864559253734, 1), *2 * [(1, 0, 0.0, 1)],
     (0, 4294967295, 0.0, 1), (1, 0, 0.0, 1)],
    True,
)  # fmt: skip
def test_time_never_runs_backwards(packets: list[tuple[int, int, float, int]], codecs: bool) -> None:
    from media.conftest import RecordingTap

    params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", 9))
    leg = Leg(LegId(1), params, MediaSettings(), random=bytes(RANDOM_BYTES), now=Seconds(T0), wall=0.0,
              waiting=set(), local_port=0, first_at=0)  # fmt: skip
    tap = RecordingTap()
    leg.attach(tap)
    now, sequence, stamp = T0, 0, 0
    for n, (size, further, wait, step) in enumerate(packets):
        now, sequence, stamp = now + wait * wait * wait / 27, sequence + step, stamp + further
        if codecs and n % 5 == 4:
            codec = ("OPUS", "PCMU", "G722")[n % 3]
            leg.update(replace(params, codec=codec), Seconds(now))
        packet = RtpPacket(PayloadType(0), False, sequence & 0xFFFF, RtpTime(stamp & 0xFFFFFFFF), Ssrc(7), bytes(size))
        leg.inbound.receive(build(packet), Seconds(now))
        leg.inbound.handle_waiting(Seconds(now))
    times = [at for _, at, _ in tap.heard]
    assert times == sorted(times)
    # Nor is it ahead of real time by more than the audio sent and the assumed pauses.
    assert not times or times[-1] <= 2 * (now - T0) * 1000 + sum(2 * size / 8 for size, *_ in packets) + len(packets)


def test_the_bounds_are_in_order() -> None:
    assert SHORT_MS < LATER_MS < GAP_MS < AHEAD_MS
    assert FOLLOW_EVERY % WINDOW == 0


# ── the clock by itself: 8 units a millisecond, frames of 160 ─────────────────────────────────────────────────


def going(frames: int = 100) -> Clock:
    """A clock that was right for `frames` frames."""
    clock = Clock(8)
    assert clock.advance(0, 160, 0, 0, 0) == 160
    assert clock.advance(160, 160, 0, 0, frames) == 160
    return clock


@pytest.mark.parametrize(
    ("late", "frames", "advance"),
    [(0, 0, 160), (400, 0, 560), (400, 5, 160), (480, 5, 160), (481, 5, 641), (-400, 0, 160)],
)
def test_a_clock_starts_at_its_first_frame_and_later_after_a_pause(late: float, frames: int, advance: int) -> None:
    clock = Clock(8)
    assert clock.restarted
    assert clock.advance(99_999, 160, 0, late, frames) == advance
    assert not clock.restarted


def test_after_lost_frames_it_begins_behind_them() -> None:
    assert Clock(8).advance(7, 160, 3, 0, 9) == 640


@pytest.mark.parametrize("step", [140, 150, 160, 170, 180])
def test_durations_need_not_be_even(step: int) -> None:
    assert going().advance(step, 160, 0, 0, 101) == step


@pytest.mark.parametrize(
    ("step", "late", "advance"),
    [
        (181, 0, 181),
        (160 + 479, 0, 639),
        (160 + 480, 0, 160),
        (160 + 480, 239, 160),
        (160 + 480, 240, 640),
        (160 + 480, 960, 640),
        (160 + 480, 961, 160),
        (160 + 4800, 2399, 160 + 2399),
        (160 + 4800, 2400, 4960),
        (139, 0, 160),
        (139, 1600, 160),
        (139, 1601, 1761),
    ],
)
def test_a_pause_counts_if_it_is_short_or_the_arrival_confirms_it(step: int, late: float, advance: int) -> None:
    assert going().advance(step, 160, 0, late, 101) == advance


def test_short_pauses_count_until_the_third_doubt() -> None:
    clock = going()
    assert [clock.advance(260, 160, 0, 0, 101 + n) for n in range(5)] == [260, 260, 260, 160, 160]
    assert clock.advance(260, 160, 0, 0, 105 + FORGIVEN) == 160
    assert clock.advance(260, 160, 0, 0, 200 + FORGIVEN) == 260


def test_after_firm_doubt_a_pause_counts_only_once_one_was_confirmed() -> None:
    clock = going()
    for n in range(FIRM):
        clock.advance(5000, 160, 0, 0, 101 + n)
    assert clock.advance(160 + 800, 160, 0, 800, 120) == 160, "not even what is confirmed"
    assert clock.advance(160 + 800, 160, 0, 800, 121) == 960


@pytest.mark.parametrize(("late", "advance"), [(0, 480), (-160, 480), (-8000, 480), (-8001, 160)])
def test_a_skip_of_the_sequence_alone_is_recognised_by_early_arrival(late: float, advance: int) -> None:
    clock = going()
    step = 480 if late > -8001 else 160
    assert clock.advance(480 if late >= -8000 else step, 160, 2, late, 101) == advance


def test_a_timeline_that_is_ahead_is_held_back_by_half_a_frame_at_most() -> None:
    clock = going()
    assert clock.follow(-2001, 128, 160) == 0
    assert clock.ahead
    taken = []
    for n in range(30):
        clock.advance(160, 160, 0, -2001, 129 + n)
        taken.append(clock.held_back)
    assert taken == [80] * 25 + [1] + [0] * 4
    assert not clock.ahead


@pytest.mark.parametrize(("least", "ahead"), [(-2000, False), (-2001, True)])
def test_the_timeline_is_held_back_from_a_quarter_of_a_second(least: float, ahead: bool) -> None:
    clock = going()
    clock.follow(least, 128, 160)
    assert clock.ahead is ahead


def test_once_held_back_the_timeline_is_corrected_completely() -> None:
    clock = going()
    clock.follow(-2001, 128, 160)
    clock.follow(-41, 160, 160)
    assert clock.ahead
    clock.follow(-40, 192, 160)
    assert not clock.ahead
    clock.follow(-41, 224, 160)
    assert not clock.ahead


@pytest.mark.parametrize(
    ("least", "frames", "move"),
    [(800, 128, 0), (801, 128, 801), (40, 256, 0), (41, 256, 16), (-41, 256, -16), (41, 255, 0), (700, 512, 16)],
)
def test_the_timeline_follows_a_drift_in_small_steps_and_a_late_window_at_once(
    least: float, frames: int, move: int
) -> None:
    assert going().follow(least, frames, 160) == move


def test_a_drift_is_measured_by_the_fastest_window() -> None:
    clock = going()
    assert [clock.follow(late, frames, 160) for late, frames in ((90, 192), (30, 224), (90, 256))] == [0, 0, 0]
    assert [clock.follow(late, frames, 160) for late, frames in ((90, 448), (60, 480), (90, 512))] == [0, 0, 16]
    assert clock.follow(90, 768, 20) == 5, "a quarter of a short frame"


def test_lateness_is_reckoned_from_the_fastest_packet() -> None:
    clock = going()
    clock.follow(100, 128, 160)
    assert clock.advance(640, 160, 0, 339, 129) == 160
    assert clock.advance(640, 160, 0, 340, 130) == 640
    clock.rejoin()
    assert clock.advance(640, 160, 0, 240, 200) == 640


def test_another_clock_rate_restarts_the_clock() -> None:
    clock = going()
    clock.follow(-2001, 128, 160)
    clock.rescale(48)
    assert clock.restarted
    assert clock.advance(5, 960, 0, 0, 200) == 960
    assert not clock.ahead
    assert clock.advance(960 + 48 * 60, 960, 0, 0, 201) == 960


def test_confirmed_pauses_take_doubts_back_but_give_no_credit() -> None:
    clock = Clock(8)
    assert clock.advance(0, 160, 0, 0, 0) == 160
    for frame in range(1, 8):
        assert clock.advance(160 + 800, 160, 0, 800, frame) == 960
    doubted = [clock.advance(160 + 400, 160, 0, 0, frame) for frame in range(8, 12)]
    assert doubted == [560, 560, 560, 160], "three short pauses that no arrival confirms are believed"
