"""`trunkline why`: asked of a real HTTP server, and shown to a person."""

import io
import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from rich.console import Console

from asked import Server, asked
from trunkline import why
from trunkline.errors import StartupError
from trunkline.media.report import LiveLegReport
from trunkline.streaming.params import StreamReport
from trunkline.why import ask, show

REPORT: dict[str, Any] = {
    "call_sid": "v3:x",
    "status": "in-progress",
    "live": True,
    "codec": "PCMU",
    "findings": [
        {"severity": "error", "code": "no_rtp", "stream_sid": None, "text": "No RTP arrives."},
        {"severity": "warning", "code": "late", "stream_sid": "s1", "text": "The app is late."},
        {"severity": "info", "code": "paused", "stream_sid": "s2", "text": "It is paused."},
        {"severity": "ok", "code": "fine", "stream_sid": None, "text": "All is well."},
    ],
    "leg": {"codec_in": "PCMA", "packets_in": 7, "local_port": 20000},
    "streams": [
        {"sid": "s1", "name": "tap", "mode": "rtp", "socket": "open", "report": {"frames_sent": 3}},
        {"sid": "s2", "name": None, "mode": None, "socket": "ended", "report": {}},
    ],
}


@pytest.fixture
def server() -> Iterator[Server]:
    with asked(json.dumps(REPORT)) as serving:
        yield serving


def test_the_server_is_asked_with_the_key_for_the_call_of_the_account(server: Server) -> None:
    assert ask(server.settings(), "v3:a/b") == REPORT
    assert server.asked == [("/v2/texml/Accounts/acc/Calls/v3%3Aa%2Fb/media.json", "Bearer KEY4567890123456")]


def test_a_call_that_is_unknown_is_one_line(server: Server) -> None:
    server.status, server.body = 404, '{"errors": [{"detail": "Resource not found"}]}'
    with pytest.raises(StartupError, match="no call v3:x of this account is known to http://127"):
        ask(server.settings(), "v3:x")


def shown(report: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    show(report, Console(file=out, width=200, color_system=None))
    return out.getvalue().splitlines()


def test_what_is_wrong_comes_first_and_then_the_numbers() -> None:
    lines = shown(REPORT)
    assert lines[:5] == [
        "v3:x  in-progress  PCMU  (live)",
        "✗ No RTP arrives. [no_rtp]",
        "! stream tap: The app is late. [late]",
        "· stream s2: It is paused. [paused]",
        "✓ All is well. [fine]",
    ]
    numbers = [" ".join(line.split()) for line in lines[5:]]
    assert numbers == [
        "from the peer codec_in PCMA packets_in 7 frames_in - lost - last_packet_ms - heard_level_db -",
        "to the peer packets_out - peer_lost - send_errors - receive_errors - said_level_db -",
        "addresses local_port 20000 expected - remote - direction - payload_type -",
        "tap (rtp, open) frames_sent 3 frames_dropped - messages_received - bytes_received - played_ms - queued_ms -",
        "s2 (over, ended) frames_sent - frames_dropped - messages_received - bytes_received - played_ms - queued_ms -",
    ]


def test_a_call_that_is_over_is_shown_as_it_was() -> None:
    assert shown({**REPORT, "live": False, "codec": None})[0] == ("v3:x  in-progress  no codec  (as it was at its end)")


def test_the_counters_that_are_shown_are_counters() -> None:
    leg = {field.name for field in fields(LiveLegReport)}
    assert {name for _, *names in why._LEG for name in names} <= leg
    assert set(why._STREAM) <= {field.name for field in fields(StreamReport)}
