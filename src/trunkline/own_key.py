"""The command line's own API key: a file in the store's directory, made with the operator's key when it is needed, so
that commands need no key on the server's machine.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trunkline.config import Settings
from trunkline.drain import find
from trunkline.errors import StartupError

FILE = "command-line.key"
NAME = "command line"
"""Of the key."""
ACCOUNTS = "/v2/trunkline/accounts"
UNSET = "set account_sid and api_key (TRUNKLINE_ACCOUNT_SID, TRUNKLINE_API_KEY) to the server's"

Ask = Callable[..., dict[str, Any]]
"""`operator_request` of `client.py`."""


class SeveralAccounts(StartupError):
    """The server has none, or several."""


def credentials(settings: Settings, ask: Ask, *, fresh: bool = False) -> tuple[str, str]:
    """The account and an API key of it: those of the settings, else the key that was made, else a new one. `fresh`:
    what was made is valid no more. Raises StartupError."""
    account, key = settings.account_sid, settings.api_key
    if account is not None and key is not None:
        return account, key
    if key is not None:
        raise StartupError(UNSET)
    file = settings.store.directory.expanduser() / FILE
    kept = {} if fresh else read(file)
    if account is None and len(kept) == 1:
        return next(iter(kept.items()))
    if account is not None and account in kept:
        return account, kept[account]
    try:
        account, key = _make(settings, ask, account)
    except SeveralAccounts:
        raise
    except StartupError as error:
        raise StartupError(_why_not(settings, error)) from None
    write(file, kept | {account: key})
    return account, key


def _why_not(settings: Settings, error: StartupError) -> str:
    """Why there is no key, with what to do."""
    try:
        find(settings.store.directory)
    except StartupError as none:
        return f"{none}: start one, or say which one by --http.host and --http.port, --account_sid and --api_key"
    return f"{UNSET}, or run this as the server's user: {error}"


def _make(settings: Settings, ask: Ask, account: str | None) -> tuple[str, str]:
    if account is None:
        found = ask(settings, "GET", ACCOUNTS)["data"]
        if len(found) != 1:
            raise SeveralAccounts(f"there are {len(found)} accounts: say which by --account_sid")
        account = str(found[0]["account_sid"])
    keys = f"{ACCOUNTS}/{account}/keys"
    for key in ask(settings, "GET", keys, unknown=f"account {account} is unknown")["data"]:
        if key["name"] == NAME:
            ask(settings, "DELETE", f"{keys}/{key['id']}")
    return account, str(ask(settings, "POST", keys, {"name": NAME, "scope": "full"})["data"]["api_key"])


def read(file: Path) -> dict[str, str]:
    """The keys by their accounts; none if there is no such file, or it is not ours."""
    try:
        kept = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    whole = isinstance(kept, dict) and all(isinstance(key, str) for key in kept.values())
    return kept if whole else {}


def write(file: Path, keys: dict[str, str]) -> None:
    """Keep keys by their accounts. Raises StartupError."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            json.dump(keys, opened)
        fresh.rename(file)
    except OSError as error:
        raise StartupError(f"cannot write {file}: {error.strerror}") from None
