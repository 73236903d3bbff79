"""Levels, and the probes that measure them."""

import numpy as np
import pytest

from trunkline.demo.audio import speech
from trunkline.media.audio.level import LevelMeter, LevelProbe, level
from trunkline.media.codecs import CODECS
from trunkline.media.report import QUIET, LegReport

HEARD_REST_MS = 10_000
PROBE_LIMIT = 100
REST_MS = 1000
SAMPLE_MS = 100
SILENT = -96


def tone(codec: str, amplitude: float, ms: int = 200) -> bytes:
    """A 400 Hz sine in a codec."""
    row = CODECS[codec]
    time = np.arange(row.sample_rate * ms // 1000) / row.sample_rate
    return row.encoder()((np.sin(2 * np.pi * 400 * time) * amplitude * 32767).astype("<i2").tobytes())


def show(meter: LevelMeter, payload: bytes) -> None:
    meter.see(payload, len(payload))


def test_a_full_sine_has_minus_three_db_and_no_samples_have_no_level() -> None:
    time = np.arange(8000) / 8000
    assert level((np.sin(2 * np.pi * 400 * time) * 32767).astype("<i2").tobytes()) == -3
    assert level(bytes(320)) == SILENT
    assert level(b"") == SILENT
    assert level(b"\x01") == SILENT, "half a sample"


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
def test_a_meter_distinguishes_speech_from_silence(codec: str) -> None:
    silent, loud = LevelMeter(codec), LevelMeter(codec)
    quiet = CODECS[codec].encoder()(bytes(CODECS[codec].sample_rate // 5 * 2))
    speech = tone(codec, 0.1)
    for start in range(0, len(speech), 160):
        show(silent, quiet[start : start + 160])
        show(loud, speech[start : start + 160])
    assert silent.loudest < QUIET
    assert loud.loudest == pytest.approx(-23, abs=3)
    assert (silent.samples, loud.samples) == (1, 1)


def test_a_meter_samples_at_intervals_and_keeps_the_loudest() -> None:
    meter = LevelMeter("PCMU")
    show(meter, tone("PCMU", 0.0, SAMPLE_MS - 1))
    assert meter.samples == 0
    for _ in range(1 + REST_MS // SAMPLE_MS):
        show(meter, tone("PCMU", 0.0, SAMPLE_MS))
    assert (meter.samples, meter.loudest) == (2, SILENT)
    for _ in range(REST_MS // SAMPLE_MS):
        show(meter, tone("PCMU", 0.5, SAMPLE_MS))
    assert (meter.samples, meter.loudest) == (3, -9)
    show(meter, b"\xff")
    assert meter.loudest == -9


def test_a_meter_measures_less_often_after_speech() -> None:
    meter = LevelMeter("PCMU", bare=False)
    show(meter, tone("PCMU", 0.1, SAMPLE_MS))
    for _ in range(HEARD_REST_MS // SAMPLE_MS - 1):
        show(meter, tone("PCMU", 0.5, SAMPLE_MS))
    assert (meter.samples, meter.loudest) == (1, -23)
    for _ in range(2):
        show(meter, tone("PCMU", 0.5, SAMPLE_MS))
    assert (meter.samples, meter.loudest) == (2, -9)


def test_a_meter_counts_its_intervals_in_audio_not_in_messages() -> None:
    """Where each message of an app is one utterance, every message is measured, not only the first."""
    meter = LevelMeter("PCMU")
    for _ in range(3):
        show(meter, b"\xff" * 8 * REST_MS)
    assert (meter.samples, meter.loudest) == (3, SILENT)
    show(meter, tone("PCMU", 0.5, REST_MS))
    assert (meter.samples, meter.loudest) == (4, -9)


def test_a_meter_measures_the_middle_of_a_message() -> None:
    quiet = b"\xff" * 1600
    meter = LevelMeter("PCMU")
    show(meter, quiet + tone("PCMU", 0.5) + quiet)
    assert meter.loudest == -9


def voice(milliseconds: int) -> bytes:
    """PCM of 8000 Hz."""
    return CODECS["PCMU"].decoder()(b"".join(speech(milliseconds // 20)))


def test_a_meter_says_what_the_audio_is_within_a_second() -> None:
    meter, pcm = LevelMeter("PCMU"), voice(3 * REST_MS)
    for start in range(0, len(pcm), 320):
        show(meter, pcm[start : start + 320])
    assert meter.content is not None
    assert meter.content.found is not None
    assert meter.content.found.kind == "pcm16"
    assert LevelMeter("PCMU", bare=False).content is None


def test_a_meter_knows_a_file_by_its_first_message() -> None:
    meter = LevelMeter("L16/8000")
    show(meter, b"RIFF\xff\xff\xff\xffWAVE" + bytes(20))
    assert meter.content is not None
    assert meter.content.found is not None
    assert meter.content.found.words == "a WAV file"


@pytest.mark.parametrize("sizes", [(321, 319, 33, 1001), (1601,), (7,), (40_001, 3), (20_001,)])
def test_messages_of_odd_length_are_no_other_byte_order(sizes: tuple[int, ...]) -> None:
    """Whole samples are measured, wherever messages end."""
    meter, pcm = LevelMeter("L16/8000"), voice(90 * REST_MS)
    swapped, other = CODECS["L16/8000/big"].decoder()(pcm), LevelMeter("L16/8000")
    for heard, audio in ((meter, pcm), (other, swapped)):
        start = number = 0
        while start < len(audio):
            size = sizes[number % len(sizes)]
            show(heard, audio[start : start + size])
            start, number = start + size, number + 1
    assert meter.samples >= 4
    assert meter.content is not None
    assert meter.content.found is None
    assert other.content is not None
    assert other.content.found is not None
    assert other.content.found.kind == "byte_order"


def test_after_a_clear_a_message_begins_with_a_whole_sample() -> None:
    meter, pcm = LevelMeter("L16/8000"), voice(15 * REST_MS)
    for _ in range(20):
        show(meter, pcm[:32_001])
        meter.restart()
    assert meter.samples >= 4
    assert meter.content is not None
    assert meter.content.found is None


def test_a_level_probe_reports_both_tracks_in_the_current_codec_and_is_bounded() -> None:
    ear = LevelProbe()
    ear.leg_changed("PCMU", 20)
    ear.inbound_frame(tone("PCMU", 0.5, 20), 0, 0)
    ear.leg_changed("PCMA", 20)
    for _ in range(PROBE_LIMIT + 1):
        ear.outbound_frame(tone("PCMA", 0.5, 20), 0)
    report = ear.measure(LegReport(codec="PCMA", packets_in=1))
    assert (report.codec, report.packets_in) == ("PCMA", 1)
    assert (report.heard_frames, report.heard_level_db, report.said_frames) == (0, SILENT, PROBE_LIMIT)
    assert report.said_level_db == pytest.approx(-9, abs=1)
    assert ear.next_frame(0) is None


def test_a_level_probe_does_not_mistake_what_cannot_be_decoded_for_speech() -> None:
    ear = LevelProbe()
    ear.leg_changed("OPUS", 20)
    ear.inbound_frame(b"\xff" * 40, 0, 0)
    report = ear.measure(LegReport(codec="OPUS"))
    assert (report.heard_frames, report.heard_level_db) == (1, SILENT)


def test_a_level_probe_measures_a_track_again_when_its_codec_changed() -> None:
    ear = LevelProbe()
    ear.leg_changed("PCMU", 20)
    ear.outbound_frame(tone("PCMU", 0.5, 20), 0)
    for _ in range(PROBE_LIMIT + 1):
        ear.inbound_frame(tone("PCMU", 0.5, 20), 0, 0)
    ear.leg_changed("PCMU", 30)
    report = ear.measure(LegReport(codec="PCMU"))
    assert (report.heard_frames, report.said_frames) == (PROBE_LIMIT, 1), "another packet time changes nothing"
    ear.peer_changed("PCMA")
    ear.inbound_frame(tone("PCMA", 0.1, 20), 0, 0)
    report = ear.measure(LegReport(codec="PCMU"))
    assert (report.heard_frames, report.said_frames) == (1, 1)
    assert report.heard_level_db == pytest.approx(-23, abs=1)
