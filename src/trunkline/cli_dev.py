"""`trunkline dev`: talk to a bot, with nothing set up."""

import os
from typing import Annotated

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand
from trunkline.cli_text import examples
from trunkline.errors import StartupError

EPILOG = examples(
    "trunkline dev ws://127.0.0.1:7860/ws",
    "trunkline dev --texml http://127.0.0.1:8000/voice",
    "trunkline dev ws://127.0.0.1:7860/ws --store.directory ./calls",
    more=SETTINGS_HELP,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="dev", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=EPILOG)(dev)


def dev(
    context: typer.Context,
    bot: Annotated[str | None, typer.Argument(metavar="[ws://BOT]", help="Your bot's WebSocket.")] = None,
    texml: Annotated[
        str | None, typer.Option("--texml", metavar="URL", help="Of a TeXML document, instead of a WebSocket.")
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the console in a browser.")] = False,
    config: ConfigFile = None,
) -> None:
    """Run a server that brings every call to your bot.

    It listens on this machine only, on other ports if the usual ones are taken, and keeps nothing. A trunkline.toml
    counts only if --config names it.
    """
    if (bot is None) == (texml is None):
        raise StartupError("say where your bot is: trunkline dev ws://127.0.0.1:7860/ws, or --texml URL")
    from trunkline.dev import Dev, defaults, temporary_store
    from trunkline.running import DIRECTORY
    from trunkline.settings import load, parse_flags

    if bot is not None and "://" not in bot:
        raise StartupError(f"the bot's WebSocket must be a ws:// or wss:// URL: is it ws://{bot}?")
    target = {"stream": bot} if bot is not None else {"numbers": [{"pattern": "*", "voice_url": texml}]}
    with temporary_store() as directory:
        base = defaults(target, directory, os.environ)
        loaded = load(parse_flags(context.args), os.environ, config, base=base)
        for variable, nearest in loaded.unknown_variables.items():
            typer.echo(f"trunkline: {variable} is no setting and is ignored; the nearest is {nearest}", err=True)
        kept = loaded.origins[DIRECTORY] != "dev"
        raise typer.Exit(Dev(loaded, bot or texml or "", kept=kept, browse=browse).run())
