"""What systemd is informed of, by a socket such as systemd listens to."""

import asyncio
import configparser
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from peers.harness import new_server, running
from trunkline.systemd import Systemd

UNIT = Path(__file__).parent.parent / "deploy" / "systemd" / "trunkline.service"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


async def received(listener: socket.socket) -> str:
    async with asyncio.timeout(30):
        return (await asyncio.get_running_loop().sock_recv(listener, 100)).decode()


def environment(listener: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(listener.getsockname())} | more


async def test_ready_then_signs_of_life_until_the_end(listener: socket.socket) -> None:
    systemd = Systemd(environment(listener, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid())))
    systemd.ready()
    async with systemd.watchdog():
        assert [await received(listener) for _ in range(4)] == ["READY=1", *3 * ["WATCHDOG=1"]]
        systemd.stopping()
        while (state := await received(listener)) == "WATCHDOG=1":
            pass
        assert state == "STOPPING=1"
        assert await received(listener) == "WATCHDOG=1", "the end may take a while"


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}])
async def test_without_a_watchdog_there_are_no_signs_of_life(listener: socket.socket, more: dict[str, str]) -> None:
    systemd = Systemd(environment(listener, **more))
    systemd.ready()
    async with systemd.watchdog():
        assert await received(listener) == "READY=1"
        systemd.stopping()
        assert await received(listener) == "STOPPING=1"


async def test_a_name_in_the_abstract_namespace_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0trunkline-test-{os.getpid()}")
        listener.setblocking(False)
        systemd = Systemd({"NOTIFY_SOCKET": f"@trunkline-test-{os.getpid()}"})
        async with systemd.watchdog():
            systemd.ready()
            assert await received(listener) == "READY=1"


async def test_without_systemd_nothing_happens() -> None:
    systemd = Systemd({})
    systemd.ready()
    async with systemd.watchdog():
        systemd.stopping()


async def test_a_socket_that_is_gone_is_a_warning(tmp_path: Path) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    with capture_logs() as logs:
        async with systemd.watchdog():
            systemd.ready()
    assert [(line["event"], line["reason"]) for line in logs] == [("systemd_not_notified", "No such file or directory")]


@pytest.mark.peer
async def test_a_server_says_when_it_is_ready_and_then_that_it_lives(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(listener, WATCHDOG_USEC="100000").items():
        monkeypatch.setenv(name, value)
    async with running(new_server(tmp_path)) as server:
        assert await received(listener) == "READY=1"
        for _ in range(2):
            assert await received(listener) == "WATCHDOG=1"
        os.kill(server.process.pid, signal.SIGTERM)
        while (state := await received(listener)) == "WATCHDOG=1":
            pass
        assert state == "STOPPING=1"


@pytest.mark.process
def test_the_unit_waits_for_ready_and_comes_back_after_a_takeover(tmp_path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["type"], service["restartforceexitstatus"]) == ("notify", "75")
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    (tmp_path / "trunkline.service").write_text(UNIT.read_text().replace("/opt/trunkline/bin/trunkline", "/bin/true"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "trunkline.service"], capture_output=True, text=True, check=False
    )
    assert "trunkline.service" not in checked.stderr, checked.stderr
