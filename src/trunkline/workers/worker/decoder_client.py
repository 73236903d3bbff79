"""The media worker's side of its decoder process: starts it, hands it files, notices its death, starts another.

A file that is in the decoder when that dies is lost, and its app gets an error. The decoder counts as dead when its end
of the link closes, or when it has work and says nothing for `SIGN_OF_LIFE_TIMEOUT`. What it has written of recordings
stays."""

import asyncio
import contextlib
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from trunkline import log
from trunkline.confinement import environment
from trunkline.streaming.files import Answer
from trunkline.streaming.messages import Problem, Refusal
from trunkline.workers.decoder import messages
from trunkline.workers.link import Link
from trunkline.workers.messages import STATUS_INTERVAL, Said, SetLog
from trunkline.workers.silence import Silence

_log = structlog.get_logger()

SIGN_OF_LIFE_TIMEOUT = 15.0
"""Seconds; it is the last to get a core, and imports its code with the first file already waiting."""
RESTART_DELAY = 1.0
"""Seconds before a dead decoder is replaced, so that one that dies at once does not eat a core."""

_DIED = Refusal(Problem.UNKNOWN, "the mp3 decoder failed while it had this file; the file is dropped")
_AWAY = Refusal(Problem.UNKNOWN, "the mp3 decoder is being restarted; the file is dropped, send it again")
_BUSY = Refusal(Problem.RATE_LIMIT, "the mp3 decoder has too much to do; the file is dropped, send it again")
_TOO_LONG = Refusal(Problem.RATE_LIMIT, "too much audio would be queued; this file is dropped")
_NO_AUDIO = Refusal(Problem.INVALID_MEDIA, "the mp3 file holds no audio that can be decoded")


PIECES = 4
"""Pieces of a file that are asked for ahead: two seconds."""
UNWRITTEN = 60
"""Pieces of a recording that may wait for the disk: half a minute of it."""


class Listener(Protocol):
    """Who plays a file from disk."""

    def put(self, audio: bytes) -> None:
        """A piece of it."""

    def end(self, error: str | None) -> None:
        """That was all, or nothing more will come."""


class AccountDecoder:
    """A `streaming.files.FileDecoder` for the streams of one account."""

    def __init__(self, client: "DecoderClient", account: str) -> None:
        self._client = client
        self._account = account

    def decode(self, data: bytes, codec: str, room: int, answer: Answer) -> int | Refusal:
        """See `FileDecoder`."""
        return self._client.decode(data, codec, room, answer, self._account)

    def cancel(self, job: int) -> None:
        """See `FileDecoder`."""
        self._client.cancel(job)


