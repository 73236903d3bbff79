"""Calls of a test: one that is up, which the test drives, and one that is over, which the test judges."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trunkline.phone import sounds
from trunkline.phone.audio import AUDIBLE
from trunkline.phone.call import PhoneCall
from trunkline.phone.conversation import is_quiet
from trunkline.phone.measures import CallResult, measure, spans
from trunkline.phone.values import PhoneEvent
from trunkline.streaming.capture_names import SUFFIX as CAPTURE_SUFFIX
from trunkline.testing.likeness import ENOUGH, has_tone, likeness

Sound = str | Path | bytes
"""What the caller says: the path of an audio file, or of a capture, whose caller it then is; a text that espeak-ng
speaks; or PCM (16-bit, mono, `RATE`)."""
RATE = 16000
"""Samples per second of all PCM here."""
SUFFIXES = frozenset((".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".au"))
"""A text that ends like this is the path of a file."""


class NotMeasured(AssertionError):
    """What the test asks for has not happened in the call; the text says what did."""


def pcm_of(sound: Sound, folders: Sequence[Path]) -> bytes:
    """The PCM of a sound; files are looked for in these folders. Raises sounds.NoSound."""
    if isinstance(sound, bytes):
        return sound
    path = Path(sound)
    if isinstance(sound, str) and path.suffix.lower() not in SUFFIXES and not sound.endswith(CAPTURE_SUFFIX):
        return sounds.speak(sound, RATE)
    found = next((folder / path for folder in folders if (folder / path).exists()), path)
    return _caller_of(found) if path.name.endswith(CAPTURE_SUFFIX) else sounds.load(found, RATE)


def _caller_of(path: Path) -> bytes:
    """What the caller of a captured call said, with its pauses."""
    from trunkline.apps.captured import BadCapture, read_capture
    from trunkline.apps.export import heard
    from trunkline.media.codecs import CODECS
    from trunkline.media.codecs.resample import resampler

    try:
        capture = read_capture([path.read_text()])
        pcm = heard(capture)
    except (BadCapture, OSError, ValueError) as problem:
        raise sounds.NoSound(f"{path}: {problem}") from None
    return resampler(CODECS[capture.codec].sample_rate, RATE)(pcm)


@dataclass(frozen=True, repr=False)
class FinishedCall:
    """A call that is over. Values that the call has not brought raise NotMeasured, so that an assertion fails with a
    reason."""

    result: CallResult
    """All that was measured: loss, jitter, MOS, gaps, the lateness of our own packets."""
    recording: bytes
    """What the caller heard since the answer, as PCM of `RATE`."""
    events: tuple[PhoneEvent, ...]
    """What happened in SIP, with times."""
    findings: tuple[str, ...] = ()
    """What `trunkline why` said at the end of a call in which nothing was heard: errors and warnings."""
    folders: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        """What an assertion that fails shows."""
        result = self.result
        return (
            f"FinishedCall(first_audio_ms={result.first_audio_ms}, cleared_ms={list(result.cleared_ms)}, "
            f"heard_ms={result.audible_ms}, loudest_db={result.loudest_db}, duration_ms={result.duration_ms}, "
            f"digits={result.digits!r}, ended_by={result.ended_by!r}, violations={list(result.violations)}, "
            f"is_reliable={result.is_reliable}, findings={list(self.findings)})"
        )

    @property
    def spoke(self) -> bool:
        """The bot was heard."""
        return self.result.spoke

    @property
    def first_audio_ms(self) -> float:
        """How long the caller waited for the first sound: from the start of the stream for a greeting, from the
        caller's last word for a reply, from its first for an echo. Raises NotMeasured."""
        if self.result.first_audio_ms is None:
            raise NotMeasured(f"the bot never spoke{self._because()}")
        return self.result.first_audio_ms

    @property
    def cleared_within_ms(self) -> float:
        """How long the bot went on speaking after the caller had begun to, at the longest. Raises NotMeasured if the
        caller never spoke while the bot did."""
        if not self.result.cleared_ms:
            raise NotMeasured(
                "the caller never spoke while the bot did: give `interrupt=`, or `say=` to a bot that greets"
                + self._because()
            )
        return max(self.result.cleared_ms)

    @property
    def heard_ms(self) -> int:
        """Milliseconds of audible sound from the bot."""
        return self.result.audible_ms

    @property
    def duration_ms(self) -> float:
        """From the answer to the end."""
        return self.result.duration_ms

    @property
    def digits(self) -> str:
        """Keys that the bot has pressed."""
        return self.result.digits

    @property
    def ended_by_bot(self) -> bool:
        """The bot's side has hung up."""
        return self.result.ended_by == "them"

    def heard(self, what: Sound | float | None = None, *, at_least_ms: int = 100) -> bool:
        """Whether the caller heard something: anything audible for so long; a tone, by its frequency in Hz; the sound
        of a file, of PCM or of a text as espeak-ng speaks it. Words are not recognised, sounds are compared."""
        if what is None:
            return self.heard_ms >= at_least_ms
        if isinstance(what, int | float):
            return has_tone(self.recording, RATE, what)
        return likeness(self.recording, pcm_of(what, self.folders), RATE) >= ENOUGH

    def save(self, path: str | Path) -> None:
        """Write what was heard as a wav file."""
        sounds.save(Path(path), self.recording, RATE)

    def _because(self) -> str:
        if self.findings:
            return ". `trunkline why`: " + "; ".join(self.findings)
        loudest = self.result.loudest_db
        return f" (the loudest sound was {loudest} dBFS; audible is {AUDIBLE} and more)"


