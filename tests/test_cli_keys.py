"""`trunkline keys` and `trunkline accounts`, against a server that runs."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from peers.harness import new_server, running
from trunkline.cli import app
from trunkline.demo.server import ServerProcess, free_ports

pytestmark = pytest.mark.process


async def _status(server: ServerProcess, account: str, secret: str) -> int:
    path = f"{server.base_url}/texml/Accounts/{account}/Calls"
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return (await client.get(path, headers={"authorization": f"Bearer {secret}"})).status_code


async def test_keys_and_accounts_are_made_listed_and_removed_while_a_server_runs(tmp_path: Path) -> None:
    port = str(free_ports(1))
    async with running(new_server(tmp_path, http__operators_port=port)) as server:
        own = server.account_sid
        flags = ["--http.operators_port", port, "--store.directory", str(tmp_path)]

        async def run(*words: str, account: str | None = None, code: int = 0) -> str:
            more = [] if account is None else ["--account_sid", account]
            done = await asyncio.to_thread(CliRunner().invoke, app, [*words, *flags, *more])
            assert done.exit_code == code, (done.output, done.exception)
            return done.stdout if code == 0 else str(done.exception)

        secret = (await run("keys", "create", "ci", "--scope", "read", "--days", "2")).strip()
        assert await _status(server, own, secret) == 200
        listed = (await run("keys", "list")).splitlines()
        assert [line.split()[1:3] for line in listed[1:]] == [["first", "full"], ["ci", "read"]]
        made = dict(line.split("=") for line in (await run("accounts", "create", "acme")).split())
        other, others_key = made["TRUNKLINE_ACCOUNT_SID"], made["TRUNKLINE_API_KEY"]
        assert await _status(server, other, others_key) == 200
        assert "there are 2 accounts" in await run("keys", "list", code=1)
        assert "first" in await run("keys", "list", account=other)
        assert await run("keys", "revoke", "ci", account=own) == "revoked: ci\n"
        assert await _status(server, own, secret) == 401
        assert "no key 'ci'" in await run("keys", "revoke", "ci", account=own, code=1)
        assert "acme" in await run("accounts", "list")
        names = [one["name"] for one in json.loads(await run("accounts", "list", "--json"))]
        assert names == ["", "acme"]
        made = json.loads(await run("keys", "create", "json", "--json", account=own))
        assert (made["name"], made["scope"], made["api_key"][:3]) == ("json", "full", "KEY")
        listed = json.loads(await run("keys", "list", "--json", account=own))
        assert [key["name"] for key in listed] == ["first", "json"]
        assert json.loads(await run("keys", "revoke", "json", "--json", account=own)) == {"revoked": made["id"]}
        assert await run("accounts", "remove", other) == f"removed: {other}\n"
        assert await _status(server, other, others_key) == 401
        old = await run("keys")
        assert await run("keys", "public") == old
        assert (await run("keys", "rotate")).splitlines()[0] == old.strip()
    assert secret not in server.log
    assert others_key not in server.log


@pytest.mark.parametrize("days", ["0", "-1", "nan", "1e9"])
def test_days_that_are_none_are_refused(days: str) -> None:
    done = CliRunner().invoke(app, ["keys", "create", "ci", "--days", days])
    assert "--days must be above 0" in str(done.exception)
