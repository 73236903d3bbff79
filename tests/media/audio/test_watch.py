"""What a watched leg sounds like, and how fast the app is."""

import numpy as np
import pytest

from trunkline.media.audio.level import SILENT
from trunkline.media.audio.watch import KEPT, LegWatch, SpeechTurns
from trunkline.media.codecs import CODECS
from trunkline.media.report import TrackLevels

LOUD, HUSHED = -20, -80
NEVER: list[tuple[float, int]] = []


def frame(codec: str = "PCMU", amplitude: float = 0.5) -> bytes:
    """20 ms of a sine."""
    row = CODECS[codec]
    time = np.arange(row.sample_rate // 50) / row.sample_rate
    return row.encoder()((np.sin(2 * np.pi * 400 * time) * amplitude * 32767).astype("<i2").tobytes())


def frames(begin: float, count: int, db: int) -> list[tuple[float, int]]:
    return [(begin + number * 0.02, db) for number in range(count)]


def test_a_sample_has_levels_and_a_peak_for_each_frame_since_the_last() -> None:
    watch = LegWatch(lambda: 0.0)
    watch.leg_changed("PCMU", 20)
    watch.inbound_frame(frame(), 40, 0)
    watch.inbound_frame(frame(amplitude=0.1), 60, 0)
    watch.outbound_frame(frame(amplitude=0.0), 60)
    watch.digit("7")
    sample = watch.sample([])
    assert sample.at_ms == 60
    assert sample.inbound.frames == 2
    assert sample.inbound.level_db == pytest.approx(-12, abs=1)
    assert sample.inbound.peaks == pytest.approx([127, 25], abs=5)
    assert sample.outbound.level_db < -60
    assert sample.digits == "7"
    assert watch.sample([]).inbound == TrackLevels(0, SILENT, [])
    assert watch.sample([]).digits == ""


def test_the_peer_may_send_another_codec_than_it_gets() -> None:
    watch = LegWatch(lambda: 0.0)
    watch.leg_changed("PCMU", 20)
    watch.peer_changed("G722")
    watch.inbound_frame(frame("G722"), 20, 0)
    watch.outbound_frame(frame("PCMU"), 20)
    sample = watch.sample([])
    assert sample.inbound.level_db == pytest.approx(sample.outbound.level_db, abs=2)


def test_frames_in_a_former_codec_are_dropped() -> None:
    watch = LegWatch(lambda: 0.0)
    watch.leg_changed("PCMU", 20)
    watch.inbound_frame(frame(), 20, 0)
    watch.leg_changed("PCMA", 20)
    assert watch.sample([]).inbound.frames == 0


def test_what_cannot_be_decoded_is_silent() -> None:
    watch = LegWatch(lambda: 0.0)
    watch.leg_changed("OPUS", 20)
    watch.inbound_frame(b"\xff", 20, 0)
    assert watch.sample([]).inbound == TrackLevels(1, SILENT, [0])


def test_frames_and_keys_are_bounded() -> None:
    watch = LegWatch(lambda: 0.0)
    watch.leg_changed("PCMU", 20)
    for number in range(KEPT + 10):
        watch.inbound_frame(frame(), number * 20, 0)
        watch.digit("1")
    sample = watch.sample([])
    assert sample.inbound.frames == len(sample.digits) == KEPT


def test_first_audio_is_measured_from_the_start_to_the_first_loud_frame() -> None:
    turns = SpeechTurns()
    turns.starts["sid"] = 10.0
    assert turns.over(NEVER, frames(10.0, 10, HUSHED), []) == ([], [])
    assert turns.over(NEVER, [(10.3, HUSHED), (10.32, LOUD), (10.34, LOUD)], []) == ([], [("sid", 320)])
    assert turns.over(NEVER, frames(11.0, 10, LOUD), []) == ([], [])


def test_a_watch_measures_first_audio_from_its_own_clock() -> None:
    now = [10.0]
    watch = LegWatch(lambda: now[0])
    watch.leg_changed("PCMU", 20)
    watch.started("sid")
    now[0] = 10.5
    watch.outbound_frame(frame(), 500)
    assert watch.sample([]).first_audio_ms == [("sid", 500)]


def test_barge_in_is_measured_from_the_first_frame_of_speech_over_audio() -> None:
    turns = SpeechTurns()
    assert turns.over(frames(1.0, 5, LOUD), frames(0.0, 60, LOUD), [1.25]) == ([250], [])
    assert turns.over(NEVER, NEVER, [1.3]) == ([], []), "one clear for each turn"


def test_barge_in_spans_samples() -> None:
    turns = SpeechTurns()
    turns.over(frames(1.0, 2, LOUD), frames(0.9, 5, LOUD), [])
    turns.over(frames(1.04, 5, LOUD), frames(1.0, 5, LOUD), [])
    assert turns.over(NEVER, NEVER, [1.4]) == ([400], [])


def test_speech_while_the_app_is_silent_is_no_barge_in() -> None:
    turns = SpeechTurns()
    assert turns.over(frames(1.0, 5, LOUD), frames(0.0, 30, LOUD), [1.2]) == ([], [])


def test_a_click_is_no_speech() -> None:
    turns = SpeechTurns()
    heard = [(1.0, LOUD), (1.02, LOUD), (1.04, HUSHED), (1.06, LOUD)]
    assert turns.over(heard, frames(0.0, 60, LOUD), [1.2]) == ([], [])


def test_speech_that_goes_on_begins_once() -> None:
    turns = SpeechTurns()
    assert turns.over(frames(1.0, 50, LOUD), frames(0.0, 100, LOUD), [1.2, 1.8]) == ([200], [])
    assert turns.over(frames(2.5, 5, LOUD), frames(2.0, 50, LOUD), [2.8]) == ([300], [])


def test_a_clear_much_later_has_another_cause() -> None:
    turns = SpeechTurns()
    assert turns.over(frames(1.0, 5, LOUD), frames(0.0, 60, LOUD), [6.5]) == ([], [])
