"""What a server that runs says of numbers is what its calls get."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peers.harness import new_server, running
from trunkline.cli import app
from trunkline.cli_route import lines
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.errors import CallFailed

SETTINGS = """
[[applications]]
name = "support"
texml = "<Response><Reject reason='busy'/></Response>"
[[applications]]
name = "desk"
voice_url = "https://user:secret@app.example/texml?secret=1"
[[numbers]]
pattern = "+1312*"
application = "support"
[[sip.phones]]
user = "alice"
password = "correct horse"
application = "desk"
[[sip.trunks]]
name = "carrier"
targets = ["sip:192.0.2.1"]
prefixes = ["+1*"]
"""
CLOSED = "the dial_prefixes of trunk carrier do not allow documents to call this number"


@pytest.mark.process
async def test_a_number_runs_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(SETTINGS)
    server = new_server(tmp_path)
    async with running(server), DemoCaller(server.sip_address, speech(20), called="+13125550123") as caller:
        flags = ["--http.port", str(server.http_port), "--store.directory", str(tmp_path)]
        own = ["--account_sid", server.account_sid, "--api_key", server.api_key]

        async def run(*words: str) -> tuple[int, str]:
            done = await asyncio.to_thread(CliRunner().invoke, app, ["route", *words, *flags, *own])
            return done.exit_code, done.stdout or str(done.exception)

        assert await run("+13125550123", "--from-trunk", "carrier") == (
            0,
            "a call to it from carrier  application support: texml\n"
            "                           of the numbers, +1312* is the most exact that matches\n"
            "placed by REST             trunk carrier: +13125550123\n"
            "                           trunk carrier is the first whose prefixes match it (+1*)\n"
            "dialled by a document      nowhere\n"
            f"                           {CLOSED}\n",
        )
        _, text = await run("alice", "--from-phone", "alice", "--json")
        found = json.loads(text)
        assert found["inbound"]["runs"] == "voice_url https://app.example/texml"
        assert found["inbound"]["why"] == "no number matches, and phone alice has this application"
        assert found["placed"] == found["dialled"]
        assert (found["placed"]["kind"], found["placed"]["name"]) == ("phone", "alice")
        code, text = await run("+4930", "--from-trunk", "unknown")
        assert (code, "There is no trunk unknown." in text) == (1, True)
        with pytest.raises(CallFailed, match="486"):
            await caller.call()


def test_all_outcomes_have_words() -> None:
    nothing = {"number": None, "application": None, "application_sid": None, "runs": None, "refused": False}
    nowhere = {"kind": None, "name": None, "to": None, "why": "b"}
    uri = {"kind": "uri", "name": None, "to": "sip:a@b.example", "why": "c"}
    found = {"inbound": {**nothing, "why": "a"}, "placed": nowhere, "dialled": uri}
    shown = lines(found, None)
    assert shown[0] == "a call to it           nothing: it is answered, and REST says what it does"
    assert [shown[2].split()[-1], shown[4].split()[-1]] == ["nowhere", "sip:a@b.example"]
    refused = {**nothing, "application": "desk", "refused": True, "why": "a"}
    assert "refused with 403: application desk is not active" in lines({**found, "inbound": refused}, None)[0]


def test_a_call_comes_from_one_place() -> None:
    words = ["route", "1", "--from-trunk", "a", "--from-phone", "b"]
    assert "one place" in str(CliRunner().invoke(app, words).exception)
