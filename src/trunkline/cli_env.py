"""`trunkline env`: what a second terminal needs to talk to the running server."""

import shlex
import sys

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import AsJson, examples, print_json
from trunkline.settings import Loaded

EPILOG = examples('eval "$(trunkline env)"', "trunkline env --json", more=SETTINGS_HELP)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="env", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=EPILOG)(env)


def env(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print what a second terminal needs.

    These are the variables with which curl, the SDKs and trunkline talk to the running server. The key is the command
    line's own: it is made once, and kept in the store's directory.
    """
    values = variables(load_settings(context, config))
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    if sys.stdout.isatty():
        typer.echo('# To set them: eval "$(trunkline env)"', err=True)


def variables(loaded: Loaded) -> dict[str, str]:
    """Names of the environment with their values. Raises StartupError."""
    from trunkline.client import base_url, credentials

    settings = loaded.settings
    account, key = credentials(settings)
    found = {"TRUNKLINE_ACCOUNT_SID": account, "TRUNKLINE_API_KEY": key}
    found |= {"TELNYX_API_KEY": key, "TELNYX_BASE_URL": f"{base_url(settings.http)}/v2"}
    if loaded.origins["store.directory"] != "default":  # else it is found again
        found["TRUNKLINE_STORE__DIRECTORY"] = str(settings.store.directory.expanduser().absolute())
    return found
