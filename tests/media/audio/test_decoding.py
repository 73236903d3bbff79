"""mp3 files to telephone audio: the right sound, all of it, and nothing else."""

import wave
from pathlib import Path

import numpy as np
import pytest

from mp3files import KINDS, mp3, signal_to_noise
from trunkline.media.audio.decoding import PIECE, TooLong, UndecodableFile, decode, decode_file
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
def test_a_tone_keeps_its_pitch_and_length(kind: str, codec: str) -> None:
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


def test_a_file_without_the_padding_header_decodes_slightly_longer() -> None:
    audio = decoded(mp3(KINDS[3], 1, xing=False))
    assert 8000 < len(audio) < 8000 + 3 * 576


def test_frequencies_above_the_telephone_band_are_filtered_out() -> None:
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


def test_audio_over_the_limit_is_too_long() -> None:
    with pytest.raises(TooLong):
        decoded(mp3(seconds=2), room=8000)
    assert decoded(mp3(seconds=1), room=8008)


def test_work_comes_in_small_portions() -> None:
    file = mp3(KINDS[4], 10)
    assert sum(1 for _ in decode(file, "PCMU", PLENTY)) > 10


def pieces(path: Path, times: int, codec: str = "PCMU") -> tuple[list[bytes], bytes]:
    """Those that are yielded, and the one that is returned."""
    work, found = decode_file(path, codec, times), list[bytes]()
    while True:
        try:
            found.append(next(work))
        except StopIteration as done:
            return found, done.value


def wave_file(path: Path, seconds: float, rate: int = 8000, channels: int = 1) -> Path:
    """A tone of 1000 Hz in all channels."""
    tone = np.rint(16384 * np.sin(2 * np.pi * 1000 * np.arange(round(rate * seconds)) / rate)).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.repeat(tone, channels).tobytes())
    return path


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (16000, 1)])
@pytest.mark.parametrize("codec", ["PCMU", "G722"])
def test_a_file_is_decoded_in_equal_pieces_and_a_last_one(tmp_path: Path, rate: int, channels: int, codec: str) -> None:
    found, rest = pieces(wave_file(tmp_path / "a.wav", 5, rate, channels), 1, codec)
    whole = [piece for piece in found if piece]
    size = CODECS[codec].bytes_per_ms * PIECE
    assert {len(piece) for piece in whole} == {size}
    audio = b"".join(found) + rest
    assert len(rest) < size
    assert len(audio) == pytest.approx(8 * 5000, abs=16)
    heard = samples(audio, codec)
    assert signal_to_noise(heard[800:-800], CODECS[codec].sample_rate) > 30


def test_a_file_is_repeated_without_a_gap(tmp_path: Path) -> None:
    path = wave_file(tmp_path / "a.wav", 0.5)
    found, rest = pieces(path, 3)
    audio = b"".join(found) + rest
    assert len(audio) == 12_000
    assert audio[:4000] == audio[4000:8000] == audio[8000:]
    assert signal_to_noise(samples(audio, "PCMU"), 8000) > 30


def test_a_file_may_repeat_for_ever(tmp_path: Path) -> None:
    work = decode_file(wave_file(tmp_path / "a.wav", 0.1), "PCMU", 0)
    audio = b""
    while len(audio) < 80_000:
        audio += next(work)
    work.close()
    assert audio[:800] * 10 == audio[:8000]


def test_decoding_a_file_yields_between_portions(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(mp3(KINDS[4], 10))
    found, _ = pieces(tmp_path / "a.mp3", 1)
    assert found.count(b"") > 5


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent", None, "No such file or directory"),
        ("text.wav", b"no audio at all" * 100, "it is no audio file that can be read"),
        ("list.m3u", b"#EXTM3U\nhttp://127.0.0.1/x.wav\n", "it is no audio file that can be read"),
    ],
)
def test_a_file_without_audio_is_refused_with_a_reason(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UndecodableFile, match=words):
        pieces(tmp_path / name, 1)


def test_a_file_without_samples_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UndecodableFile, match=r"holds no audio|no audio file"):
        pieces(wave_file(tmp_path / "a.wav", 0), 0)
