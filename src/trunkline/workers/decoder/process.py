"""The decoder process of a media worker: audio files in, telephone audio out. Started by `decoder_client.py`, with one
end of a socket pair; it ends when that closes.

Accounts take turns, and in an account its files, a few ms of each: a short one does not wait for a long one, and no
account for all the files of another. What an app sends is
answered whole; a file on disk, which may be long or go on for ever, in pieces as they are asked for. libav reads
untrusted files, so the process is expected to die of one some day: it is alone, bounded in memory, and replaced.

It writes recordings, too, since a disk may keep a writer waiting, which the worker must not.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import structlog

from trunkline import log
from trunkline.config import LogSettings
from trunkline.confinement import NotConfined, confine
from trunkline.media.audio.decoding import TooLong, UndecodableFile, decode, decode_file
from trunkline.workers.decoder import messages
from trunkline.workers.decoder.wavfile import Unwritable, WavFile
from trunkline.workers.limits import limit_memory
from trunkline.workers.link import Link
from trunkline.workers.messages import LOG_BACKLOG, STATUS_INTERVAL, Said, SetLog
from trunkline.workers.parent import Parent

_log = structlog.get_logger()

MEMORY_LIMIT = 1024 * 1024 * 1024
"""Bytes of address space: four times what the process takes before its first file."""
NICENESS = 10
"""Packets go first."""


@dataclass(slots=True)
class _Job:
    number: int
    work: Generator[bytes | None, None, bytes]
    account: str
    pieces: int = 1
    """That may be sent."""


class DecoderProcess:
    """Jobs in turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._log = log.Relay(self._say, loop.call_soon_threadsafe)
        self._lost = asyncio.Event()
        self._jobs: dict[str, deque[_Job]] = {}
        """By account, in the order of their turns; none is empty."""
        self._resting: dict[int, _Job] = {}
        """Those of which no more is requested for now."""
        self._written: dict[int, WavFile] = {}
        self._reported = 0.0
        self._link: Link[messages.ToDecoder] = Link(
            messages.ToDecoder,
            self._on_order,
            self._lost.set,
            message_limit=messages.DECODER_BACKLOG,
            backlog_limit=messages.DECODER_BACKLOG,
        )

    async def run(self, sock: socket.socket, parent: Parent) -> None:
        """Until the worker is gone."""
        parent.when_gone(self._lost.set)
        log.configure(LogSettings(format="json"), self._log)
        await self._loop.create_unix_connection(lambda: self._link, sock=sock)
        try:
            confine(programs=False)
        except NotConfined as error:
            _log.warning("decoder_not_confined", reason=str(error))
        await self._lost.wait()
        parent.gone()

    def _on_order(self, order: messages.ToDecoder) -> None:
        match order:
            case messages.Decode():
                self._take_up(_Job(order.job, decode(order.data, order.codec, order.room), order.account))
            case messages.DecodeFile():
                work = decode_file(Path(order.path), order.codec, order.times)
                self._take_up(_Job(order.job, work, order.account, order.pieces))
            case messages.More():
                self._more(order.job)
            case messages.Cancel():
                kept = [job for jobs in self._jobs.values() for job in jobs if job.number != order.job]
                self._jobs = {}
                for job in kept:
                    self._append(job)
                self._resting.pop(order.job, None)
            case messages.WriteFile() | messages.Append() | messages.FinishFile():
                self._write(order)
            case SetLog():
                settings = LogSettings.model_validate_json(order.log)
                log.configure(settings.model_copy(update={"format": "json"}), self._log)
                log.take_over()

    def _write(self, order: messages.WriteFile | messages.Append | messages.FinishFile) -> None:
        try:
            if isinstance(order, messages.WriteFile):
                self._written[order.job] = WavFile(Path(order.path), order.rate, order.channels, order.floor)
            elif order.job not in self._written:
                return  # it has failed, and was reported
            elif isinstance(order, messages.Append):
                self._written[order.job].append(order.audio)
            else:
                self._written.pop(order.job).close()
                self._tell(messages.Written(order.job, None))
                return
        except Unwritable as problem:
            self._written.pop(order.job, None)
            self._tell(messages.Written(order.job, str(problem)))
        else:
            self._tell(messages.Wrote(order.job))

    def _take_up(self, job: _Job) -> None:
        if not self._jobs:
            self._loop.call_soon(self._step)
        self._append(job)

    def _append(self, job: _Job) -> None:
        self._jobs.setdefault(job.account, deque()).append(job)

    def _more(self, number: int) -> None:
        resting = self._resting.pop(number, None)
        if resting is not None:
            self._take_up(resting)
        for jobs in self._jobs.values():
            for job in jobs:
                if job.number == number:
                    job.pieces += 1

    def _step(self) -> None:
        """Some of the job whose turn it is."""
        if not self._jobs or self._lost.is_set():
            return
        account = next(iter(self._jobs))
        jobs = self._jobs.pop(account)
        job = jobs.popleft()
        if jobs:
            self._jobs[account] = jobs  # behind all others
        try:
            self._work(job)
        except StopIteration as done:
            self._tell(messages.Decoded(job.number, done.value))
        except (TooLong, UndecodableFile) as refused:
            self._tell(messages.Undecoded(job.number, isinstance(refused, TooLong), str(refused)))
        except Exception:
            _log.exception("file_decoding_failed")
            self._tell(messages.Undecoded(job.number, too_long=False, detail="it could not be decoded"))
        if self._jobs:
            self._loop.call_soon(self._step)

    def _work(self, job: _Job) -> None:
        piece = next(job.work)
        if piece:
            self._tell(messages.DecodedPiece(job.number, piece))
            job.pieces -= 1
        if job.pieces:
            self._append(job)
        else:
            self._resting[job.number] = job
        if self._loop.time() - self._reported > STATUS_INTERVAL:
            self._tell(messages.Decoding())

    def _say(self, line: str, dropped: int) -> bool:
        return self._link.unsent < LOG_BACKLOG and self._link.send(Said(line, dropped))

    def _tell(self, report: messages.FromDecoder) -> None:
        self._reported = self._loop.time()
        self._link.send(report)


def main(fd: int, parent_pid: int) -> None:
    """Until the worker is gone. `fd`: our end of the link."""
    parent = Parent(parent_pid)
    os.nice(NICENESS)
    limit_memory(MEMORY_LIMIT)
    sock = socket.socket(fileno=fd)

    async def run() -> None:
        await DecoderProcess(asyncio.get_running_loop()).run(sock, parent)

    asyncio.run(run())
