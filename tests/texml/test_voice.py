"""Texts synthesized by the real espeak-ng: into files that are kept, in any language."""

import asyncio
import shutil
import wave
from pathlib import Path

import pytest

from trunkline.config import TexmlSettings
from trunkline.texml.cache import FileCache
from trunkline.texml.voice import Espeak, SpeechError, _voices

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng; `make test` installs it")


def seconds(path: Path) -> float:
    with wave.open(str(path)) as file:
        return float(file.getnframes() / file.getframerate())


@needs_espeak
@pytest.mark.peer
@pytest.mark.parametrize(
    ("voice", "language"),
    [("man", ""), ("woman", "en-GB"), ("Polly.Joanna", "de-AT"), ("", "xx-YY"), ("", "--help"), ("alice", "zh-CN")],
)
async def test_any_voice_and_language_speaks(cache: FileCache, voice: str, language: str) -> None:
    path = await Espeak(TexmlSettings(), cache).speak("a", "one two three four five", voice, language)
    assert 0.5 < seconds(path) < 10


@needs_espeak
@pytest.mark.peer
async def test_a_text_is_synthesized_once_and_is_never_an_option_or_a_command(cache: FileCache, tmp_path: Path) -> None:
    speaker = Espeak(TexmlSettings(speakers=1), cache)
    text = "--help; touch /tmp/x `id` $(id) <speak>&\n-w x"
    paths = await asyncio.gather(*(speaker.speak("a", text, "man", "") for _ in range(4)))
    assert len(set(paths)) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert seconds(paths[0]) > 1
    assert await speaker.speak("a", "other", "man", "") != paths[0]


@pytest.mark.parametrize(
    ("program", "word"), [("no-such-program", "not installed"), ("false", "false"), ("/etc/passwd", "Permission")]
)
@pytest.mark.process
async def test_a_speaker_that_fails_is_an_error_and_leaves_nothing(
    cache: FileCache, tmp_path: Path, program: str, word: str
) -> None:
    with pytest.raises(SpeechError, match=word):
        await Espeak(TexmlSettings(speaker=program), cache).speak("a", "hello", "man", "")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.process
async def test_a_speaker_that_hangs_is_ended(cache: FileCache, tmp_path: Path) -> None:
    program = tmp_path / "hangs"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    speaker = Espeak(TexmlSettings(speaker=str(program), speak_timeout=0.1), cache)
    with pytest.raises(SpeechError, match=r"within 0\.1 s"):
        await speaker.speak("a", "hello", "man", "")


def test_a_language_falls_back_to_its_main_one_and_then_to_english() -> None:
    assert list(_voices("woman", "pt-br")) == ["pt-br+f3", "pt+f3", "en-us+f3"]
    assert list(_voices("man", "zh-cn")) == ["cmn", "en-us"]
    assert list(_voices("", "no; rm")) == ["en-us", "en"]


@pytest.mark.process
async def test_no_account_waits_for_all_the_texts_of_another(cache: FileCache, tmp_path: Path) -> None:
    program, order = tmp_path / "speaker", tmp_path / "order"
    program.write_text(f'#!/bin/sh\ncat >> {order}\n: > "$5"\n')
    program.chmod(0o755)
    speaker = Espeak(TexmlSettings(speaker=str(program), speakers=1), cache)
    texts = [("a", f"a{number}") for number in range(9)] + [("b", "b")]
    await asyncio.gather(*(speaker.speak(account, text, "man", "") for account, text in texts))
    synthesized = order.read_text().split()
    assert len(synthesized) == 10
    assert synthesized.index("b") <= 2
