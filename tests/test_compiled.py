"""The packet path does the same compiled and as the Python that it was compiled from."""

import errno
import importlib.util
import itertools
import os
import runpy
import select
import shutil
import socket
import subprocess
import sys
import time
from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import compiled, sockets, speedups
from trunkline.streaming.messages import Media, decode

TESTS = Path(__file__).parent
SHORT, LONG = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
COUNT = st.integers(0, 1 << 62)


def as_python(name: str) -> ModuleType:
    """The Python of a compiled module."""
    spec = importlib.util.spec_from_file_location(f"{name}_as_python", compiled.PACKAGE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PYTHON, PYTHON_SOCKETS = as_python("speedups"), as_python("sockets")
PAIRS = [(speedups, PYTHON), (sockets, PYTHON_SOCKETS)]
SPEEDUPS = pytest.mark.parametrize("made", PAIRS[0], ids=["compiled", "as Python"])
SOCKETS = pytest.mark.parametrize("made", PAIRS[1], ids=["compiled", "as Python"])


def test_what_is_tested_here_is_compiled() -> None:
    assert compiled.FALLBACK_REASON == ""
    for module, _ in PAIRS:
        assert str(module.__file__).endswith(tuple(EXTENSION_SUFFIXES))


@pytest.mark.parametrize(("in_c", "in_python"), PAIRS, ids=["speedups", "sockets"])
def test_both_halves_have_the_same_names(in_c: ModuleType, in_python: ModuleType) -> None:
    imported = {"Callable", "NotBase64", "Struct", "a2b_base64", "b2a_base64", "os", "select", "DATAGRAM_LIMIT"}
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


SPOKEN = (
    lambda text: b'{"event":"media","media":{"payload":"%b"}}' % text,
    lambda text: b'{"event": "media", "media": {"payload": "%b"}}' % text,
)


@SPEEDUPS
@given(payload=st.binary(min_size=1, max_size=3000), write=st.sampled_from(SPOKEN))
def test_what_an_app_says_is_read_as_the_general_decoder_reads_it(
    made: ModuleType, payload: bytes, write: Callable[[bytes], bytes]
) -> None:
    message = write(b2a_base64(payload, newline=False))
    general = decode(message)
    assert isinstance(general, Media)
    assert made.decode_media_fast(message) == payload == general.media.payload


@given(st.binary(max_size=40), st.integers(0, 120), st.integers(0, 120), st.binary(max_size=3), st.sampled_from(SPOKEN))
def test_what_is_not_quite_so_is_left_to_the_general_decoder(
    payload: bytes, start: int, end: int, instead: bytes, write: Callable[[bytes], bytes]
) -> None:
    """A message with some of its bytes replaced: either it is read by neither half, or by both, and rightly."""
    whole = write(b2a_base64(payload, newline=False))
    message = whole[:start] + instead + whole[end:]
    read = speedups.decode_media_fast(message)
    assert read == PYTHON.decode_media_fast(message)
    if read:
        general = decode(message)
        assert isinstance(general, Media)
        assert general.media.payload == read


@SPEEDUPS
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"=",
        b"====",
        b"A===",
        b"AA==AAAA",
        b"AA=A",
        b"AB==",
        b"AAB=",
        b"AAA",
        b"AA A",
        b"AA-_",
        b"\xff\xff\xff\xff",
    ],
)
def test_base64_that_is_not_plain_is_left_to_the_general_decoder(made: ModuleType, text: bytes) -> None:
    assert made.decode_media_fast(SPOKEN[0](text)) == b""


def unmasked(frame: bytes) -> bytes:
    """The message of a client's text frame (RFC 6455 section 5.2)."""
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    length, start = frame[1] & 0x7F, 2
    if length == 126:
        length, start = int.from_bytes(frame[2:4]), 4
    key, masked = frame[start : start + 4], frame[start + 4 :]
    assert len(masked) == length
    return bytes(byte ^ key[place % 4] for place, byte in enumerate(masked))


@SPEEDUPS
@given(size=st.integers(0, 9000))
def test_a_text_frame_is_that_of_a_websocket_client(made: ModuleType, size: int) -> None:
    message, (ours, theirs) = os.urandom(size), socket.socketpair()
    with ours, theirs:
        assert made.send_text(ours.fileno(), message) == b""
        assert unmasked(theirs.recv(10_000)) == message


