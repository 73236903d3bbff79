"""System calls of the packet path, compiled and as Python: on real sockets."""

import errno
import itertools
import os
import select
import socket
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halves import SOCKETS
from trunkline import speedups


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


@SOCKETS
@given(size=st.integers(0, 9000))
def test_a_text_frame_is_that_of_a_websocket_client(made: ModuleType, size: int) -> None:
    message, (ours, theirs) = os.urandom(size), socket.socketpair()
    with ours, theirs:
        assert made.send_text(ours.fileno(), message) == b""
        assert unmasked(theirs.recv(10_000)) == message


@SOCKETS
def test_masking_keys_come_from_the_system_and_are_unpredictable(
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
def test_a_partly_written_text_frame_returns_its_rest(made: ModuleType) -> None:
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
        assert unmasked(made.send_text(ours.fileno(), message)) == message, "the peer is closed"


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
def test_ready_descriptors_are_returned_in_bounded_groups(made: ModuleType) -> None:
    pipes = [os.pipe() for _ in range(70)]
    with select.epoll() as epoll:
        for read, _ in pipes:
            epoll.register(read, select.EPOLLIN)
        assert made.ready(epoll, 32) == []
        for _, write in pipes[:3]:
            os.write(write, b"!")
        assert sorted(made.ready(epoll, 32)) == [read for read, _ in pipes[:3]]
        assert len(made.ready(epoll, 2)) == 2
        for _, write in pipes:
            os.write(write, b"!")
        assert len(made.ready(epoll, 99)) == 64
    with pytest.raises(ValueError, match="closed"):
        made.ready(epoll, 32)
    for end in itertools.chain.from_iterable(pipes):
        os.close(end)
