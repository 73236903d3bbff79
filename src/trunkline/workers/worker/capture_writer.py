"""Writes the captures of a worker's streams (`streaming/capture.py`), in a thread: a disk that is slow, full or gone
delays no packet.

What waits to be written is bounded by `QUEUE_LIMIT`; what comes beyond is dropped, counted, and said in the capture and
once per outage in the log. A capture is written in parts. When all files of the directory together
are larger than `streams.capture_limit`, or more than `FILE_LIMIT`, the oldest of the account that has most are deleted:
an account deletes none of another that has less.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from queue import SimpleQueue

import structlog

from trunkline.config import StreamSettings
from trunkline.streaming.capture import CaptureRecord, StreamCapture, head, line
from trunkline.streaming.capture_names import SUFFIX, CaptureName, folder_of
from trunkline.streaming.params import StreamIdentity, StreamParams

QUEUE_LIMIT = 8 * 1024 * 1024
"""Bytes that wait to be written, of all streams of a worker: more than ten seconds of twenty streams."""
RECORD_COST = 200
"""Bytes that a record takes besides its data."""
PARTS = 10
"""Parts that the limit of the directory is made of."""
FILE_LIMIT = 10_000
"""Files in the directory, however small."""
FILES_UNSEEN = 100
"""Files that a worker begins before it looks again how many there are."""
BLOCK = 65536
"""Bytes of a capture that are written at once."""
CLOSE_TIMEOUT = 2.0
"""Seconds that the end of a worker waits for its captures."""

_log = structlog.get_logger()


class _Part:
    """The open part of one stream's capture. Used by the thread alone."""

    def __init__(self, folder: Path, name: CaptureName, first: bytes) -> None:
        self._folder = folder
        self._name = name
        self._first = first
        self._file: FileIO | None = None
        self._lines = bytearray()
        self._size = 0

    def add(self, text: bytes, limit: int) -> int:
        """A line, in a new part where this one would be larger than `limit`; returns how many files that made. Raises
        OSError."""
        made = 0
        if self._file is None or self._size + len(text) > limit:
            self._next()
            made = 1
        self._lines += text
        self._size += len(text)
        if len(self._lines) >= BLOCK:
            self.flush()
        return made

    def _next(self) -> None:
        if self._file is not None:
            self.flush()
            self.close()
            self._name = replace(self._name, part=self._name.part + 1)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = FileIO(self._folder / self._name.file, "w")
        self._lines += self._first + b"\n"
        self._size = len(self._lines)

    def flush(self) -> None:
        """Write what waits. Raises OSError."""
        lines, self._lines = self._lines, bytearray()
        while self._file is not None and lines:
            del lines[: self._file.write(lines)]

    def close(self) -> None:
        """What was not written is lost."""
        opened, self._file = self._file, None
        if opened is not None:
            with suppress(OSError):
                opened.close()


@dataclass(frozen=True, slots=True)
class _Begin:
    folder: Path
    name: CaptureName
    head: bytes


@dataclass(frozen=True, slots=True)
class _End:
    stream: str


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
        self._unseen_bytes = self._limit
        """That were written since the last look at the directory, by the thread."""
        self._unseen_files = 0
        self.counters: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._write, name="capture", daemon=True)
        self._thread.start()

    def begin(self, identity: StreamIdentity, params: StreamParams, encoding: str) -> StreamCapture:
        """The capture of a new stream."""
        now = datetime.now(UTC)
        stream = str(identity.stream_sid)
        folder = self._directory / folder_of(identity.account_sid)
        self._queue.put(_Begin(folder, CaptureName(now, stream), head(identity, params, encoding, self._settings, now)))
        self.counters["captures"] += 1
        return StreamCapture(stream, self, self._time)

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
                if isinstance(one, CaptureRecord):
                    files.pop(one.capture).close()
            finally:
                if isinstance(one, CaptureRecord):
                    self._written += RECORD_COST + len(one.data)
            if self._queue.empty():
                self._flush(files)
        self._flush(files)
        for file in files.values():
            file.close()

    def _take(self, files: dict[str, _Part], one: CaptureRecord | _Begin | _End) -> None:
        if isinstance(one, _Begin):
            files[one.name.stream] = _Part(one.folder, one.name, one.head)
        elif isinstance(one, _End):
            file = files.pop(one.stream, None)
            if file is not None:
                try:
                    file.flush()
                finally:
                    file.close()
        elif (file := files.get(one.capture)) is not None:
            settings = self._settings
            text = line(one, payloads=settings.capture_payloads, masked=settings.capture_numbers == "masked")
            self._make_room(len(text))
            self._unseen_files += file.add(text, self._limit // PARTS)

    def _make_room(self, size: int) -> None:
        """Look now and then how much is there, and delete the oldest files where it is too much. What the other
        workers write meanwhile may be a part more for each of them."""
        self._unseen_bytes += size
        if self._unseen_bytes < self._limit // PARTS and self._unseen_files < FILES_UNSEEN:
            return
        self._unseen_bytes = self._unseen_files = 0
        found: dict[Path, list[tuple[float, int, Path]]] = {}
        for path in self._directory.glob(f"*/*{SUFFIX}"):
            with suppress(FileNotFoundError):  # another worker deleted it
                state = path.stat()
                found.setdefault(path.parent, []).append((state.st_mtime, state.st_size, path))
        _Room(found).free(self._limit - self._limit // PARTS, FILE_LIMIT - FILES_UNSEEN)

    def _flush(self, files: dict[str, _Part]) -> None:
        for stream, file in [*files.items()]:
            try:
                file.flush()
            except OSError as problem:
                self._report(problem)
                files.pop(stream).close()

    def _report(self, problem: OSError) -> None:
        """Once; the capture of that stream ends, and those of others are tried."""
        self.counters["capture_write_failures"] += 1
        if not self._failed:
            self._failed = True
            reason = f"{self._directory}: {problem.strerror}"
            self._soon(lambda: _log.error("capture_failed", reason=reason))


class _Room:
    """The files of a directory, each with time and size, by the folder of their account."""

    def __init__(self, files: dict[Path, list[tuple[float, int, Path]]]) -> None:
        self._files = {folder: deque(sorted(found)) for folder, found in files.items()}
        self._sizes = {folder: sum(size for _, size, _ in found) for folder, found in files.items()}

    def free(self, size: int, count: int) -> None:
        """Delete until at most `count` files with `size` bytes are left. Raises OSError."""
        while (big := sum(self._sizes.values()) > size) or sum(map(len, self._files.values())) > count:
            folder = max(self._files, key=lambda one: self._sizes[one] if big else len(self._files[one]))
            _, gone, path = self._files[folder].popleft()
            path.unlink(missing_ok=True)
            self._sizes[folder] -= gone
