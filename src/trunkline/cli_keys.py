"""`trunkline keys` and `trunkline accounts`: they ask the running server, with the operator's key."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from trunkline.calls.accounts import Scope
from trunkline.cli_settings import (
    ANY_SETTING,
    SETTINGS_HELP,
    ConfigFile,
    GroupWithDefault,
    SettingsCommand,
    load_settings,
)
from trunkline.cli_text import AsJson, examples, print_json, print_rows
from trunkline.client import operator_request
from trunkline.config import Settings
from trunkline.errors import StartupError

ACCOUNTS = "/v2/trunkline/accounts"
DAYS_LIMIT = 36_500


keys = typer.Typer(
    cls=GroupWithDefault,
    help="API keys of an account, which --account_sid names unless there is one only. Without a command: the public "
    "key of callbacks.",
    rich_markup_mode=None,
)
accounts = typer.Typer(help="Accounts of the running server.", no_args_is_help=True, rich_markup_mode=None)


@keys.command(
    name="public",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline keys", more=SETTINGS_HELP),
)
def public_key(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Print the public key (Ed25519, base64) that status callbacks are signed with."""
    from trunkline.store.location import prepare_directory
    from trunkline.webhooks.signing import Signer

    settings = load_settings(context, config).settings
    _print(key := Signer.load(prepare_directory(settings.store.directory)).public_key, {"public_key": key}, as_json)


@keys.command(
    name="create",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline keys create ci --scope calls --days 90", more=SETTINGS_HELP),
)
def create_key(
    context: typer.Context,
    name: str,
    scope: Annotated[Scope, typer.Option(help="What the key may do.")] = "full",
    days: Annotated[float | None, typer.Option(help="Days until it expires; default: never.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Create an API key and print it; it is not shown again."""
    body: dict[str, object] = {"name": name, "scope": scope}
    if days is not None:
        if not 0 < days <= DAYS_LIMIT:
            raise StartupError(f"--days must be above 0 and at most {DAYS_LIMIT}, got {days:g}")
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    settings = load_settings(context, config).settings
    made = operator_request(settings, "POST", _keys_of(settings), body)["data"]
    _print(made["api_key"], made, as_json)


@keys.command(
    name="list",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline keys list --json", more=SETTINGS_HELP),
)
def list_keys(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List the account's API keys, oldest first."""
    settings = load_settings(context, config).settings
    _show(_found(settings), ("id", "name", "scope", "created_at", "expires_at", "last_used_at"), as_json)


@keys.command(
    name="revoke",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline keys revoke ci", more=SETTINGS_HELP),
)
def revoke_key(context: typer.Context, key: str, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Revoke the API key of that name or id, at once."""
    settings = load_settings(context, config).settings
    sids = [one["id"] for one in _found(settings) if key in (one["id"], one["name"])]
    if not sids:
        raise StartupError(f"the account has no key {key!r}; `trunkline keys list` lists them")
    operator_request(settings, "DELETE", f"{_keys_of(settings)}/{sids[0]}")
    _print(f"revoked: {key}", {"revoked": sids[0]}, as_json)


@keys.command(
    name="rotate",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline keys rotate", "trunkline keys rotate --days 0", more=SETTINGS_HELP),
)
def rotate_signing_key(
    context: typer.Context,
    days: Annotated[int, typer.Option(help="Until the new key signs; 0: at once, for one that has leaked.")] = 7,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Make a new key for callbacks, and print the public keys that receivers should accept."""
    settings = load_settings(context, config).settings
    made = operator_request(settings, "POST", "/v2/trunkline/signing_key", {"days": days})["data"]
    _print("\n".join(made["accepted"]), made, as_json)
    if made["next_from"] and not as_json:
        typer.echo(f"the second signs from {made['next_from']}", err=True)


@accounts.command(
    name="create",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline accounts create acme --json", more=SETTINGS_HELP),
)
def create_account(context: typer.Context, name: str, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Create an account and print it with its first key, which is not shown again."""
    made = operator_request(load_settings(context, config).settings, "POST", ACCOUNTS, {"name": name})["data"]
    text = f"TRUNKLINE_ACCOUNT_SID={made['account_sid']}\nTRUNKLINE_API_KEY={made['api_key']}"
    _print(text, made, as_json)


@accounts.command(
    name="list",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline accounts list", more=SETTINGS_HELP),
)
def list_accounts(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """List all accounts, oldest first."""
    found = operator_request(load_settings(context, config).settings, "GET", ACCOUNTS)["data"]
    _show(found, ("account_sid", "name", "created_at"), as_json)


@accounts.command(
    name="remove",
    cls=SettingsCommand,
    context_settings=ANY_SETTING,
    epilog=examples("trunkline accounts remove 4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e", more=SETTINGS_HELP),
)
def remove_account(context: typer.Context, sid: str, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Remove an account with its keys and applications. It must have no call that is up."""
    path = f"{ACCOUNTS}/{quote(sid, safe='')}"
    operator_request(load_settings(context, config).settings, "DELETE", path, unknown=f"{sid} is unknown")
    _print(f"removed: {sid}", {"removed": sid}, as_json)


def _keys_of(settings: Settings) -> str:
    """The path of the keys of the account that is meant. Raises StartupError."""
    sid = settings.account_sid
    if sid is None:
        found = operator_request(settings, "GET", ACCOUNTS)["data"]
        if len(found) != 1:
            raise StartupError(f"there are {len(found)} accounts: say which by --account_sid")
        sid = found[0]["account_sid"]
    return f"{ACCOUNTS}/{quote(str(sid), safe='')}/keys"


def _found(settings: Settings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = operator_request(settings, "GET", _keys_of(settings))["data"]
    return found


def _show(rows: Sequence[dict[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_rows(columns, [[row[column] for column in columns] for row in rows])


def _print(text: str, data: object, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        typer.echo(text)
