"""`trunkline check`: talks to a bot as the server would, and judges what it does."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from trunkline.apps import judge
from trunkline.apps.call import BotCall
from trunkline.apps.items import Findings, Item, Threshold, Verdict
from trunkline.apps.judge import BACKLOG_MS, Interruption
from trunkline.apps.speech import speak
from trunkline.apps.stream import BotStream, BotUnreachable
from trunkline.apps.trace import FRAME_MS, Trace, is_audible
from trunkline.apps.wire import frames
from trunkline.media.codecs import CODECS

FIRST_WORDS = "Hello? Can you hear me?"
INTERRUPTING = "Wait. Stop, please. I have another question for you. Are you listening to me?"
UNKNOWN_MESSAGE = b'{"event":"trunkline.unknown","sequence_number":"0","trunkline.unknown":{}}'
"""Stands for a message of a later version."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long the parts of a check take, in seconds."""

    greeting: float = 1.0
    """For a bot that speaks first."""
    answer: float = 6.0
    """After the caller's words, for the bot's first ones."""
    least: float = 5.0
    """Of the conversation: until then a bot that reads too slowly is far behind."""
    heard: float = 0.4
    """Of the bot's words before it is interrupted."""
    backlog: float = 1.0
    """For so much of the answer that it can be interrupted."""
    clear: float = 2.0
    """From the caller's first word to silence."""
    drain: float = 6.0
    """For the rest of the bot's audio, and its marks."""
    after: float = 0.3
    """After a key, or a message that is not known."""
    reconnect: float | None = 1.0
    """On the second socket; None: the connection is not broken."""
    first_audio_ms: float | None = None
    """Limits that the user set; None: none."""
    allow_no_audio: bool = False


DEFAULT = Plan()
Progress = Callable[[str], None]


async def check(asked: BotStream, plan: Plan, progress: Progress) -> Findings:
    """Talk to the bot. It takes about ten seconds, more with a bot that is slow to answer."""
    found = Findings("check", asked.url, allow_no_audio=plan.allow_no_audio)
    rate = CODECS[asked.codec].sample_rate
    words = [frames(await asyncio.to_thread(speak, text, rate), asked.codec) for text in (FIRST_WORDS, INTERRUPTING)]
    call = BotCall(asked)
    try:
        progress("connecting")
        began = asyncio.get_running_loop().time()
        await call.open()
        connected = (asyncio.get_running_loop().time() - began) * 1000
    except BotUnreachable as problem:
        found.unreachable = str(problem)
        return found
    found.items.append(Item("connect", Verdict.OK, f"WebSocket after {connected:.0f} ms."))
    talk = _Talk(call, plan, words, progress)
    try:
        await talk.run()
    finally:
        found.trace = await call.hang_up()
    found.items += judge.conversation(found.trace, talk.interruption)
    found.items.append(judge.survived("keys", found.trace, "a key", talk.pressed))
    found.items.append(judge.survived("new messages", found.trace, "a message that it does not know", talk.unknown))
    if plan.reconnect is not None:
        progress("breaking the connection")
        found.items.append(judge.reconnected(*await _reconnect(asked, words[0], plan.reconnect)))
    if plan.first_audio_ms is not None:
        first = found.trace.first_audio
        value = None if first is None else round(first * 1000, 1)
        found.thresholds.append(Threshold("first audio", plan.first_audio_ms, value))
    if talk.interruption is not None:
        found.measures["clear_ms"] = judge.clear_after(found.trace, talk.interruption)
    return found


def _spoken(pcm: bytes, codec: str) -> list[bytes]:
    """Speech as frames of the call, without the silence before and behind it."""
    payloads = frames(pcm, codec)
    audible = [number for number, payload in enumerate(payloads) if is_audible(payload, codec)]
    return payloads[audible[0] : audible[-1] + 1] if audible else payloads


class _Talk:
    """The conversation of one socket."""

    def __init__(self, call: BotCall, plan: Plan, words: list[list[bytes]], progress: Progress) -> None:
        self._call = call
        self._plan = plan
        self._words = words
        self._progress = progress
        self.interruption: Interruption | None = None
        self.pressed: float | None = None
        """When the key was pressed."""
        self.unknown: float | None = None
        """When the unknown message was sent."""

    async def run(self) -> None:
        """Until all was said, or the bot closes."""
        call, plan = self._call, self._plan
        call.ping()
        self._progress("waiting for a greeting")
        if await call.until(self._has_backlog, plan.greeting):
            await self._wait(plan.heard)
            await self._interrupt()
        else:
            await self._ask()
        if call.over:
            return
        self._progress("a key, an unknown message")
        self.pressed = call.now
        call.press("1")
        await self._wait(plan.after)
        self.unknown = call.now
        call.send(UNKNOWN_MESSAGE)
        await self._wait(plan.after)
        if not self._drained():
            self._progress("waiting for the rest of the audio, and for marks")
            await call.until(self._drained, plan.drain)
        self._progress("listening")
        await self._wait(plan.least - call.leg_ms / 1000)
        call.ping()
        await self._wait(plan.after)

    async def _ask(self) -> None:
        """Speak, and interrupt the answer."""
        call, plan = self._call, self._plan
        self._progress("the caller speaks")
        call.speak(self._words[0])
        await call.until(lambda: not call.speaking, len(self._words[0]) * FRAME_MS / 1000 + 1)
        spoken = call.leg_ms
        self._progress("waiting for an answer")
        answers = partial(self._answers, spoken)
        if await call.until(answers, plan.answer) and not call.trace.echoes():
            await call.until(self._has_backlog, plan.backlog)
            await self._wait(plan.heard)
            if answers():
                await self._interrupt()

    async def _interrupt(self) -> None:
        call, plan = self._call, self._plan
        self._progress("the caller interrupts")
        within = round(plan.clear * 1000)
        self.interruption = Interruption(call.leg_ms, call.queued_ms, call.marks_pending, within)
        needed = round(plan.clear * 1000 / FRAME_MS)
        words = self._words[1]
        call.speak((words * (needed // len(words) + 1))[:needed])
        cleared = partial(judge.clear_after, call.trace, self.interruption)
        await call.until(lambda: cleared() is not None, plan.clear + 0.1)

    def _has_backlog(self) -> bool:
        return self._call.queued_ms >= BACKLOG_MS

    def _drained(self) -> bool:
        return self._call.queued_ms < BACKLOG_MS and not self._call.marks_pending

    def _answers(self, since_ms: float) -> bool:
        return self._has_backlog() or self._call.trace.audible(since_ms, float("inf")) >= 5 * FRAME_MS

    async def _wait(self, seconds: float) -> None:
        if seconds > 0:
            await self._call.until(lambda: False, seconds)


async def _reconnect(asked: BotStream, words: list[bytes], seconds: float) -> tuple[Trace | None, str]:
    """Break a connection, and dial again as the server does. Returns the second socket, or why there is none."""
    said: list[bytes] = []
    for second in (False, True):
        call = BotCall(replace(asked, stream_sid="00000000-0000-4000-8000-0000000ec04e"))
        try:
            await call.open(said)
        except BotUnreachable as problem:
            return None, str(problem)
        call.speak(words)
        await call.until(lambda: False, seconds if second else seconds / 2)
        said = call.trace.said
        if second:
            return await call.hang_up(), ""
        await call.abort()
        await asyncio.sleep(0.25)
    return None, ""