@dataclass(slots=True)
class DialledCall:
    """A call that is up. Made by `Phone.dial`."""

    phone: PhoneCall
    """The caller: events, frames, audio in and out."""
    folders: tuple[Path, ...]
    begun: float
    """When the stream was asked for, by the loop's clock."""
    findings: Callable[[], Sequence[str]]
    """Asks the server why; blocks."""
    _finished: FinishedCall | None = None

    async def say(self, sound: Sound) -> None:
        """Say something, and return when the last of it has been sent."""
        self.phone.play(await asyncio.to_thread(pcm_of, sound, self.folders))
        await self.phone.wait_played()

    def press(self, digits: str) -> None:
        """Press keys: `0`-`9`, `*`, `#`, `A`-`D`, with `w` and `W` for pauses of 0.5 and 1 s."""
        self.phone.send_digits(digits)

    async def wait_for_audio(self, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - becomes NotMeasured
        """Wait until the bot is heard, from now on. Raises NotMeasured."""
        audio = self.phone.core.audio
        before = audio.audible_ms
        await self.phone.until(lambda: self.phone.is_over or audio.audible_ms > before, timeout)
        if audio.audible_ms == before:
            because = "; ".join(await asyncio.to_thread(self.findings))
            raise NotMeasured(f"the bot was not heard within {timeout:g} s. `trunkline why`: {because or 'nothing'}")

    async def wait_for_quiet(self, seconds: float = 1.0, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - as above
        """Wait until the bot has been silent for so long. Raises NotMeasured."""
        if not await self.phone.until(lambda: self.phone.is_over or is_quiet(self.phone, seconds), timeout):
            raise NotMeasured(f"the bot was not quiet for {seconds:g} s within {timeout:g} s")

    async def hear(self, milliseconds: float, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - as above
        """Wait until so much audible sound was heard in all. Raises NotMeasured."""
        audio = self.phone.core.audio
        await self.phone.until(lambda: self.phone.is_over or audio.audible_ms >= milliseconds, timeout)
        if audio.audible_ms < milliseconds:
            raise NotMeasured(f"{audio.audible_ms} ms were heard within {timeout:g} s, not {milliseconds:g}")

    @property
    def is_speaking(self) -> bool:
        """The bot is heard now, or was less than 0.3 s ago."""
        return bool(spans(self.phone.core.audio.heard)) and not is_quiet(self.phone, 0.3)

    async def finish(self) -> FinishedCall:
        """Hang up, and measure. Further calls return the same."""
        if self._finished is None:
            core = self.phone.core
            silent = core.audio.audible_at is None and self.phone.is_up
            findings = await asyncio.to_thread(self.findings) if silent else ()
            await self.phone.hang_up()
            self._finished = FinishedCall(
                measure(core, self.phone.loop_time, begun=self.begun),
                self.phone.recording(),
                tuple(core.events),
                tuple(findings),
                self.folders,
            )
        return self._finished
