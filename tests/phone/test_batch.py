"""Several calls: each with its result, its recording and its faults."""

import asyncio
import os
from pathlib import Path

import pytest

from phone.answering import AnsweringParty
from phone.test_conversation import SOON, SPEECH, script
from trunkline.phone.batch import Batch, run
from trunkline.phone.sounds import NoSound, load
from trunkline.phone.values import Impairments, PhoneEvent


async def test_calls_begin_at_their_rate_and_each_has_a_result(tmp_path: Path) -> None:
    seen: list[tuple[int, PhoneEvent]] = []
    async with AnsweringParty(echoes=True) as party:
        batch = Batch(party.uri, script(speech=SPEECH), calls=3, per_second=10.0, record=tmp_path / "heard.wav")
        results = await run(batch, lambda number, event: seen.append((number, event)))
    assert [result.ended_by for result in results] == ["us"] * 3
    begun = [event.at for _, event in seen if event.kind == "invited"]
    assert begun[2] - begun[0] == pytest.approx(0.2, abs=0.15)
    assert sorted({number for number, _ in seen}) == [1, 2, 3]
    assert sorted(os.listdir(tmp_path)) == ["heard-1.wav", "heard-2.wav", "heard-3.wav"]
    assert len(load(tmp_path / "heard-2.wav", 16000)) > len(SPEECH)


async def test_a_seed_gives_each_call_its_own_faults_and_the_batch_the_same() -> None:
    lost = []
    for _ in range(2):
        async with AnsweringParty(echoes=True) as party:
            options = {"impairments": Impairments(loss=0.3), "seed": 7}
            results = await run(Batch(party.uri, script(hang_up_after=0.7), options, calls=2, per_second=100.0))
        lost.append([result.dropped / (result.report.packets_out if result.report else 1) for result in results])
    assert lost[0] == pytest.approx(lost[1], abs=0.1)
    assert all(0.1 < share < 0.5 for share in lost[0])


async def test_failures_are_results() -> None:
    async with AnsweringParty(status="486 Busy Here") as party:
        (busy,) = await run(Batch(party.uri, SOON))
    assert (busy.status, busy.answered_ms) == (486, None)
    assert "486 Busy Here" in busy.failure
    (unknown,) = await run(Batch("sip:a@nowhere.invalid", SOON))
    assert "nowhere.invalid" in unknown.failure
    async with AnsweringParty(sdp_formats="0") as party:
        (keyless,) = await run(Batch(party.uri, script(digits="1")))
    assert keyless.violations[0].startswith("keys: ")


async def test_a_recording_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    async with AnsweringParty() as party:
        with pytest.raises(NoSound):
            await run(Batch(party.uri, script(hang_up_after=0.1), record=tmp_path / "none" / "heard.wav"))


async def test_a_cancelled_batch_hangs_up() -> None:
    seen: list[str] = []
    answered = asyncio.Event()

    def note(_: int, event: PhoneEvent) -> None:
        seen.append(event.kind)
        if event.kind == "answered":
            answered.set()

    async with AnsweringParty(echoes=True) as party:
        task = asyncio.create_task(run(Batch(party.uri, script()), note))
        async with asyncio.timeout(10):
            await answered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen[-1] == "ended"
