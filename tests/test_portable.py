"""The way without epoll and other calls that only Linux has, tried on Linux: what a Mac runs, as far as that goes."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline import portable
from trunkline.portable import ENV_VAR, LINUX, OtherProcess, Poll

TESTS = Path(__file__).parent
PORTABLE = os.environ | {ENV_VAR: "1"}


@pytest.mark.process
def test_linux_is_hidden_by_the_variable() -> None:
    assert (sys.platform == "linux" and os.environ.get(ENV_VAR) != "1") == LINUX
    words = "from trunkline import portable as p; print(p.LINUX, p.ERRQUEUE, type(p.poller()).__name__)"
    done = subprocess.run([sys.executable, "-c", words], env=PORTABLE, capture_output=True, text=True, check=True)
    assert done.stdout == "False None Poll\n"


def test_descriptors_take_turns_where_more_are_ready_than_asked_for() -> None:
    pipes = [os.pipe() for _ in range(5)]
    poll = Poll()
    for read, write in pipes:
        poll.register(read, select.POLLIN)
        os.write(write, b"!")
    seen = {fd for _ in range(3) for fd, _ in poll.poll(0, 2)}
    assert seen == {read for read, _ in pipes}
    assert len(poll.poll(0, 9)) == 5
    poll.unregister(pipes[0][0])
    assert pipes[0][0] not in {fd for fd, _ in poll.poll(0, 9)}
    poll.close()
    for pipe in pipes:
        for end in pipe:
            os.close(end)


@pytest.mark.process
@pytest.mark.parametrize("linux", [True, False])
def test_another_process_is_signalled_and_its_end_awaited(linux: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portable, "LINUX", linux)
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        other = OtherProcess(process.pid)
        other.signal(signal.SIGKILL)
        other.wait(lambda: process.poll() is None)
        assert process.wait() == -signal.SIGKILL
        other.close()


@pytest.mark.process
def test_tests_of_what_differs_hold_for_the_portable_way() -> None:
    names = ("media/test_engine.py", "test_drain.py", "test_sockets.py")
    command = (sys.executable, "-m", "pytest", "-q", *(str(TESTS / name) for name in names))
    done = subprocess.run(command, env=PORTABLE, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.process
def test_the_demo_succeeds_the_portable_way() -> None:
    command = (sys.executable, "-m", "trunkline.demo", "--seconds", "2")
    done = subprocess.run(command, env=PORTABLE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
