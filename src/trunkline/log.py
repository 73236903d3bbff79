"""Logging: one line per fact, the call's and the stream's id under fixed keys.

Levels by what the reader must do: error = act now, warning = look into it, info = know it, debug = when asked.
Phone numbers and SIP users are masked unless `log.mask_numbers` is off, keys that were pressed unless
`log.mask_digits` is.

A log call never waits and never raises, even if stderr is closed or blocked. The control process has an `Outlet`: a
bounded queue, and a thread that writes. A child process has a `Relay`, which sends lines to its parent over the link.
Lines that do not fit or cannot be written are dropped and counted; `log_lines_dropped` reports their number when lines
can be written again. Printed text (libraries, warnings, tracebacks of threads) goes the same way.
"""

import contextlib
import io
import json
import logging
import os
import re
import select
import sys
import threading
from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from trunkline.config import LogSettings

NUMBER_KEYS = {"from_", "to", "caller"}
MASKED = "(masked)"
AUDIT = "audit_"
"""Events of this kind are written whatever `log.level` is."""
QUEUE_LIMIT = 2000
"""Lines that may wait to be written; one more is dropped."""
LINE_LIMIT = 16384
"""Characters; what is longer is cut."""
CLOSE_TIME = 0.5
"""Seconds that the end of the process waits for the last lines to be written."""

_NUMBER = re.compile(r"\d{7,}")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}


class Sink(Protocol):
    """Where lines go. Nothing in here blocks or raises."""

    def put(self, line: str) -> None:
        """Take a line, without its end, or drop and count it."""

    def lost(self, count: int) -> None:
        """So many lines were dropped on their way here."""


class Outlet:
    """A file descriptor, None for one that is closed, and the thread that writes to it."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        # One for each thread that counts, so that no count is lost between two.
        self._no_room, self._unwritten, self._elsewhere, self._reported = 0, 0, 0, 0
        self._torn = False
        """The last line was written in part."""
        self._finished = threading.Event()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    @property
    def dropped(self) -> int:
        """Lines, in all."""
        return self._no_room + self._unwritten + self._elsewhere

    def put(self, line: str) -> None:
        """See `Sink`."""
        if self._lines.qsize() >= QUEUE_LIMIT:
            self._no_room += 1
        else:
            self._lines.put(line if len(line) <= LINE_LIMIT else line[:LINE_LIMIT] + "…")

    def lost(self, count: int) -> None:
        """See `Sink`."""
        self._elsewhere += count

    def close(self, grace: float) -> None:
        """Wait up to `grace` seconds for what was put to be written; nothing more will be."""
        self._lines.put(None)
        self._finished.wait(grace)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            if not self._write(line):
                self._unwritten += 1
            elif self._lines.empty():
                self._report_dropped()
        self._report_dropped()
        self._finished.set()

    def _report_dropped(self) -> None:
        dropped = self.dropped
        if dropped > self._reported:
            line = {"event": "log_lines_dropped", "dropped": dropped - self._reported, "level": "warning"}
            if self._write(_rendered("warning", _stamp(None, "warning", line))):
                self._reported = dropped

    def _write(self, line: str) -> bool:
        rest = line.encode("utf-8", "backslashreplace") + b"\n"
        rest = b"\n" + rest if self._torn else rest
        try:
            while rest:
                written = self._write_some(rest)
                rest = rest[written:]
                self._torn = bool(rest)
        except OSError:
            return False
        return True

    def _write_some(self, data: bytes) -> int:
        if self._descriptor is None:
            raise OSError("closed")
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # non-blocking, since it is shared with another process
            waiting = select.poll()
            waiting.register(self._descriptor, select.POLLOUT)
            waiting.poll()
            return 0


class Relay:
    """The log of a child process. `send(line, dropped)` gets a line and how many were dropped before it, and returns
    whether it took the line. Lines may come from any thread; `soon` runs a function on the thread that may `send`."""

    def __init__(self, send: Callable[[str, int], bool], soon: Callable[[Callable[[str], None], str], object]) -> None:
        self._send = send
        self._soon = soon
        self._thread = threading.get_ident()
        self._dropped = 0

    def put(self, line: str) -> None:
        """See `Sink`."""
        if threading.get_ident() == self._thread:
            self._put(line)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._soon(self._put, line)

    def lost(self, count: int) -> None:
        """See `Sink`."""
        self._dropped += count

    def _put(self, line: str) -> None:
        if self._send(line[:LINE_LIMIT], self._dropped):
            self._dropped = 0
        else:
            self._dropped += 1


class _Text(io.TextIOBase):
    """In place of stdout and stderr: whole lines into the log."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._part = ""

    def writable(self) -> bool:
        """io's question."""
        return True

    def fileno(self) -> int:
        """io's question."""
        return self._descriptor

    def isatty(self) -> bool:
        """io's question."""
        return os.isatty(self._descriptor)

    def write(self, text: str) -> int:
        """io's call."""
        *lines, self._part = (self._part + text).split("\n")
        if len(self._part) > LINE_LIMIT:
            lines, self._part = [*lines, self._part], ""
        for line in lines:
            _put(line)
        return len(text)


