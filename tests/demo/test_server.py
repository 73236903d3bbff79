"""The child process: free ports, and the reason of a server that does not start."""

import socket
from pathlib import Path

import pytest

from trunkline.demo.errors import ServerFailed
from trunkline.demo.server import ServerProcess, free_ports

pytestmark = pytest.mark.process


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


async def test_a_server_with_a_bad_setting_fails_with_its_own_message(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, account_sid="x", api_key="y", settings={"media.no_such": 1})
    with pytest.raises(ServerFailed, match=r"exited with code 2[\s\S]*no_such"):
        await server.start()
    assert "Traceback" not in server.log


async def test_stopping_a_server_that_was_not_started_does_nothing(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, account_sid="x", api_key="y")
    await server.stop_if_started()
    with pytest.raises(RuntimeError):
        _ = server.process
