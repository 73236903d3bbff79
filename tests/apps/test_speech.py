"""The words of callers and apps."""

import pytest

from trunkline.apps import speech
from trunkline.media.audio.level import level
from trunkline.phone import sounds


@pytest.mark.process
@pytest.mark.parametrize("program", ["espeak-ng", "no-such-program"])
@pytest.mark.parametrize("rate", [8000, 16_000])
def test_a_text_becomes_sound_with_and_without_the_program(
    program: str, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if program == "espeak-ng" and not speech.installed():
        pytest.skip("espeak-ng is not installed")
    monkeypatch.setattr(sounds, "SPEAKER", program)
    pcm = speech.speak("Hello, can you hear me?", rate)
    assert 0.7 < len(pcm) / 2 / rate < 4
    assert level(pcm) > -35


def test_audio_at_another_rate_has_the_same_duration() -> None:
    assert len(speech.resampled(bytes(16_000), 8000, 16_000)) == pytest.approx(32_000, abs=200)
    assert speech.resampled(b"\1\0", 8000, 8000) == b"\1\0"
