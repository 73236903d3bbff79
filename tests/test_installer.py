"""The Makefile's installer shows what it waits for."""

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

INSTALL = str(Path(__file__).parent.parent / ".ci/install")


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("false", 1)])
def test_in_a_pipe_a_step_has_a_line_at_its_start_and_at_its_end(command: str, code: int) -> None:
    done = subprocess.run([INSTALL, "busy", "Packages", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(r"Packages …\nPackages: \d+ s\n", done.stderr)


def test_on_a_terminal_the_seconds_of_a_step_are_counted() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([INSTALL, "busy", "Packages", "sleep", "1.2"], stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 1000):
                shown += part
        except OSError:
            pass  # the other end is closed
    os.close(ours)
    assert process.returncode == 0
    assert re.search(rb"\rPackages \xe2\x80\xa6 0 s", shown)
    assert re.search(rb"\rPackages: [1-9]\d* s\r\n$", shown)
