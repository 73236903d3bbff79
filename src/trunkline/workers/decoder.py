"""The decoder process of a media worker: mp3 files in, telephone audio out. Started by `files.py`, with one end of a
socket pair; it ends when that closes.

Files are decoded in turn, a few ms of each, so that a short one does not wait for a long one. libav reads what
strangers send, so the process is expected to die of it some day: it is alone, bounded in memory, and replaced.
"""

import asyncio
import os
import resource
import signal
import socket
import sys
from collections import deque
from collections.abc import Generator

import structlog

from trunkline.media.decoding import TooLong, Undecodable, decode
from trunkline.workers import messages as wire
from trunkline.workers.link import Link

_log = structlog.get_logger()

MEMORY_LIMIT = 1024 * 1024 * 1024
"""Bytes of address space: four times what the process takes before its first file."""
NICENESS = 10
"""Packets go first."""


class Decoder:
    """Jobs in turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lost = asyncio.Event()
        self._jobs: deque[tuple[int, Generator[None, None, bytes]]] = deque()
        self._reported = 0.0
        self._link: Link[wire.DecoderOrder] = Link(
            wire.DecoderOrder,
            self._on_order,
            self._lost.set,
            message_limit=wire.DECODER_BACKLOG,
            backlog_limit=wire.DECODER_BACKLOG,
        )

    async def run(self, sock: socket.socket) -> None:
        """Until the worker is gone."""
        await self._loop.create_unix_connection(lambda: self._link, sock=sock)
        await self._lost.wait()

    def _on_order(self, order: wire.DecoderOrder) -> None:
        if isinstance(order, wire.Decode):
            if not self._jobs:
                self._loop.call_soon(self._step)
            self._jobs.append((order.job, decode(order.data, order.codec, order.room)))
        else:
            self._jobs = deque(job for job in self._jobs if job[0] != order.job)

    def _step(self) -> None:
        """Some of the job whose turn it is."""
        if not self._jobs or self._lost.is_set():
            return
        job, work = self._jobs.popleft()
        try:
            next(work)
            self._jobs.append((job, work))
            if self._loop.time() - self._reported > wire.STATUS_INTERVAL:
                self._tell(wire.Decoding())
        except StopIteration as done:
            self._tell(wire.Decoded(job, done.value))
        except (TooLong, Undecodable) as refused:
            self._tell(wire.Undecoded(job, isinstance(refused, TooLong)))
        except Exception:
            _log.exception("an mp3 file could not be decoded")
            self._tell(wire.Undecoded(job, too_long=False))
        if self._jobs:
            self._loop.call_soon(self._step)

    def _tell(self, report: wire.DecoderReport) -> None:
        self._reported = self._loop.time()
        self._link.send(report)


def main(arguments: list[str]) -> None:
    """`python -m trunkline.workers.decoder FD`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    sock = socket.socket(fileno=int(arguments[0]))

    async def run() -> None:
        await Decoder(asyncio.get_running_loop()).run(sock)

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[1:])
