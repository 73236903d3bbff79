"""Settings on the command line: what its commands share."""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from trunkline import log
from trunkline.running import adopted
from trunkline.settings import Loaded, leaves, load, parse_flags

ANY_SETTING = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Of a command: its other arguments are settings."""
APART = frozenset({"serve", "dev", "config", "doctor", "current", "upgrade", "backup"})
"""Commands that ask no running server; those of `db` among them."""
SETTINGS_HELP = "Any setting is a flag too: --http.port 9000 (`trunkline config` lists them)."
ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; default: trunkline.toml, if there.")]


class SettingsCommand(TyperCommand):
    """A command that takes any setting, before and after its arguments. The parser knows no setting, and would take
    one for an argument of the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Settings go to `ctx.args`, before what else is left there."""
        settings, others = parted(args)
        super().parse_args(ctx, others)
        ctx.args = [*settings, *ctx.args]
        return list(ctx.args)


class GroupWithDefault(TyperGroup):
    """Commands, of which the first is meant where none is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command in front of settings and options."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


def parted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings, each with its value as one argument or two, and the others; both in their order. All that follows `--`
    is of the others."""
    names = set(leaves())
    settings: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if argument == "--":
            others += [argument, *rest]
        elif not name.startswith("--") or name[2:].replace("-", "_") not in names:
            others.append(argument)
        else:
            settings += [argument] if equals else [argument, *islice(rest, 1)]
    return settings, others


def load_settings(context: typer.Context, file: Path | None) -> Loaded:
    """The settings of a command. Raises StartupError."""
    loaded = load(parse_flags(context.args), os.environ, file)
    if context.command.name not in APART:
        loaded = replace(loaded, settings=adopted(loaded))
    if context.command.name != "serve":  # which has a log for it
        log.configure(loaded.settings.log, log.Outlet(2), terminal=os.isatty(2))
        for variable, nearest in loaded.unknown_variables.items():
            typer.echo(f"trunkline: {variable} is no setting and is ignored; the nearest is {nearest}", err=True)
    return loaded
