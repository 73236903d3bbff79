"""The whole server in this process: what its start and stop bring up and down, and what a reload does."""

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.server import Server

pytestmark = pytest.mark.process

ACCOUNT, KEY = "5f1c9d2e-0000-4000-8000-000000000001", "KEY1567890123456"
"""As the settings have them."""


def settings(directory: Path, **more: Any) -> Settings:
    """Any ports, one worker."""
    given: dict[str, Any] = {
        "account_sid": ACCOUNT,
        "api_key": KEY,
        "http": {"port": 0},
        "sip": {"port": 0, "tls_port": "off"},
        "media": {"workers": 1, "spare_worker": False},
        "store": {"directory": directory},
    }
    return Settings.model_validate({**given, **more})


@asynccontextmanager
async def serving(
    given: Settings, announce: Callable[[str], None] = print, load: Callable[[], Settings] | None = None
) -> AsyncIterator[tuple[Server, httpx.AsyncClient, dict[str, Any]]]:
    """A server that is up, a client of it, and what it said when it was ready."""
    server = Server(given, lambda: "KEY2", announce, load)
    with capture_logs() as logs:
        await server.start()
    ready = next(dict(line) for line in logs if line["event"] == "server_ready")
    try:
        async with httpx.AsyncClient(base_url=ready["http"], trust_env=False, verify=False) as client:
            yield server, client, ready
    finally:
        await server.stop()


@pytest.mark.parametrize(
    ("given", "warned"), [({}, ["t"]), ({"dial_prefixes": []}, []), ({"dial_prefixes": ["*"]}, [])]
)
async def test_a_trunk_that_is_silently_closed_to_documents_is_warned_of(
    tmp_path: Path, given: dict[str, Any], warned: list[str]
) -> None:
    trunk = {"name": "t", "targets": ["sip:127.0.0.9"], "keep_alive": 0, **given}
    sip = {"port": 0, "tls_port": "off", "trunks": [trunk]}
    server = Server(settings(tmp_path, sip=sip), lambda: "KEY2", print)
    with capture_logs() as logs:
        await server.start()
    await server.stop()
    found = [line for line in logs if line["event"] == "trunks_closed_to_documents"]
    assert [name for line in found for name in line["trunks"]] == warned
    assert all("dial_prefixes" in line["reason"] for line in found)


