"""A scripted call: say something, press keys, listen until it is time to hang up (driver).

The caller speaks once the call is answered and `Script.speak_after` has passed, presses its keys, and listens until the
other side has spoken and is quiet again. `Script.hang_up_after` ends it at that time instead.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from trunkline.phone.call import ANSWER_TIMEOUT, PhoneCall


@dataclass(frozen=True, slots=True)
class Script:
    """What the caller does. Times are in seconds."""

    speech: bytes = b""
    """PCM of the call's rate."""
    digits: str = ""
    """Keys to press after it, see `PhoneCall.send_digits`."""
    speak_after: float = 0.5
    """After the answer, at the latest: an app needs a moment to be connected."""
    interrupt_after: float | None = None
    """Speak earlier than that, when this much of the other side's audio has been heard."""
    wait_for_quiet: bool = False
    """Let the other side finish before speaking, `reply_timeout` at most."""
    hang_up_after: float | None = None
    """After the answer; None: once the other side has spoken and is quiet."""
    reply_timeout: float = 10.0
    """How long to wait for the first sound after all was said."""
    quiet: float = 1.0
    """Silence after which the other side has finished."""
    longest: float = 30.0
    """How long to listen at most after all was said."""
    answer_timeout: float = ANSWER_TIMEOUT


async def converse(call: PhoneCall, script: Script) -> None:
    """Do it in a call that has been entered, up to the time to hang up. Raises CallRefused, CallUnreachable,
    NoTelephoneEvent and TooManyDigits."""
    await call.wait_answered(script.answer_timeout)
    answered = call.loop_time
    with suppress(TimeoutError):  # it is time to hang up
        async with asyncio.timeout(script.hang_up_after):
            await _talk(call, script, answered)
            if script.hang_up_after is not None:
                await call.wait_over()


async def _talk(call: PhoneCall, script: Script, answered: float) -> None:
    if script.speech:
        await _wait_for_turn(call, script, answered)
        call.play(script.speech)
        await call.wait_played()
    since = call.core.audio.spoke_at or answered
    if script.digits and call.is_up:
        call.send_digits(script.digits)
        await call.until(lambda: call.is_over or not call.core.keys_waiting, None)
    await listen(call, script, since)


async def _wait_for_turn(call: PhoneCall, script: Script, answered: float) -> None:
    audio = call.core.audio

    def spoken_enough() -> bool:
        return script.interrupt_after is not None and audio.audible_ms >= script.interrupt_after * 1000

    await call.until(lambda: call.is_over or spoken_enough(), max(0.0, answered + script.speak_after - call.loop_time))
    if script.wait_for_quiet and audio.audible_at is not None:
        await call.until(lambda: call.is_over or is_quiet(call, script.quiet), script.reply_timeout)


def is_quiet(call: PhoneCall, seconds: float) -> bool:
    """Whether the other side has been silent for so long, or has not spoken at all."""
    at = call.core.audio.audible_at
    return at is None or call.loop_time - at >= seconds


async def listen(call: PhoneCall, script: Script, since: float) -> None:
    """Wait until the other side has been heard after the time `since`, and is quiet; or until the script's limits. An
    echo is heard after the last word, an interrupted greeting is not."""
    audio, begun = call.core.audio, call.loop_time

    def replied() -> bool:
        return audio.audible_at is not None and audio.audible_at > since

    if await call.until(lambda: call.is_over or replied(), script.reply_timeout):
        left = begun + script.longest - call.loop_time
        await call.until(lambda: call.is_over or is_quiet(call, script.quiet), max(0.0, left))
