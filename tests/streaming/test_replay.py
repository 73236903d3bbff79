"""The frames that are kept for the next socket."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.speedups import ENTRY_SIZE
from trunkline.streaming.replay import Replay, ReplayFrame


def frame(at: int) -> ReplayFrame:
    return at, at % 3 == 0, b"%d" % at * (at % 7), at % 5


def test_the_last_seconds_are_kept_sent_or_not() -> None:
    replay = Replay(2)
    for at in range(0, 5000, 20):
        replay.keep(*frame(at))
    assert [kept[0] for kept in replay.frames()] == list(range(3000, 5000, 20))
    for at in range(5000, 6000, 20):
        replay.hold(frame(at))
    assert [kept[0] for kept in replay.frames()] == list(range(4000, 6000, 20))
    assert replay.dropped == 0


def test_frames_too_old_that_no_socket_received_are_counted() -> None:
    replay = Replay(2)
    for at in range(0, 1000, 20):
        replay.keep(*frame(at))
    for at in range(1000, 6000, 20):
        replay.hold(frame(at))
    assert replay.dropped == 150
    replay.sent()
    for at in range(6000, 9000, 20):
        replay.keep(*frame(at))
    assert replay.dropped == 150


def test_frames_left_in_a_lost_socket_count_as_unsent() -> None:
    replay = Replay(2)
    for at in range(0, 2000, 20):
        replay.keep(*frame(at))
    replay.unsent(30)
    for at in range(2000, 3500, 20):
        replay.hold(frame(at))
    assert replay.dropped == 5  # of 30 + 75, one hundred are there
    replay.unsent(150)
    assert replay.dropped == 55


def test_with_no_replay_unsent_frames_are_counted_at_once() -> None:
    replay = Replay(0)
    replay.keep(*frame(0))
    replay.hold(frame(20))
    replay.unsent(3)
    assert not replay.frames()
    assert replay.dropped == 4


def test_frames_whose_times_stand_still_are_bounded_by_number() -> None:
    replay = Replay(0.5)
    for _ in range(1000):
        replay.keep(*frame(7))
    assert len(replay.frames()) == 100


@given(st.floats(0, 3), st.lists(st.tuples(st.sampled_from("khus"), st.integers(0, 400)), max_size=200))
def test_every_frame_that_no_socket_got_is_kept_or_counted(seconds: float, steps: list[tuple[str, int]]) -> None:
    replay = Replay(seconds)
    at, unsent, lost = 0, list[int](), 0
    history: list[int] = []
    for step, by in steps:
        at += by
        if step == "h":
            replay.hold(frame(at))
            history.append(at)
            unsent.append(at)
        elif step in "ks":  # a socket is open: it is sent the waiting frames, then new ones
            replay.sent()
            unsent.clear()
            if step == "k":
                replay.keep(*frame(at))
                history.append(at)
        elif not unsent:
            count = min(by % 5, len(replay.frames()))
            replay.unsent(count)
            unsent = history[len(history) - count :]
        kept = [each[0] for each in replay.frames()]
        assert replay.frames() == [frame(each) for each in kept]
        assert kept == history[len(history) - len(kept) :]
        if unsent and len(unsent) > len(kept):
            lost += len(unsent) - len(kept)
            unsent = unsent[len(unsent) - len(kept) :]
        assert replay.dropped == lost
        assert len(kept) <= seconds * 200


@pytest.mark.parametrize("tracks", [1, 2])
@pytest.mark.parametrize("size", [160, 640])
@pytest.mark.parametrize("begun", [0, 20, 100, 3000])
def test_the_replay_takes_little_more_memory_than_the_audio(tracks: int, size: int, begun: int) -> None:
    """The second track begins when it does."""
    tracemalloc.start()
    try:
        replay, payload = Replay(2, tracks), bytes(size)
        before, _ = tracemalloc.get_traced_memory()
        for at in range(0, 30_000, 20):
            for track in range(tracks if at > begun else 1):
                replay.keep(at + 3 * track, track == 1, payload, 0)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(replay.frames()) == 100 * tracks
    assert taken < 1.1 * tracks * 100 * (size + ENTRY_SIZE)
