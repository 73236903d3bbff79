"""A scripted call: when the caller speaks, presses keys, and hangs up."""

import numpy as np

from phone.answering import AnsweringParty
from trunkline.phone.call import PhoneCall
from trunkline.phone.conversation import Script, converse
from trunkline.phone.measures import CallResult, measure

SPEECH = (8000 * np.sin(np.arange(16000 * 0.4) / 5)).astype("<i2").tobytes()
SOON = Script(speak_after=0.1, reply_timeout=0.4, quiet=0.3, answer_timeout=10)


async def called(party: AnsweringParty, script: Script) -> CallResult:
    async with PhoneCall(party.uri) as call:
        await converse(call, script)
        await call.hang_up()
        return measure(call.core, call.loop_time)


def script(**changes: object) -> Script:
    return Script(**{**{name: getattr(SOON, name) for name in Script.__slots__}, **changes})


async def test_the_caller_speaks_presses_keys_listens_and_hangs_up() -> None:
    async with AnsweringParty(echoes=True) as party:
        result = await called(party, script(speech=SPEECH, digits="1#"))
    assert result.ended_by == "us"
    assert (result.digits, result.said_ms) == ("1#", 400)
    assert result.first_audio_ms is not None
    assert result.first_audio_ms < 150
    assert 350 <= result.audible_ms <= 450
    assert 800 < result.duration_ms < 4000


async def test_without_a_reply_the_caller_hangs_up_after_the_reply_timeout() -> None:
    async with AnsweringParty() as party:
        result = await called(party, SOON)
    assert (result.spoke, result.ended_by, result.closed_before_audio) == (False, "us", False)
    assert 350 < result.duration_ms < 2000


async def test_a_time_to_hang_up_ends_the_call_in_the_middle_of_a_word() -> None:
    async with AnsweringParty(greeting=10) as party:
        result = await called(party, script(hang_up_after=0.5))
    assert 450 < result.duration_ms < 1500
    assert result.spoke


async def test_a_call_that_has_no_more_to_say_lasts_until_the_time_to_hang_up() -> None:
    async with AnsweringParty(greeting=0.1) as party:
        result = await called(party, script(hang_up_after=0.8))
    assert 750 < result.duration_ms < 2500


async def test_the_caller_interrupts_when_it_has_heard_enough() -> None:
    async with AnsweringParty(greeting=10) as party:
        result = await called(party, script(speech=SPEECH, speak_after=5.0, interrupt_after=0.2, hang_up_after=1.5))
    assert result.said_ms == 400
    assert len(result.cleared_ms) == 1
    assert result.cleared_ms[0] > 350  # it does not stop


async def test_a_polite_caller_waits_for_the_end_of_the_greeting() -> None:
    async with AnsweringParty(greeting=0.6) as party:
        result = await called(party, script(speech=SPEECH, wait_for_quiet=True, reply_timeout=3.0, hang_up_after=1.6))
    assert (result.cleared_ms, result.said_ms) == ((), 400)


async def test_a_hang_up_of_the_other_side_ends_it() -> None:
    async with AnsweringParty(hangs_up=0.3) as party:
        result = await called(party, script(speech=SPEECH * 10, reply_timeout=10.0))
    assert (result.ended_by, result.closed_before_audio) == ("them", True)
