"""`trunkline console`: its URL logs in once."""

import asyncio
import json
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from typer.testing import CliRunner

from peers.harness import new_server, running
from trunkline.cli import app

pytestmark = pytest.mark.process


async def test_the_printed_url_logs_in_once(tmp_path: Path) -> None:
    async with running(new_server(tmp_path)) as server:
        flags = ["--http.port", str(server.http_port), "--store.directory", str(tmp_path)]
        own = ["--account_sid", server.account_sid, "--api_key", server.api_key]
        done = await asyncio.to_thread(CliRunner().invoke, app, ["console", "--json", *flags, *own])
        assert done.exit_code == 0, (done.output, done.exception)
        url = urlsplit(json.loads(done.stdout)["url"])
        assert url.netloc == f"127.0.0.1:{server.http_port}"
        assert url.path == "/"
        token = url.fragment.removeprefix("token=")
        async with httpx.AsyncClient(base_url=server.base_url, trust_env=False, verify=False) as client:
            session = await client.post("/trunkline/console/sessions", json={"token": token})
            assert session.status_code == 201
            made = session.json()["data"]
            assert made["account_sid"] == server.account_sid
            keys = await client.get("/trunkline/keys", headers={"authorization": f"Bearer {made['api_key']}"})
            assert [key["name"][:8] for key in keys.json()["data"]] == ["first", "console "]
            assert (await client.post("/trunkline/console/sessions", json={"token": token})).status_code == 401
            routes = await client.get("/trunkline/routes", headers={"authorization": f"Bearer {made['api_key']}"})
            assert routes.json()["data"] == {"numbers": [], "phones": [], "trunks": []}


def test_without_a_server_there_is_one_line(tmp_path: Path) -> None:
    flags = ["--account_sid", "61bf923e-5e4d-4595-a110-56190ea18a1b", "--api_key", "KEY0123456789abcdef"]
    done = CliRunner().invoke(app, ["console", "--http.port", "1", "--store.directory", str(tmp_path), *flags])
    assert "no answer from http://127.0.0.1:1" in str(done.exception)
