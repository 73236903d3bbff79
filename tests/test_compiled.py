"""The packet path does the same compiled and as the Python that it was compiled from."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halves import PAIRS, PYTHON
from trunkline import compiled, speedups

TESTS = Path(__file__).parent
SOURCES = compiled.PACKAGE.parent
ROOMS = ("media", "streaming")
SHORT, LONG = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
COUNT = st.integers(0, 1 << 62)


def test_what_is_tested_here_is_compiled() -> None:
    assert compiled.FALLBACK_REASON == ""
    for module, _ in PAIRS:
        assert str(module.__file__).endswith(tuple(EXTENSION_SUFFIXES))


@pytest.mark.parametrize(("in_c", "in_python"), PAIRS, ids=["speedups", "sockets"])
def test_both_halves_have_the_same_names(in_c: ModuleType, in_python: ModuleType) -> None:
    imported = {"Callable", "Poller", "NotBase64", "Struct", "a2b_base64", "b2a_base64", "os", "DATAGRAM_LIMIT"}
    names = {name for name in vars(in_python) if not name.startswith("_")} - imported
    assert names <= set(vars(in_c))
    assert (speedups.DATAGRAM_LIMIT, speedups.ENTRY_SIZE) == (PYTHON.DATAGRAM_LIMIT, PYTHON.ENTRY_SIZE)


@given(SHORT, SHORT, LONG, LONG, st.binary(max_size=2000))
def test_rtp_is_the_same(first: int, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> None:
    packet = speedups.pack_rtp(first, sequence, timestamp, ssrc, payload)
    assert packet == PYTHON.pack_rtp(first, sequence, timestamp, ssrc, payload)
    assert speedups.unpack_rtp(packet) == PYTHON.unpack_rtp(packet) == (first, sequence, timestamp, ssrc)


@given(st.binary(max_size=120), COUNT, COUNT, COUNT, st.binary(max_size=6000))
def test_media_is_the_same(middle: bytes, sequence: int, chunk: int, timestamp: int, payload: bytes) -> None:
    made = speedups.encode_media(middle, sequence, chunk, timestamp, payload)
    assert made == PYTHON.encode_media(middle, sequence, chunk, timestamp, payload)


@given(st.lists(st.tuples(st.integers(-(1 << 62), 1 << 62), st.booleans(), LONG, st.binary(max_size=400)), max_size=5))
def test_notes_are_the_same(frames: list[tuple[int, bool, int, bytes]]) -> None:
    ours, theirs, end = bytearray(3000), bytearray(3000), 0
    for at, outbound, missing, payload in frames:
        start, end = end, end + speedups.ENTRY_SIZE + len(payload)
        speedups.pack_entry(ours, start, at, outbound, missing, payload)
        PYTHON.pack_entry(theirs, start, at, outbound, missing, payload)
        note = at, outbound, len(payload), missing
        assert speedups.unpack_entry(ours, start) == PYTHON.unpack_entry(theirs, start) == note
    assert ours == theirs


def test_nothing_is_read_beyond_a_datagram() -> None:
    for start in (-1, 9):
        with pytest.raises(ValueError, match="within"):
            speedups.payload(b"headbody", start)


@pytest.mark.process
@pytest.mark.parametrize(("directory", "reason"), [("src", "jitter is newer"), ("vendor", "")])
def test_edited_code_runs_as_python_installed_code_beside_setup_py_does_not(
    tmp_path: Path, directory: str, reason: str
) -> None:
    package = tmp_path / directory / "trunkline"
    (tmp_path / "setup.py").touch()
    shutil.copytree(compiled.PACKAGE, package)
    jitter = package / "media" / "rtp" / "jitter.py"
    os.utime(jitter, (jitter.stat().st_atime, time.time() + 60))
    words = "from trunkline import compiled; print(compiled.FALLBACK_REASON)"
    environment = os.environ | {compiled.ENV_VAR: "", "PYTHONPATH": str(package.parent)}
    output = subprocess.check_output([sys.executable, "-c", words], env=environment, text=True)
    assert output.startswith(reason or "\n")


@pytest.mark.process
def test_a_compiled_module_without_an_interface_is_not_used(tmp_path: Path) -> None:
    package = tmp_path / "src" / "trunkline"
    (tmp_path / "setup.py").touch()
    shutil.copytree(compiled.PACKAGE, package)
    (package / "ids").with_suffix(EXTENSION_SUFFIXES[0]).write_bytes(b"no module")
    words = "from trunkline import compiled, ids; print(compiled.FALLBACK_REASON)"
    environment = os.environ | {compiled.ENV_VAR: "", "PYTHONPATH": str(package.parent)}
    printed = subprocess.check_output([sys.executable, "-c", words], env=environment, text=True)
    assert printed.startswith("ids is no compiled module any more")


@dataclass
class Made:
    """An `Extension`; what else `setup.py` says of it counts for nothing here."""

    name: str
    sources: list[str]
    extra_compile_args: tuple[str, ...] = ()
    optional: bool = False


def installed(monkeypatch: pytest.MonkeyPatch, command: str = "bdist_wheel") -> list[Made]:
    """The modules that `setup.py` has compiled."""

    def cythonize(extensions: list[Made], **_: object) -> list[Made]:
        return [
            Made(extension.name, extension.sources) for extension in extensions
        ]  # Cython's own lose `optional`, too

    built: dict[str, Any] = {}
    monkeypatch.chdir(TESTS.parent)
    monkeypatch.setattr(sys, "argv", ["setup.py", command])
    monkeypatch.setitem(sys.modules, "Cython.Build", SimpleNamespace(cythonize=cythonize))
    monkeypatch.setitem(sys.modules, "setuptools", SimpleNamespace(Extension=Made, setup=built.update))
    runpy.run_path("setup.py")
    modules: list[Made] = built["ext_modules"]
    return modules


def test_a_module_that_does_not_compile_does_not_end_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compiled.ENV_VAR, raising=False)
    modules = installed(monkeypatch)
    assert len(modules) == len(list(compiled.PACKAGE.rglob("*.pxd")))
    assert all(extension.optional for extension in modules)


def test_without_a_compiler_the_installation_says_once_what_that_costs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(compiled.ENV_VAR, raising=False)
    monkeypatch.setenv("CC", "/none/gcc -pthread")
    assert [installed(monkeypatch, command) for command in ("egg_info", "dist_info", "editable_wheel")] == [[], [], []]
    words = "no C compiler: the packet path is not compiled, and streams will take up to twice the CPU"
    assert capsys.readouterr().err == f"Trunkline: {words}\n"


def test_an_installation_for_one_call_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.ENV_VAR, "1")
    assert installed(monkeypatch) == []


def run(*command: str, uncompiled: bool) -> str:
    environment = os.environ | {compiled.ENV_VAR: "1" if uncompiled else ""}
    done = subprocess.run([sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


SPEEDUP_CALLS: list[tuple[str, tuple[object, ...]]] = [
    ("unpack_rtp", (None,)),
    ("payload", (None, 0)),
    ("decode_media_fast", (None,)),
    ("pack_rtp", (0, 0, 0, 0, None)),
    ("encode_media", (None, 0, 0, 0, b"")),
    ("encode_media", (b"", 0, 0, 0, None)),
    ("pack_entry", (None, 0, 0, False, 0, b"")),
    ("pack_entry", (bytearray(99), 0, 0, False, 0, None)),
    ("unpack_entry", (None, 0)),
]
SOCKET_CALLS: list[tuple[str, tuple[object, ...]]] = [
    ("send", (0, None)),
    ("send_text", (0, None)),
    ("ready", (None, 1)),
]


@pytest.mark.parametrize(
    ("made", "name", "arguments"),
    [
        (half, *call)
        for halves, calls in zip(PAIRS, (SPEEDUP_CALLS, SOCKET_CALLS), strict=True)
        for half in halves
        for call in calls
    ],
)
def test_none_is_refused(made: ModuleType, name: str, arguments: tuple[object, ...]) -> None:
    """In C it would be read as if it were bytes."""
    function = getattr(made, name)
    with pytest.raises((TypeError, AttributeError)):
        function(*arguments)


@pytest.mark.process
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_call_is_the_same(seed: str) -> None:
    ours, theirs = (run(str(TESTS / "transcript.py"), seed, uncompiled=uncompiled) for uncompiled in (False, True))
    assert ours.count("\n") > 10_000
    assert ours == theirs


@cache
def imported(file: Path) -> frozenset[Path]:
    """The files of ours that a file imports, wherever in it."""
    names = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names |= {".".join([*module, *name]) for name in ([], *([alias.name] for alias in node.names))}
    ends = (".py", "/__init__.py")
    paths = (base / (name.replace(".", "/") + end) for name in names for base in (SOURCES, TESTS) for end in ends)
    return frozenset(path for path in paths if path.is_file())


def fixtures(conftest: Path) -> set[str]:
    found = set()
    for node in ast.parse(conftest.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found |= {node.name for mark in node.decorator_list if "fixture" in ast.unparse(mark)}
    return found


def sources(test: Path) -> set[Path]:
    """What a file of tests imports, and that in turn; and each conftest.py of which it names a fixture."""
    conftests = [folder / "conftest.py" for folder in test.parents if (folder / "conftest.py").exists()]
    words = set(re.findall(r"\w+", test.read_text()))
    left, found = {test, *(conftest for conftest in conftests if fixtures(conftest) & words)}, set[Path]()
    while left:
        file = left.pop()
        found.add(file)
        left |= imported(file) - found
    return found


@cache
def compared_tests() -> dict[Path, set[Path]]:
    """The files of tests that reach Python which is also compiled, and which they reach."""
    compiled_too = {file.with_suffix(".py") for file in compiled.PACKAGE.rglob("*.pxd")}
    loaded_by_name = (compiled.PACKAGE / "media" / "codecs").glob("*.py")
    assert not any(sources(file) & compiled_too for file in loaded_by_name)
    tests = [test for room in ROOMS for test in sorted((TESTS / room).rglob("test_*.py"))]
    reached = {test: sources(test) & compiled_too for test in tests}
    assert set[Path]().union(*reached.values()) == {file for file in compiled_too if file.exists()}
    return {test: files for test, files in reached.items() if files}


@pytest.mark.process
@pytest.mark.timeout(300)
@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_own_tests_hold_for_the_python(room: str) -> None:
    """For the compiled modules they hold anyway: it is those that all other tests run. A file of tests that reaches no
    such module runs the same Python there."""
    files = [str(test) for test in compared_tests() if TESTS / room in test.parents]
    run("-m", "pytest", "-q", *files, uncompiled=True)
