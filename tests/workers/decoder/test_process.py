"""The decoder process: files decoded to telephone audio, in turns, and recordings written to the disk."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from mp3files import mp3, signal_to_noise
from trunkline.media.codecs import CODECS
from trunkline.workers.decoder import messages
from trunkline.workers.decoder.process import NICENESS
from workers.bench import wav
from workers.child import Child, child

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoder() -> AsyncIterator[Child[Any]]:
    async with child("trunkline.workers.decoder.process", messages.FromDecoder) as started:
        yield started


def heard(audio: bytes) -> Any:
    """Of PCMU."""
    return np.frombuffer(CODECS["PCMU"].decoder()(audio), "<i2").astype(float)


async def test_a_file_of_an_app_is_decoded_completely(decoder: Child[Any]) -> None:
    decoder.link.send(messages.Decode(1, "PCMU", 8 * 5000, mp3(seconds=1)))
    done = await decoder.report(messages.Decoded)
    assert done.job == 1
    assert 8 * 900 < len(done.audio) < 8 * 1200
    assert signal_to_noise(heard(done.audio)[800:7200], 8000) > 25


async def test_too_long_files_and_files_without_audio_are_distinguished(decoder: Child[Any]) -> None:
    decoder.link.send(messages.Decode(2, "PCMU", 8 * 100, mp3(seconds=1)))
    refused = await decoder.report(messages.Undecoded)
    assert (refused.job, refused.too_long) == (2, True)
    decoder.link.send(messages.Decode(3, "PCMU", 8 * 5000, b"no audio" * 100))
    refused = await decoder.report(messages.Undecoded)
    assert (refused.job, refused.too_long) == (3, False)
    assert refused.detail
    decoder.link.send(messages.DecodeFile(4, "PCMU", "/nowhere/file.wav", 1, 1))
    refused = await decoder.report(messages.Undecoded)
    assert (refused.job, refused.too_long) == (4, False)
    assert "No such file" in refused.detail


async def test_a_file_on_disk_is_decoded_in_pieces_on_request(decoder: Child[Any], tmp_path: Path) -> None:
    path = wav(tmp_path / "tone.wav", 3)
    decoder.link.send(messages.DecodeFile(5, "PCMU", path, 1, 2))
    audio = b""
    for _ in range(2):
        piece = await decoder.next()
        assert isinstance(piece, messages.DecodedPiece)
        assert piece.job == 5
        audio += piece.audio
    # No further piece comes without a request: the next report is that of another file.
    decoder.link.send(messages.Decode(6, "PCMU", 8 * 5000, mp3(seconds=0.5)))
    assert (await decoder.next()).job == 6
    while True:
        decoder.link.send(messages.More(5))
        report = await decoder.next()
        audio += report.audio
        if isinstance(report, messages.Decoded):
            break
    assert len(audio) == 8 * 3000
    assert signal_to_noise(heard(audio), 8000) > 30


async def test_a_file_repeated_for_ever_can_be_cancelled(decoder: Child[Any], tmp_path: Path) -> None:
    decoder.link.send(messages.DecodeFile(7, "PCMU", wav(tmp_path / "a.wav", 0.1), 0, 3))
    for _ in range(3):
        assert (await decoder.report(messages.DecodedPiece)).job == 7
    decoder.link.send(messages.Cancel(7))
    decoder.link.send(messages.More(7))
    decoder.link.send(messages.Decode(8, "PCMU", 8 * 5000, mp3(seconds=0.5)))
    assert (await decoder.next()).job == 8


async def test_a_short_file_does_not_wait_for_a_long_one(decoder: Child[Any], tmp_path: Path) -> None:
    decoder.link.send(messages.DecodeFile(9, "PCMU", wav(tmp_path / "long.wav", 600), 1, 100_000))
    decoder.link.send(messages.Decode(10, "PCMU", 8 * 5000, mp3(seconds=0.2)))
    done = await decoder.report(messages.Decoded)
    assert done.job == 10, "in the middle of the other"
    decoder.link.send(messages.Cancel(9))


async def test_a_recording_is_written_piece_by_piece(decoder: Child[Any], tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    decoder.link.send(messages.WriteFile(11, str(path), 8000, 1))
    assert await decoder.report(messages.Wrote) == messages.Wrote(11)
    for _ in range(2):
        decoder.link.send(messages.Append(11, b"\x01\x02" * 80))
        assert await decoder.report(messages.Wrote) == messages.Wrote(11)
    decoder.link.send(messages.FinishFile(11))
    assert await decoder.report(messages.Written) == messages.Written(11, None)
    data = await asyncio.to_thread(path.read_bytes)
    assert data.startswith(b"RIFF")
    assert data.endswith(b"\x01\x02" * 160)


async def test_a_recording_that_cannot_be_written_is_reported_once(decoder: Child[Any], tmp_path: Path) -> None:
    decoder.link.send(messages.WriteFile(12, str(tmp_path / "none" / "a.wav"), 8000, 1))
    failed = await decoder.report(messages.Written)
    assert failed.job == 12
    assert "No such file" in str(failed.error)
    decoder.link.send(messages.Append(12, b"\0\0"))
    decoder.link.send(messages.FinishFile(12))
    decoder.link.send(messages.WriteFile(13, str(tmp_path / "b.wav"), 8000, 1))
    assert await decoder.next() == messages.Wrote(13)
    decoder.link.send(messages.FinishFile(13))
    assert await decoder.next() == messages.Written(13, None)


async def test_the_decoder_has_a_lower_priority_and_ends_with_its_worker() -> None:
    async with child("trunkline.workers.decoder.process", messages.FromDecoder) as alone:
        alone.link.send(messages.Decode(1, "PCMU", 8 * 5000, mp3(seconds=0.1)))
        await alone.report(messages.Decoded)
        assert os.getpriority(os.PRIO_PROCESS, alone.process.pid) == min(os.nice(0) + NICENESS, 19)
        assert await alone.ends() == 0


async def test_no_account_waits_for_all_the_files_of_another(decoder: Child[Any]) -> None:
    file, first = mp3(seconds=1), 100
    for number in range(first, first + 100):
        decoder.link.send(messages.Decode(number, "PCMU", 8 * 5000, file, "a"))
    decoder.link.send(messages.Decode(first + 100, "PCMU", 8 * 5000, file, "b"))
    decoded = [(await decoder.report(messages.Decoded)).job for _ in range(101)]
    assert decoded.index(first + 100) <= 10, "those that were done when it came, and one turn"
