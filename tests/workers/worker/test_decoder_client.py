"""The decoder as a real process: files decoded, refused and lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from errno import EAGAIN
from typing import Any

import pytest

from mp3files import KINDS, mp3
from trunkline.streaming.messages import Problem, Refusal
from trunkline.workers.worker import decoder_client as files
from trunkline.workers.worker.decoder_client import AccountDecoder, DecoderClient

pytestmark = pytest.mark.process

PLENTY = 10_000_000
FILE = mp3(KINDS[0], 1)


class Answers:
    """The decoder's answers, by a name for each job."""

    def __init__(self) -> None:
        self.got: dict[str, bytes | Refusal] = {}
        self._changed = asyncio.Event()

    def to(self, name: str) -> Callable[[bytes | Refusal], None]:
        def take(answer: bytes | Refusal) -> None:
            assert name not in self.got
            self.got[name] = answer
            self._changed.set()

        return take

    async def all(self, *names: str) -> None:
        async with asyncio.timeout(30):
            while not self.got.keys() >= set(names):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def decoder() -> AsyncIterator[DecoderClient]:
    decoder = DecoderClient()
    decoder.start()
    await asyncio.wait_for(decoder.ready.wait(), 30)
    yield decoder
    await decoder.stop()


def problem(answer: bytes | Refusal) -> Problem:
    assert isinstance(answer, Refusal)
    return answer.problem


async def test_a_file_is_decoded_to_the_requested_codec(decoder: DecoderClient) -> None:
    answers = Answers()
    for codec in ("PCMU", "G722"):
        assert isinstance(decoder.decode(FILE, codec, PLENTY, answers.to(codec)), int)
    await answers.all("PCMU", "G722")
    for audio in answers.got.values():
        assert isinstance(audio, bytes)
        assert len(audio) == pytest.approx(8000, abs=8)
    assert decoder.counters == {"files_decoded": 2, "decoder_restarts": 0}


async def test_a_short_file_overtakes_a_long_one(decoder: DecoderClient) -> None:
    answers = Answers()
    decoder.decode(mp3(KINDS[4], 20), "PCMU", PLENTY, answers.to("long"))
    decoder.decode(FILE, "PCMU", PLENTY, answers.to("short"))
    await answers.all("long", "short")
    assert list(answers.got) == ["short", "long"]
    long = answers.got["long"]
    assert isinstance(long, bytes)
    assert len(long) == pytest.approx(160_000, abs=8)


async def test_files_without_audio_and_too_long_ones_are_distinguished(decoder: DecoderClient) -> None:
    answers = Answers()
    decoder.decode(b"\xff\xfb\x90\x64" * 3, "PCMU", PLENTY, answers.to("empty"))
    decoder.decode(FILE, "PCMU", 100, answers.to("long"))
    await answers.all("empty", "long")
    assert problem(answers.got["empty"]) is Problem.INVALID_MEDIA
    assert problem(answers.got["long"]) is Problem.RATE_LIMIT


async def test_a_cancelled_job_is_not_answered(decoder: DecoderClient) -> None:
    answers = Answers()
    job = decoder.decode(mp3(KINDS[4], 20), "PCMU", PLENTY, answers.to("cancelled"))
    assert isinstance(job, int)
    decoder.cancel(job)
    decoder.decode(FILE, "PCMU", PLENTY, answers.to("next"))
    await answers.all("next")
    decoder.decode(FILE, "PCMU", PLENTY, answers.to("last"))
    await answers.all("last")
    assert "cancelled" not in answers.got


async def test_files_over_the_limit_are_refused(decoder: DecoderClient) -> None:
    answers = Answers()
    data = bytes(30 * 1024 * 1024)
    taken = [decoder.decode(data, "PCMU", PLENTY, answers.to(account), account) for account in "abc"]
    assert [isinstance(job, int) for job in taken] == [True, True, False]
    assert isinstance(taken[2], Refusal)
    assert taken[2].problem is Problem.RATE_LIMIT


async def test_a_decoder_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    create, faults = asyncio.create_subprocess_exec, [OSError(EAGAIN, "no processes"), RuntimeError("x")]

    async def faulty(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        if faults:
            raise faults.pop()
        return await create(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", faulty)
    monkeypatch.setattr(files, "RESTART_DELAY", 0.01)
    decoder = DecoderClient()
    decoder.start()
    await asyncio.wait_for(decoder.ready.wait(), 30)
    assert decoder.counters["decoder_restarts"] == 2
    await decoder.stop()


async def test_an_exception_about_one_lost_job_does_not_hide_the_others(decoder: DecoderClient) -> None:
    def stumbles(_: object) -> None:
        raise RuntimeError("a fault of ours")

    answers = Answers()
    os.kill(decoder.pid, signal.SIGSTOP)
    decoder.decode(FILE, "PCMU", PLENTY, stumbles)
    decoder.decode(FILE, "PCMU", PLENTY, answers.to("decoded"))
    assert decoder.write("/dev/null", 8000, 1, stumbles)
    assert decoder.write("/dev/null", 8000, 1, lambda problem: answers.to("written")(str(problem).encode()))
    decoder.ready.clear()
    os.kill(decoder.pid, signal.SIGKILL)
    await answers.all("decoded", "written")
    await asyncio.wait_for(decoder.ready.wait(), 30)


async def test_a_decoder_that_dies_is_reported_to_its_jobs_and_replaced(decoder: DecoderClient) -> None:
    answers = Answers()
    os.kill(decoder.pid, signal.SIGSTOP)
    decoder.decode(FILE, "PCMU", PLENTY, answers.to("lost"))
    decoder.ready.clear()
    os.kill(decoder.pid, signal.SIGKILL)
    await answers.all("lost")
    assert problem(answers.got["lost"]) is Problem.UNKNOWN
    refused = decoder.decode(FILE, "PCMU", PLENTY, answers.to("away"))
    assert isinstance(refused, Refusal)
    assert "send it again" in refused.detail
    await asyncio.wait_for(decoder.ready.wait(), 30)
    decoder.decode(FILE, "PCMU", PLENTY, answers.to("again"))
    await answers.all("again")
    assert isinstance(answers.got["again"], bytes)
    assert decoder.counters == {"files_decoded": 1, "decoder_restarts": 1}


async def test_one_account_fills_half_of_the_decoder_and_another_has_the_rest(decoder: DecoderClient) -> None:
    data, answers = bytes(7 * 1024 * 1024), Answers()
    ours, theirs = AccountDecoder(decoder, "a"), AccountDecoder(decoder, "b")
    taken = [ours.decode(data, "PCMU", PLENTY, answers.to(f"a{number}")) for number in range(5)]
    assert isinstance(taken[-1], Refusal)
    assert not any(isinstance(each, Refusal) for each in taken[:-1])
    job = theirs.decode(data, "PCMU", PLENTY, answers.to("b"))
    assert isinstance(job, int)
    theirs.cancel(job)
    await answers.all("a0", "a1", "a2", "a3")
    assert isinstance(ours.decode(data, "PCMU", PLENTY, answers.to("later")), int)
