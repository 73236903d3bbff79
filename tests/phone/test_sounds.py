"""Audio files in and out, and speech."""

import stat
from pathlib import Path

import pytest

from trunkline.phone import sounds
from trunkline.phone.sounds import NoSound, load, save, speak


def test_a_file_is_read_at_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    save(path, b"\x00\x10" * 8000, 8000)
    assert load(path, 8000)[:16000] == b"\x00\x10" * 8000
    assert len(load(path, 16000)) == pytest.approx(32000, abs=200)


def test_what_is_no_audio_is_an_error_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "one.wav"
    with pytest.raises(NoSound, match=r"one\.wav: No such file"):
        load(path, 8000)
    path.write_text("hello")
    with pytest.raises(NoSound, match="no audio file"):
        load(path, 8000)
    with pytest.raises(NoSound, match="No such file"):
        save(tmp_path / "none" / "two.wav", b"", 8000)


@pytest.mark.process
def test_a_text_is_spoken() -> None:
    pcm = speak("Hello.", 16000)
    assert 0.3 < len(pcm) / 32000 < 3


@pytest.mark.process
def test_a_speaker_that_is_absent_or_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoSound, match="not installed"):
        speak("Hello.", 8000, "no-such-speaker")
    program = tmp_path / "speaker"
    program.write_text("#!/bin/sh\necho broken >&2; exit 3\n")
    program.chmod(stat.S_IRWXU)
    with pytest.raises(NoSound, match="broken"):
        speak("Hello.", 8000, str(program))
    monkeypatch.setattr(sounds, "SPEAK_TIMEOUT", 0.1)
    program.write_text("#!/bin/sh\nexec sleep 10\n")
    with pytest.raises(NoSound, match="timed out"):
        speak("Hello.", 8000, str(program))
