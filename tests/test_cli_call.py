"""`trunkline call`: options, output and exit codes, against a party that answers."""

import asyncio
import json
import socket
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from phone.answering import AnsweringParty
from trunkline import cli_call
from trunkline.cli import app
from trunkline.config import Settings
from trunkline.phone.sounds import load


async def called(*words: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["call", *words]))


async def test_a_call_is_recorded_reported_and_clean(tmp_path: Path) -> None:
    wav, report = tmp_path / "heard.wav", tmp_path / "junit.xml"
    async with AnsweringParty(greeting=0.5) as party:
        done = await called(party.uri, "--record", str(wav), "--junit", str(report), "--hangup-after", "1s")
    assert done.exit_code == 0, done.output
    assert "first audio" in done.stdout
    assert "answered" in done.stderr
    assert max(map(len, done.output.splitlines())) <= 80
    assert len(load(wav, 8000)) > 8000
    assert ElementTree.parse(report).getroot()[0].get("failures") == "0"


async def test_json_of_one_call_and_of_several() -> None:
    async with AnsweringParty(greeting=0.3) as party:
        one = await called(party.uri, "--json", "--hangup-after", "500ms", "--expect-audio", "2s")
        several = await called(party.uri, "--json", "--calls", "2", "--rate", "50", "--hangup-after", "0.5")
    assert json.loads(one.stdout)["exit_code"] == one.exit_code == 0
    assert one.stderr == ""
    assert json.loads(one.stdout)["thresholds"][0]["limit_ms"] == 2000
    found = json.loads(several.stdout)
    assert (found["series"]["n"], found["series"]["exit_codes"]) == (2, [0, 0])


async def test_exit_codes_for_silence_a_missed_limit_and_no_connection() -> None:
    async with AnsweringParty() as party:
        assert (await called(party.uri, "--hangup-after", "300ms")).exit_code == 2
        assert (await called(party.uri, "--hangup-after", "300ms", "--allow-no-audio")).exit_code == 0
    async with AnsweringParty(greeting=0.3) as party:
        missed = await called(party.uri, "--hangup-after", "500ms", "--min-mos", "4.6")
        assert missed.exit_code == 1
        assert "FAILED" in missed.stdout
    async with AnsweringParty(status="603 Decline") as party:
        refused = await called(party.uri)
    assert refused.exit_code == 5
    assert "603 Decline" in refused.stdout
    async with AnsweringParty(sdp_formats="18") as party:
        assert (await called(party.uri)).exit_code == 3


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["hello world"], "neither a number nor a SIP URI"),
        (["+1", "--loss", "2x"], "--loss 2x"),
        (["+1", "--loss", "101%"], "out of range"),
        (["+1", "--jitter", "-1ms"], "out of range"),
        (["+1", "--codec", "GSM"], "--codec GSM"),
        (["+1", "--dtmf", "1p2"], "--dtmf 1p2"),
        (["+1", "--ptime", "25"], "--ptime 25"),
        (["+1", "--calls", "0"], "--calls"),
        (["+1", "--calls", "2", "--talk"], "--talk"),
        (["+1", "--user", "a"], "SIP_PASSWORD"),
        (["+1", "--play", "/nowhere.wav"], "/nowhere.wav"),
        (["+1", "--nonsense", "1"], "--nonsense"),
        (["sips:a@b"], "sip:user@host"),
        ([], "Missing argument"),
    ],
)
def test_a_mistake_is_named_and_has_the_code_4(words: list[str], named: str) -> None:
    done = CliRunner().invoke(app, ["call", *words])
    assert done.exit_code == 4
    assert named in done.stderr


async def test_faults_codec_and_packet_time_are_those_of_the_options() -> None:
    async with AnsweringParty(greeting=0.2) as party:
        done = await called(
            *(party.uri, "--json", "--hangup-after", "1s", "--loss", "50%", "--jitter", "30", "--reorder", "10%"),
            *("--drift", "100ppm", "--ptime", "40", "--codec", "pcmu", "--seed", "3", "--from", "+15550100"),
        )
    found = json.loads(done.stdout)
    assert "m=audio" in party.invites[0]
    assert "a=ptime:40" in party.invites[0]
    assert "<sip:+15550100@" in party.invites[0]
    assert "PCMA" not in party.invites[0]
    assert found["faults"]["dropped"] > 3
    assert found["frames_sent"] < 30


@pytest.mark.parametrize("option", ["--record", "--junit"])
async def test_a_file_that_cannot_be_written_is_said_before_the_call(option: str, tmp_path: Path) -> None:
    async with AnsweringParty() as party:
        done = await called(party.uri, option, str(tmp_path / "none" / "a"))
    assert (done.exit_code, done.stdout, done.stderr.count("\n"), party.invites) == (4, "", 1, [])


async def test_a_server_that_is_absent_or_refuses_unknown_callers_is_named(tmp_path: Path) -> None:
    flags = ("--store.directory", str(tmp_path), "--sip.port")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        port = str(closed.getsockname()[1])
    absent = await called("+1", *flags, port)
    assert absent.exit_code == 5
    assert f"no server at 127.0.0.1:{port}" in absent.stderr
    async with AnsweringParty(status="403 Unknown Caller") as party:
        refused = await called("+1", *flags, party.uri.rpartition(":")[2])
    assert "sip.unknown_callers" in refused.stderr


def test_a_number_is_called_at_the_server_of_the_settings() -> None:
    settings = Settings.model_validate({"sip": {"host": "0.0.0.0", "port": 5070, "advertised_host": "192.0.2.1"}})
    assert cli_call.uri_of("+1312", settings) == "sip:+1312@127.0.0.1:5070"
    six = Settings.model_validate({"sip": {"host": "::1"}})
    assert cli_call.uri_of("bob", six) == "sip:bob@[::1]:5060"
    assert cli_call.uri_of("sip:bob@192.0.2.1", six) == "sip:bob@192.0.2.1"
