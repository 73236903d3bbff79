"""`trunkline sip`: the SIP messages of a call as a ladder, as text or as a pcap file."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import WIDTH, AsJson, examples, print_json, print_rows
from trunkline.config import Settings
from trunkline.errors import StartupError

TRACE = "/v2/trunkline/calls/{call}/sip"
REFUSED = "/v2/trunkline/sip"
EPILOG = examples(
    "trunkline sip", "trunkline sip v3:… --text", "trunkline sip v3:… --pcap call.pcap", more=SETTINGS_HELP
)
_TIME = 10
"""Columns of the time before an arrow."""
_ARROW = WIDTH - _TIME - 3

Trace = dict[str, Any]
CallId = Annotated[str | None, typer.Argument(metavar="[CALL]", help="Sid, or the Call-ID of a refused INVITE.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="sip", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=EPILOG)(sip)


def sip(
    context: typer.Context,
    call: CallId = None,
    text: Annotated[bool, typer.Option("--text", help="Print whole messages.")] = False,
    pcap: Annotated[Path | None, typer.Option(help="Write them for Wireshark.", metavar="FILE")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show the SIP messages of a CALL.

    Without one: list INVITEs that became no call. Passwords and keys are left out.
    """
    settings = load_settings(context, config).settings
    if call is None:
        traces = _refused(settings)
        if as_json:
            print_json(traces)
        else:
            list_refused(traces)
        return
    trace = fetch(settings, call)
    if as_json:
        print_json(trace)
    if pcap is not None:
        write_pcap(trace, pcap)
    elif not as_json:
        for line in whole(trace) if text else ladder(trace):
            typer.echo(line)


def fetch(settings: Settings, call: str) -> Trace:
    """The messages of a call, by its sid, or of a refused INVITE, by its Call-ID. Raises StartupError."""
    from trunkline.client import request

    for refused in () if call.startswith("v3:") else _refused(settings):
        if refused["sip_call_id"] == call:
            return refused
    path = TRACE.replace("{call}", quote(call, safe=""))
    trace: Trace = request(settings, "GET", path, unknown=f"no call {call} of this account is known")["data"]
    if not trace["messages"]:
        raise StartupError(f"no SIP message of {call} is kept: it is too old, or ended well before the server's start")
    return trace


def _refused(settings: Settings) -> list[Trace]:
    from trunkline.client import request

    found: list[Trace] = request(settings, "GET", REFUSED)["data"]
    return found


def list_refused(traces: Sequence[Trace]) -> None:
    """A row for each."""
    if not traces:
        typer.echo("no INVITE was refused lately")
        return
    found = [(_clock(one["messages"][0]), *_ends(one), one["sip_call_id"]) for one in traces if one["messages"]]
    rows = [[_printable(cell) for cell in row] for row in found]
    print_rows(("time", "from", "called", "answer", "Call-ID"), rows)


def _ends(trace: Trace) -> tuple[str, str, str]:
    first, last = trace["messages"][0], trace["messages"][-1]
    finals = [one["summary"] for one in trace["messages"] if one["summary"][:1] in "23456"]
    called = first["summary"].partition(" ")[2]
    return first["peer"], called, finals[-1] if finals else last["summary"]


def whole(trace: Trace) -> Iterator[str]:
    """Each message behind a line that says when it went where."""
    for one in trace["messages"]:
        source, destination = _way(one)
        yield f"── {one['number']}  {one['occurred_at']}  {source} → {destination}  {one['transport']}"
        yield _printable(one["text"]).rstrip("\n")
        yield ""
    yield from _dropped(trace)


def ladder(trace: Trace) -> Iterator[str]:
    """Arrows in 80 columns: the peer is left, this server right; times are seconds since the first message."""
    messages: list[Trace] = trace["messages"]
    yield trace["call_sid"] or "became no call"
    yield f"Call-ID {_printable(trace['sip_call_id'])}, from {messages[0]['occurred_at']}"
    began, peer, number = _at(messages[0]), "", 0
    for one in messages:
        if one["number"] > number + 1:
            yield f"{'…':>{_TIME - 1}}  {one['number'] - number - 1} messages are not kept"
        number = one["number"]
        if peer != f"{one['peer']} {one['transport']} {one['local']}":
            peer = f"{one['peer']} {one['transport']} {one['local']}"
            left, right = f"{one['peer']} {one['transport']}", f"trunkline {one['local']}"
            yield ""
            yield f"{'':{_TIME}}{left}{right:>{max(len(right) + 1, WIDTH - _TIME - len(left))}}"
        seconds = (_at(one) - began).total_seconds()
        yield f"{seconds:{_TIME - 2}.3f}  │{_arrow(_label(one), to_us=one['direction'] == 'received')}│"
    yield from _dropped(trace) if number < trace["dropped"] else ()


def _arrow(label: str, *, to_us: bool) -> str:
    label = label if len(label) <= _ARROW - 6 else label[: _ARROW - 7] + "…"
    line = f" {label} ".center(_ARROW - 1, "─")
    return f"{line}>" if to_us else f"<{line}"


def _label(one: Trace) -> str:
    """`INVITE sip:+1@host, SDP`, `200 OK (INVITE), SDP`."""
    is_response = one["summary"][:1].isdigit()
    method = one["cseq"].partition(" ")[2]
    label = f"{one['summary']} ({method})" if is_response and method else one["summary"]
    return _printable(f"{label}, SDP" if "\nv=0" in one["text"] else label)


def _dropped(trace: Trace) -> Iterator[str]:
    if trace["dropped"]:
        yield f"{trace['dropped']} messages are not kept (sip.trace.messages, sip.trace.memory)"


def write_pcap(trace: Trace, path: Path) -> None:
    """Raises StartupError."""
    from trunkline.sip.pcap import Packet, pcap, place

    packets = [
        Packet(_at(one), place(_way(one)[0]), place(_way(one)[1]), one["text"].encode()) for one in trace["messages"]
    ]
    try:
        path.write_bytes(pcap(packets))
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None
    typer.echo(f"{len(packets)} messages are in {path}", err=True)


def _printable(text: str) -> str:
    """Without control characters: a terminal would obey them, and anyone may send them."""
    return "".join(one if one.isprintable() or one in "\n\t" else "" if one == "\r" else "�" for one in text)


def _way(one: Trace) -> tuple[str, str]:
    ends = one["peer"], one["local"]
    return ends if one["direction"] == "received" else ends[::-1]


def _at(one: Trace) -> datetime:
    return datetime.fromisoformat(one["occurred_at"])


def _clock(one: Trace) -> str:
    return f"{_at(one):%Y-%m-%d %H:%M:%S}"
