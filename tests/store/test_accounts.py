"""Accounts and keys, in both databases and after a restart."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from trunkline.calls.accounts import AccountView, ApiKey
from trunkline.config import StoreSettings
from trunkline.errors import Fenced, StartupError
from trunkline.ids import AccountSid
from trunkline.store.accounts import hash_of
from trunkline.store.location import database_url, prepare_directory
from trunkline.store.schema import upgrade
from trunkline.store.store import Store

Opener = Callable[[], Awaitable[Store]]
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
FIRST, SECOND = AccountSid("acc-1"), AccountSid("acc-2")


def _account(sid: AccountSid, at: float = 0) -> AccountView:
    return AccountView(sid, f"name of {sid}", NOON + timedelta(seconds=at))


def _key(sid: str, account: AccountSid = FIRST, name: str = "first") -> ApiKey:
    return ApiKey(sid, account, name, "full", NOON)


async def _two(store: Store) -> None:
    await store.accounts.add_account(_account(FIRST), _key("k1"), "KEY-one")
    await store.accounts.add_account(_account(SECOND, 1), _key("k2", SECOND), "KEY-two")


async def test_keys_belong_to_accounts_and_only_their_hash_is_kept(
    open_store: Opener, any_settings: StoreSettings
) -> None:
    store = await open_store()
    await _two(store)
    calls_key = replace(_key("k3", name="calls"), scope="calls", expires_at=NOON + timedelta(days=1))
    await store.accounts.add_key(calls_key, "KEY-three")
    for again in (store, await open_store()):
        assert again.accounts.accounts == [_account(FIRST), _account(SECOND, 1)]
        assert again.accounts.keys(FIRST) == [_key("k1"), calls_key]
        assert again.accounts.by_secret("KEY-three") == calls_key
        assert again.accounts.by_secret("KEY-two") == _key("k2", SECOND)
        assert again.accounts.by_secret("KEY-four") is None
    if any_settings.url is None:
        assert b"KEY-" not in (any_settings.directory / "trunkline.db").read_bytes()


async def test_a_configured_key_replaces_the_first_one_and_no_other(open_store: Opener) -> None:
    store = await open_store()
    await _two(store)
    await store.accounts.add_key(_key("k3", name="mine"), "KEY-mine")
    await store.accounts.add_account(AccountView(FIRST, "", NOON), _key("k4"), "KEY-new")
    for again in (store, await open_store()):
        assert again.accounts.accounts == [_account(FIRST), _account(SECOND, 1)]
        assert again.accounts.by_secret("KEY-one") is None
        found = [again.accounts.by_secret(secret) for secret in ("KEY-new", "KEY-mine", "KEY-two")]
        assert [key and key.sid for key in found] == ["k4", "k3", "k2"]
    await store.accounts.add_account(AccountView(FIRST, "", NOON), _key("k5"), "KEY-new")
    assert [key.sid for key in store.accounts.keys(FIRST)] == ["k3", "k4"]


async def test_a_key_cannot_serve_two_accounts(store: Store) -> None:
    await _two(store)
    with pytest.raises(StartupError, match="already belongs to another account"):
        await store.accounts.add_account(_account(SECOND), _key("k3", SECOND), "KEY-one")
    assert store.accounts.by_secret("KEY-one") == _key("k1")
    assert store.accounts.by_secret("KEY-two") == _key("k2", SECOND)


async def test_a_revoked_key_is_gone_for_good(open_store: Opener) -> None:
    store = await open_store()
    await _two(store)
    await store.accounts.delete_key("k1")
    for again in (store, await open_store()):
        assert again.accounts.by_secret("KEY-one") is None
        assert again.accounts.key("k1") is None
        assert again.accounts.keys(FIRST) == []
        assert again.accounts.key("k2") is not None


async def test_a_revocation_that_is_not_stored_is_in_force_and_can_be_repeated(open_store: Opener) -> None:
    store = await open_store()
    await _two(store)
    life, store.fence.life = store.fence.life, "another"
    with pytest.raises(Fenced):
        await store.accounts.delete_key("k1")
    assert store.accounts.by_secret("KEY-one") is None
    assert [key.sid for key in store.accounts.keys(FIRST)] == ["k1"]
    store.fence.life = life
    await store.accounts.delete_key("k1")
    assert store.accounts.keys(FIRST) == []


async def test_a_revocation_that_is_not_stored_is_stored_later(open_store: Opener) -> None:
    store = await open_store()
    await _two(store)
    life, store.fence.life = store.fence.life, "another"
    for write in (store.accounts.delete_key("k1"), store.accounts.write_revocations()):
        with pytest.raises(Fenced):
            await write
    store.fence.life = life
    await store.accounts.write_revocations()
    assert store.accounts.keys(FIRST) == []
    again = await open_store()
    assert again.accounts.keys(FIRST) == []
    assert again.accounts.by_secret("KEY-two") is not None


async def test_a_deleted_account_takes_its_keys_with_it(open_store: Opener) -> None:
    store = await open_store()
    await _two(store)
    await store.accounts.delete_account(FIRST)
    for again in (store, await open_store()):
        assert again.accounts.accounts == [_account(SECOND, 1)]
        assert again.accounts.by_secret("KEY-one") is None
        assert again.accounts.by_secret("KEY-two") is not None


async def test_uses_are_stored_together(open_store: Opener) -> None:
    store = await open_store()
    await _two(store)
    at = NOON + timedelta(hours=1)
    for secret in ("KEY-one", "KEY-two"):
        key = store.accounts.by_secret(secret)
        assert key is not None
        store.accounts.note_use(key, at)
    await store.accounts.write_uses()
    for again in (store, await open_store()):
        assert [again.accounts.keys(account)[0].last_used_at for account in (FIRST, SECOND)] == [at, at]


async def test_the_key_of_an_older_database_stays_valid(any_settings: StoreSettings) -> None:
    url = database_url(any_settings, prepare_directory(any_settings.directory))
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade, "0008")
        insert = text("INSERT INTO accounts (sid, key_hash, created_at) VALUES ('acc-1', :hash, CURRENT_TIMESTAMP)")
        await connection.execute(insert, {"hash": hash_of("KEY-one")})
    await engine.dispose()
    store = await Store.open(any_settings)
    try:
        key = store.accounts.by_secret("KEY-one")
        assert key is not None
        assert (key.account_sid, key.name, key.scope, key.expires_at) == (FIRST, "first", "full", None)
        assert [account.sid for account in store.accounts.accounts] == [FIRST]
    finally:
        await store.close()
