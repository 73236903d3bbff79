"""`trunkline why`: asked of a real HTTP server, and shown to a person."""

import io
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from asked import Server, asked
from trunkline import why
from trunkline.errors import StartupError
from trunkline.media.report import LiveLegReport
from trunkline.streaming.params import StreamReport
from trunkline.why import ask, refused_callers, show

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
    assert lines[5:] == [
        "from the peer",
        "  codec_in PCMA",
        "  packets_in 7",
        "addresses",
        "  local_port 20000",
        "tap (rtp, open)",
        "  frames_sent 3",
    ], "one line for each value that is known"


def test_findings_on_the_only_stream_do_not_repeat_its_sid() -> None:
    assert shown({**REPORT, "streams": REPORT["streams"][:1]})[2] == "! The app is late. [late]"


def test_no_line_is_longer_than_eighty_columns_and_no_word_is_broken() -> None:
    words = "A WebSocket that reads too slowly, of https://app.example/" + "x" * 100 + ", loses frames. " * 9
    finding = {"severity": "error", "code": "no_rtp", "stream_sid": None, "text": words}
    lines = shown({**REPORT, "findings": [finding]})
    assert " ".join(" ".join(lines[1:]).split()).startswith(f"✗ {' '.join(words.split())} [no_rtp]")
    assert [line[:40] for line in lines if len(line) > 80] == ["  https://app.example/" + "x" * 18]


def test_without_a_sid_the_newest_call_is_asked_for() -> None:
    with asked(json.dumps({"calls": [{"sid": "v3:new/est"}], **REPORT})) as server:
        assert ask(server.settings(), None)["call_sid"] == "v3:x"
        assert [path for path, _ in server.asked] == [
            "/v2/texml/Accounts/acc/Calls?PageSize=1",
            "/v2/texml/Accounts/acc/Calls/v3%3Anew%2Fest/media.json",
        ]


def test_before_the_first_call_one_line_says_what_to_do(tmp_path: Path) -> None:
    with asked('{"calls": []}') as server, pytest.raises(StartupError, match="no call of this account yet"):
        ask(server.settings(store={"directory": tmp_path}), None)


def test_callers_that_were_refused_are_mentioned_with_the_setting(tmp_path: Path) -> None:
    with asked('trunkline_sip_total{event="unknown_callers"} 2.0\n') as server:
        settings = server.settings(
            store={"directory": tmp_path},
            http={"port": server.http.server_port, "operator_key": "KEY-of-the-operator-0123456789"},
        )
        words = refused_callers(settings)
        assert words.startswith("2 calls from unknown callers were refused")
        assert "sip.unknown_callers=loopback does not admit them" in words
        assert "set sip.unknown_callers=all" in words
        out = io.StringIO()
        show(REPORT, Console(file=out, width=200, color_system=None), words)
        assert "! 2 calls from unknown callers were refused" in out.getvalue()
        server.body = 'trunkline_sip_total{event="unknown_callers"} 1.0\n'
        assert refused_callers(settings).startswith("1 call from unknown callers was refused")
        server.body = 'trunkline_sip_total{event="messages"} 1.0\n'
        assert refused_callers(settings) == ""
        server.status = 403
        assert refused_callers(settings) == ""


def test_a_call_that_is_over_is_shown_as_it_was() -> None:
    assert shown({**REPORT, "live": False, "codec": None})[0] == ("v3:x  in-progress  no codec  (as it was at its end)")


def test_the_counters_that_are_shown_are_counters() -> None:
    leg = {field.name for field in fields(LiveLegReport)}
    assert {name for _, *names in why._LEG for name in names} <= leg
    assert set(why._STREAM) <= {field.name for field in fields(StreamReport)}
