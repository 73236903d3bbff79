"""Captures as sound."""

import numpy as np
import pytest

from apps.test_captured import said, start, text_of, to_app
from mp3files import mp3
from trunkline.apps.captured import read_capture
from trunkline.apps.export import heard, played, stereo
from trunkline.apps.wire import clear, media

LOUD = b"\x20" * 160
RATE = 8000
REPEATED = ((1000, LOUD), (1049, LOUD), (1050, LOUD))


def sides(*lines: dict[str, object], **head: object) -> tuple[list[int], list[int]]:
    """Where each side is loud, as milliseconds of its first and last sample."""
    pcm, rate = stereo(read_capture([text_of(start(), *lines, **head)]))
    both = np.frombuffer(pcm, "<i2").reshape(-1, 2)
    found = [np.flatnonzero(np.abs(both[:, side].astype(int)) > 500) for side in (0, 1)]
    left, right = ([round(at / rate * 1000) for at in (one[0], one[-1])] if len(one) else [] for one in found)
    return left, right


def test_both_sides_are_on_one_time_axis() -> None:
    lines = [to_app(number, LOUD if 10 <= number < 20 else b"\xff" * 160) for number in range(50)]
    lines.append(said(600, media(LOUD * 10)))
    left, right = sides(*sorted(lines, key=lambda one: one["ms"]))
    assert left == pytest.approx([200, 400], abs=2)
    assert right == pytest.approx([600, 800], abs=25)


def test_what_was_cleared_is_not_heard() -> None:
    lines = [to_app(number, b"\xff" * 160) for number in range(100)]
    lines += [said(100, media(LOUD * 100)), said(500, clear())]
    _, right = sides(*sorted(lines, key=lambda one: one["ms"]))
    assert right == pytest.approx([100, 500], abs=45)


def test_the_bot_is_heard_to_its_end_behind_the_last_message() -> None:
    _, right = sides(to_app(0, b"\xff" * 160), said(20, media(LOUD * 50)))
    assert right == pytest.approx([20, 1020], abs=45)


def test_what_is_wrong_in_a_capture_makes_no_noise() -> None:
    left, right = sides(
        to_app(0, b"\xff" * 160), said(20, media(b"no mp3")), {"ms": 30, "to": "server", "text": "?"}, mode="mp3"
    )
    assert (left, right) == ([], [])


def test_a_second_socket_continues_on_the_axis_and_repeats_nothing() -> None:
    lines = [start(100), to_app(0, LOUD), start(1000)]  # the stamps are those since a socket's start
    lines += [{"ms": ms, "to": "app", "message": to_app(9, payload)["message"]} for ms, payload in REPEATED]
    pcm, _ = stereo(read_capture([text_of(*lines)]))
    left = np.abs(np.frombuffer(pcm, "<i2").reshape(-1, 2)[:, 0].astype(int)) > 500
    steps = np.flatnonzero(np.diff(left.astype(int), prepend=0, append=0)) * 1000 // RATE
    assert list(steps) == [100, 120, 1050, 1070]


def test_gaps_of_more_than_a_frame_alone_are_silence() -> None:
    for gap, length in ((20, 40), (40, 40), (41, 61)):
        capture = read_capture([text_of(start(), to_app(0, LOUD, 0), to_app(1, LOUD, gap))])
        assert len(heard(capture)) == 2 * 8 * length


def test_what_cannot_be_decoded_or_is_of_the_other_track_is_left_out() -> None:
    other = to_app(0, b"\x08")
    other["message"]["media"]["track"] = "outbound"
    assert heard(read_capture([text_of(start(), other, to_app(1, b""), codec="OPUS")])) == b""


@pytest.mark.parametrize(("said_at", "first"), [(0, 0), (19, 20), (20, 20), (21, 40)])
def test_what_is_played_begins_with_the_next_frame_and_ends_with_the_last(said_at: int, first: int) -> None:
    pcm = played(read_capture([text_of(start(), said(said_at, media(LOUD * 3)), prebuffer=0)]))
    loud = np.abs(np.frombuffer(pcm, "<i2").astype(int)) > 500
    assert [int(np.argmax(loud)) // 8, np.count_nonzero(loud)] == [first, 3 * 160]
    assert len(pcm) == 2 * 8 * (first + 60)


def test_a_bot_is_played_for_a_minute_behind_the_last_message() -> None:
    pcm = played(read_capture([text_of(start(), said(100, media(LOUD * 50 * 90)))]))
    assert len(pcm) == 2 * 8 * (60_000 + 120)


def test_files_of_an_app_are_taken_at_their_times() -> None:
    file = mp3(seconds=0.5)
    for second, length in ((1500, 1000), (200, 500)):  # at most one a second is taken
        lines = [start(), said(0, media(file)), said(second, media(file)), to_app(150, b"\xff" * 160)]
        pcm = played(read_capture([text_of(*lines, mode="mp3")]))
        loud = np.abs(np.frombuffer(pcm, "<i2").astype(int)) > 500
        windows = loud[: len(loud) // 160 * 160].reshape(-1, 160).any(axis=1)
        assert np.count_nonzero(windows) * 20 == pytest.approx(length, abs=150)
