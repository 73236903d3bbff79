"""Test apps as a server."""

import json
import socket

import pytest

from trunkline.apps.server import listen, printer
from trunkline.apps.traffic import TO_BOT
from trunkline.apps.wire import AppNote
from trunkline.errors import StartupError


async def test_a_busy_port_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(StartupError, match=f"cannot listen on 127.0.0.1:{port}"):
            await listen("echo", "", host="127.0.0.1", port=port, codec="PCMU", report=lambda _: None)


def test_notes_are_lines_for_people_or_of_json() -> None:
    lines: list[str] = []
    for as_json in (False, True):
        report = printer(as_json=as_json, write=lines.append)
        report(AppNote("dtmf", {"digit": "1"}))
        report(AppNote(TO_BOT, {"kind": "stop", "seconds": 1.5, "text": "{}"}))
    assert lines[0].endswith("dtmf    digit 1")
    assert lines[1] == "   1.500  -> bot  stop       {}"
    assert [json.loads(line)["event"] for line in lines[2:]] == ["dtmf", TO_BOT]
