"""The command line. Every setting is a flag by its dotted name; a mistake is one line on stderr and exit code 2.

What takes long to import is imported by the command that needs it.
"""

import gc
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import typer
from rich.console import Console

from trunkline import (
    __version__,
    cli_app,
    cli_call,
    cli_capture,
    cli_check,
    cli_console,
    cli_db,
    cli_dev,
    cli_doctor,
    cli_env,
    cli_keys,
    cli_lists,
    cli_route,
    cli_sip,
    cli_top,
    compiled,
    log,
)
from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import AsJson, examples, named_values, print_json, terminal_width
from trunkline.client import request
from trunkline.confinement import no_new_privileges
from trunkline.demo.__main__ import SECONDS, SECONDS_LIMIT, run
from trunkline.errors import StartupError
from trunkline.settings import plain, shown
from trunkline.why import ask, refused_callers, show

app = typer.Typer(
    help="Streams the media of real phone calls to any WebSocket, speaking the Telnyx TeXML Streams API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # frames are hard to read in a pipe, in a mail and by a screen reader
)
app.add_typer(cli_db.database, name="db")
app.add_typer(cli_keys.keys, name="keys")
app.add_typer(cli_keys.accounts, name="accounts")
cli_dev.register(app)
cli_doctor.register(app)
cli_app.register(app)
cli_check.register(app)
cli_console.register(app)
cli_capture.register(app)
cli_env.register(app)
cli_call.register(app)
cli_lists.register(app)
cli_route.register(app)
cli_top.register(app)
cli_sip.register(app)
Explain = Annotated[str | None, typer.Option(help="Only this setting, or section: what it means.", metavar="NAME")]
_CLOSED: set[int] = set()
"""Of stdin, stdout and stderr, those that were closed at the start."""
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""ClickException of the click that typer uses, its own or the library."""
INTERRUPTED = 130
"""Exit code after Ctrl-C."""
SHOW_TIME = 5.0
"""Seconds to wait until standard output takes the text."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a command."""


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


@app.command(
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples(
        "trunkline serve",
        "trunkline serve --stream ws://127.0.0.1:7860/ws",
        "trunkline serve --sip.host 192.0.2.10 --media.host 192.0.2.10",
        more=SETTINGS_HELP,
    ),
)
def serve(
    context: typer.Context,
    config: ConfigFile = None,
    capture: Annotated[Path | None, typer.Option(help="Short for --streams.capture.")] = None,
) -> None:
    """Run the server until Ctrl-C or SIGTERM."""
    if capture is not None:
        context.args += ["--streams.capture", str(capture)]
    loaded = load_settings(context, config)
    settings = loaded.settings
    gc.disable()  # until the server runs: what it is made of stays
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


@app.command(
    name="config",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples(
        "trunkline config",
        "trunkline config --explain media.workers",
        "trunkline config --json --config trunkline.toml",
        more=SETTINGS_HELP,
    ),
)
def show_config(
    context: typer.Context, explain: Explain = None, as_json: AsJson = False, config: ConfigFile = None
) -> None:
    """Print every setting in force and where its value comes from."""
    loaded = load_settings(context, config)
    if explain is not None:
        from trunkline import explain as explanations

        for one in explanations.explain(explain):
            origin = loaded.origins.get(one.name)
            now = None if origin is None else f"{shown(loaded.settings, one.name)} ({origin})"
            typer.echo(explanations.in_words(one, now))
        return
    if as_json:
        print_json(
            {name: {"value": plain(loaded.settings, name), "from": origin} for name, origin in loaded.origins.items()}
        )
        return
    rows = [(name, shown(loaded.settings, name), origin) for name, origin in loaded.origins.items()]
    for line in named_values([("setting", "value", "from"), *rows], terminal_width()):
        typer.echo(line)


@app.command(cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)
def why(
    context: typer.Context,
    call_sid: Annotated[str | None, typer.Argument(help="Default: the newest call of the account.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask the running server why a call has no audio. Exit code 1: something is wrong with it."""
    settings = load_settings(context, config).settings
    report = ask(settings, call_sid)
    if as_json:
        print_json(report)
    else:
        show(report, Console(), "" if call_sid else refused_callers(settings))
    raise typer.Exit(int(report["findings"][0]["severity"] == "error"))


@app.command(cls=SettingsCommand, context_settings=ANY_SETTING, epilog=examples("trunkline drain", more=SETTINGS_HELP))
def drain(context: typer.Context, config: ConfigFile = None) -> None:
    """End the running server once its calls are over.

    It takes no more calls; the command returns when the server has ended.
    """
    from trunkline.drain import drain as drain_server

    settings = load_settings(context, config).settings
    drain_server(settings.store.directory, lambda pid: typer.echo(f"process {pid} drains", err=True))


@app.command(
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline erase +13125550123", more=SETTINGS_HELP),
)
def erase(context: typer.Context, number: str, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Erase what is kept of the calls of a NUMBER.

    The account's calls from and to it are erased from the running server, recordings included.
    """
    path = f"/v2/trunkline/callers/{quote(number, safe='')}"
    erased = request(load_settings(context, config).settings, "DELETE", path)["data"]
    if as_json:
        print_json(erased)
    live = erased.pop("in_progress")
    if not as_json:
        typer.echo("erased: " + ", ".join(f"{count} {name}" for name, count in erased.items()))
    if live:
        raise StartupError(f"{live} calls are not over, and nothing of them was erased: repeat it later")


@app.command(epilog=examples("trunkline demo", "trunkline demo --seconds 30"))
def demo(seconds: Annotated[float, typer.Option(help="Of conversation.")] = SECONDS) -> None:
    """Stream a real call on this machine both ways, and check it."""
    if not 0 < seconds <= SECONDS_LIMIT:  # nor is NaN
        raise StartupError(f"--seconds must be above 0 and at most {SECONDS_LIMIT}, got {seconds:g}")
    raise typer.Exit(run(seconds))


@app.command(epilog=examples("trunkline version --json"))
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    if not as_json:
        typer.echo(__version__)
        return
    reason = compiled.FALLBACK_REASON
    print_json(
        {
            "version": __version__,
            "python": sys.version.split()[0],
            "packet_path": "as Python" if reason else "compiled",
            "packet_path_reason": reason or None,
        }
    )


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


def _explain(error: Any) -> None:
    """One line for a mistake on the command line; the help where nothing was typed."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.ctx.get_help(), err=True)
        return
    path = error.ctx.command_path if error.ctx is not None else "trunkline"
    words = " ".join(error.format_message().split()).removesuffix(".")
    typer.echo(f"trunkline: {words}. `{path} --help` shows what there is.", err=True)


def main() -> NoReturn:
    """The console script."""
    _hold_descriptors()
    os.umask(0o077)  # the database, keys, recordings, and what libraries and child processes write
    code: object = 0
    try:
        code = app(prog_name="trunkline", standalone_mode=False)
    except StartupError as error:
        with suppress(OSError):  # stderr is closed; the exit code remains
            typer.echo(f"trunkline: {error}", err=True)
        code = 2
    except typer.Abort:
        code = INTERRUPTED
    except _USAGE_ERROR as error:
        with suppress(OSError):
            _explain(error)
        code = 2
    finally:
        log.close()
    sys.exit(code if isinstance(code, int) else 0)
