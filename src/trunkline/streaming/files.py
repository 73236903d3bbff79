"""mp3 mode: whole files on their way into the playback (docs/reference/websocket.md#media-1). Pure.

A file goes to the decoder when it arrives, and waits in the line until it is decoded and all files before it are in the
playback. A mark waits behind the file after which it was sent. `clear` empties the line and cancels the decoding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from trunkline.media.audio.mp3 import audio_start
from trunkline.streaming.budget import UNBOUNDED, Budget
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.playback import Playback

LINE_LIMIT = 16
"""Files in the line. At one a second there is one at a time, unless files are very long."""
EARLY = 0.25
"""Seconds by which a message may be early, as networks bunch messages that were sent a second apart."""

MEMORY = "the account's streams hold too much memory (streams.account_memory); this message is dropped"
"""Why a message is refused."""

_NOT_MP3 = (
    "media.payload is no mp3 file, but this stream is in mp3 mode (the default of BidirectionalMode), whose messages "
    "hold one whole mp3 file each; to send raw codec bytes, start the stream with BidirectionalMode=rtp"
)

Answer = Callable[[bytes | Refusal], None]


class FileDecoder(Protocol):
    """Decodes mp3 files."""

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        """Start to decode an mp3 file to at most `room` bytes of `codec`. Returns the job's number for `cancel`, or the
        refusal. `answer` is called later, once, unless the job is cancelled."""

    def cancel(self, job: int) -> None:
        """Cancel a job that has not been answered."""


@dataclass(slots=True)
class QueuedFile:
    """A file in the line."""

    job: int = 0
    size: int = 0
    """Bytes that it takes from the budget, until it is decoded."""
    audio: bytes | None = None
    """Decoded; None while the decoder works, empty if it was refused."""
    marks: list[bytes] = field(default_factory=list)


class Files:
    """The line of one stream. `interval`: least seconds between two files; `on_answer` gets the decoder's answers, and
    passes them to `finish`."""

    __slots__ = (
        "_budget",
        "_decoder",
        "_due",
        "_interval",
        "_line",
        "_mark_limit",
        "_marks",
        "_on_answer",
        "_playback",
    )

    def __init__(
        self,
        playback: Playback,
        decoder: FileDecoder,
        on_answer: Callable[[QueuedFile, bytes | Refusal], None],
        *,
        interval: float,
        mark_limit: int,
        budget: Budget = UNBOUNDED,
    ) -> None:
        self._playback = playback
        self._budget = budget
        self._decoder = decoder
        self._on_answer: Callable[[QueuedFile, bytes | Refusal], None] | None = on_answer
        self._interval = interval
        self._mark_limit = mark_limit
        self._line: list[QueuedFile] = []
        self._due = 0.0
        self._marks = 0

    def add(self, data: bytes, now: float) -> Refusal | None:
        """The payload of a `media` message. Returns the refusal, if any. `now` is in seconds, monotonic."""
        start = audio_start(data)
        if start is None:
            return Refusal(Problem.INVALID_MEDIA, _NOT_MP3)
        if now < self._due - EARLY:
            words = f"in mp3 mode at most one media message per {self._interval:g} s is taken; this one is dropped"
            return Refusal(Problem.RATE_LIMIT, words)
        if len(self._line) >= LINE_LIMIT:
            return Refusal(Problem.RATE_LIMIT, f"{LINE_LIMIT} files are being decoded; this one is dropped")
        if not self._line:
            self._playback.follow_leg()
        file = QueuedFile(size=len(data))
        if not self._budget.take(file.size):
            return Refusal(Problem.RATE_LIMIT, MEMORY)
        answer = partial(self._answered, file)
        job = self._decoder.decode(data[start:], self._playback.codec, self._playback.room, answer)
        if isinstance(job, Refusal):
            self._budget.give(file.size)
            return job
        file.job = job
        self._due = max(now, self._due) + self._interval
        self._line.append(file)
        return None

    def _answered(self, file: QueuedFile, answer: bytes | Refusal) -> None:
        if self._on_answer is not None:
            self._on_answer(file, answer)

    def finish(self, file: QueuedFile, answer: bytes | Refusal) -> Refusal | None:
        """The decoder's answer: bytes, or a refusal. Returns the refusal to send to the app, if any."""
        self._give(file)
        if isinstance(answer, Refusal):
            self._playback.overruns += answer.problem is Problem.RATE_LIMIT
        elif not self._playback.promise(len(answer)):
            words = MEMORY if self._playback.short else "too much audio would be queued; this file is dropped"
            answer = Refusal(Problem.RATE_LIMIT, words)
        refusal = answer if isinstance(answer, Refusal) else None
        file.audio = answer if isinstance(answer, bytes) else b""
        while self._line and self._line[0].audio is not None:
            self._play(self._line.pop(0))
        return refusal

    def _play(self, file: QueuedFile) -> None:
        if file.audio:
            self._playback.put_promised(file.audio)
        self._marks -= len(file.marks)
        for name in file.marks:
            self._playback.queue_mark(name)

    def _give(self, file: QueuedFile) -> None:
        self._budget.give(file.size)
        file.size = 0

    def mark(self, name: bytes) -> bool:
        """Queue a mark behind all that was sent before it. Returns False if there are too many."""
        if not self._line:
            return self._playback.mark(name)
        if self._marks + self._playback.marks >= self._mark_limit:
            self._playback.short = False
            return False
        if not self._playback.pay_mark(name):
            return False
        self._marks += 1
        self._line[-1].marks.append(name)
        return True

    def clear(self) -> None:
        """Drop the line and the queue; all marks are due."""
        while self._line:
            file = self._line.pop(0)
            if file.audio is None:
                self._decoder.cancel(file.job)
                self._give(file)
            self._play(file)
        self._playback.clear()

    def close(self) -> None:
        """The stream is over: drop everything, and ignore the decoder."""
        self._on_answer = None
        self.clear()
