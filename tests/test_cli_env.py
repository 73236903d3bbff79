"""`trunkline env`: the printed curl works in a second terminal."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from peers.harness import new_server, running
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.process

TRUNKLINE = f"{sys.executable} -m trunkline"
CURL = (
    'curl -sf "$TELNYX_BASE_URL/texml/Accounts/$TRUNKLINE_ACCOUNT_SID/Calls" -H "Authorization: Bearer $TELNYX_API_KEY"'
)


async def shell(home: Path, script: str, code: int = 0) -> str:
    """A second terminal: what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "TELNYX_"))}
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-ec", f'trunkline() {{ {TRUNKLINE} "$@"; }}; {script}'],
        cwd=home,
        env=clean | {"HOME": str(home), "TMPDIR": str(home)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


async def test_the_printed_curl_works_in_a_second_terminal(tmp_path: Path) -> None:
    store = tmp_path / ".local/share/trunkline"
    server = new_server(tmp_path, store__directory=str(store))
    words = "no server runs on ~/.local/share/trunkline (store.directory): start one, or say which one by --http.host"
    assert words in await shell(tmp_path, "trunkline env", 2)
    async with running(server):
        printed = await shell(tmp_path, "trunkline env")
        assert [line.split("=")[0] for line in printed.splitlines()] == [
            "export TRUNKLINE_ACCOUNT_SID",
            "export TRUNKLINE_API_KEY",
            "export TELNYX_API_KEY",
            "export TELNYX_BASE_URL",
        ]
        assert json.loads(await shell(tmp_path, f'eval "$(trunkline env)"; {CURL}'))["calls"] == []
        found = json.loads(await shell(tmp_path, "trunkline env --json"))
        assert found["TELNYX_BASE_URL"] == server.base_url
        assert found["TRUNKLINE_ACCOUNT_SID"] == server.account_sid
        assert f"export TRUNKLINE_API_KEY={found['TRUNKLINE_API_KEY']}" in printed
        # A key that was revoked is replaced.
        revoke = "trunkline keys revoke 'command line'"
        again = json.loads(await shell(tmp_path, f"{revoke} >&2; trunkline env --json"))
        assert again["TRUNKLINE_API_KEY"] != found["TRUNKLINE_API_KEY"]
        named = json.loads(await shell(tmp_path, f"trunkline env --json --store.directory {store}"))
        assert named == again | {"TRUNKLINE_STORE__DIRECTORY": str(store)}
        assert again["TRUNKLINE_API_KEY"] not in server.log
    assert "no answer from http://127.0.0.1:8080" in await shell(tmp_path, "trunkline env", 2)


async def test_of_several_accounts_one_must_be_named(tmp_path: Path) -> None:
    server: ServerProcess = new_server(tmp_path)
    place = f"--store.directory {tmp_path}"
    async with running(server):
        await shell(tmp_path, f"trunkline accounts create acme {place}")
        assert "there are 2 accounts: say which by --account_sid" in await shell(tmp_path, f"trunkline env {place}", 2)
        named = await shell(tmp_path, f"trunkline env {place} --json --account_sid {server.account_sid}")
        assert json.loads(named)["TRUNKLINE_ACCOUNT_SID"] == server.account_sid
