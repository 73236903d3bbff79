"""Writes the captures of a worker's streams (`streaming/capture.py`), in a thread: a disk that is slow, full or gone
delays no packet.

What waits to be written is bounded by `QUEUE_LIMIT`; what comes beyond is dropped, counted, and said in the capture and
once per outage in the log. A capture is written in parts, and the oldest files of the directory are deleted when all of
them together are larger than `streams.capture_limit`.
"""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import BinaryIO

import structlog

from trunkline.config import StreamSettings
from trunkline.streaming.capture import SUFFIX, CaptureRecord, StreamCapture, head, line, name_of
from trunkline.streaming.params import StreamIdentity, StreamParams

QUEUE_LIMIT = 8 * 1024 * 1024
"""Bytes that wait to be written, of all streams of a worker: more than ten seconds of twenty streams."""
RECORD_COST = 200
"""Bytes that a record takes besides its data."""
PARTS = 10
"""Parts that the limit of the directory is made of."""
CLOSE_TIMEOUT = 2.0
"""Seconds that the end of a worker waits for its captures."""

_log = structlog.get_logger()


class _Part:
    """The open part of one stream's capture. Used by the thread alone."""

    def __init__(self, first: bytes) -> None:
        self.first = first
        self.part = 0
        self.size = 0
        self.open: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class _Begin:
    name: str
    head: bytes


@dataclass(frozen=True, slots=True)
class _End:
    name: str


class CaptureWriter:
    """`soon` calls a function in the loop's thread, from any thread."""

    def __init__(
        self, settings: StreamSettings, time: Callable[[], float], soon: Callable[[Callable[[], None]], object]
    ) -> None:
        assert settings.capture is not None
        self._directory = settings.capture.expanduser()
        self._settings = settings
        self._limit = round(settings.capture_limit * 1_000_000)
        self._time = time
        self._soon = soon
        self._queue: SimpleQueue[CaptureRecord | _Begin | _End | None] = SimpleQueue()
        self._added = 0
        """Bytes that were put, which this thread counts."""
        self._written = 0
        """Bytes that were taken, which the other thread counts."""
        self._full = False
        self._failed = False
        self.counters: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._write, name="capture", daemon=True)
        self._thread.start()

    def begin(self, identity: StreamIdentity, params: StreamParams, encoding: str) -> StreamCapture:
        """The capture of a new stream."""
        now = datetime.now(UTC)
        name = name_of(identity, now)
        self._queue.put(_Begin(name, head(identity, params, encoding, self._settings, now)))
        self.counters["captures"] += 1
        return StreamCapture(name, self, self._time)

    def end(self, capture: StreamCapture) -> None:
        """No more comes of it."""
        self._queue.put(_End(capture.name))

    def put(self, record: CaptureRecord) -> bool:
        """See `CaptureQueue`."""
        size = RECORD_COST + len(record.data)
        if self._added - self._written + size > QUEUE_LIMIT:
            self.counters["capture_records_dropped"] += 1
            if not self._full:
                self._full = True
                _log.warning("capture_records_dropped", reason=f"{self._directory} is written too slowly")
            return False
        if self._full and self._added - self._written < QUEUE_LIMIT // 2:
            self._full = False
        self._added += size
        self._queue.put(record)
        return True

    @property
    def running(self) -> bool:
        """The thread has not ended."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Write what waits, for `CLOSE_TIMEOUT` at most."""
        self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT)

    # ── the thread ──────────────────────────────────────────────────────────────────────────────────────────

    def _write(self) -> None:
        files: dict[str, _Part] = {}
        while (one := self._queue.get()) is not None:
            try:
                self._take(files, one)
            except OSError as problem:
                self._report(problem)
                if isinstance(one, CaptureRecord) and (file := files.pop(one.file, None)) is not None:
                    _close(file)
            finally:
                if isinstance(one, CaptureRecord):
                    self._written += RECORD_COST + len(one.data)
            if self._queue.empty():
                self._flush(files)
        for file in files.values():
            _close(file)

    def _take(self, files: dict[str, _Part], one: CaptureRecord | _Begin | _End) -> None:
        if isinstance(one, _Begin):
            files[one.name] = _Part(one.head)
        elif isinstance(one, _End):
            file = files.pop(one.name, None)
            if file is not None:
                _close(file)
        elif (file := files.get(one.file)) is not None:
            settings = self._settings
            text = line(one, payloads=settings.capture_payloads, masked=settings.capture_numbers == "masked")
            if file.open is None or file.size + len(text) > self._limit // PARTS:
                self._next_part(one.file, file)
            if file.open is not None:
                file.open.write(text)
                file.size += len(text)

    def _next_part(self, name: str, file: _Part) -> None:
        _close(file)
        self._make_room()
        file.part += 1
        part = "" if file.part == 1 else f".{file.part:03}"
        file.open = (self._directory / f"{name}{part}{SUFFIX}").open("wb")
        file.size = file.open.write(file.first + b"\n")

    def _make_room(self) -> None:
        """Delete the oldest files, so that a part fits. Those of other workers count too, so it may be a part more for
        each of them."""
        self._directory.mkdir(parents=True, exist_ok=True)
        found = []
        for path in self._directory.glob(f"*{SUFFIX}"):
            try:
                state = path.stat()
            except FileNotFoundError:  # another worker deleted it
                continue
            found.append((state.st_mtime, state.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._limit - self._limit // PARTS:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _flush(self, files: dict[str, _Part]) -> None:
        for file in files.values():
            try:
                if file.open is not None:
                    file.open.flush()
            except OSError as problem:
                self._report(problem)

    def _report(self, problem: OSError) -> None:
        """Once; the capture of that stream ends, and those of others are tried."""
        self.counters["capture_write_failures"] += 1
        if not self._failed:
            self._failed = True
            reason = f"{self._directory}: {problem.strerror}"
            self._soon(lambda: _log.error("capture_failed", reason=reason))


def _close(file: _Part) -> None:
    opened, file.open = file.open, None
    if opened is not None:
        with suppress(OSError):  # what was not written yet
            opened.close()
