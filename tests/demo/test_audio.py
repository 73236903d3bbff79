"""The demo's audio: µ-law both ways, unique frames, tones found and measured."""

import wave

import numpy as np
import pytest

from trunkline.demo import audio


def test_every_code_survives_decoding_and_encoding_but_the_second_zero() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)
    assert audio.encode(audio.decode(codes)) == codes


@pytest.mark.parametrize(("code", "sample"), [(0x00, -32124), (0x80, 32124), (0xFF, 0), (0xEF, 132), (0x6F, -132)])
def test_decoding_follows_g711(code: int, sample: int) -> None:
    assert audio.decode(bytes([code]))[0] == sample


def test_encoding_takes_the_nearest_code() -> None:
    samples = np.linspace(-32124, 32124, 5000)
    decoded = audio.decode(audio.encode(samples))
    everything = audio.decode(bytes(range(256)))
    nearest = np.abs(everything[None, :] - samples[:, None]).min(axis=1)
    assert np.allclose(np.abs(decoded - samples), nearest)


def test_speech_is_audible_whole_frames_no_two_alike() -> None:
    frames = audio.speech(1500)
    assert len(set(frames)) == 1500
    assert {len(frame) for frame in frames} == {audio.FRAME_BYTES}
    assert -40 < audio.level(b"".join(frames)) < -6


def test_speech_has_no_tone_in_it() -> None:
    assert audio.find_tones(audio.speech(500)).bursts == 0


@pytest.mark.parametrize("hertz", [440.0, 700.0, 1000.0])
def test_tones_are_found_and_measured(hertz: float) -> None:
    burst = audio.split(audio.tone(200, hertz))
    found = audio.find_tones([*audio.speech(20), *burst, *audio.speech(20), *burst], hertz=hertz)
    assert found.bursts == 2
    assert found.hertz == pytest.approx(hertz, abs=0.5)


def test_a_tone_of_another_pitch_or_too_short_does_not_count() -> None:
    assert audio.find_tones(audio.split(audio.tone(200, 520))).bursts == 0
    assert audio.find_tones(audio.split(audio.tone(80))).bursts == 0


def test_silence_has_no_frequency_and_the_lowest_level() -> None:
    silence = b"\xff" * 160
    assert audio.dominant_frequency(audio.decode(silence)) == 0
    assert audio.level(silence) == audio.level(b"") == -96


def test_split_drops_what_is_no_whole_frame() -> None:
    assert audio.split(b"\x01" * 330) == [b"\x01" * 160] * 2


def test_percentiles_lie_between_the_values() -> None:
    assert audio.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert audio.percentile([], 0.99) == 0.0


def test_what_was_heard_is_saved_as_a_wav_file() -> None:
    frames = audio.speech(3)
    path = audio.save(frames)
    with wave.open(str(path)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate(), sound.getnframes()) == (
            1,
            2,
            audio.RATE,
            480,
        )
        samples = np.frombuffer(sound.readframes(480), dtype="<i2")
    path.unlink()
    assert audio.encode(samples.astype(np.float64)) == b"".join(frames).replace(b"\x7f", b"\xff")
