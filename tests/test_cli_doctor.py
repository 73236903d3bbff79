"""`trunkline doctor`, beside a server that runs and without one."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from commands import trunkline
from peers.harness import new_server, running
from trunkline.demo.server import free_ports

pytestmark = pytest.mark.peer


def places() -> list[str]:
    rtp = free_ports(1)
    words = ["--http.port", "0", "--sip.port", "0", "--media.port_min", str(rtp), "--media.port_max", str(rtp + 3)]
    return [*words, "--sip.call_limit", "1", "--store.recordings_floor", "0"]


def severities(found: dict[str, Any]) -> dict[str, set[str]]:
    checks: dict[str, set[str]] = {}
    for one in found["findings"]:
        checks.setdefault(one["check"], set()).add(one["severity"])
    return checks


async def test_a_running_server_is_asked_and_its_trunk_is_down(tmp_path: Path) -> None:
    trunk = [{"name": "carrier", "targets": [f"sip:127.0.0.1:{free_ports(1)}"], "register": True}]
    trunk[0] |= {"username": "us", "password": "secret"}
    server = new_server(tmp_path, sip__trunks=json.dumps(trunk))
    async with running(server):
        place = ["--store.directory", str(tmp_path), "--sip.trunks", json.dumps(trunk)]
        done = await asyncio.to_thread(trunkline, tmp_path, "doctor", "--json", *place)
        assert done.stderr == ""
        found = json.loads(done.stdout)
        texts = {one["check"]: one["text"] for one in found["findings"] if one["severity"] != "warning"}
        assert texts["server"] == f"process {server.process.pid} is ready"
        assert texts["ports"].startswith(f"the server has HTTP 127.0.0.1:{server.base_url.split(':')[2][:-3]}")
        assert "carrier is not registered" in [one["text"] for one in found["findings"]]
        assert (done.returncode, found["healthy"]) == (1, False)
        assert "of this version" in texts["database"]


def test_without_a_server_what_is_wrong_is_said_with_what_to_change(tmp_path: Path) -> None:
    place = ["--store.directory", str(tmp_path / "store"), *places()]
    done = trunkline(tmp_path, "doctor", *place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ server: none runs on" in done.stdout
    bad = [*place, "--sip.tls_certificate_file", str(tmp_path / "none.pem")]
    done = trunkline(tmp_path, "doctor", *bad)
    assert done.returncode == 1
    said = done.stdout.splitlines()
    wrong = said.index(
        f"✗ certificates: sip.tls_certificate_file: cannot use {tmp_path}/none.pem: No such file or directory"
    )
    assert said[wrong + 1] == "    correct sip.tls_certificate_file, or its key's file"
    found = json.loads(trunkline(tmp_path, "doctor", "--json", *place).stdout)
    assert found["healthy"]
    assert severities(found)["database"] == {"ok"}
    assert not (tmp_path / "store").exists(), "it changes nothing"
