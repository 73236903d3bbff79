"""What counts as heard: tones by their frequency, other sounds by their shape."""

import numpy as np
import pytest

from trunkline.demo.audio import decode, speech
from trunkline.media.codecs import transcoder
from trunkline.testing.likeness import ENOUGH, has_tone, likeness, samples

RATE = 16000


def tone(milliseconds: int, frequency: float, amplitude: float = 8000) -> bytes:
    at = np.arange(RATE * milliseconds // 1000)
    return (amplitude * np.sin(2 * np.pi * frequency * at / RATE)).astype("<i2").tobytes()


def babble(first: int, count: int) -> bytes:
    frames = speech(first + count)[first:]
    pcm = decode(b"".join(frames)).astype("<i2").tobytes()
    return transcoder("L16/8000", "L16/16000").convert(pcm)


def test_a_tone_is_found_by_its_frequency_in_the_midst_of_silence() -> None:
    pcm = bytes(RATE) + tone(400, 600) + bytes(RATE)
    assert has_tone(pcm, RATE, 600)
    assert has_tone(pcm, RATE, 605)
    assert not has_tone(pcm, RATE, 700)
    assert not has_tone(bytes(RATE), RATE, 600)
    assert not has_tone(tone(400, 600, 50), RATE, 600)
    assert not has_tone(b"", RATE, 600)


def test_a_tone_is_not_found_in_speech_or_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, RATE).astype("<i2").tobytes()
    assert not any(has_tone(noise, RATE, frequency) for frequency in (300, 600, 1000))


def test_speech_is_found_wherever_it_is_and_at_any_level() -> None:
    wanted = babble(0, 60)
    assert likeness(bytes(12346) + wanted + bytes(5000), wanted, RATE) == 1
    quiet = (samples(wanted) / 8).astype("<i2").tobytes()
    assert likeness(bytes(12346) + quiet, wanted, RATE) == 1


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722", "OPUS"])
def test_speech_is_found_after_a_codec(codec: str) -> None:
    wanted = babble(0, 60)
    encode, decode_again = transcoder("L16/16000", codec).convert, transcoder(codec, "L16/16000").convert
    frames = [wanted[start : start + 640] for start in range(0, len(wanted), 640)]
    heard = b"".join(decode_again(encode(frame)) for frame in frames)
    assert likeness(heard, wanted, RATE) >= ENOUGH


def test_some_lost_packets_and_a_shift_in_the_middle_do_not_hide_it() -> None:
    wanted = babble(0, 100)
    middle = len(wanted) // 2 & ~1
    heard = bytearray(wanted[:middle] + bytes(1000) + wanted[middle:])
    for start in range(6400, len(heard), 32000):
        heard[start : start + 640] = bytes(640)
    assert likeness(bytes(heard), wanted, RATE) >= ENOUGH


def test_other_sound_is_not_found() -> None:
    wanted = babble(0, 60)
    assert likeness(babble(200, 60), wanted, RATE) < ENOUGH
    assert likeness(tone(1000, 440), wanted, RATE) < ENOUGH
    assert likeness(bytes(RATE), wanted, RATE) == 0
    assert likeness(wanted, b"", RATE) == 0
    assert likeness(b"", wanted, RATE) == likeness(wanted[:100], wanted, RATE) == 0
    assert likeness(wanted, bytes(RATE), RATE) == 0
