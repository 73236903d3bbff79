"""What is asked of accounts and keys, over a database that only takes."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from api.conftest import (
    ACCOUNT,
    KEY,
    OPERATORS_KEY,
    OTHER_ACCOUNT,
    MemoryCalls,
    Nowhere,
    accounts,
    control,
    database,
    directory,
    store,
    until,
)
from trunkline.calls.directory import Directory
from trunkline.control.accounts import AccountService
from trunkline.errors import InvalidRequest, ResourceNotFound, Unavailable

KEY_LIMIT, CONSOLE_KEY_LIMIT = 100, 20

__all__ = ["accounts", "control", "database", "directory", "store"]


async def test_a_key_is_valid_until_it_expires(accounts: AccountService) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    new = await accounts.create_key(ACCOUNT, "ci", "calls", soon)
    assert accounts.key_of(new.secret) is not None
    assert accounts.is_valid(new.key.sid)
    assert new.secret not in repr(new)
    await until(lambda: not accounts.is_valid(new.key.sid))
    assert datetime.now(UTC) >= soon
    assert accounts.key_of(new.secret) is None


async def test_a_revoked_key_is_not_valid_even_where_the_database_fails(
    accounts: AccountService, database: Nowhere
) -> None:
    key = accounts.key_of(KEY)
    assert key is not None
    database.failure = OSError("away")
    with pytest.raises(Unavailable):
        await accounts.revoke_key(ACCOUNT, key.sid)
    assert accounts.key_of(KEY) is None
    assert not accounts.is_valid(key.sid)
    database.failure = None
    assert (await accounts.revoke_key(ACCOUNT, key.sid)).sid == key.sid
    with pytest.raises(ResourceNotFound):
        await accounts.revoke_key(ACCOUNT, key.sid)


async def test_a_revocation_that_the_database_did_not_take_is_tried_until_it_does(
    accounts: AccountService, database: Nowhere
) -> None:
    new = await accounts.create_key(ACCOUNT, "ci", "calls", None)
    database.failure = OSError("away")
    with pytest.raises(Unavailable):
        await accounts.revoke_key(ACCOUNT, new.key.sid)
    with capture_logs() as logs:
        await accounts.store_revocations()
    assert [(line["event"], line["reason"]) for line in logs] == [("key_revocation_not_stored", "away")]
    assert new.key.sid in [key.sid for key in accounts.keys(ACCOUNT)]
    database.failure = None
    await accounts.store_revocations()
    assert new.key.sid not in [key.sid for key in accounts.keys(ACCOUNT)]
    written = database.transactions
    await accounts.store_revocations()
    assert database.transactions == written


async def test_no_account_revokes_the_key_of_another(accounts: AccountService) -> None:
    key = accounts.key_of(KEY)
    assert key is not None
    with pytest.raises(ResourceNotFound):
        await accounts.revoke_key(OTHER_ACCOUNT, key.sid)
    assert accounts.is_valid(key.sid)


async def test_names_of_keys_are_unique_in_an_account_and_their_number_is_bounded(accounts: AccountService) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await accounts.create_key(ACCOUNT, "first", "full", None)
    assert refusal.value.pointer == "/name"
    for number in range(KEY_LIMIT - 1):
        await accounts.create_key(ACCOUNT, f"key {number}", "full", None)
        if number == 0:
            with pytest.raises(InvalidRequest, match=r"has a key of this name\."):
                await accounts.create_key(ACCOUNT, "first", "full", None)
    with pytest.raises(InvalidRequest, match="may have 100 keys"):
        await accounts.create_key(ACCOUNT, "one more", "full", None)
    await accounts.create_key(OTHER_ACCOUNT, "one more", "full", None)


async def test_logins_at_the_console_use_up_no_keys_and_the_oldest_ends(accounts: AccountService) -> None:
    later = datetime.now(UTC) + timedelta(hours=12)
    made = [
        (await accounts.create_console_key(ACCOUNT, f"console {number}", later)).key
        for number in range(CONSOLE_KEY_LIMIT + 2)
    ]
    valid = [accounts.is_valid(key.sid) for key in made]
    assert valid == [False] * 2 + [True] * CONSOLE_KEY_LIMIT
    assert (made[-1].scope, made[-1].expires_at) == ("full", later)
    for number in range(KEY_LIMIT - 1):
        await accounts.create_key(ACCOUNT, f"key {number}", "full", None)
    await accounts.create_console_key(ACCOUNT, "console more", later)
    assert not accounts.is_valid(made[2].sid)
    assert len(accounts.keys(ACCOUNT)) == KEY_LIMIT + CONSOLE_KEY_LIMIT
    with pytest.raises(InvalidRequest, match="are those of logins"):
        await accounts.create_key(ACCOUNT, "console ci", "full", None)


async def test_keys_that_have_expired_make_room(accounts: AccountService) -> None:
    for number in range(KEY_LIMIT - 1):
        await accounts.create_key(ACCOUNT, f"key {number}", "full", datetime.now(UTC) + timedelta(seconds=0.5))
    await until(lambda: not any(accounts.is_valid(key.sid) for key in accounts.keys(ACCOUNT)[1:]))
    await accounts.create_key(ACCOUNT, "one more", "full", None)
    assert [key.name for key in accounts.keys(ACCOUNT)] == ["first", "one more"]


async def test_a_key_that_expires_in_the_past_is_refused(accounts: AccountService) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await accounts.create_key(ACCOUNT, "late", "full", datetime.now(UTC))
    assert (refusal.value.pointer, refusal.value.detail) == ("/expires_at", "expires_at must be in the future")


async def test_the_use_of_a_key_is_written_once_a_minute(accounts: AccountService, database: Nowhere) -> None:
    before = datetime.now(UTC)
    uses = {used.last_used_at for used in (accounts.key_of(KEY) for _ in range(3)) if used}
    assert uses == {None, accounts.keys(ACCOUNT)[0].last_used_at}
    used_at = accounts.keys(ACCOUNT)[0].last_used_at
    assert used_at is not None
    assert used_at >= before
    transactions = database.transactions
    await accounts.store_uses()
    await accounts.store_last_changes()
    assert database.transactions == transactions + 1


async def test_an_account_with_live_calls_stays(accounts: AccountService, control: MemoryCalls) -> None:
    with pytest.raises(InvalidRequest, match="1 calls that are up"):
        await accounts.delete_account(OTHER_ACCOUNT)
    control.live.clear()
    await accounts.delete_account(OTHER_ACCOUNT)
    with pytest.raises(ResourceNotFound):
        accounts.keys(OTHER_ACCOUNT)
    with pytest.raises(InvalidRequest, match="account of inbound calls"):
        await accounts.delete_account(ACCOUNT)


async def test_the_operator_is_known_by_one_key(accounts: AccountService) -> None:
    assert accounts.is_operator(OPERATORS_KEY)
    assert not accounts.is_operator(KEY)
    assert not accounts.is_operator("")


async def test_an_account_is_made_with_a_full_key_and_their_number_is_bounded(accounts: AccountService) -> None:
    account, new = await accounts.create_account("acme")
    assert (account.name, new.key.account_sid, new.key.name, new.key.scope) == ("acme", account.sid, "first", "full")
    assert accounts.key_of(new.secret) is not None
    assert re.fullmatch(r"KEY[A-Za-z0-9_-]{43}", new.secret), "256 random bits"
    assert accounts.accounts()[-1] == account
    for number in range(1000 - len(accounts.accounts())):
        await accounts.create_account(str(number))
    with pytest.raises(InvalidRequest, match="may be 1000 accounts"):
        await accounts.create_account("one more")


async def test_the_applications_of_a_deleted_account_go_with_it(
    accounts: AccountService, directory: Directory, control: MemoryCalls
) -> None:
    control.live.clear()
    (theirs, *_) = directory.applications(ACCOUNT)
    other = replace(theirs, sid="1", account_sid=OTHER_ACCOUNT)
    directory.put(other)
    await accounts.delete_account(OTHER_ACCOUNT)
    assert directory.applications(OTHER_ACCOUNT) == []
    assert theirs in directory.applications(ACCOUNT)


async def test_uses_that_cannot_be_stored_are_reported_and_tried_again(
    accounts: AccountService, database: Nowhere
) -> None:
    accounts.key_of(KEY)
    database.failure = OSError("away")
    with capture_logs() as logs:
        await accounts.store_uses()
    assert [(line["event"], line["reason"]) for line in logs] == [("key_uses_not_stored", "away")]
    await accounts.store_last_changes()
    database.failure, transactions = None, database.transactions
    await accounts.store_uses()
    await accounts.store_uses()
    assert database.transactions == transactions + 1
