"""The log, whatever happens to its outlet: no caller waits or fails, and lost lines are counted and reported."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from trunkline.log import LINE_LIMIT, QUEUE_LIMIT, Outlet, Relay, mask


class Pipe:
    """One that holds no more than the least that a pipe can."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self._open = {self.reader, self.writer}
        self._seen = b""

    def close(self, *ends: int) -> None:
        for end in ends or tuple(self._open):
            self._open.remove(end)
            os.close(end)

    def line(self) -> str:
        """The next one; empty at the end."""
        while b"\n" not in self._seen and (some := os.read(self.reader, 65536)):
            self._seen += some
        line, _, self._seen = self._seen.partition(b"\n")
        return line.decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def marker(line: str) -> int:
    """How many lines were dropped, by the log's own line."""
    record = json.loads(line)
    assert (record["event"], record["level"]) == ("log_lines_dropped", "warning")
    assert record["timestamp"]
    return int(record["dropped"])


def test_lines_come_in_order_and_the_end_waits_for_them(pipe: Pipe) -> None:
    outlet = Outlet(pipe.writer)
    for number in range(100):
        outlet.put(f"line {number}")
    outlet.close(30)
    pipe.close(pipe.writer)
    assert [pipe.line() for _ in range(101)] == [*(f"line {number}" for number in range(100)), ""]
    assert outlet.dropped == 0


def test_a_pipe_that_is_not_read_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    sent = QUEUE_LIMIT * 2
    outlet = Outlet(pipe.writer)
    for number in range(sent):
        outlet.put(f"line {number:04} " + "x" * 90)
    assert QUEUE_LIMIT - 100 < outlet.dropped <= QUEUE_LIMIT
    outlet.close(0.01)  # and neither does the end wait
    got = [pipe.line() for _ in range(sent - outlet.dropped)]
    assert got == sorted(got)
    assert marker(pipe.line()) == outlet.dropped


@pytest.mark.parametrize("kind", ["closed", "full", "no reader"])
def test_lines_that_cannot_be_written_are_counted_and_reported_later(pipe: Pipe, kind: str) -> None:
    broken = Pipe()
    if kind == "full":
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, broken.writer)
        os.close(full)
    elif kind == "no reader":
        broken.close(broken.reader)
    outlet = Outlet(broken.writer)
    if kind == "closed":
        os.close(broken.writer)
    for number in range(3):
        outlet.put(f"lost {number}")
    while outlet.dropped < 3:
        pass  # the thread has these before it
    os.dup2(pipe.writer, broken.writer)
    outlet.put("found")
    assert pipe.line() == "found"
    assert marker(pipe.line()) == 3
    outlet.close(30)
    broken.close()


def test_where_there_was_never_a_stderr_all_is_counted() -> None:
    outlet = Outlet(None)
    outlet.put("lost")
    outlet.close(30)
    assert outlet.dropped == 1


def test_a_pipe_that_does_not_block_is_waited_for_and_no_line_is_torn(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)  # as others do who share it
    os.write(pipe.writer, b"x" * 4000 + b"\n")
    outlet = Outlet(pipe.writer)
    outlet.put("y" * 5000)
    outlet.put("z")
    assert [pipe.line() for _ in range(3)] == ["x" * 4000, "y" * 5000, "z"]
    outlet.close(30)


def test_lines_are_cut_and_what_is_no_text_is_escaped(pipe: Pipe) -> None:
    outlet = Outlet(pipe.writer)
    outlet.put("x" * (LINE_LIMIT + 1))
    outlet.put("a\ud800b")
    assert pipe.line() == "x" * LINE_LIMIT + "…"
    assert pipe.line() == "a\\ud800b"
    outlet.close(30)


def test_a_relay_drops_what_is_not_taken_and_reports_it_with_the_next() -> None:
    sent: list[tuple[str, int]] = []
    room = True

    def send(line: str, dropped: int) -> bool:
        if room:
            sent.append((line, dropped))
        return room

    soon: list[tuple[Callable[[str], None], str]] = []
    relay = Relay(send, lambda put, line: soon.append((put, line)))
    relay.put("a")
    room = False
    relay.put("b")
    relay.put("c")
    relay.lost(5)  # of a process below
    room = True
    thread = threading.Thread(target=relay.put, args=("from a thread",))
    thread.start()
    thread.join()
    assert sent == [("a", 0)], "only the loop's thread sends"
    ((put, line),) = soon
    put(line)
    relay.put("d")
    assert sent[1:] == [("from a thread", 7), ("d", 0)]


