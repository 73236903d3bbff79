"""`trunkline console`: where to look at the running server."""

import json
from typing import Annotated

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.config import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="console", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=SETTINGS_HELP)(console)


def console(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the URL of the console of the running server, with a token for one login within five minutes.

    Example: xdg-open "$(trunkline console)"
    """
    url = console_url(load_settings(context, config).settings)
    typer.echo(json.dumps({"url": url}) if as_json else url)


def console_url(settings: Settings) -> str:
    """`http://127.0.0.1:8080/#token=…`; the token is good once, for five minutes. Asks the running server with the key
    of the settings or the command line's own. Raises StartupError with one line."""
    from trunkline.client import base_url, request

    token = request(settings, "POST", "/v2/trunkline/console/tokens")["data"]["token"]
    return f"{base_url(settings.http)}/#token={token}"
