"""Settings on the command line: what its commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from trunkline import log
from trunkline.settings import Loaded, load, parse_flags

ANY_SETTING = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of a command: its other arguments are settings."""
SETTINGS_HELP = "Any setting is a flag too: --http.port 9000 (`trunkline config` lists them)."
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; default: trunkline.toml, if there.")]


def load_settings(context: typer.Context, file: Path | None) -> Loaded:
    """The settings of a command. Raises StartupError."""
    loaded = load(parse_flags(context.args), os.environ, file)
    if context.command.name != "serve":  # which has a log for it
        log.configure(loaded.settings.log, log.Outlet(2), terminal=os.isatty(2))
        for variable, nearest in loaded.unknown_variables.items():
            typer.echo(f"trunkline: {variable} is no setting and is ignored; the nearest is {nearest}", err=True)
    return loaded
