"""Lists of what the running server has (`LISTS`), and `callbacks redeliver` and `hangup`, which act on members."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from trunkline.cli_settings import (
    ANY_SETTING,
    SETTINGS_HELP,
    ConfigFile,
    GroupWithDefault,
    SettingsCommand,
    load_settings,
)
from trunkline.cli_text import cells_of, examples, table, terminal_width
from trunkline.client import request
from trunkline.config import Settings
from trunkline.errors import StartupError

INTERVAL = 2.0
"""Seconds between two looks of `--watch`."""
PAGE = 1000
"""Members that one request asks for, at most."""
_ON, _OFF = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""A screen of its own, without a cursor, and back."""
Cell = Callable[[Mapping[str, Any]], object]
Watch = Annotated[bool, typer.Option("--watch", help=f"Show it again every {INTERVAL:g} seconds, until Ctrl-C.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one line of JSON for each, with all its members.")]
Limit = Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=PAGE)]
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class List:
    """One list: a command."""

    path: str
    """Of the REST API; `{account}` is filled in."""
    members: str
    """Name of their array in the answer."""
    columns: Mapping[str, Cell]
    below: tuple[str, ...] = ()
    """Columns that on a terminal have a line of their own, where the row does not fit."""
    paged: bool = False
    """Newest first, by pages; else it is short."""


def member(name: str) -> Cell:
    """The member as it is."""
    return lambda one: one[name]


def yes_or_no(name: str) -> Cell:
    """A boolean in words; nothing for null."""
    return lambda one: {True: "yes", False: "no", None: None}[one[name]]


def _started(call: Mapping[str, Any]) -> str:
    return parsedate_to_datetime(call["date_created"]).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _event(callback: Mapping[str, Any]) -> object:
    form = callback["form"]
    return form.get("StreamEvent") or form.get("CallStatus") or form.get("RecordingStatus")


def _targets(trunk: Mapping[str, Any]) -> str:
    return ", ".join(f"{one['target']} {'up' if one['up'] else 'down'}" for one in trunk["targets"])


LISTS: Mapping[str, List] = {
    "calls": List(
        "/v2/texml/Accounts/{account}/Calls",
        "calls",
        {
            "status": member("status"),
            "direction": member("direction"),
            "from": member("from"),
            "to": member("to"),
            "started": _started,
            "sid": member("sid"),
        },
        below=("sid",),
        paged=True,
    ),
    "streams": List(
        "/v2/trunkline/streams",
        "streams",
        {
            "status": member("status"),
            "track": member("track"),
            "name": member("name"),
            "started": member("date_created"),
            "sid": member("sid"),
            "call": member("call_sid"),
        },
        below=("sid", "call"),
        paged=True,
    ),
    "callbacks": List(
        "/v2/trunkline/callbacks",
        "callbacks",
        {
            "state": member("state"),
            "event": _event,
            "tries": member("tries"),
            "last": lambda one: one["last_status"] or one["last_error"],
            "created": member("created_at"),
            "id": member("id"),
            "url": member("url"),
        },
        below=("id", "url"),
        paged=True,
    ),
    "phones": List(
        "/v2/trunkline/phones",
        "data",
        {"user": member("user"), "contacts": lambda one: ", ".join(one["contacts"])},
        below=("contacts",),
    ),
    "trunks": List(
        "/v2/trunkline/trunks",
        "data",
        {"name": member("name"), "registered": yes_or_no("registered"), "targets": _targets},
        below=("targets",),
    ),
    "registrations": List(
        "/v2/trunkline/registrations",
        "data",
        {
            "kind": member("kind"),
            "name": member("name"),
            "address": member("address"),
            "registered": yes_or_no("registered"),
        },
        below=("address",),
    ),
    "workers": List(
        "/v2/trunkline/workers",
        "data",
        {
            "worker": member("worker"),
            "pid": member("pid"),
            "legs": member("legs"),
            "streams": member("streams"),
            "share of a core": lambda one: f"{one['share']:.1%}",
            "lag": lambda one: f"{one['lag_ms']} ms" + (" (lags)" if one["lags"] else ""),
        },
    ),
}
"""By the name of the command."""


def found(settings: Settings, row: List, limit: int = PAGE) -> list[dict[str, Any]]:
    """The members, of a list with pages the newest. Raises StartupError."""
    path = row.path + (f"?PageSize={limit}" if row.paged else "")
    members: list[dict[str, Any]] = request(settings, "GET", path)[row.members]
    return members


def lines(row: List, members: list[dict[str, Any]], as_json: bool) -> list[str]:
    """What is printed of them."""
    if as_json:
        return [json.dumps(one, ensure_ascii=False) for one in members]
    cells = cells_of([[cell(one) for cell in row.columns.values()] for one in members])
    return table(tuple(row.columns), cells, terminal_width(), row.below)


