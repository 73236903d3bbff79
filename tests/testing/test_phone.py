"""The fixture's phone with real bots, in this process and in others."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.bots import BOTS, CLEARS_AFTER, GREETS_AFTER, free_port
from trunkline.demo.audio import decode, speech
from trunkline.media.codecs import transcoder
from trunkline.testing import Impairments, LocalServer, NotMeasured, Phone
from trunkline.testing.phone import BotProblem

pytestmark = pytest.mark.process
HELLO = transcoder("L16/8000", "L16/16000").convert(decode(b"".join(speech(40))).astype("<i2").tobytes())
"""0.8 s like speech."""


@pytest.fixture
def caller(server: LocalServer) -> Iterator[Phone]:
    phone = Phone(server)
    yield phone
    phone.close()


async def test_an_echo_is_heard_soon_and_is_what_was_said(caller: Phone) -> None:
    async with caller.app(BOTS["echo"]) as url:
        call = await caller.call(url, say=HELLO, quiet=0.4)
    assert call.first_audio_ms < 800
    assert call.heard(HELLO)
    assert not call.heard(1200)
    assert call.result.report is not None
    assert call.findings == ()


async def test_a_greeting_stops_when_the_caller_speaks(caller: Phone) -> None:
    async with caller.app(BOTS["greeter"]) as url:
        call = await caller.call(url, say=HELLO, quiet=0.4)
    assert call.first_audio_ms < 800
    assert call.cleared_within_ms < 600
    assert call.heard(600.0)
    assert call.heard(900.0)
    assert 1000 < call.heard_ms < 4000


async def test_an_interruption_is_said_into_the_answer(caller: Phone) -> None:
    async with caller.app(BOTS["answerer"]) as url:
        call = await caller.call(url, say=HELLO, interrupt=HELLO, hang_up_after=8.0, quiet=0.3)
    assert call.cleared_within_ms < 600
    async with caller.app(BOTS["deaf"]) as url:
        call = await caller.call(url, interrupt=HELLO, quiet=0.3)
    assert call.cleared_within_ms > 1000


async def test_a_silent_bot_fails_with_what_why_says(caller: Phone) -> None:
    async with caller.app(BOTS["silent"]) as url:
        call = await caller.call(url, reply_timeout=0.5)
    assert not call.spoke
    with pytest.raises(NotMeasured, match=r"never spoke\. `trunkline why`"):
        _ = call.first_audio_ms


async def test_a_call_is_driven_step_by_step(caller: Phone) -> None:
    async with caller.app(BOTS["greeter"]) as url, caller.dial(url) as call:
        await call.wait_for_audio()
        assert call.is_speaking
        await call.say(HELLO)
        await call.wait_for_audio()
        await call.wait_for_quiet(0.3)
        call.press("5")
        await call.wait_for_audio()
        await call.wait_for_quiet(0.3)
        done = await call.finish()
        assert await call.finish() is done
    assert done.heard(1200.0)
    assert not done.ended_by_bot
    with pytest.raises(NotMeasured, match="not heard within"):
        async with caller.app(BOTS["silent"]) as url, caller.dial(url) as call:
            await call.wait_for_audio(0.2)


async def test_faults_are_those_of_the_line(caller: Phone) -> None:
    async with caller.app(BOTS["echo"]) as url:
        call = await caller.call(url, say=HELLO, impairments=Impairments(loss=0.3), seed=3, quiet=0.3)
    assert call.result.dropped > 5


async def test_the_times_of_a_bot_in_another_process_are_true(caller: Phone) -> None:
    port = free_port()
    script = Path(__file__).parent / "bots.py"
    command = [sys.executable, str(script), "slow", str(port)]
    url = await asyncio.to_thread(caller.start, command, f"ws://127.0.0.1:{port}/")
    call = await caller.call(url, say=HELLO, reply_timeout=0.3, quiet=0.3)
    assert call.heard(600)
    assert not call.heard(HELLO)
    late = 500 + call.result.late_ms[1]
    assert GREETS_AFTER * 1000 <= call.first_audio_ms < GREETS_AFTER * 1000 + late
    assert CLEARS_AFTER * 1000 <= call.cleared_within_ms < CLEARS_AFTER * 1000 + late


def test_a_bot_that_ends_or_does_not_listen_is_named(caller: Phone) -> None:
    url = f"ws://127.0.0.1:{free_port()}/"
    with pytest.raises(BotProblem, match="exit code 3"):
        caller.start([sys.executable, "-c", "raise SystemExit(3)"], url)
    with pytest.raises(BotProblem, match="nothing listens"):
        caller.wait_for(url, 0.1)