class _Handler(logging.Handler):
    """Log records of libraries, as events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """logging's call."""
        name = record.levelname.lower()
        level = _LEVELS.get(name, logging.WARNING)
        log = structlog.get_logger()
        log.log(level, "library_logged", detail=record.getMessage(), logger=record.name, exc_info=record.exc_info)


class _Lines:
    """structlog's last stop."""

    def __init__(self) -> None:
        self.msg = self.log = self.debug = self.info = self.warning = self.error = self.critical = _put
        self.exception = self.warn = self.fatal = self.failure = self.err = _put


_sink: Sink | None = None
_processors: list[Processor] = []
"""Changed in place: loggers keep a reference to it after their first use."""
_encode = json.JSONEncoder(default=repr).encode


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _encode(event)


_render: Callable[[WrappedLogger, str, EventDict], Any] = _render_json
_console = _terminal = False
_own: Callable[[EventDict], str] | None = None


def mask(text: str) -> str:
    """`+15551234567` as `+1555***4567`: enough to recognise, too little to call."""
    return _NUMBER.sub(lambda found: f"{found[0][:4]}***{found[0][-4:]}", text)


def configure(
    settings: LogSettings, sink: Sink, *, terminal: bool = False, render: Callable[[EventDict], str] | None = None
) -> None:
    """Set the process's logging up; again to change it. Libraries' own loggers are heard from warnings on. `terminal`:
    the lines are read on one. `render` makes a line of an event, instead of `log.format`; nothing for no line."""
    global _sink, _render, _console, _terminal, _own
    _sink, _terminal, _own = sink, terminal, render
    _console = render is not None or settings.format == "console" or (settings.format == "auto" and terminal)
    if render is not None:
        _render = lambda _logger, _method, event: render(event)  # noqa: E731
    elif _console:
        # The default shows the variables of each frame, keys of calls among them.
        plain = structlog.dev.plain_traceback
        _render = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain)
    else:
        _render = _render_json
    masks = [_mask_numbers] * settings.mask_numbers + [_mask_digit] * settings.mask_digits
    _processors[:] = [_enough(_LEVELS[settings.level]), *_ABOUT, *masks, _last]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Handler()], force=True)
    logging.captureWarnings(True)


def change(settings: LogSettings) -> None:
    """The same, once it is set up: for the same reader."""
    assert _sink is not None
    configure(settings, _sink, terminal=_terminal, render=_own)


def take_over() -> None:
    """Send printed text to the log."""
    sys.stdout, sys.stderr = _Text(1), _Text(2)


def relay(line: str, dropped: int) -> None:
    """A line of a child process, as JSON, and how many it dropped before."""
    if _sink is not None:
        _sink.lost(dropped)
    if _console:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            event = json.loads(line)
            line = _rendered(event["level"], event)
    if line:
        _put(line)


def counters() -> Counter[str]:
    """Dropped lines."""
    return Counter(dropped=_sink.dropped if isinstance(_sink, Outlet) else 0)


def close() -> None:
    """The process ends: wait a moment for the last lines."""
    if isinstance(_sink, Outlet):
        _sink.close(CLOSE_TIME)


def _put(line: str) -> None:
    if _sink is not None:
        _sink.put(line)


def _enough(least: int) -> Processor:
    def enough(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if _LEVELS.get(method, 0) < least and not str(event.get("event")).startswith(AUDIT):
            raise structlog.DropEvent
        return event

    return enough


def _mask_numbers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in NUMBER_KEYS & event.keys():
        if isinstance(event[key], str):
            event[key] = mask(event[key])
    return event


def _mask_digit(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if "digit" in event:
        event["digit"] = MASKED
    return event


def _last(_logger: WrappedLogger, method: str, event: EventDict) -> str:
    line = _rendered(method, event)
    if not line:
        raise structlog.DropEvent
    return line


def _rendered(method: str, event: EventDict) -> str:
    """A line, whatever there is in the event."""
    about = dict(event)
    try:
        if not _console:
            event = structlog.processors.format_exc_info(None, method, event)
        return str(_render(None, method, event))
    except Exception as fault:
        return json.dumps({"event": str(about.get("event")), "level": method, "log_fault": type(fault).__name__})


_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
_ABOUT: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    _stamp,
    structlog.processors.StackInfoRenderer(),
]
