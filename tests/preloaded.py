"""Runs of `trunkline` that are forked from a process which has its code loaded: to load it is most of a start's CPU.

Each is a process of its own with its own environment, directory and output, from the parsing of its arguments on. That
it starts by its name, in a fresh interpreter, is shown by the tests of the demo, of `dev` and of restarts.
"""

import asyncio
import ctypes
import gc
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future
from functools import cache
from pathlib import Path

import msgspec

from trunkline.demo.server import ChildProcess, ServerProcess

_PR_SET_PDEATHSIG = 1
_MESSAGE = 65536


class Order(msgspec.Struct):
    """A run."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str


class ForkedProcess:
    """A child of the launcher."""

    def __init__(self, pid: int, ended: Future[int]) -> None:
        self.pid = pid
        self._ended = ended

    @property
    def returncode(self) -> int | None:
        return self._ended.result() if self._ended.done() else None

    def send_signal(self, signal: int) -> None:
        if not self._ended.done():
            os.kill(self.pid, signal)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.wrap_future(self._ended)

    def ended(self) -> int:
        """Its return code, once it has ended."""
        return self._ended.result()


class Launcher:
    """The process that forks, and what it reports. It ends with this process."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for pytest
            )
        self._lock = threading.Lock()
        self._started: list[Future[ForkedProcess]] = []
        self._ended: dict[int, Future[int]] = {}
        threading.Thread(target=self._listen, name="launcher", daemon=True).start()

    def launch(self, order: Order, stdout: int, stderr: int) -> Future[ForkedProcess]:
        """A process with these outputs and nothing on its standard input."""
        started: Future[ForkedProcess] = Future()
        with self._lock:
            self._started.append(started)
            socket.send_fds(self._socket, [msgspec.json.encode(order)], [stdout, stderr])
        return started

    def _listen(self) -> None:
        while report := self._socket.recv(_MESSAGE):
            pid, code = json.loads(report)
            if code is None:
                self._ended[pid] = Future()
                self._started.pop(0).set_result(ForkedProcess(pid, self._ended[pid]))
            else:
                self._ended.pop(pid).set_result(code)


@cache
def launcher() -> Launcher:
    """The one of this process."""
    return Launcher()


class PreloadedServer(ServerProcess):
    """A `ServerProcess` that is forked."""

    async def _launch(self, arguments: list[str], environment: dict[str, str], output: int) -> ChildProcess:
        order = Order(arguments, environment, str(self._directory))
        return await asyncio.wrap_future(launcher().launch(order, output, output))


# ── the process that forks ──────────────────────────────────────────────────────────────────────────────────


def become(order: Order, outputs: list[int], launcher: int) -> None:
    """In the child: what `exec` and the shell would have done."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != launcher:
        sys.exit(1)
    os.setsid()
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(order.directory)
    os.environ.clear()
    os.environ.update(order.environment)
    random.seed()
    sys.argv = ["trunkline", *order.arguments]


def serve(requests: socket.socket) -> bool:
    """Fork at each request and report each end, until the other side is gone. True: this is a child."""
    waking, woken = os.pipe()
    for end in (waking, woken):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(waking, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if waking in ready:
                os.read(waking, _MESSAGE)
                while (ended := reaped()) is not None:
                    requests.send(json.dumps(ended).encode())
            if requests in ready:
                text, (*fds,), _, _ = socket.recv_fds(requests, _MESSAGE, 2)
                if not text:
                    return False
                parent = os.getpid()
                pid = os.fork()
                if pid == 0:
                    break
                for fd in fds:
                    os.close(fd)
                requests.send(json.dumps([pid, None]).encode())
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
    for end in (waking, woken):
        os.close(end)
    requests.close()
    become(msgspec.json.decode(text, type=Order), fds, parent)
    return True


def reaped() -> tuple[int, int] | None:
    """The pid and the exit code of a child that has ended."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


if __name__ == "__main__":
    gc.disable()
    sys.path.remove(str(Path(__file__).parent))
    import uvloop  # noqa: F401

    from trunkline import cli
    from trunkline.control import accounts  # noqa: F401
    from trunkline.server import Server  # noqa: F401

    gc.freeze()
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        gc.enable()
        cli.main()
