"""What confined processes cannot do, tried in real ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from trunkline import confinement
from trunkline.confinement import NotConfined, command, confine, environment

pytestmark = pytest.mark.process

CONFINED = "from trunkline.confinement import confine; confine(programs={programs})\n"
TRY = """
import os, socket, subprocess, sys, threading
def tried(what):
    try:
        what()
    except PermissionError:
        return "refused"
    return "done"
"""


def run(text: str, *, programs: bool = False, before: str = "") -> str:
    code = TRY + before + CONFINED.format(programs=programs) + text
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ("lambda: socket.socket()", "refused"),
        ("lambda: socket.socket(socket.AF_UNIX)", "refused"),
        ("lambda: socket.socketpair()", "refused"),
        ("lambda: os.execv('/bin/true', ['true'])", "refused"),
        ("lambda: subprocess.run(['/bin/true'])", "refused"),
        ("lambda: os.kill(os.getppid(), 0)", "refused"),
        ("lambda: open('/etc/hostname').read()", "done"),
        ("lambda: threading.Thread(target=print).start()", "done"),
    ],
)
def test_what_a_confined_process_can_do(what: str, outcome: str) -> None:
    assert run(f"print(tried({what}))").split()[-1] == outcome


def test_open_sockets_go_on_and_all_threads_are_confined() -> None:
    before = """
ours, theirs = socket.socketpair()
go = threading.Event()
outcomes = []
thread = threading.Thread(target=lambda: (go.wait(), outcomes.append(tried(socket.socket))))
thread.start()
"""
    text = """
ours.sendall(b"x")
go.set()
thread.join()
print(theirs.recv(1), outcomes)
"""
    assert run(text, before=before) == "b'x' ['refused']"


def test_it_may_start_programs_that_are_confined_in_turn() -> None:
    child = "import socket; socket.socket()"
    text = f"print(subprocess.run([sys.executable, '-c', {child!r}], capture_output=True, text=True).stderr[-60:])"
    assert "Operation not permitted" in run(text, programs=True)


def test_a_program_is_started_confined_with_its_arguments() -> None:
    code = "import socket, sys; print(sys.argv[1:]); socket.socket()"
    done = subprocess.run(
        command(sys.executable, "-c", code, "-m", "two words"), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "['-m', 'two words']\n"
    assert "PermissionError" in done.stderr


def test_no_secret_is_in_the_environment_of_children(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRUNKLINE_API_KEY", "TRUNKLINE_STORE__URL", "CREDENTIALS_DIRECTORY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    for name in ("PATH", "LC_ALL", "SSL_CERT_FILE", "TRUNKLINE_UNCOMPILED"):
        monkeypatch.setenv(name, "kept")
    found = environment()
    assert "hush" not in found.values()
    assert [found[name] for name in ("PATH", "LC_ALL", "SSL_CERT_FILE", "TRUNKLINE_UNCOMPILED")] == ["kept"] * 4


def test_without_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confinement, "LIBRARY", "libnone.so.0")
    monkeypatch.setattr(confinement, "no_new_privileges", lambda: None)
    with pytest.raises(NotConfined, match=r"libnone\.so\.0 is not installed"):
        confine(programs=True)


def test_the_file_that_is_a_program_imports_nothing_of_ours() -> None:
    assert "from trunkline" not in Path(confinement.__file__).read_text()
