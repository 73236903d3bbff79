"""Accounts and API keys: in the database, and all of them in memory, since every request asks for its key.

Only this server adds any. A key is kept as its SHA-256 in hex, so that a copy of the database gives no access, and
looked up by it, so that timing reveals nothing about the keys.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from trunkline.calls.accounts import FIRST_KEY, AccountView, ApiKey
from trunkline.errors import StartupError
from trunkline.ids import AccountSid
from trunkline.store import tables

Transaction = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
_ACCOUNTS, _KEYS = tables.accounts, tables.api_keys


class StoredAccounts:
    """All accounts and keys. Writing raises `STORE_ERRORS` when the database fails."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._accounts: dict[AccountSid, AccountView] = {}
        """Oldest first."""
        self._keys: dict[str, ApiKey] = {}
        """By sid, oldest first; also those whose revocation is not stored yet."""
        self._by_hash: dict[str, str] = {}
        """Sids of the keys that are not revoked."""
        self._hashes: dict[str, str] = {}
        """The same the other way round."""
        self._used: dict[str, datetime] = {}
        """Uses that are not stored yet; at most one of each key."""

    async def load(self, connection: AsyncConnection) -> None:
        """Read everything."""
        rows = (await connection.execute(select(_ACCOUNTS).order_by(_ACCOUNTS.c.created_at))).mappings()
        self._accounts = {account.sid: account for account in (AccountView(**row) for row in rows)}
        for row in (await connection.execute(select(_KEYS).order_by(_KEYS.c.created_at))).mappings():
            values = dict(row)
            key_hash = values.pop("key_hash")
            self._keep(ApiKey(**values), key_hash)

    def _keep(self, key: ApiKey, key_hash: str) -> None:
        self._keys[key.sid] = key
        self._by_hash[key_hash], self._hashes[key.sid] = key.sid, key_hash

    # Accounts.

    @property
    def accounts(self) -> list[AccountView]:
        """All, oldest first."""
        return list(self._accounts.values())

    def account(self, sid: AccountSid) -> AccountView | None:
        """One account."""
        return self._accounts.get(sid)

    async def add_account(self, account: AccountView, key: ApiKey, secret: str) -> None:
        """Add an account with its first key; an account that is there gets the key in place of its first one, and stays
        as it is otherwise.

        Raises StartupError when the key is another account's.
        """
        key_hash, before = hash_of(secret), self.by_secret(secret)
        if before is not None and (before.account_sid, before.name) == (account.sid, FIRST_KEY):
            return
        mine = _KEYS.c.account_sid == account.sid
        replaced = delete(_KEYS).where(mine, or_(_KEYS.c.name == FIRST_KEY, _KEYS.c.key_hash == key_hash))
        try:
            async with self._transaction() as connection:
                if account.sid not in self._accounts:
                    await connection.execute(insert(_ACCOUNTS).values(_row(account)))
                await connection.execute(replaced)
                await connection.execute(insert(_KEYS).values(_row(key) | {"key_hash": key_hash}))
        except IntegrityError as error:
            raise StartupError("account: this API key already belongs to another account") from error
        self._accounts.setdefault(account.sid, account)
        for old in self.keys(account.sid):
            if old.name == FIRST_KEY or self._hashes.get(old.sid) == key_hash:
                self._forget(old.sid)
        self._keep(key, key_hash)

    async def delete_account(self, sid: AccountSid) -> None:
        """Delete an account with its keys, which are not valid from now on, and its applications."""
        keys = [key.sid for key in self.keys(sid)]
        self._revoke(keys)
        async with self._transaction() as connection:
            for table in (_KEYS, tables.applications):
                await connection.execute(delete(table).where(table.c.account_sid == sid))
            await connection.execute(delete(_ACCOUNTS).where(_ACCOUNTS.c.sid == sid))
        for key in keys:
            self._forget(key)
        self._accounts.pop(sid, None)

    # Keys.

    def by_secret(self, secret: str) -> ApiKey | None:
        """The key that is not revoked, with that secret."""
        sid = self._by_hash.get(hash_of(secret))
        return None if sid is None else self._keys[sid]

    def key(self, sid: str) -> ApiKey | None:
        """A key that is not revoked."""
        return self._keys[sid] if sid in self._hashes else None

    def keys(self, account: AccountSid) -> list[ApiKey]:
        """All keys of an account, oldest first; also one whose revocation is not stored yet."""
        return [key for key in self._keys.values() if key.account_sid == account]

    async def add_key(self, key: ApiKey, secret: str) -> None:
        """Add a key."""
        key_hash = hash_of(secret)
        async with self._transaction() as connection:
            await connection.execute(insert(_KEYS).values(_row(key) | {"key_hash": key_hash}))
        self._keep(key, key_hash)

    async def delete_key(self, sid: str) -> None:
        """Delete a key, which is not valid from now on, also where the database fails; `write_revocations` stores it
        then. May be repeated."""
        self._revoke([sid])
        async with self._transaction() as connection:
            await connection.execute(delete(_KEYS).where(_KEYS.c.sid == sid))
        self._forget(sid)

    async def write_revocations(self) -> None:
        """Store the revocations that the database has not taken yet."""
        left = [sid for sid in self._keys if sid not in self._hashes]
        if left:
            async with self._transaction() as connection:
                await connection.execute(delete(_KEYS).where(_KEYS.c.sid.in_(left)))
            for sid in left:
                self._forget(sid)

    def note_use(self, key: ApiKey, now: datetime) -> None:
        """A key was used; `write_uses` stores it."""
        self._keys[key.sid] = replace(key, last_used_at=now)
        self._used[key.sid] = now

    async def write_uses(self) -> None:
        """Store the uses since the last time."""
        used, self._used = self._used, {}
        if not used:
            return
        statement = update(_KEYS).where(_KEYS.c.sid == bindparam("of")).values(last_used_at=bindparam("at"))
        try:
            async with self._transaction() as connection:
                await connection.execute(statement, [{"of": sid, "at": at} for sid, at in used.items()])
        except BaseException:
            self._used = used | self._used
            raise

    def _revoke(self, sids: Iterable[str]) -> None:
        for sid in sids:
            key_hash = self._hashes.pop(sid, None)
            if key_hash is not None:
                del self._by_hash[key_hash]

    def _forget(self, sid: str) -> None:
        self._revoke([sid])
        self._keys.pop(sid, None)
        self._used.pop(sid, None)


def hash_of(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _row(value: AccountView | ApiKey) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__slots__}