def shown(look: Callable[[], list[str]], watch: bool, interval: float = INTERVAL) -> None:
    """Print it once, or again and again: on a terminal in the same place, also while the server restarts."""
    if not watch:
        _print(_plain(look()))
        return
    terminal = sys.stdout.isatty()
    text = look()
    _print(_ON if terminal else "")
    try:
        while True:
            _print(_redrawn(text) if terminal else _plain(text))
            time.sleep(interval)
            try:
                text = look()
            except StartupError as error:
                text = [f"trunkline: {error}"]
    finally:
        _print(_OFF if terminal else "")


def _plain(text: list[str]) -> str:
    return "".join(f"{line}\n" for line in text)


def _redrawn(text: list[str]) -> str:
    """The whole screen in one write, each line over what it was, so that nothing flickers."""
    height = os.get_terminal_size(sys.stdout.fileno()).lines  # 0: it does not say
    if 0 < height <= len(text):
        text = [*text[: height - 2], f"… {len(text) - height + 2} more lines"]
    return "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in text) + "\x1b[J"


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more is written, at the exit neither
        raise SystemExit(0) from None


def hangup(context: typer.Context, call_sid: str, config: ConfigFile = None) -> None:
    """End a call that is up, of the account: its sid is in `trunkline calls`."""
    settings = load_settings(context, config).settings
    path = f"/v2/calls/{quote(call_sid, safe='')}/actions/hangup"
    request(settings, "POST", path, unknown=f"no call {call_sid} of this account is known")
    typer.echo(f"hung up: {call_sid}")


def redeliver(
    context: typer.Context,
    callback_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One callback.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that have failed.")] = False,
    since: Annotated[str, typer.Option(help="With --failed: of the last 30s, 5m, 1h, 2d.")] = "1h",
    config: ConfigFile = None,
) -> None:
    """Send callbacks again, each as a new one with the same content and an id of its own, which is printed."""
    if (callback_id is None) != failed:
        raise StartupError("say which: an ID of `trunkline callbacks`, or --failed")
    after = datetime.now(UTC) - ago(since)
    settings = load_settings(context, config).settings
    ids = [callback_id] if callback_id else list(_failed(settings, after))
    for one in reversed(ids):  # the oldest first
        path = f"/v2/trunkline/callbacks/{quote(str(one), safe='')}/redeliver"
        typer.echo(request(settings, "POST", path, unknown=f"no callback {one} of this account is known")["data"]["id"])
    if failed:
        typer.echo(f"{len(ids)} callbacks are sent again", err=True)


def ago(text: str) -> timedelta:
    """`30s`, `5m`, `1h`, `2d`. Raises StartupError."""
    match = _AGO.fullmatch(text)
    if match is None:
        raise StartupError(f"--since takes a time such as 30s, 5m, 1h or 2d, got {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _failed(settings: Settings, after: datetime) -> Iterator[str]:
    """Those that happened after that, the newest first."""
    page: str | None = f"{LISTS['callbacks'].path}?PageSize={PAGE}"
    while page:
        answer = request(settings, "GET", page)
        for one in answer["callbacks"]:
            if datetime.fromisoformat(one["created_at"]) < after:
                return
            if one["state"] == "failed":
                yield one["id"]
        page = answer["next_page_uri"]


def _paged_command(name: str) -> Callable[..., None]:
    def command(
        context: typer.Context,
        watch: Watch = False,
        as_json: JsonLines = False,
        limit: Limit = 20,
        config: ConfigFile = None,
    ) -> None:
        _run(name, context, config, watch, as_json, limit)

    return command


def _command(name: str) -> Callable[..., None]:
    def command(
        context: typer.Context, watch: Watch = False, as_json: JsonLines = False, config: ConfigFile = None
    ) -> None:
        _run(name, context, config, watch, as_json, PAGE)

    return command


def _run(name: str, context: typer.Context, config: Any, watch: bool, as_json: bool, limit: int) -> None:
    settings, row = load_settings(context, config).settings, LISTS[name]
    shown(lambda: lines(row, found(settings, row, limit), as_json), watch)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    callbacks = typer.Typer(
        cls=GroupWithDefault,
        rich_markup_mode=None,
        help="The account's callbacks that are kept. Without a command: the newest.",
    )
    for name, row in LISTS.items():
        make = _paged_command if row.paged else _command
        into, called = (callbacks, "list") if name == "callbacks" else (app, name)
        help_ = f"List the account's {name}, the newest first." if row.paged else f"List the {name} and their state."
        shown_as = examples(f"trunkline {name}", f"trunkline {name} --watch", more=SETTINGS_HELP)
        _add(into, called, help_, shown_as, make(name))
    again = examples("trunkline callbacks redeliver --failed --since 1h", more=SETTINGS_HELP)
    _add(callbacks, "redeliver", str(redeliver.__doc__), again, redeliver)
    app.add_typer(callbacks, name="callbacks")
    _add(app, "hangup", str(hangup.__doc__), examples("trunkline hangup v3:…", more=SETTINGS_HELP), hangup)


def _add(app: typer.Typer, name: str, help_: str, epilog: str, command: Callable[..., None]) -> None:
    app.command(name=name, cls=SettingsCommand, context_settings=ANY_SETTING, help=help_, epilog=epilog)(command)
