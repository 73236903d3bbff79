"""The verdict: a call without faults passes, and each fault fails its own row."""

from dataclasses import replace
from typing import Any

import pytest

from trunkline.demo.audio import speech, split, tone
from trunkline.demo.verdict import Measurements, echo_delays, judge

FRAMES = speech(100)
TONE = split(tone(200))
SENT_AT = [n * 0.02 for n in range(60)]
APP = FRAMES[10:60]
ECHOED = FRAMES[10:40] + FRAMES[50:60]
BACK = FRAMES[10:40] + TONE + FRAMES[50:60]
WELL = Measurements(
    answered_after=0.01,
    frames=FRAMES,
    sent_at=SENT_AT,
    stream_started_at=SENT_AT[9] + 0.001,
    app_frames=APP,
    app_chunks=list(range(1, 51)),
    echoed=ECHOED,
    tones_sent=1,
    marks_sent=["tone-1"],
    marks_returned=["tone-1"],
    app_errors=[],
    stopped=True,
    heard=[(SENT_AT[10 + n] + 0.08, payload) for n, payload in enumerate(BACK)],
    callbacks=[("stream-started", True), ("stream-stopped", True)],
    exit_code=0,
)


def failures(seen: Measurements) -> dict[str, str]:
    return {row.name: row.failure for row in judge(seen) if row.failure}


def test_a_call_without_fault_passes() -> None:
    assert failures(WELL) == {}


@pytest.mark.parametrize(
    ("changes", "row", "words"),
    [
        ({"stream_started_at": None}, "frames at the app, in order", "never started"),
        ({"app_frames": APP[:20] + APP[21:]}, "frames at the app, in order", "1 missing"),
        ({"app_frames": APP[:-1]}, "frames at the app, in order", "1 missing"),
        ({"app_frames": [APP[1], APP[0], *APP[2:]]}, "frames at the app, in order", "out of order"),
        ({"app_frames": [APP[0], *APP]}, "frames at the app, in order", "twice"),
        ({"app_chunks": [2, *range(2, 51)]}, "frames at the app, in order", "chunk"),
        ({"app_frames": [*APP, b"\x00" * 160]}, "of them identical byte for byte", "1 differ"),
        ({"tones_sent": 2}, "tone heard by the caller", "missing"),
        ({"tones_sent": 0}, "tone heard by the caller", "none"),
        ({"heard": WELL.heard[1:]}, "echo heard by the caller", "1 never came back (is the machine busy?)"),
        ({"heard": [WELL.heard[1], WELL.heard[0], *WELL.heard[2:]]}, "echo heard by the caller", "out of order"),
        ({"echoed": []}, "echo heard by the caller", "nothing"),
        ({"heard": [(at + 1, each) for at, each in WELL.heard]}, "echo latency p50 / p99", "500 ms"),
        ({"marks_returned": []}, "marks returned when played", "missing"),
        ({"app_errors": ["100003 bad"]}, "end of the stream", "100003"),
        ({"stopped": False}, "end of the stream", "stop never came"),
        ({"callbacks": [("stream-started", True), ("stream-stopped", False)]}, "status callbacks", "signature"),
        ({"callbacks": [("stream-started", True)]}, "status callbacks", "stream-stopped"),
        ({"exit_code": 1}, "server's exit code", "must be 0"),
    ],
)
def test_each_fault_fails_its_row(changes: dict[str, Any], row: str, words: str) -> None:
    found = failures(replace(WELL, **changes))
    assert words in found[row]


def test_a_tone_of_another_pitch_is_not_the_apps() -> None:
    heard = [(at, payload) for at, payload in WELL.heard if payload not in TONE]
    wrong = [(at, payload) for at, payload in zip([1.0] * 10, split(tone(200, 446)), strict=True)]
    assert "tone heard by the caller" in failures(replace(WELL, heard=heard[:30] + wrong + heard[30:]))


def test_delays_are_measured_at_the_first_received_frame() -> None:
    heard = [(1.5, FRAMES[1]), (1.6, FRAMES[0]), (9.0, FRAMES[1]), (2.0, b"else")]
    assert echo_delays(FRAMES, [1.0, 1.25], heard) == {FRAMES[1]: 0.25, FRAMES[0]: pytest.approx(0.6)}