async def test_a_server_is_ready_when_it_says_so_and_gone_when_it_stopped(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as (_, client, ready):
        assert (await client.get("/readyz")).status_code == 200
        assert ready["workers"] == 1
        assert ready["rtp"] == "127.0.0.1:20000-29999"
        calls = f"/v2/texml/Accounts/{ACCOUNT}/Calls"
        assert (await client.get(calls)).status_code == 401
        listed = await client.get(calls, headers={"authorization": f"Bearer {KEY}"})
        assert (listed.status_code, listed.json()["calls"]) == (200, [])
        metrics = (await client.get("/metrics")).text
        for line in (
            'trunkline_calls_active{direction="inbound"} 0.0',
            'trunkline_streams_active{mode="rtp"} 0.0',
            'trunkline_workers_total{event="restarts"} 0.0',
        ):
            assert line in metrics.splitlines()
    with socket.socket() as probe:
        host, port = ready["http"].removeprefix("http://").split(":")
        assert probe.connect_ex((host, int(port))) != 0


async def test_the_page_of_metrics_lists_each_once(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs/operations/metrics.md").read_text()
    async with serving(settings(tmp_path)) as (_, client, _):
        served = re.findall(r"^# HELP (trunkline_\w+) ", (await client.get("/metrics")).text, re.MULTILINE)
    assert sorted(re.findall(r"^\| `(trunkline_\w+)`", page, re.MULTILINE)) == sorted(served)
    assert all(re.fullmatch(r"trunkline(_[a-z]+)+", name) for name in served)


async def test_sip_is_answered_where_it_says(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as (_, _, ready):
        host, port = ready["sip"].removeprefix("sip:").split(":")
        with socket.socket(type=socket.SOCK_DGRAM) as phone:
            phone.setblocking(False)
            phone.bind(("127.0.0.1", 0))
            phone.connect((host, int(port)))
            own = "{}:{}".format(*phone.getsockname())
            request = (
                f"OPTIONS sip:x@{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKa\r\nMax-Forwards: 70\r\n"
                f"From: <sip:a@{own}>;tag=a\r\nTo: <sip:x@{host}>\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n"
                f"Content-Length: 0\r\n\r\n"
            )
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(phone, request.encode())
            assert (await asyncio.wait_for(loop.sock_recv(phone, 4096), 10)).startswith(b"SIP/2.0 200 ")


async def test_a_first_start_makes_an_account_and_shows_it_once(tmp_path: Path) -> None:
    shown: list[str] = []
    without = settings(tmp_path, account_sid=None, api_key=None)
    for _ in range(2):
        async with serving(without, shown.append) as (_, client, _):
            (words,) = shown
            sid = next(line.split("=")[1] for line in words.splitlines() if "ACCOUNT_SID=" in line)
            assert "TRUNKLINE_API_KEY=KEY2\n" in words
            path, headers = f"/v2/texml/Accounts/{sid}/Calls", {"authorization": "Bearer KEY2"}
            assert (await client.get(path, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"api_key": None}, "account_sid and api_key go together: set both or neither"),
        ({"account_sid": None}, "account_sid and api_key go together: set both or neither"),
        ({"account_sid": "x"}, "bad setting account_sid: 'x' is not a UUID"),
        ({"streams": {"ca_file": "/nowhere"}}, r"streams\.ca_file: "),
        ({"numbers": [{"pattern": "1", "application": "7"}]}, "number '1' has the application '7'"),
    ],
)
async def test_what_stops_a_start_is_one_line(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(StartupError, match=words) as failure:
        await Server(settings(tmp_path, **more), lambda: "KEY2", print).start()
    assert "\n" not in str(failure.value)


async def test_a_start_that_fails_late_leaves_nothing_running(tmp_path: Path) -> None:
    shown: list[str] = []
    with socket.socket(type=socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        taken = {"port": busy.getsockname()[1], "tls_port": "off"}
        given = settings(tmp_path, account_sid=None, api_key=None, sip=taken)
        with pytest.raises(StartupError, match=str(taken["port"])):
            await Server(given, lambda: "KEY2", shown.append).start()
    assert shown == []
    async with serving(settings(tmp_path, account_sid=None, api_key=None), shown.append):
        assert len(shown) == 1, "the account of a start that failed was not kept"


async def test_a_mistake_in_settings_that_are_reloaded_changes_nothing(tmp_path: Path) -> None:
    """What a reload changes is shown by tests/peers/test_surroundings.py: it sets up the log of a whole process."""
    application = {"name": "bot", "voice_url": "http://a/", "sid": "7"}
    wrong = settings(tmp_path, applications=[application], numbers=[{"pattern": "1", "application": "8"}])
    async with serving(settings(tmp_path), load=lambda: wrong) as (server, client, _):
        with capture_logs() as logs:
            await server.reload()
        assert [(line["event"], line["log_level"], line["reason"]) for line in logs] == [
            (
                "settings_reload_failed",
                "error",
                "number '1' has the application '8', which is neither configured nor stored",
            )
        ]
        headers = {"authorization": f"Bearer {KEY}"}
        assert (await client.get("/v2/texml_applications/7", headers=headers)).status_code == 404
        assert (await client.get("/readyz")).status_code == 200


async def test_a_reload_that_fails_is_logged_and_changes_nothing(tmp_path: Path) -> None:
    def fail() -> Settings:
        raise ZeroDivisionError

    server = Server(settings(tmp_path), lambda: "KEY2", print, fail)
    with capture_logs() as logs:
        await server.reload()
    assert [(line["event"], line["log_level"]) for line in logs] == [("settings_reload_skipped", "warning")]
    async with serving(settings(tmp_path), load=fail) as (running, client, _):
        with capture_logs() as logs:
            await running.reload()
        assert [(line["event"], line["reason"]) for line in logs] == [("settings_reload_failed", "ZeroDivisionError()")]
        assert (await client.get("/readyz")).status_code == 200


def test_the_control_process_has_no_libraries_of_audio() -> None:
    """Each would cost 15 MB and a tenth of a second of every start."""
    words = "import sys, trunkline.server; print(sorted({'av', 'numpy', 'picows'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
