"""Files to be played: downloaded once, asked for again as their server wishes, and bounded."""

import asyncio
import gzip
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trunkline.config import TexmlSettings
from trunkline.demo.callbacks import Callback
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.turns import Limits
from trunkline.texml import sounds as module
from trunkline.texml.cache import FileCache
from trunkline.texml.sounds import TONES, SoundError, Sounds
from webapp import Answer, WebApp

WAV = b"RIFF" + bytes(100)
ACCOUNT = "a"


@pytest.fixture
async def sounds(cache: FileCache, tmp_path: Path, dialler: Dialler) -> AsyncIterator[Sounds]:
    sounds = Sounds(TexmlSettings(sound_limit=5000), cache, tmp_path / "tones", dialler)
    yield sounds
    await sounds.stop()


async def test_a_file_is_asked_for_again_and_taken_again_only_when_it_changed(web: WebApp, sounds: Sounds) -> None:
    content = [WAV]

    def answer(request: Callback) -> Answer:
        tag = f'"{len(content)}"'
        if request.headers.get("if-none-match") == tag:
            return Answer(status=304)
        return Answer(content[-1], headers={"ETag": tag, "Last-Modified": "yesterday"})

    web.answers["/a.wav"] = answer
    path = (await sounds.file(ACCOUNT, web.url + "/a.wav")).path
    assert path.read_bytes() == WAV
    assert (await sounds.file(ACCOUNT, web.url + "/a.wav")).path == path
    assert web.received[1].headers["if-modified-since"] == "yesterday"
    content.append(b"ID3new")
    assert (await sounds.file(ACCOUNT, web.url + "/a.wav")).path.read_bytes() == b"ID3new"


async def test_a_file_within_its_max_age_is_not_requested_and_downloads_are_shared(web: WebApp, sounds: Sounds) -> None:
    web.answers["/a.wav"] = Answer(WAV, headers={"Cache-Control": "public, max-age=600"})
    first = await asyncio.gather(*(sounds.file(ACCOUNT, web.url + "/a.wav") for _ in range(5)))
    assert await sounds.file(ACCOUNT, web.url + "/a.wav") == first[0]
    assert len(web.received) == 1


async def test_what_may_not_be_kept_is_one_callers_own(web: WebApp, sounds: Sounds, tmp_path: Path) -> None:
    web.answers["/a.wav"] = Answer(WAV, headers={"Cache-Control": "max-age=600, no-store", "ETag": '"1"'})
    first, second = await asyncio.gather(*(sounds.file(ACCOUNT, web.url + "/a.wav") for _ in range(2)))
    assert first.path != second.path
    assert (first.kept, second.kept) == (False, False)
    for sound in (first, second):
        assert sound.path.read_bytes() == WAV
        sound.path.unlink()
    third = await sounds.file(ACCOUNT, web.url + "/a.wav")
    assert len(web.received) == 3
    assert "if-none-match" not in web.received[2].headers
    assert list((tmp_path / "cache").iterdir()) == [third.path]


async def test_a_file_that_may_not_be_kept_and_is_not_awaited_is_removed(
    web: WebApp, sounds: Sounds, tmp_path: Path
) -> None:
    web.answers["/a.wav"] = Answer(WAV, headers={"Cache-Control": "no-store"})
    given_up, patient = (asyncio.create_task(sounds.file(ACCOUNT, web.url + "/a.wav")) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    sound = await patient
    assert list((tmp_path / "cache").iterdir()) == [sound.path]


async def test_nothing_that_one_account_was_given_is_given_to_another(web: WebApp, sounds: Sounds) -> None:
    web.answers["/a.wav"] = lambda _: Answer(WAV + bytes(len(web.received)), headers={"Cache-Control": "max-age=600"})
    both = await asyncio.gather(*(sounds.file(account, web.url + "/a.wav") for account in "ab"))
    assert len({sound.path.read_bytes() for sound in both}) == 2
    assert [await sounds.file(account, web.url + "/a.wav") for account in "ab"] == both
    assert len(web.received) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer(gzip.compress(WAV), headers={"Content-Encoding": "gzip"}),
        Answer(WAV, status=203),
        Answer(WAV, status=206, headers={"Content-Range": f"bytes 0-{len(WAV) - 1}/{len(WAV)}"}),
        Answer(WAV, headers={"Content-Type": "text/html"}),
    ],
)
async def test_the_file_comes_as_it_is_however_it_is_delivered(web: WebApp, sounds: Sounds, answer: Answer) -> None:
    web.answers["/a.wav"] = answer
    assert (await sounds.file(ACCOUNT, web.url + "/a.wav")).path.read_bytes() == WAV


