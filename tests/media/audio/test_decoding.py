"""mp3 files to telephone audio: the right sound, all of it, and nothing else."""

import numpy as np
import pytest

from mp3files import KINDS, mp3, signal_to_noise
from trunkline.media.audio.decoding import TooLong, UndecodableFile, decode
from trunkline.media.audio.mp3 import audio_start
from trunkline.media.codecs import CODECS

PLENTY = 10_000_000


def decoded(file: bytes, codec: str = "PCMU", room: int = PLENTY) -> bytes:
    work = decode(file[audio_start(file) :], codec, room)
    while True:
        try:
            next(work)
        except StopIteration as done:
            audio = done.value
            assert isinstance(audio, bytes)
            return audio


def samples(audio: bytes, codec: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.frombuffer(CODECS[codec].decoder()(audio), "<i2").astype(np.float64)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_tone_is_right_and_as_long_as_it_was(kind: str, codec: str) -> None:
    audio, row = decoded(mp3(kind, 1), codec), CODECS[codec]
    assert len(audio) == pytest.approx(1000 * row.bytes_per_ms, abs=row.bytes_per_ms)
    heard = samples(audio, codec)[row.sample_rate // 20 : -row.sample_rate // 20]
    assert signal_to_noise(heard, row.sample_rate) > 30
    assert np.abs(heard).max() == pytest.approx(16384, rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tone_cut_into_two_files_is_one_tone(kind: str) -> None:
    whole = decoded(mp3(kind, 0.5)) + decoded(mp3(kind, 0.5, first=0.5))
    heard = samples(whole, "PCMU")
    assert signal_to_noise(heard[400:-400], 8000) > 20
    assert np.abs(heard[3600:4400]).reshape(-1, 16).max(axis=1).min() > 10_000, "no gap at the seam"


def test_without_the_header_that_tells_of_the_padding_the_file_is_a_little_longer() -> None:
    audio = decoded(mp3(KINDS[3], 1, xing=False))
    assert 8000 < len(audio) < 8000 + 3 * 576


def test_what_telephones_cannot_carry_is_filtered_out() -> None:
    heard = samples(decoded(mp3(KINDS[0], 1, hertz=6000)), "PCMU")[800:-800]
    assert np.abs(heard).max() < 164, "40 dB below what was put in"


def test_a_damaged_frame_is_left_out() -> None:
    file = bytearray(mp3(KINDS[0], 1))
    middle = len(file) // 2
    file[middle : middle + 100] = bytes(100)
    assert len(decoded(bytes(file))) == pytest.approx(8000, abs=600)


def test_headers_without_audio_are_undecodable() -> None:
    with pytest.raises(UndecodableFile):
        list(decode(b"\xff\xfb\x90\x64" * 2, "PCMU", PLENTY))


def test_more_than_there_is_room_for_is_too_long() -> None:
    with pytest.raises(TooLong):
        decoded(mp3(seconds=2), room=8000)
    assert decoded(mp3(seconds=1), room=8008)


def test_work_comes_in_small_portions() -> None:
    file = mp3(KINDS[4], 10)
    assert sum(1 for _ in decode(file, "PCMU", PLENTY)) > 10
