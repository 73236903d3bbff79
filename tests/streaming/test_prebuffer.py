"""The prebuffer learns the app's pace. The clock is driven by hand."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline.streaming.playback import Playback
from trunkline.streaming.prebuffer import Prebuffer

ENOUGH = 8
GAP = 500
PACE_MS = 3000
PERIOD = 32


def learnt(chunk: int, delays: list[int], bound: int = 200) -> int:
    """The prebuffer after an app has sent chunks at a constant rate, each with its own delay."""
    prebuffer, now = Prebuffer(bound), 0
    for number, delay in enumerate(delays):
        now = max(now, number * chunk + delay)
        prebuffer.arrived(now, (number + 1) * chunk, afresh=number == 0)
    return prebuffer.target(20)


def test_until_the_app_is_measured_the_limit_is_used() -> None:
    assert learnt(20, [0] * ENOUGH, bound=60) == 60
    assert learnt(20, [0] * (ENOUGH + 1), bound=60) == 40


def test_the_prebuffer_of_a_steady_app_is_a_chunk_and_a_packet() -> None:
    assert learnt(20, [0] * 20) == 40
    assert learnt(40, [0] * 20) == 60


def test_a_late_chunk_lengthens_the_prebuffer() -> None:
    assert learnt(20, [0] * 10 + [60] + [0] * 10) == 100


def test_the_prebuffer_of_an_app_that_is_ahead_is_one_chunk() -> None:
    prebuffer = Prebuffer(200)
    prebuffer.arrived(0, 160, afresh=True)
    for number in range(1, 20):
        prebuffer.arrived(number * 20, 160 + number * 20, afresh=number == 19)
    assert prebuffer.target(20) == 20


def test_a_new_utterance_is_no_late_chunk() -> None:
    prebuffer = Prebuffer(200)
    for number in range(20):
        prebuffer.arrived(number * 20, (number + 1) * 20, afresh=number == 0)
    prebuffer.arrived(400 + GAP, 420, afresh=True)
    assert prebuffer.target(20) == 40


def pace(*messages: tuple[int, int], times: int = 200) -> int:
    """The speed measured of an app that waits so many ms and then sends so many ms of audio, again and again."""
    prebuffer, at, received, dry_at = Prebuffer(200), 1000, 0, 0
    for number in range(times):
        pause, length = messages[number % len(messages)]
        at, received = at + pause, received + length
        prebuffer.arrived(at, received, afresh=at > dry_at)
        dry_at = max(at, dry_at) + length
    return prebuffer.percent


def test_the_speed_of_an_app_is_measured_while_audio_comes_steadily() -> None:
    assert pace((20, 20)) == 100
    assert pace((20, 40)) == 200
    assert pace((40, 20)) == 50
    assert pace((400, 200)) == 50
    assert pace((20, 120)) == 600
    assert pace((10, 0), (30, 40)) == pytest.approx(100, abs=2)


def test_the_speed_is_not_known_at_once_nor_of_audio_that_comes_in_one_piece() -> None:
    assert Prebuffer(200).percent == -1
    assert pace((20, 20), times=PACE_MS // 20) == -1
    assert pace((20, 20), times=PACE_MS // 20 + 1) == 100
    assert pace((GAP, 1000), times=ENOUGH - 1) == -1
    assert pace((GAP + 1, 1000)) == -1


def test_pauses_between_utterances_do_not_count() -> None:
    assert pace((2000, 20), *[(20, 20)] * (2 * PERIOD), times=1000) == pytest.approx(100, abs=3)
    assert pace((2000, 20), *[(20, 60)] * (2 * PERIOD), times=1000) == pytest.approx(300, abs=9)


def test_another_speed_begins_another_measurement() -> None:
    assert pace(*[(20, 20)] * 200, *[(20, 40)] * 300, times=500) == pytest.approx(200, abs=4)


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 3000), st.booleans())),
    st.integers(0, 500),
    st.sampled_from([10, 20, 30, 60]),
)
def test_the_prebuffer_stays_within_its_limit(arrivals: list[tuple[int, int, bool]], bound: int, ptime: int) -> None:
    prebuffer, at, received = Prebuffer(bound), 0, 0
    for pause, length, afresh in arrivals:
        at, received = at + pause, received + length
        prebuffer.arrived(at, received, afresh=afresh)
        assert 0 <= prebuffer.target(ptime) <= bound


@example(chunk=2, delays=[2, 0, 1, 1, 1, 1, 0, 0, 2, 2, 3])
@example(chunk=5, delays=[3, 3, 0, 0, 0, 2, *([0] * 10), 1, 0, 1, 1, 1, 3])
@given(chunk=st.integers(1, 5), delays=st.lists(st.integers(0, 3), min_size=10, max_size=30))
def test_an_app_with_jitter_is_played_without_a_gap_once_measured(chunk: int, delays: list[int]) -> None:
    queue, at = Playback("PCMU", prebuffer=200, limit=600, mark_limit=1), 0
    for _ in range(3):
        due = [0] * len(delays)
        for number, delay in enumerate(delays):
            due[number] = max(number * chunk + delay, due[number - 1] if number else 0)
        frames = []
        for tick in range(due[-1] + chunk + 20):
            for _ in range(due.count(tick)):
                queue.put(b"\x01" * 160 * chunk)
            frames.append(queue.next_frame(at))
            at += 20
        voiced = [number for number, frame in enumerate(frames) if frame is not None]
        assert len(voiced) == chunk * len(delays)
        assert voiced[-1] - voiced[0] + 1 == len(voiced), "no gap"
        at += 2 * GAP
    assert queue.underruns == 0