class DecoderClient:
    """One process, one after another."""

    def __init__(self) -> None:
        self._jobs: dict[int, tuple[Answer, str, int]] = {}
        """Who gets the answer, the account, and the bytes of the file."""
        self._players: dict[int, Listener] = {}
        self._owed: dict[int, int] = {}
        """Pieces that each of these has asked for and not got, or that each of the next has sent, with no word yet."""
        self._writers: dict[int, Callable[[str | None], object]] = {}
        self._log_settings = "{}"
        self._backlog: Counter[str] = Counter()
        """Bytes of files, by account."""
        self._last_job = 0
        self._silence = Silence(STATUS_INTERVAL)
        self._link: Link[messages.FromDecoder] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._stopped = asyncio.Event()
        self.ready = asyncio.Event()
        """Set when a process takes files."""
        self.pid = 0
        self.counters = {"files_decoded": 0, "decoder_restarts": 0}

    def start(self) -> None:
        """Start the process, and others when it dies."""
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="decoder")

    async def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._gone.set()
        if self._keeper is not None:
            await self._keeper

    def set_log(self, settings: str) -> None:
        """What it logs is to be so, see `wire.SetLog`."""
        self._log_settings = settings
        if self._link is not None:
            self._link.send(SetLog(settings))

    # ── for streams ─────────────────────────────────────────────────────────────────────────────────────────

    def decode(self, data: bytes, codec: str, room: int, answer: Answer, account: str = "") -> int | Refusal:
        """See `FileDecoder`. One account gets half of what there is room for."""
        limit, size = messages.DECODER_BACKLOG, len(data)
        if self._backlog.total() + size > limit or self._backlog[account] + size > limit // 2:
            return _BUSY
        if self._link is None:
            return _AWAY
        self._expect()
        job = self._last_job = self._last_job + 1
        if not self._link.send(messages.Decode(job, codec, room, data, account)):
            return _AWAY
        self._jobs[job] = (answer, account, size)
        self._backlog[account] += size
        return job

    def cancel(self, job: int) -> None:
        """See `FileDecoder`."""
        if self._take(job) is not None and self._link is not None:
            self._link.send(messages.Cancel(job))

    def play(self, path: str, codec: str, times: int, listener: Listener, account: str = "") -> int | None:
        """Decode a file from disk, piece by piece, for a call of that account; a number for `more` and `forget`, or
        None with no decoder there."""
        job = self._last_job = self._last_job + 1
        self._expect()
        if self._link is None or not self._link.send(messages.DecodeFile(job, codec, path, times, PIECES, account)):
            return None
        self._players[job] = listener
        self._owed[job] = PIECES
        return job

    def more(self, job: int) -> None:
        """A piece of that file was played."""
        if job in self._players and self._link is not None:
            self._expect()
            self._owed[job] += 1
            self._link.send(messages.More(job))

    def forget(self, job: int) -> None:
        """Nothing more is wanted of that file; its listener gets nothing more."""
        if self._players.pop(job, None) is not None:
            del self._owed[job]
            if self._link is not None:
                self._link.send(messages.Cancel(job))

    def write(
        self, path: str, rate: int, channels: int, done: Callable[[str | None], object], floor: int = 0
    ) -> int | None:
        """Make a wav file, of whose disk `floor` bytes stay free; a number for `append` and `finish`, or None with no
        decoder there. `done` is called once: when the file is complete, or with the words why nothing more can be
        written to it."""
        job = self._last_job = self._last_job + 1
        if not self._ask_writer(job, messages.WriteFile(job, path, rate, channels, floor)):
            return None
        self._writers[job] = done
        return job

    def append(self, job: int, audio: bytes) -> None:
        """More of a file; nothing if that is done with."""
        if job not in self._writers:
            return
        if self._owed[job] >= UNWRITTEN:
            self._ask_writer(job, messages.FinishFile(job))  # it holds what has come so far, and lets go of the file
            self._finish_writer(job, "the disk is too slow")
        else:
            self._ask_writer(job, messages.Append(job, audio))

    def finish(self, job: int) -> None:
        """That was all of a file; nothing if that is done with."""
        if job in self._writers:
            self._ask_writer(job, messages.FinishFile(job))

    def _ask_writer(self, job: int, order: messages.WriteFile | messages.Append | messages.FinishFile) -> bool:
        self._expect()
        if self._link is None or not self._link.send(order):
            return False
        self._owed[job] = self._owed.get(job, 0) + 1
        return True

    def _finish_writer(self, job: int, error: str | None) -> None:
        del self._owed[job]
        self._writers.pop(job)(error)

    @property
    def _busy(self) -> bool:
        """Whether any answer is outstanding."""
        return bool(self._jobs) or any(self._owed.values())

    def _expect(self) -> None:
        if not self._busy:
            self._silence.heard()

    def _take(self, job: int) -> Answer | None:
        """The job is over."""
        answer, account, size = self._jobs.pop(job, (None, "", 0))
        self._backlog[account] -= size
        if not self._backlog[account]:
            del self._backlog[account]
        return answer

    def _on_report(self, report: messages.FromDecoder) -> None:
        self._silence.heard()
        if isinstance(report, messages.Decoding):
            return
        if isinstance(report, Said):
            log.relay(report.line, report.dropped)
            return
        if isinstance(report, messages.Wrote | messages.Written):
            self._on_written(report)
            return
        if report.job in self._players:
            self._on_piece(report)
            return
        if isinstance(report, messages.DecodedPiece):
            return  # of a file that is forgotten
        answer = self._take(report.job)
        if answer is None:
            return
        if isinstance(report, messages.Decoded):
            self.counters["files_decoded"] += 1
            answer(report.audio)
        else:
            answer(_TOO_LONG if report.too_long else _NO_AUDIO)

    def _on_piece(self, report: messages.DecodedPiece | messages.Decoded | messages.Undecoded) -> None:
        listener = self._players[report.job]
        if isinstance(report, messages.DecodedPiece):
            self._owed[report.job] -= 1
            listener.put(report.audio)
            return
        del self._players[report.job], self._owed[report.job]
        if isinstance(report, messages.Decoded):
            self.counters["files_decoded"] += 1
            listener.put(report.audio)
            listener.end(None)
        else:
            listener.end(report.detail)

    def _on_written(self, report: messages.Wrote | messages.Written) -> None:
        if report.job not in self._writers:
            return
        if isinstance(report, messages.Written):
            self._finish_writer(report.job, report.error)
        else:
            self._owed[report.job] -= 1

    # ── the process ─────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self) -> None:
        while not self._stopped.is_set():
            try:
                await self._run_once()
            except OSError as problem:
                _log.error("decoder_start_failed", reason=str(problem))
            except Exception:
                # This task owns every decoder that is to come.
                _log.exception("decoder_supervision_failed")
            if not self._stopped.is_set():
                self._died()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), RESTART_DELAY)

    def _died(self) -> None:
        self.counters["decoder_restarts"] += 1
        _log.error("decoder_died", files=len(self._jobs) + len(self._owed))
        answers = [answer for job in list(self._jobs) if (answer := self._take(job)) is not None]
        players, self._players = self._players, {}
        writers, self._writers, self._owed = self._writers, {}, {}
        words: list[Callable[[], object]] = [
            *(partial(answer, _DIED) for answer in answers),
            *(partial(listener.end, "the decoder failed while it had this file") for listener in players.values()),
            *(partial(done, "the process that wrote the file failed") for done in writers.values()),
        ]
        for tell in words:
            try:
                tell()
            except Exception:
                _log.exception("decoder_end_handling_failed")

    async def _run_once(self) -> None:
        """One process's life."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        self._gone.clear()
        link: Link[messages.FromDecoder] = Link(
            messages.FromDecoder,
            self._on_report,
            self._gone.set,
            message_limit=messages.DECODER_BACKLOG,
            backlog_limit=messages.DECODER_BACKLOG,
        )
        process = None
        try:
            with theirs:
                await loop.create_unix_connection(lambda: link, sock=ours)
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "trunkline.workers",
                    "trunkline.workers.decoder.process",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    env=environment(),
                )
            self._link, self.pid = link, process.pid
            link.send(SetLog(self._log_settings))
            self.ready.set()
            await self._watch()
        finally:
            self._link = None
            link.close()
            if process is not None and process.returncode is None:
                process.kill()
        await process.wait()

    async def _watch(self) -> None:
        """Until the process is gone, or has work and says nothing."""
        loop = asyncio.get_running_loop()
        while not (self._gone.is_set() or self._stopped.is_set()):
            if self._busy and self._silence.seconds > SIGN_OF_LIFE_TIMEOUT:
                _log.error("decoder_frozen")
                return
            before = loop.time()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), STATUS_INTERVAL)
            self._silence.passed(loop.time() - before)
