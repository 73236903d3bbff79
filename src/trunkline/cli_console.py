"""`trunkline console`: where to look at the running server."""

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import AsJson, examples, print_json
from trunkline.config import Settings

EPILOG = examples('xdg-open "$(trunkline console)"', "trunkline console --json", more=SETTINGS_HELP)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="console", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=EPILOG)(console)


def console(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the URL of the running server's console.

    It logs in once, within five minutes.
    """
    url = console_url(load_settings(context, config).settings)
    if as_json:
        print_json({"url": url})
    else:
        typer.echo(url)


def console_url(settings: Settings) -> str:
    """`http://127.0.0.1:8080/#token=…`; the token is good once, for five minutes. Asks the running server with the key
    of the settings or the command line's own. Raises StartupError with one line."""
    from trunkline.client import base_url, request

    token = request(settings, "POST", "/v2/trunkline/console/tokens")["data"]["token"]
    return f"{base_url(settings.http)}/#token={token}"
