"""The lock by which `trunkline drain` finds the server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trunkline.drain import LOCK_FILE, DrainLock, drain, find
from trunkline.errors import StartupError

pytestmark = pytest.mark.process

HOLD = """
import signal, sys
from pathlib import Path
from trunkline.drain import DrainLock
lock = DrainLock(Path(sys.argv[1]))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("held", flush=True)
signal.sigwait({signal.SIGUSR1})
print("drained", flush=True)
"""


@contextmanager
def holder(directory: Path, *wrapper: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is asked to drain."""
    command = [*wrapper, sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_drain_signals_the_process_that_holds_the_lock_and_waits_for_its_end(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        announced: list[int] = []
        drain(tmp_path, announced.append)
        assert announced == [process.pid]
        assert process.stdout is not None
        assert process.stdout.read() == "drained\n"
    with pytest.raises(StartupError, match="no server runs on"):
        find(tmp_path)


def test_without_a_server_drain_is_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(StartupError, match="no server runs on"):
            drain(tmp_path, print)
        DrainLock(tmp_path).release()
    (tmp_path / LOCK_FILE).unlink()
    (tmp_path / LOCK_FILE).mkdir()
    with pytest.raises(StartupError, match="cannot open"):
        find(tmp_path)


def test_a_lock_that_is_held_stays_its_holders(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        other = DrainLock(tmp_path)
        other.release()
        assert find(tmp_path) == process.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a namespace")
def test_a_process_of_another_container_is_not_signalled_by_its_number(tmp_path: Path) -> None:
    ours = (
        sys.executable,
        "-c",
        "import sys; from pathlib import Path; from trunkline.drain import find; find(Path(sys.argv[1]))",
    )
    with holder(tmp_path):
        found = subprocess.run(
            ["unshare", "--pid", "--fork", *ours, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert "runs in another container" in found.stderr
