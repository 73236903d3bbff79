"""`trunkline route`: what the running server would do with a number, and why."""

from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import AsJson, examples, print_json
from trunkline.client import request
from trunkline.errors import StartupError

_GAP = "  "


def route(
    context: typer.Context,
    to: Annotated[str, typer.Argument(help="A number, a phone's name or a SIP URI.")],
    from_trunk: Annotated[str | None, typer.Option("--from-trunk", help="The call to it comes by this trunk.")] = None,
    from_phone: Annotated[str | None, typer.Option("--from-phone", help="This phone calls it.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Show what the running server would do with a number, and why. Nothing is called."""
    if from_trunk and from_phone:
        raise StartupError("a call comes from one place: say --from-trunk or --from-phone")
    asked = {"To": to, "FromTrunk": from_trunk, "FromPhone": from_phone}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    settings = load_settings(context, config).settings
    path = f"/v2/trunkline/route?{query}"
    found = request(settings, "GET", path, unknown="the account is not that of the settings, and its numbers not known")
    if as_json:
        print_json(found["data"])
        return
    for line in lines(found["data"], from_trunk or from_phone):
        typer.echo(line)


def lines(found: dict[str, Any], caller: str | None) -> list[str]:
    """For each kind of call a line that says what happens, and one that says why."""
    inbound = f"a call to it from {caller}" if caller else "a call to it"
    rows = [
        (inbound, _runs(found["inbound"]), found["inbound"]["why"]),
        ("placed by REST", _way(found["placed"]), found["placed"]["why"]),
        ("dialled by a document", _way(found["dialled"]), found["dialled"]["why"]),
    ]
    width = max(len(what) for what, _, _ in rows)
    below = " " * width + _GAP
    return [line for what, does, why in rows for line in (f"{what:<{width}}{_GAP}{does}", f"{below}{why}")]


def _runs(inbound: dict[str, Any]) -> str:
    named = f"application {inbound['application']}" if inbound["application"] else ""
    if inbound["refused"]:
        return f"refused with 403: {named} is not active"
    runs = inbound["runs"] or "nothing: it is answered, and REST says what it does"
    return f"{named}: {runs}" if named else str(runs)


def _way(way: dict[str, Any]) -> str:
    if way["kind"] is None:
        return "nowhere"
    return f"{way['kind']} {way['name']}: {way['to']}" if way["name"] else str(way["to"])


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown_as = examples("trunkline route +13125550123 --from-trunk carrier", more=SETTINGS_HELP)
    app.command(name="route", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=shown_as)(route)
