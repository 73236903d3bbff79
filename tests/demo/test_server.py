"""The child process: free ports, the reason of a server that does not start, and the end of one that hangs."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from trunkline.demo.errors import ServerFailed
from trunkline.demo.server import ServerProcess, free_ports

pytestmark = pytest.mark.process

IGNORES_SIGTERM = """
import signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

signal.signal(signal.SIGTERM, signal.SIG_IGN)
port = sys.argv[sys.argv.index("--http.port") + 1]
HTTPServer(("127.0.0.1", int(port)), Ready).serve_forever()
"""
"""A server that is ready and does nothing else; the flags of ours are its arguments."""


def test_the_ports_are_even_free_and_below_the_ephemeral_ones() -> None:
    first = free_ports(10)
    assert first % 2 == 0
    assert 1024 < first < 32000
    for port in range(first, first + 10):
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_ports_that_were_given_are_not_given_again() -> None:
    given = [range(first, first + count) for count in (3, 1, 2, 4, 1) for first in [free_ports(count)]]
    assert len({port for ports in given for port in ports}) == 11


def test_where_no_port_is_free_it_says_so() -> None:
    assert free_ports(2, "::1") % 2 == 0
    with pytest.raises(ServerFailed, match=r"no 2 neighbouring ports are free on 192\.0\.2\.1"):
        free_ports(2, "192.0.2.1")  # not an address of this machine


async def test_a_server_with_a_bad_setting_fails_with_its_own_message(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, account_sid="x", api_key="y" * 16, settings={"media.no_such": 1})
    with pytest.raises(ServerFailed, match=r"exited with code 2[\s\S]*no_such"):
        await server.start()
    assert "Traceback" not in server.log


async def test_stopping_a_server_that_was_not_started_does_nothing(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, account_sid="x", api_key="y" * 16)
    await server.stop_if_started()
    with pytest.raises(RuntimeError):
        _ = server.process


async def test_a_server_that_is_not_ready_in_time_is_stopped(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, account_sid="x", api_key="y" * 16, wrapper=("sh", "-c", "exec sleep 600"))
    with pytest.raises(ServerFailed, match=r"not ready within 0\.3 s"):
        await server.start(timeout=0.3)
    assert server.process.returncode == -signal.SIGTERM


async def test_a_server_that_does_not_end_is_killed(tmp_path: Path) -> None:
    wrapper = (sys.executable, "-c", IGNORES_SIGTERM)
    server = ServerProcess(tmp_path, account_sid="x", api_key="y" * 16, wrapper=wrapper)
    await server.start()
    assert await server.stop(timeout=0.1) == -signal.SIGKILL
    assert await server.stop() == await server.kill() == -signal.SIGKILL, "it has ended"


async def test_without_a_server_there_is_no_public_key(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="no public key: ConnectError"):
        await ServerProcess(tmp_path, account_sid="x", api_key="y" * 16).public_key()
