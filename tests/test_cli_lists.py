"""The lists of the command line, of a server that runs, with a real call and a phone that is registered."""

import asyncio
import json
import os
import pty
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asked import asked
from commands import CLEAN
from peers.harness import new_server, running
from preloaded import Order, launcher
from trunkline.cli import app
from trunkline.cli_lists import LISTS, ago, lines
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.errors import StartupError

SETTINGS = """
[[sip.phones]]
user = "alice"
password = "correct horse"
[[sip.trunks]]
name = "carrier"
targets = ["sip:192.0.2.1"]
"""


@pytest.mark.process
async def test_lists_show_a_server_and_hangup_ends_its_call(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(SETTINGS)
    async with running(new_server(tmp_path)) as server, DemoCaller(server.sip_address, speech(20)) as caller:
        await caller.call()
        flags = ["--http.port", str(server.http_port), "--store.directory", str(tmp_path)]
        own = ["--account_sid", server.account_sid, "--api_key", server.api_key]

        async def run(*words: str) -> str:
            done = await asyncio.to_thread(CliRunner().invoke, app, [*words, *flags, *own])
            assert done.exit_code == 0, (done.output, done.exception)
            return done.stdout

        head, row = (await run("calls")).splitlines()
        assert head.split() == ["status", "direction", "from", "to", "started", "sid"]
        assert row.split()[:2] == ["in-progress", "inbound"]
        assert row.endswith(caller.call_sid)
        [shown] = [json.loads(line) for line in (await run("calls", "--json")).splitlines()]
        assert shown["sid"] == caller.call_sid
        assert [line.split() for line in (await run("phones")).splitlines()[1:]] == [["alice", "-"]]
        [trunk] = [json.loads(line) for line in (await run("trunks", "--json")).splitlines()]
        assert (trunk["name"], trunk["registered"]) == ("carrier", None)
        assert (await run("registrations")).splitlines() == ["kind  name  address  registered"]
        [worker] = [json.loads(line) for line in (await run("workers", "--json")).splitlines()]
        assert worker["pid"] > 0
        for empty in ("streams", "callbacks"):
            assert len((await run(empty)).splitlines()) == 1
        assert await run("hangup", caller.call_sid) == f"hung up: {caller.call_sid}\n"
        assert await caller.watch.until(lambda: caller.ended_by_server, 20)


@pytest.mark.process
async def test_a_watched_list_is_drawn_in_place_and_ends_quietly(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with asked(json.dumps({"data": [{"user": "alice", "contacts": []}]})) as serving:
        words = ["phones", "--watch", "--http.port", str(serving.http.server_port)]
        key = ["--account_sid", "acc", "--api_key", "KEY4567890123456"]
        started = launcher().launch(Order([*words, *key], CLEAN, str(tmp_path)), theirs, theirs)
        process = await asyncio.wrap_future(started)
        os.close(theirs)
        drawn = b""
        while b"alice" not in drawn or not drawn.endswith(b"\x1b[J"):
            drawn += await asyncio.to_thread(os.read, ours, 4096)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            code = await process.wait()
    rest = os.read(ours, 4096)
    os.close(ours)
    assert code == 130
    assert drawn.startswith(b"\x1b[?1049h\x1b[?25l\x1b[Huser   contacts\x1b[K\r\nalice  -\x1b[K")
    assert rest.startswith(b"\x1b[?25h\x1b[?1049l")
    assert b"rror" not in rest


def test_what_failed_since_a_time_is_sent_again_the_oldest_first() -> None:
    now = datetime.now(UTC)

    def callback(name: str, state: str, minutes: int) -> dict[str, object]:
        return {"id": name, "state": state, "created_at": (now - timedelta(minutes=minutes)).isoformat()}

    kept = [
        callback("newest", "failed", 1),
        callback("well", "delivered", 2),
        callback("older", "failed", 30),
        callback("too-old", "failed", 61),
    ]
    answer = {"callbacks": kept, "next_page_uri": "/never", "data": {"id": "new"}}
    with asked(json.dumps(answer)) as serving:
        given = serving.settings()
        key = ["--account_sid", str(given.account_sid), "--api_key", str(given.api_key)]
        words = ["callbacks", "redeliver", "--failed", "--http.port", str(serving.http.server_port), *key]
        done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout) == (0, "new\nnew\n")
    assert done.stderr == "2 callbacks are sent again\n"
    assert [path for path, _ in serving.asked] == [
        "/v2/trunkline/callbacks?PageSize=1000",
        "/v2/trunkline/callbacks/older/redeliver",
        "/v2/trunkline/callbacks/newest/redeliver",
    ]


@pytest.mark.parametrize("words", [[], ["an-id", "--failed"]])
def test_it_is_said_what_to_redeliver(words: list[str]) -> None:
    assert "say which" in str(CliRunner().invoke(app, ["callbacks", "redeliver", *words]).exception)


def test_a_time_has_a_unit() -> None:
    assert ago("90m") == timedelta(minutes=90)
    for wrong in ("1", "h", "1y", "-1h"):
        with pytest.raises(StartupError, match="such as"):
            ago(wrong)


def test_cells_are_in_words() -> None:
    trunk = {"name": "a", "registered": None, "targets": [{"target": "sip:b", "up": False}]}
    assert lines(LISTS["trunks"], [trunk], as_json=False)[1].split() == ["a", "-", "sip:b", "down"]
    callback = {
        "id": "i",
        "url": "http://a",
        "form": {"CallStatus": "completed"},
        "state": "failed",
        "tries": 6,
        "last_status": None,
        "last_error": "refused",
        "created_at": "t",
    }
    shown = lines(LISTS["callbacks"], [callback], as_json=False)[1]
    assert shown.split() == ["failed", "completed", "6", "refused", "t", "i", "http://a"]
