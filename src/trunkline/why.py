"""`trunkline why`: asks the running server why a call has no audio, and shows the answer to a person."""

from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trunkline.client import request
from trunkline.config import Settings

_MARKS = {"error": ("✗", "bold red"), "warning": ("!", "yellow"), "info": ("·", "dim"), "ok": ("✓", "green")}
_LEG = (
    ("from the peer", "codec_in", "packets_in", "frames_in", "lost", "last_packet_ms", "heard_level_db"),
    ("to the peer", "packets_out", "peer_lost", "send_errors", "receive_errors", "said_level_db"),
    ("addresses", "local_port", "expected", "remote", "direction", "payload_type"),
)
_STREAM = ("frames_sent", "frames_dropped", "messages_received", "bytes_received", "played_ms", "queued_ms")


def ask(settings: Settings, call_sid: str) -> dict[str, Any]:
    """The server's report, after half a second of listening. Raises StartupError with one line when there is none."""
    path = f"/v2/texml/Accounts/{{account}}/Calls/{quote(call_sid, safe='')}/media.json"
    return request(settings, "GET", path, unknown=f"no call {call_sid} of this account is known")


def show(report: dict[str, Any], console: Console) -> None:
    """What is wrong first, then the numbers to judge it by."""
    when = "live" if report["live"] else "as it was at its end"
    title = f"{report['call_sid']}  {report['status']}  {report['codec'] or 'no codec'}  ({when})"
    console.print(Text(title, style="bold"), soft_wrap=True)
    names = {stream["sid"]: stream["name"] or stream["sid"] for stream in report["streams"]}
    for finding in report["findings"]:
        mark, style = _MARKS[finding["severity"]]
        about = f"stream {names[finding['stream_sid']]}: " if finding["stream_sid"] else ""
        console.print(Text(f"{mark} {about}{finding['text']} [{finding['code']}]", style=style), soft_wrap=True)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for label, *counters in _LEG:
        table.add_row(label, *(_cell(report["leg"], name) for name in counters))
    for stream in report["streams"]:
        label = f"{names[stream['sid']]} ({stream['mode'] or 'over'}, {stream['socket']})"
        table.add_row(label, *(_cell(stream["report"], name) for name in _STREAM))
    console.print(table)


def _cell(counters: dict[str, Any], name: str) -> Text:
    return Text.assemble((name + " ", "dim"), str(counters.get(name, "-")))
