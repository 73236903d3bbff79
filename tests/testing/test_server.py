"""A server for tests: it starts, answers, says why it does not, and ends."""

import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from trunkline.testing.server import LocalServer, ServerProblem

pytestmark = pytest.mark.process


def test_it_answers_the_api_and_names_what_it_refuses(server: LocalServer) -> None:
    assert isinstance(server.request("GET", "/Calls")["calls"], list)
    with pytest.raises(ServerProblem, match="404"):
        server.start_stream("v3:none", {"Url": "ws://127.0.0.1:1/"})
    assert server.sip_uri("+1") == f"sip:+1@127.0.0.1:{server.sip_port}"
    assert server.base_url.endswith(f":{server.http_port}/v2")
    assert "server_ready" in server.log


def processes(pid: int) -> list[str]:
    """The command lines of a process and all its children."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    family = [pid]
    for one in family:
        family += [child for child, parent in parents.items() if parent == one]
    return [Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode() for one in family]


def test_it_is_ready_soon_as_it_starts_little(server: LocalServer) -> None:
    """Two seconds of a processor: one media worker with its decoder, no spare, a database that is a file."""
    assert server.pid is not None
    control, *others = processes(server.pid)
    assert " serve " in control
    assert sorted(re.findall(r"trunkline\.workers (\S+) ", " ".join(others))) == [
        "trunkline.workers.decoder.process",
        "trunkline.workers.process",
    ]
    assert len(others) == 2
    assert (server.log_file.parent / "trunkline.db").exists()


def test_the_caller_and_the_command_import_no_client_of_http() -> None:
    words = (
        "import sys, trunkline.cli, trunkline.testing.phone; print(sorted({'httpx', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_server_that_does_not_run_answers_nothing(tmp_path: Path) -> None:
    server = LocalServer(tmp_path)
    server.stop()
    with pytest.raises(ServerProblem, match="refused"):
        server.request("GET", "/Calls")
    assert server.log == ""


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServerProblem, match=r"exited with code 2:\n.*media\.codecs"):
        LocalServer(tmp_path, {"media.codecs": "GSM"}).start()
