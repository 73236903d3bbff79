"""The command line. Every setting is a flag by its dotted name; a mistake is one line on stderr and exit code 2.

What takes long to import is imported by the command that needs it.
"""

import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from trunkline import __version__, cli_app, cli_call, cli_check, cli_dev, cli_env, cli_keys, log
from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.client import request
from trunkline.confinement import no_new_privileges
from trunkline.demo.__main__ import SECONDS, SECONDS_LIMIT, run
from trunkline.errors import StartupError
from trunkline.settings import shown
from trunkline.why import ask, show

app = typer.Typer(
    help="Streams the media of real phone calls to any WebSocket, speaking the Telnyx TeXML Streams API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
database = typer.Typer(help="Look at, upgrade and back up the database.", no_args_is_help=True)
app.add_typer(database, name="db")
app.add_typer(cli_keys.keys, name="keys")
app.add_typer(cli_keys.accounts, name="accounts")
cli_dev.register(app)
cli_app.register(app)
cli_check.register(app)
cli_env.register(app)
cli_call.register(app)
_CLOSED: set[int] = set()
"""Of stdin, stdout and stderr, those that were closed at the start."""
SHOW_TIME = 5.0
"""Seconds to wait until standard output takes the text."""


def _announce(text: str) -> None:
    """Show a text that is shown only once. Raises StartupError if it cannot be written."""
    problem = "standard output is not read"
    try:
        if 1 not in _CLOSED and select.select([], [1], [], SHOW_TIME)[1]:
            os.write(1, f"{text}\n".encode())
            return
    except OSError as error:
        problem = f"standard output: {error.strerror}"
    raise StartupError(f"a first account cannot be shown: {problem}")


@app.command(cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def serve(context: typer.Context, config: ConfigFile = None) -> None:
    """Run the server until Ctrl-C or SIGTERM."""
    loaded = load_settings(context, config)
    settings = loaded.settings
    import structlog
    import uvloop

    from trunkline.control.accounts import new_secret
    from trunkline.server import Server

    outlet = log.Outlet(None if 2 in _CLOSED else 2)
    log.configure(settings.log, outlet, terminal=2 not in _CLOSED and os.isatty(2))
    log.take_over()
    for variable, nearest in loaded.unknown_variables.items():
        structlog.get_logger().warning("unknown_variable_ignored", variable=variable, nearest=nearest)
    no_new_privileges()
    # Callbacks resolve their hosts on libuv's threads; one dead DNS server must not hold the others up.
    os.environ.setdefault("UV_THREADPOOL_SIZE", "16")
    server = Server(
        settings,
        make_key=new_secret,
        announce=_announce,
        load=lambda: load_settings(context, config).settings,
        secrets_in_flags=loaded.secrets_in_flags,
    )
    raise typer.Exit(uvloop.run(server.run()))


@app.command(name="config", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def show_config(context: typer.Context, config: ConfigFile = None) -> None:
    """Print every setting in force and where its value comes from."""
    loaded = load_settings(context, config)
    table = Table("setting", "value", "from", box=None)
    for name, origin in loaded.origins.items():
        table.add_row(name, shown(loaded.settings, name), origin, style=None if origin == "default" else "bold")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@app.command(cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def why(context: typer.Context, call_sid: str, config: ConfigFile = None) -> None:
    """Ask the running server why a call has no audio. Exit code 1: something is wrong with it."""
    report = ask(load_settings(context, config).settings, call_sid)
    show(report, Console(width=None if sys.stdout.isatty() else 160))
    raise typer.Exit(int(report["findings"][0]["severity"] == "error"))


@app.command(cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def drain(context: typer.Context, config: ConfigFile = None) -> None:
    """Have the running server take no more calls and end once those that run are over; return when it has."""
    from trunkline.drain import drain as drain_server

    settings = load_settings(context, config).settings
    drain_server(settings.store.directory, lambda pid: typer.echo(f"process {pid} drains", err=True))


@app.command(cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def erase(context: typer.Context, number: str, config: ConfigFile = None) -> None:
    """Erase what the running server keeps of the account's calls from and to NUMBER, recordings included."""
    path = f"/v2/trunkline/callers/{quote(number, safe='')}"
    erased = request(load_settings(context, config).settings, "DELETE", path)["data"]
    live = erased.pop("in_progress")
    typer.echo("erased: " + ", ".join(f"{count} {name}" for name, count in erased.items()))
    if live:
        raise StartupError(f"{live} calls are not over, and nothing of them was erased: repeat it later")


@database.command(name="current", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def database_current(context: typer.Context, config: ConfigFile = None) -> None:
    """Print the schema of the database, and the one that this version needs. Exit code 1: they differ."""
    import asyncio

    from trunkline.store.maintenance import current
    from trunkline.store.schema import NEWEST

    found = asyncio.run(current(load_settings(context, config).settings.store))
    typer.echo(f"database: {found or 'none'}, this version: {NEWEST}")
    raise typer.Exit(int(found != NEWEST))


@database.command(name="upgrade", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def database_upgrade(context: typer.Context, config: ConfigFile = None) -> None:
    """Bring the database to this version's schema, as the start of a server does."""
    import asyncio

    from trunkline.store.maintenance import upgrade
    from trunkline.store.schema import NEWEST

    asyncio.run(upgrade(load_settings(context, config).settings.store))
    typer.echo(f"database: {NEWEST}")


@database.command(name="backup", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def database_backup(context: typer.Context, file: Path, config: ConfigFile = None) -> None:
    """Copy the database into FILE, also while the server runs."""
    from trunkline.store.maintenance import backup

    backup(load_settings(context, config).settings.store, file)
    typer.echo(f"{file}: {file.stat().st_size} bytes")


@app.command()
def demo(seconds: Annotated[float, typer.Option(help="Of conversation.")] = SECONDS) -> None:
    """Place a real call on loopback, stream it both ways, and print what worked."""
    if not 0 < seconds <= SECONDS_LIMIT:  # nor is NaN
        raise StartupError(f"--seconds must be above 0 and at most {SECONDS_LIMIT}, got {seconds:g}")
    raise typer.Exit(run(seconds))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _hold_descriptors() -> None:
    """Open /dev/null in place of a closed stdin, stdout or stderr: the next file opened would get its descriptor."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            _CLOSED.add(descriptor)
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)


def main() -> NoReturn:
    """The console script."""
    _hold_descriptors()
    os.umask(0o077)  # the database, keys, recordings, and what libraries and child processes write
    try:
        app(prog_name="trunkline")
    except StartupError as error:
        with suppress(OSError):  # stderr is closed; the exit code remains
            typer.echo(f"trunkline: {error}", err=True)
        sys.exit(2)
    finally:
        log.close()
    sys.exit(0)