@SOCKETS
def test_masking_keys_are_the_systems_so_that_nobody_can_foretell_them(
    made: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6455 section 5.3."""
    system, given = os.urandom, bytearray()

    def urandom(size: int) -> bytes:
        random = system(size)
        given.extend(random)
        return random

    monkeypatch.setattr(os, "urandom", urandom)
    ours, theirs = socket.socketpair()
    seen = b""
    with ours, theirs:
        for _ in range(2000):
            assert made.send_text(ours.fileno(), b"") == b""
            seen += theirs.recv(100)[2:]
    assert seen[-2000:] in given, "but for what was left of those taken before"


@SOCKETS
def test_of_a_text_frame_the_rest_is_told_that_the_socket_did_not_take(made: ModuleType) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        message = os.urandom(60_000)
        while not (rest := made.send_text(ours.fileno(), message)):
            theirs.recv(1)  # the rest of this frame is read below, whatever it is
        assert len(rest) <= len(message) + 8
        whole = made.send_text(ours.fileno(), message)
        assert unmasked(whole) == message, "nothing was taken"
        theirs.close()
        assert unmasked(made.send_text(ours.fileno(), message)) == message, "nobody is there"


@SOCKETS
def test_datagrams_come_and_go_and_errors_are_those_of_the_socket(made: ModuleType) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as theirs:
        for sock in (ours, theirs):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        ours.connect(theirs.getsockname())
        theirs.connect(ours.getsockname())
        for size in (0, 172, speedups.DATAGRAM_LIMIT, speedups.DATAGRAM_LIMIT + 500):
            made.send(ours.fileno(), bytes(size))
            assert made.receive(theirs.fileno()) == bytes(min(size, speedups.DATAGRAM_LIMIT))
        with pytest.raises(BlockingIOError):
            made.receive(theirs.fileno())
        theirs.close()
        made.send(ours.fileno(), b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            made.receive(ours.fileno())
    with pytest.raises(OSError, match="descriptor") as error:
        made.send(999_999, b"")
    assert error.value.errno == errno.EBADF


@SOCKETS
def test_descriptors_that_are_ready_are_told_at_most_so_many_at_once(made: ModuleType) -> None:
    pipes = [os.pipe() for _ in range(70)]
    with select.epoll() as epoll:
        for read, _ in pipes:
            epoll.register(read, select.EPOLLIN)
        assert made.epoll_ready(epoll, 32) == []
        for _, write in pipes[:3]:
            os.write(write, b"!")
        assert sorted(made.epoll_ready(epoll, 32)) == [read for read, _ in pipes[:3]]
        assert len(made.epoll_ready(epoll, 2)) == 2
        for _, write in pipes:
            os.write(write, b"!")
        assert len(made.epoll_ready(epoll, 99)) == 64
    with pytest.raises(ValueError, match="closed"):
        made.epoll_ready(epoll, 32)
    for end in itertools.chain.from_iterable(pipes):
        os.close(end)


@SPEEDUPS
def test_what_follows_a_header(made: ModuleType) -> None:
    assert [made.payload(b"headbody", start) for start in (0, 4, 8)] == [b"headbody", b"body", b""]


def test_nothing_is_read_beyond_a_datagram() -> None:
    for start in (-1, 9):
        with pytest.raises(ValueError, match="within"):
            speedups.payload(b"headbody", start)


@pytest.mark.parametrize(("directory", "reason"), [("src", "jitter was changed"), ("vendor", "")])
def test_what_was_edited_runs_as_python_and_what_was_installed_beside_a_setup_py_does_not(
    tmp_path: Path, directory: str, reason: str
) -> None:
    package = tmp_path / directory / "trunkline"
    (tmp_path / "setup.py").touch()
    shutil.copytree(compiled.PACKAGE, package)
    jitter = package / "media" / "jitter.py"
    os.utime(jitter, (jitter.stat().st_atime, time.time() + 60))
    words = "from trunkline import compiled; print(compiled.FALLBACK_REASON)"
    environment = os.environ | {compiled.ENV_VAR: "", "PYTHONPATH": str(package.parent)}
    told = subprocess.check_output([sys.executable, "-c", words], env=environment, text=True)
    assert told.startswith(reason or "\n")


@dataclass
class Made:
    """An `Extension`; what else `setup.py` says of it counts for nothing here."""

    name: str
    sources: list[str]
    extra_compile_args: tuple[str, ...] = ()
    optional: bool = False


def test_without_a_compiler_it_is_installed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def cythonize(extensions: list[Made], **_: object) -> list[Made]:
        return [
            Made(extension.name, extension.sources) for extension in extensions
        ]  # Cython's own lose `optional`, too

    built: dict[str, Any] = {}
    monkeypatch.chdir(TESTS.parent)
    monkeypatch.setitem(sys.modules, "Cython.Build", SimpleNamespace(cythonize=cythonize))
    monkeypatch.setitem(sys.modules, "setuptools", SimpleNamespace(Extension=Made, setup=built.update))
    runpy.run_path("setup.py")
    assert len(built["ext_modules"]) == len(list(compiled.PACKAGE.rglob("*.pxd")))
    assert all(extension.optional for extension in built["ext_modules"])


def run(*command: str, uncompiled: bool) -> str:
    environment = os.environ | {compiled.ENV_VAR: "1" if uncompiled else ""}
    done = subprocess.run([sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@SPEEDUPS
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("send", (0, None)),
        ("send_text", (0, None)),
        ("unpack_rtp", (None,)),
        ("payload", (None, 0)),
        ("spoken", (None,)),
        ("ready", (None, 1)),
        ("pack_rtp", (0, 0, 0, 0, None)),
        ("media", (None, 0, 0, 0, b"")),
        ("media", (b"", 0, 0, 0, None)),
        ("write_note", (None, 0, 0, False, 0, b"")),
        ("write_note", (bytearray(99), 0, 0, False, 0, None)),
        ("read_note", (None, 0)),
    ],
)
def test_none_is_refused(made: ModuleType, function: str, arguments: tuple[object, ...]) -> None:
    """In C it would be read as if it were bytes."""
    with pytest.raises((TypeError, AttributeError)):
        getattr(made, function)(*arguments)


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_call_is_the_same(seed: str) -> None:
    ours, theirs = (run(str(TESTS / "transcript.py"), seed, uncompiled=uncompiled) for uncompiled in (False, True))
    assert ours.count("\n") > 10_000
    assert ours == theirs


@pytest.mark.timeout(300)
def test_the_rooms_own_tests_hold_for_the_python() -> None:
    """For the compiled modules they hold anyway: it is those that all other tests run."""
    run("-m", "pytest", "-q", str(TESTS / "media"), str(TESTS / "streaming"), uncompiled=True)
