"""`Accounts` for the API: changes go into the store, which has all accounts and keys in memory too."""

import asyncio
import secrets
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import Protocol

import structlog

from trunkline.calls.accounts import CONSOLE, FIRST_KEY, AccountView, ApiKey, NewKey, Scope
from trunkline.calls.views import Application
from trunkline.control.waits import answered, written
from trunkline.errors import InvalidRequest, ResourceNotFound
from trunkline.ids import AccountSid
from trunkline.store.accounts import StoredAccounts, hash_of
from trunkline.store.store import STORE_ERRORS

ACCOUNT_LIMIT = 1000
KEY_LIMIT = 100
"""Of one account, besides those of the console. All are in memory."""
CONSOLE_KEY_LIMIT = 20
"""Of one account: logins at the console at once. One more ends the oldest."""
USE_INTERVAL = timedelta(minutes=1)
"""A key's last use is as old as this at most."""
REVOCATION_INTERVAL = 2.0
"""Seconds after which a revocation that is not stored is tried again."""
LAST_WRITE = 1.0
"""Seconds for what is not stored when the server ends."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class AccountApplications(Protocol):
    """What is asked of the directory."""

    def applications(self, account: AccountSid) -> list[Application]:
        """All of an account."""

    def remove(self, sid: str) -> None:
        """Forget one."""


def new_secret() -> str:
    """A new API key."""
    return "KEY" + secrets.token_urlsafe(32)


def first_key(account: AccountSid) -> ApiKey:
    """The key that an account is made with."""
    return ApiKey(str(uuid.uuid4()), account, FIRST_KEY, "full", datetime.now(UTC))


class AccountService:
    """The one `Accounts`."""

    def __init__(
        self,
        stored: StoredAccounts,
        applications: AccountApplications,
        own: AccountSid,
        operator_secret: str,
        live_calls: Callable[[AccountSid], int],
    ) -> None:
        """`own` is the account of inbound calls, which stays."""
        self._stored = stored
        self._applications = applications
        self._own = own
        self._operator_hash = hash_of(operator_secret)
        self._live_calls = live_calls
        # What is changed is counted before it is written, and other requests come in between.
        self._changing = asyncio.Lock()

    async def store_uses(self) -> None:
        """Store when keys were used; to be done every `USE_INTERVAL`."""
        try:
            await self._stored.write_uses()
        except STORE_ERRORS as error:
            _log.warning("key_uses_not_stored", reason=str(error))

    async def store_revocations(self) -> None:
        """Store the revocations that the database did not take, for which a caller got Unavailable; to be done every
        `REVOCATION_INTERVAL`."""
        try:
            await self._stored.write_revocations()
        except STORE_ERRORS as error:
            _log.warning("key_revocation_not_stored", reason=str(error))

    async def store_last_changes(self) -> None:
        """At the end; without a database the time of a last use is lost, and a revoked key comes back whose caller
        got Unavailable."""
        with suppress(*STORE_ERRORS):
            async with asyncio.timeout(LAST_WRITE):
                await self._stored.write_revocations()
                await self._stored.write_uses()

    def key_of(self, secret: str) -> ApiKey | None:
        """See `Accounts`."""
        key, now = self._stored.by_secret(secret), datetime.now(UTC)
        if key is None or _expired(key, now):
            return None
        if key.last_used_at is None or now - key.last_used_at >= USE_INTERVAL:
            self._stored.note_use(key, now)
        return key

    def is_valid(self, sid: str) -> bool:
        """See `Accounts`."""
        key = self._stored.key(sid)
        return key is not None and not _expired(key, datetime.now(UTC))

    def is_operator(self, secret: str) -> bool:
        """See `Accounts`."""
        return compare_digest(hash_of(secret), self._operator_hash)

    def keys(self, account: AccountSid) -> Sequence[ApiKey]:
        """See `Accounts`."""
        self._known(account)
        return self._stored.keys(account)

    async def create_key(self, account: AccountSid, name: str, scope: Scope, expires_at: datetime | None) -> NewKey:
        """See `Accounts`."""
        async with self._changing:
            if name.startswith(CONSOLE):
                raise InvalidRequest(f"Names that begin with '{CONSOLE}' are those of logins.", pointer="/name")
            if expires_at is not None and expires_at <= datetime.now(UTC):
                raise InvalidRequest("expires_at must be in the future", pointer="/expires_at")
            keys = await self._keys_left(account)
            if sum(not key.name.startswith(CONSOLE) for key in keys) >= KEY_LIMIT:
                raise InvalidRequest(f"An account may have {KEY_LIMIT} keys.")
            return await self._add_key(keys, account, name, scope, expires_at)

    async def create_console_key(self, account: AccountSid, name: str, expires_at: datetime) -> NewKey:
        """See `Accounts`."""
        async with self._changing:
            keys = await self._keys_left(account)
            mine = [key for key in keys if key.name.startswith(CONSOLE)]
            for key in mine[: max(0, len(mine) + 1 - CONSOLE_KEY_LIMIT)]:
                await written(self._stored.delete_key(key.sid))
            return await self._add_key(keys, account, name, "full", expires_at)

    async def _keys_left(self, account: AccountSid) -> Sequence[ApiKey]:
        """The keys of an account, once those that have expired are deleted."""
        now = datetime.now(UTC)
        for key in self.keys(account):
            if _expired(key, now):
                await written(self._stored.delete_key(key.sid))
        return self.keys(account)

    async def _add_key(
        self, keys: Sequence[ApiKey], account: AccountSid, name: str, scope: Scope, expires_at: datetime | None
    ) -> NewKey:
        if any(key.name == name for key in keys):
            raise InvalidRequest("The account has a key of this name.", pointer="/name")
        key = ApiKey(str(uuid.uuid4()), account, name, scope, datetime.now(UTC), expires_at)
        new = NewKey(key, new_secret())
        await answered(self._stored.add_key(new.key, new.secret))
        return new

    async def revoke_key(self, account: AccountSid, sid: str) -> ApiKey:
        """See `Accounts`."""
        key = next((key for key in self.keys(account) if key.sid == sid), None)
        if key is None:
            raise ResourceNotFound
        await written(self._stored.delete_key(sid))
        return key

    def accounts(self) -> Sequence[AccountView]:
        """See `Accounts`."""
        return self._stored.accounts

    async def create_account(self, name: str) -> tuple[AccountView, NewKey]:
        """See `Accounts`."""
        async with self._changing:
            if len(self._stored.accounts) >= ACCOUNT_LIMIT:
                raise InvalidRequest(f"There may be {ACCOUNT_LIMIT} accounts.")
            account = AccountView(AccountSid(str(uuid.uuid4())), name, datetime.now(UTC))
            new = NewKey(first_key(account.sid), new_secret())
            await answered(self._stored.add_account(account, new.key, new.secret))
            return account, new

    async def delete_account(self, sid: AccountSid) -> AccountView:
        """See `Accounts`."""
        async with self._changing:
            account = self._known(sid)
            if sid == self._own:
                raise InvalidRequest("This is the account of inbound calls, of which a server has one.")
            if live := self._live_calls(sid):
                raise InvalidRequest(f"The account has {live} calls that are up: end them first.")
            await written(self._stored.delete_account(sid))
            for application in self._applications.applications(sid):
                self._applications.remove(application.sid)
            return account

    def _known(self, sid: AccountSid) -> AccountView:
        account = self._stored.account(sid)
        if account is None:
            raise ResourceNotFound
        return account


def _expired(key: ApiKey, now: datetime) -> bool:
    return key.expires_at is not None and key.expires_at <= now