def test_numbers_are_masked() -> None:
    assert mask("+15551234567") == "+1555***4567"
    assert mask("sip:123456@a") == "sip:123456@a"


# ── a process whose log is set up ───────────────────────────────────────────────────────────────────────────

PROGRAM = """
import asyncio, logging, sys, warnings
import structlog
from trunkline import log
from trunkline.config import LogSettings
settings = LogSettings.model_validate({settings})
log.configure(settings, log.Outlet(2), terminal={terminal})
log.take_over()
_log = structlog.get_logger()
class Bad:
    def __repr__(self): raise RuntimeError("no")
{body}
log.close()
"""


def logged(body: str, terminal: bool = False, **settings: Any) -> list[str]:
    program = PROGRAM.format(settings=settings, terminal=terminal, body=body)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return done.stderr.splitlines()


@pytest.mark.process
def test_everything_logged_is_one_line_each() -> None:
    body = """
_log.debug("not asked for")
_log.info("plain", to="+15551234567", other=Bad)
_log.info("bad", value=Bad())
try: 1/0
except ZeroDivisionError: _log.exception("caught")
logging.getLogger("uvicorn").error("from a library %d", 1)
logging.getLogger("uvicorn").info("too quiet")
warnings.warn("take care")
print("printed", end=""); print(" whole")
print("to stderr", file=sys.stderr)
async def main():
    asyncio.get_running_loop().call_exception_handler({"message": "a task failed"})
asyncio.run(main())
"""
    plain, bad, caught, library, warning, printed, stderr, task = logged(body)
    assert json.loads(plain)["to"] == "+1555***4567"
    assert json.loads(bad)["event"] == "bad"
    assert "ZeroDivisionError" in json.loads(caught)["exception"]
    assert json.loads(library).items() >= {"detail": "from a library 1", "logger": "uvicorn", "level": "error"}.items()
    assert "take care" in json.loads(warning)["detail"]
    assert {json.loads(line)["event"] for line in (library, warning, task)} == {"library_logged"}
    assert (printed, stderr) == ("printed whole", "to stderr")
    assert json.loads(task).items() >= {"detail": "a task failed", "level": "error"}.items()


@pytest.mark.process
def test_what_a_process_below_says_is_shown_as_our_own() -> None:
    body = """
line = '{"event": "of a worker", "call_sid": "v3:x", "level": "info", "timestamp": "2025-01-01T00:00:00Z"}'
log.relay(line, 0)
log.relay("no JSON", 2)
"""
    of_worker, other, dropped = logged(body)
    assert json.loads(of_worker)["call_sid"] == "v3:x"
    assert other == "no JSON"
    assert marker(dropped) == 2
    shown, other, dropped = logged(body, format="console")
    assert "[info" in shown
    assert "call_sid=v3:x" in shown
    assert "dropped=2" in dropped


@pytest.mark.process
def test_the_level_and_the_form_change_for_loggers_that_were_used_already() -> None:
    body = """
_log.info("first")
log.configure(LogSettings(level="debug", format="console", mask_numbers=False), log._sink)
_log.debug("second", to="+15551234567", digit="7")
log.configure(LogSettings(format="console", mask_digits=False), log._sink)
_log.info("key", digit="7")
log.configure(LogSettings(level="error"), log._sink)
_log.warning("third")
_log.info("audit_change_made")
_log.error("fourth")
"""
    first, second, key, audit, fourth = logged(body)
    assert json.loads(audit)["event"] == "audit_change_made"  # whatever the level is
    assert json.loads(first)["event"] == "first"
    assert "to=+15551234567" in second
    assert "digit=(masked)" in second
    assert "digit=7" in key
    assert json.loads(fourth)["event"] == "fourth"
