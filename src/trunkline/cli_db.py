"""`trunkline db`: the database while no server, or any server, runs on it."""

from pathlib import Path

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import AsJson, examples, print_json

database = typer.Typer(help="Look at, upgrade and back up the database.", no_args_is_help=True, rich_markup_mode=None)


@database.command(
    name="current",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline db current --json", more=SETTINGS_HELP),
)
def database_current(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the schema of the database, and the one that this version needs. Exit code 1: they differ."""
    import asyncio

    from trunkline.store.maintenance import current
    from trunkline.store.schema import NEWEST

    found = asyncio.run(current(load_settings(context, config).settings.store))
    if as_json:
        print_json({"database": found, "version": NEWEST})
    else:
        typer.echo(f"database: {found or 'none'}, this version: {NEWEST}")
    raise typer.Exit(int(found != NEWEST))


@database.command(
    name="upgrade",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline db upgrade", more=SETTINGS_HELP),
)
def database_upgrade(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Bring the database to this version's schema, as the start of a server does."""
    import asyncio

    from trunkline.store.maintenance import upgrade
    from trunkline.store.schema import NEWEST

    asyncio.run(upgrade(load_settings(context, config).settings.store))
    if as_json:
        print_json({"database": NEWEST})
    else:
        typer.echo(f"database: {NEWEST}")


@database.command(
    name="backup",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline db backup /backups/trunkline.db", more=SETTINGS_HELP),
)
def database_backup(context: typer.Context, file: Path, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Copy the database into FILE, also while the server runs."""
    from trunkline.store.maintenance import backup

    backup(load_settings(context, config).settings.store, file)
    size = file.stat().st_size
    if as_json:
        print_json({"file": str(file.absolute()), "bytes": size})
    else:
        typer.echo(f"{file}: {size} bytes")