@pytest.mark.parametrize("head", [b"\r\n", bytes(600), b"\xef\xbb\xbf", b"\xff", b"x"])
async def test_what_stands_before_the_audio_is_for_the_decoder_to_judge(
    web: WebApp, sounds: Sounds, head: bytes
) -> None:
    web.answers["/a.mp3"] = Answer(head + WAV)
    assert (await sounds.file(ACCOUNT, web.url + "/a.mp3")).path.read_bytes() == head + WAV


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (Answer(WAV, status=206, headers={"Content-Range": "bytes 0-9/104"}), "HTTP status 206"),
        (Answer(b"\xef\xbb\xbf\n<!DOCTYPE html>", headers={"Content-Type": "text/html"}), r"no audio \(text/html\)"),
        (Answer(b'{"error": 1}'), "a text and no audio"),
        (Answer(gzip.compress(WAV + bytes(9000)), headers={"Content-Encoding": "gzip"}), "more than 5000 bytes"),
        (Answer(status=404), "HTTP status 404"),
        (Answer(b"<html>"), "a text and no audio"),
        (Answer(), "empty"),
        (Answer(WAV + bytes(5000)), "more than 5000 bytes"),
    ],
)
async def test_what_cannot_be_played_is_refused_and_not_kept(
    web: WebApp, sounds: Sounds, tmp_path: Path, answer: Answer, word: str
) -> None:
    web.answers["/x"] = answer
    with pytest.raises(SoundError, match=word) as error:
        await sounds.file(ACCOUNT, web.url + "/x?secret=1")
    assert "secret" not in str(error.value)
    assert list((tmp_path / "cache").iterdir()) == []


async def test_what_does_not_come_in_time_is_refused(
    web: WebApp, cache: FileCache, tmp_path: Path, dialler: Dialler
) -> None:
    web.answers["/x"] = None
    sounds = Sounds(TexmlSettings(sound_timeout=0.3), cache, tmp_path / "tones", dialler)
    with pytest.raises(SoundError, match=r"not here within 0\.3 s"):
        await sounds.file(ACCOUNT, web.url + "/x")
    await sounds.stop()


async def test_who_gives_up_waiting_does_not_end_the_download_of_others(web: WebApp, sounds: Sounds) -> None:
    web.answers["/a.wav"] = Answer(WAV)
    given_up, patient = (asyncio.create_task(sounds.file(ACCOUNT, web.url + "/a.wav")) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await patient).path.read_bytes() == WAV


async def test_a_disk_error_is_reported(web: WebApp, sounds: Sounds, tmp_path: Path) -> None:
    web.answers["/a.wav"] = Answer(WAV)
    (tmp_path / "cache").rmdir()
    with pytest.raises(SoundError, match="cache"):
        await sounds.file(ACCOUNT, web.url + "/a.wav")
    (tmp_path / "tones").write_text("in the way")
    with pytest.raises(SoundError, match="cannot write"):
        sounds.tone("beep")


@pytest.mark.parametrize("name", TONES)
async def test_tones_are_written_once_with_their_sound_and_their_silence(sounds: Sounds, name: str) -> None:
    path = sounds.tone(name)
    _, sound, silence = TONES[name]
    with wave.open(str(path)) as file:
        samples = file.readframes(file.getnframes())
        assert file.getnframes() == (sound + silence) * file.getframerate()
    assert any(samples[:1000])
    assert not any(samples[-1000:])
    before = path.stat().st_mtime_ns
    assert sounds.tone(name) == path
    assert path.stat().st_mtime_ns == before


async def test_no_account_waits_for_all_the_downloads_of_another(
    web: WebApp, cache: FileCache, tmp_path: Path, dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMITS", Limits(total=1, account=1, host=1, silent=1))
    sounds = Sounds(TexmlSettings(), cache, tmp_path / "tones", dialler)
    files = [("a", f"/a{number}.wav") for number in range(100)] + [("b", "/b.wav")]
    web.answers |= {path: Answer(WAV) for _, path in files}
    await asyncio.gather(*(sounds.file(account, web.url + path) for account, path in files))
    requested = [request.path for request in web.received]
    assert len(requested) == 101
    assert requested.index("/b.wav") <= 2, "one under way, and one turn"
    await sounds.stop()
