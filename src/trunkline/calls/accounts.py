"""Accounts and their API keys: the values, and what the API may ask of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from trunkline.ids import AccountSid

Scope = Literal["full", "calls", "read"]
"""What a key may do: everything; what concerns calls, streams and recordings; look, and change nothing."""
FIRST_KEY = "first"
"""Name of the key that an account is made with; the setting `api_key` replaces it."""


@dataclass(frozen=True, slots=True)
class AccountView:
    """Whose calls, applications and keys are kept apart."""

    sid: AccountSid
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key, without its secret: only a hash of that is kept."""

    sid: str
    account_sid: AccountSid
    name: str
    """Unique in its account."""
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    """None: never."""
    last_used_at: datetime | None = None
    """To the minute."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, with its secret for this one time."""

    key: ApiKey
    secret: str = field(repr=False)


CONSOLE = "console "
"""How the names of keys begin that logins at the console make; others' do not."""


class Accounts(Protocol):
    """Accounts and keys of one node.

    Those that change something raise `Unavailable` when the store does not take it, and are durable when they return.
    """

    def key_of(self, secret: str) -> ApiKey | None:
        """The key with that secret, if it is valid now; it counts as used."""

    def is_valid(self, sid: str) -> bool:
        """Whether a key is valid now: neither revoked nor expired."""

    def is_operator(self, secret: str) -> bool:
        """Whether it is the operator's key."""

    def keys(self, account: AccountSid) -> Sequence[ApiKey]:
        """All keys of an account, oldest first. Raises ResourceNotFound."""

    async def create_key(self, account: AccountSid, name: str, scope: Scope, expires_at: datetime | None) -> NewKey:
        """Add a key. Raises ResourceNotFound, and InvalidRequest for a name that is taken, a time that is over, or one
        key too many."""

    async def create_console_key(self, account: AccountSid, name: str, expires_at: datetime) -> NewKey:
        """Add a key for one login at the console, in place of the oldest one where there are many. Its name begins with
        `CONSOLE`. Raises ResourceNotFound, and InvalidRequest for a name that is taken."""

    async def revoke_key(self, account: AccountSid, sid: str) -> ApiKey:
        """Revoke a key, at once: requests under way too. Raises ResourceNotFound."""

    def accounts(self) -> Sequence[AccountView]:
        """All accounts, oldest first."""

    async def create_account(self, name: str) -> tuple[AccountView, NewKey]:
        """Add an account with its first key. Raises InvalidRequest for one account too many."""

    async def delete_account(self, sid: AccountSid) -> AccountView:
        """Remove an account with its keys and applications; what is kept of its calls goes when it is old.

        Raises ResourceNotFound, and InvalidRequest for the account of inbound calls and for one with calls that are up.
        """
