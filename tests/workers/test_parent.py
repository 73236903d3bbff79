"""Processes that end with their parent, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

CHILD = """
import asyncio, os, sys
from trunkline.workers import parent
parent.GOODBYE = 1
def no_descriptor(pid):
    raise OSError("an old kernel")
if sys.argv[2] == "signal":
    os.pidfd_open = no_descriptor
elif sys.argv[2] == "thread":
    parent.portable.signal_parents_death = lambda: None
elif sys.argv[2] == "portable":
    parent.portable.LINUX = False
ours = parent.Parent(int(sys.argv[1]))
print("ready", os.getpid(), flush=True)
async def goes_on():
    ours.when_gone(lambda: print("parent gone", flush=True))
    await asyncio.Event().wait()
def waits():
    open(sys.argv[3])
def works():
    while True: pass
"""
START = """
import subprocess, sys, os
subprocess.run([sys.executable, "-c", sys.argv[1], str(os.getpid() + int(sys.argv[4])), *sys.argv[2:4]])
"""


def started(body: str, way: str, fifo: Path, off: int = 0) -> subprocess.Popen[str]:
    """Starts a parent of a child that runs `what`; both write to its output."""
    arguments = (CHILD + body, way, str(fifo), str(off))
    return subprocess.Popen([sys.executable, "-c", START, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("way", ["both", "signal", "thread", "portable"])
@pytest.mark.parametrize(
    ("body", "last_words"),
    [
        ("import uvloop; uvloop.run(goes_on())", "parent gone\n"),
        ("asyncio.run(goes_on())", "parent gone\n"),
        ("waits()", ""),
        ("works()", ""),
    ],
)
def test_a_process_ends_soon_after_its_parent_and_not_before(
    tmp_path: Path, body: str, last_words: str, way: str
) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")  # opening it waits for a writer
    with started(body, way, fifo) as parent:
        assert parent.stdout is not None
        word, pid = parent.stdout.readline().split()
        assert word == "ready"
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(int(pid), number)
        os.kill(int(pid), 0)
        parent.kill()
        assert parent.stdout.read() == last_words, "and its end closes what it had open"


def test_a_process_whose_parent_has_ended_already_ends_at_once(tmp_path: Path) -> None:
    with started("works()", "both", tmp_path, off=1) as parent:
        assert parent.communicate(timeout=60)[0] == ""
