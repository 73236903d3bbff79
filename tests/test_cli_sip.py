"""`trunkline sip`: what a server answers, shown to a person."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asked import Server, asked
from trunkline.cli import app
from trunkline.cli_sip import ladder
from trunkline.errors import StartupError

SDP = "Content-Type: application/sdp\r\nContent-Length: 7\r\n\r\nv=0\r\n"
OURS, PEER = "192.0.2.10:5060", "192.0.2.20:5060"


def message(number: int, direction: str, summary: str, cseq: str = "1 INVITE", more: str = "", **about: Any) -> Any:
    first = f"SIP/2.0 {summary}" if summary[0].isdigit() else f"{summary} SIP/2.0"
    return {
        "number": number,
        "occurred_at": f"2034-01-31T12:00:0{number % 10}.000000Z",
        "direction": direction,
        "local": OURS,
        "peer": PEER,
        "transport": "udp",
        "summary": summary,
        "cseq": cseq,
        "text": f"{first}\r\nCSeq: {cseq}\r\nCall-ID: a@host\r\n{more}\r\n",
        **about,
    }


CALL: Any = {
    "call_sid": "v3:one",
    "sip_call_id": "a@host",
    "dropped": 0,
    "messages": [
        message(1, "received", "INVITE sip:+13125550123@192.0.2.10", more=SDP),
        message(2, "sent", "100 Trying"),
        message(3, "sent", "200 OK", more=SDP),
        message(4, "received", "ACK sip:192.0.2.10:5060", "1 ACK"),
        message(5, "received", "BYE sip:192.0.2.10:5060", "2 BYE", peer="192.0.2.21:40000", transport="tcp"),
    ],
}


@pytest.fixture
def server() -> Iterator[Server]:
    with asked(json.dumps({"data": CALL})) as serving:
        yield serving


def run(server: Server, *arguments: str) -> Any:
    flags = ["--account_sid", "61bf923e-5e4d-4595-a110-56190ea18a1b", "--api_key", "KEY0123456789abcdef"]
    return CliRunner().invoke(app, ["sip", *arguments, "--http.port", str(server.http.server_port), *flags])


def test_a_ladder_has_80_columns_and_an_arrow_for_each_message(server: Server) -> None:
    done = run(server, "v3:one")
    assert done.exit_code == 0, done.exception
    assert server.asked[0][0] == "/v2/trunkline/calls/v3%3Aone/sip"
    lines = done.stdout.splitlines()
    assert lines[:2] == ["v3:one", "Call-ID a@host, from 2034-01-31T12:00:01.000000Z"]
    assert all(len(line) <= 80 for line in lines)
    arrows = [line for line in lines if "│" in line]
    assert [len(line) for line in arrows] == [79] * 5
    assert [(line[:8].strip(), line[11], line[-2]) for line in arrows] == [
        ("0.000", "─", ">"), ("1.000", "<", "─"), ("2.000", "<", "─"), ("3.000", "─", ">"), ("4.000", "─", ">"),
    ]  # fmt: skip
    words = [line.strip(" │<>─").partition("│")[2].strip(" ─<>") for line in arrows]
    assert words[0] == "INVITE sip:+13125550123@192.0.2.10, SDP"
    assert words[1:3] == ["100 Trying (INVITE)", "200 OK (INVITE), SDP"]
    heads = [line.split() for line in lines if "trunkline" in line]
    assert heads == [[PEER, "udp", "trunkline", OURS], ["192.0.2.21:40000", "tcp", "trunkline", OURS]]


def test_what_is_not_kept_is_said() -> None:
    gap = {**CALL, "dropped": 4, "messages": [CALL["messages"][0], message(6, "sent", "BYE sip:" + "x" * 99, "2 BYE")]}
    lines = [*ladder(gap)]
    assert [line for line in lines if "not kept" in line] == ["        …  4 messages are not kept"]
    assert all(len(line) <= 80 for line in lines)
    at_end = [*ladder({**gap, "dropped": 9})]
    assert at_end[-1] == "9 messages are not kept (sip.trace.messages, sip.trace.memory)"


def test_whole_messages_command_no_terminal(server: Server) -> None:
    server.body = json.dumps(
        {"data": {**CALL, "messages": [message(1, "received", "INVITE sip:a", more="X: \x1b[2J")]}}
    )
    done = run(server, "v3:one", "--text")
    assert done.stdout.splitlines()[0] == f"── 1  2034-01-31T12:00:01.000000Z  {PEER} → {OURS}  udp"
    assert "X: �[2J" in done.stdout
    assert "\x1b" not in run(server, "v3:one").stdout + done.stdout
    assert json.loads(run(server, "v3:one", "--json").stdout)["messages"][0]["number"] == 1


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (Debian: tshark)")
def test_tshark_reads_the_file(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "call.pcap"
    done = run(server, "v3:one", "--pcap", str(path))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"5 messages are in {path}\n")
    fields = ("ip.src", "sip.Method", "sip.Status-Code", "sdp.version")
    command = ("tshark", "-r", str(path), "-T", "fields", *(word for one in fields for word in ("-e", one)))
    read = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert [line.split("\t") for line in read.splitlines()] == [
        ["192.0.2.20", "INVITE", "", "0"],
        ["192.0.2.10", "", "100", ""],
        ["192.0.2.10", "", "200", "0"],
        ["192.0.2.20", "ACK", "", ""],
        ["192.0.2.21", "BYE", "", ""],
    ]
    broken = run(server, "v3:one", "--pcap", str(tmp_path / "no" / "call.pcap"))
    assert "cannot write" in str(broken.exception)


def test_refused_invites_are_listed_and_shown_by_their_call_id(server: Server) -> None:
    refused = {**CALL, "call_sid": None, "messages": [CALL["messages"][0], message(2, "sent", "403 Unknown Caller")]}
    server.body = json.dumps({"data": [refused]})
    done = run(server)
    assert server.asked[0][0] == "/v2/trunkline/sip"
    head, row = (line.split("  ") for line in done.stdout.splitlines())
    assert [cell.strip() for cell in head if cell] == ["time", "from", "called", "answer", "Call-ID"]
    assert [cell.strip() for cell in row if cell] == [
        *("2034-01-31 12:00:01", PEER, "sip:+13125550123@192.0.2.10", "403 Unknown Caller", "a@host")
    ]
    assert run(server, "a@host").stdout.splitlines()[0] == "became no call"
    assert json.loads(run(server, "--json").stdout) == [refused]
    server.body = json.dumps({"data": []})
    assert run(server).stdout == "no INVITE was refused lately\n"


def test_a_call_without_messages_is_one_line(server: Server) -> None:
    server.body = json.dumps({"data": {**CALL, "messages": []}})
    done = run(server, "v3:one")
    assert isinstance(done.exception, StartupError)
    assert "no SIP message of v3:one is kept" in str(done.exception)
