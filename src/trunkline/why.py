"""`trunkline why`: asks the running server why a call has no audio, and shows the answer to a person."""

import re
from collections.abc import Iterable
from textwrap import wrap
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from trunkline.client import metrics, request
from trunkline.config import Settings
from trunkline.errors import StartupError

_MARKS = {"error": ("✗", "bold red"), "warning": ("!", "yellow"), "info": ("·", "dim"), "ok": ("✓", "green")}
_REFUSED = re.compile(r'^trunkline_sip_total\{event="unknown_callers"\} ([0-9.e+]+)$', re.MULTILINE)
_LEG = (
    ("from the peer", "codec_in", "packets_in", "frames_in", "lost", "last_packet_ms", "heard_level_db"),
    ("to the peer", "packets_out", "peer_lost", "send_errors", "receive_errors", "said_level_db"),
    ("addresses", "local_port", "expected", "remote", "direction", "payload_type"),
)
_STREAM = (
    *("frames_sent", "frames_waiting", "frames_dropped", "messages_received", "bytes_received", "app_level_db"),
    *("app_pace_percent", "played_ms", "queued_ms", "underruns"),
)
WIDTH = 80
"""Columns of a line, where the terminal has more too."""
NO_CALL = "there is no call of this account yet: call any number, or place one with POST …/Calls"
UNKNOWN_CALLERS = (
    "{count} from unknown callers {were} refused since the server's start (403 Unknown Caller): neither a trunk nor a "
    "phone called, and sip.unknown_callers={policy} does not admit {them}. For a phone on another machine set "
    "sip.unknown_callers=all, or give the phone a password in sip.phones. The log has the address "
    "(sip_request_rejected)."
)


def ask(settings: Settings, call_sid: str | None) -> dict[str, Any]:
    """The server's report, after half a second of listening; without a sid that of the newest call. Raises StartupError
    with one line when there is none."""
    if call_sid is None:
        calls = request(settings, "GET", "/v2/texml/Accounts/{account}/Calls?PageSize=1")["calls"]
        if not calls:
            raise StartupError(refused_callers(settings) or NO_CALL)
        call_sid = str(calls[0]["sid"])
    path = f"/v2/texml/Accounts/{{account}}/Calls/{quote(call_sid, safe='')}/media.json"
    return request(settings, "GET", path, unknown=f"no call {call_sid} of this account is known")


def refused_callers(settings: Settings) -> str:
    """Of calls that never became one: refused, as nothing is known of the caller. Empty when there were none."""
    found = _REFUSED.search(metrics(settings))
    count = int(float(found[1])) if found else 0
    if not count:
        return ""
    one = count == 1
    return UNKNOWN_CALLERS.format(
        count="1 call" if one else f"{count} calls",
        were="was" if one else "were",
        them="it" if one else "them",
        policy=settings.sip.unknown_callers,
    )


def show(report: dict[str, Any], console: Console, refused: str = "") -> None:
    """What is wrong first, then the numbers to judge it by, a line each. `refused`: see `refused_callers`."""
    when = "live" if report["live"] else "as it was at its end"
    title = f"{report['call_sid']}  {report['status']}  {report['codec'] or 'no codec'}  ({when})"
    console.print(Text(title, style="bold"), soft_wrap=True)
    names = {stream["sid"]: stream["name"] or stream["sid"] for stream in report["streams"]}
    for finding in report["findings"]:
        about = f"stream {names[finding['stream_sid']]}: " if finding["stream_sid"] and len(names) > 1 else ""
        _say(console, finding["severity"], f"{about}{finding['text']} [{finding['code']}]")
    if refused:
        _say(console, "warning", f"{refused} [unknown_callers]")
    for label, *counters in _LEG:
        _numbers(console, label, report["leg"], counters)
    for stream in report["streams"]:
        label = f"{names[stream['sid']]} ({stream['mode'] or 'over'}, {stream['socket']})"
        _numbers(console, label, stream["report"], _STREAM)


def _say(console: Console, severity: str, text: str) -> None:
    mark, style = _MARKS[severity]
    lines = wrap(text, min(console.width, WIDTH) - 2, break_long_words=False, break_on_hyphens=False)
    console.print(Text(f"{mark} " + "\n  ".join(lines), style=style), soft_wrap=True)


def _numbers(console: Console, label: str, counters: dict[str, Any], names: Iterable[str]) -> None:
    known = [name for name in names if name in counters]
    if known:
        console.print(Text(label), soft_wrap=True)
    for name in known:
        console.print(Text.assemble((f"  {name} ", "dim"), str(counters[name])), soft_wrap=True)
