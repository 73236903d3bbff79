"""Captures as sound."""

import numpy as np
import pytest

from apps.test_captured import said, start, text_of, to_app
from trunkline.apps.captured import read_capture
from trunkline.apps.export import stereo
from trunkline.apps.wire import clear, media

LOUD = b"\x20" * 160
RATE = 8000


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
