"""A wav file that is complete after each piece, read by an independent library."""

import wave
from pathlib import Path

import pytest

from trunkline.workers.decoder import wavfile
from trunkline.workers.decoder.wavfile import Unwritable, WavFile


def content(path: Path) -> tuple[int, int, int, bytes]:
    """Channels, rate, bytes per sample and samples."""
    with wave.open(str(path)) as file:
        return file.getnchannels(), file.getframerate(), file.getsampwidth(), file.readframes(file.getnframes())


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2)])
def test_a_wav_file_is_complete_after_each_piece(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    path.write_text("what was there before, and is longer than a header of forty-four bytes")
    file = WavFile(path, rate, channels)
    assert content(path) == (channels, rate, 2, b"")
    for n in range(1, 4):
        file.append(b"abcd" * 100)
        assert content(path) == (channels, rate, 2, b"abcd" * 100 * n)
    file.close()


def test_a_write_error_is_reported_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path, words in ((tmp_path / "none" / "a.wav", "No such file"), (Path("/dev/full"), "No space left")):
        with pytest.raises(Unwritable, match=words):
            WavFile(path, 8000, 1)
    monkeypatch.setattr(wavfile, "LONGEST", 8)
    file = WavFile(tmp_path / "a.wav", 8000, 1)
    file.append(bytes(8))
    with pytest.raises(Unwritable, match="as long as a wav file can be"):
        file.append(bytes(2))
    assert content(tmp_path / "a.wav")[3] == bytes(8)


def test_a_file_ends_while_the_disk_has_as_much_free_as_it_must_leave(tmp_path: Path) -> None:
    file = WavFile(tmp_path / "a.wav", 8000, 1, floor=1)
    file.append(b"ab")
    file.close()
    with pytest.raises(Unwritable, match=r"^less than 1e\+12 MB of the disk are free$"):
        WavFile(tmp_path / "b.wav", 8000, 1, floor=10**18)


def test_the_free_disk_is_looked_at_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wavfile, "FLOOR_INTERVAL", 3)
    file = WavFile(tmp_path / "a.wav", 8000, 1, floor=1)
    file._floor = 10**18
    for _ in range(2):
        file.append(b"ab")
    with pytest.raises(Unwritable, match="of the disk are free"):
        file.append(b"ab")
    assert content(tmp_path / "a.wav")[3] == b"abab", "what was written plays"


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2)])
def test_the_size_of_a_file_is_known_by_its_length(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    file = WavFile(path, rate, channels)
    file.append(bytes(2 * channels * rate * 3 // 4))
    file.close()
    assert path.stat().st_size == wavfile.size_of(750, rate, channels)
