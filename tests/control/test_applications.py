"""Applications as the API changes them, on a real directory and a real SQLite file."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from control.bench import ACCOUNT, BOT, NOW, Bench
from trunkline.calls.directory import Directory
from trunkline.calls.views import Application
from trunkline.config import Settings
from trunkline.control.applications import ApplicationService
from trunkline.errors import InvalidRequest, ResourceNotFound, StartupError, Unavailable
from trunkline.ids import AccountSid

APPLICATION_LIMIT = 1000

OTHER_ACCOUNT = AccountSid("5f1c9d2e-0000-4000-8000-000000000002")
WANTED = {"friendly_name": "router", "voice_url": "http://c/v"}


@pytest.fixture
def service(bench: Bench) -> ApplicationService:
    return ApplicationService(bench.directory, bench.store, bench.destinations)


async def test_a_new_application_is_stored_and_takes_calls(bench: Bench, service: ApplicationService) -> None:
    made = await service.create(ACCOUNT, {**WANTED, "other": {"tags": ["a"], "inbound": {"channel_limit": 1}}})
    assert made == Application(
        sid=made.sid,
        account_sid=ACCOUNT,
        friendly_name="router",
        voice_url="http://c/v",
        voice_method="POST",
        voice_fallback_url=None,
        status_callback=None,
        status_callback_method="POST",
        active=True,
        created_at=made.created_at,
        updated_at=made.created_at,
        other={"tags": ["a"], "inbound": {"channel_limit": 1}},
    )
    assert made.sid.isdecimal()
    assert len(made.sid) == 19
    assert made.created_at.tzinfo is not None
    assert await bench.store.applications() == [made]
    assert await service.application(ACCOUNT, made.sid) == made
    assert made in await service.applications(ACCOUNT)
    assert (await service.create(ACCOUNT, WANTED)).sid != made.sid


async def test_an_update_changes_what_is_given_and_the_time(bench: Bench, service: ApplicationService) -> None:
    given = {"tags": ["a"], "inbound": {"channel_limit": 1, "sip_subdomain": "x"}}
    made = await service.create(ACCOUNT, {**WANTED, "other": given})
    changed = await service.update(
        ACCOUNT, made.sid, {"active": False, "other": {"tags": [], "inbound": {"channel_limit": 2}}}
    )
    merged = {"tags": [], "inbound": {"channel_limit": 2, "sip_subdomain": "x"}}
    assert changed == replace(made, active=False, updated_at=changed.updated_at, other=merged)
    assert changed.updated_at > made.updated_at
    assert await bench.store.applications() == [changed]
    assert await service.application(ACCOUNT, made.sid) == changed
    assert made.other == given, "a value that was handed out stays as it was"


async def test_a_deleted_application_is_gone_from_both(bench: Bench, service: ApplicationService) -> None:
    made = await service.create(ACCOUNT, WANTED)
    assert await service.delete(ACCOUNT, made.sid) == made
    assert await bench.store.applications() == []
    with pytest.raises(ResourceNotFound):
        await service.application(ACCOUNT, made.sid)


async def test_an_application_is_its_accounts_alone(bench: Bench, service: ApplicationService) -> None:
    made = await service.create(ACCOUNT, WANTED)
    assert await service.applications(OTHER_ACCOUNT) == []
    for asked in (
        service.application(OTHER_ACCOUNT, made.sid),
        service.update(OTHER_ACCOUNT, made.sid, {"active": False}),
        service.delete(OTHER_ACCOUNT, made.sid),
        service.delete(ACCOUNT, "7"),
    ):
        with pytest.raises(ResourceNotFound):
            await asked
    assert await bench.store.applications() == [made]


async def test_one_of_the_configuration_stays_as_it_is(bench: Bench, service: ApplicationService) -> None:
    before = await service.application(ACCOUNT, BOT)
    for asked in (service.update(ACCOUNT, BOT, {"active": False}), service.delete(ACCOUNT, BOT)):
        with pytest.raises(InvalidRequest, match="comes from the configuration of the server: change it there"):
            await asked
    assert await service.application(ACCOUNT, BOT) == before
    assert await bench.store.applications() == []


async def test_one_that_the_configuration_names_can_be_changed_and_not_deleted(
    bench: Bench, service: ApplicationService
) -> None:
    made = await service.create(ACCOUNT, WANTED)
    numbers = [{"pattern": "+3*", "application": made.sid}, {"pattern": "+4*", "application": made.sid}]
    bench.directory.take(Settings.model_validate({"numbers": numbers}), NOW)
    with pytest.raises(InvalidRequest, match=r"still has this application for number '\+3\*', number '\+4\*'\.$"):
        await service.delete(ACCOUNT, made.sid)
    assert (await service.update(ACCOUNT, made.sid, {"active": False})).active is False
    with pytest.raises(StartupError):
        Directory(Settings.model_validate({"numbers": numbers}), ACCOUNT, (), NOW)


async def test_changes_at_once_lose_nothing(service: ApplicationService) -> None:
    made = await service.create(ACCOUNT, WANTED)
    changes: list[dict[str, Any]] = [{"active": False}, {"voice_method": "GET"}, {"other": {"tags": ["a"]}}]
    await asyncio.gather(*(service.update(ACCOUNT, made.sid, one) for one in changes))
    after = await service.application(ACCOUNT, made.sid)
    assert (after.active, after.voice_method, after.other) == (False, "GET", {"tags": ["a"]})


async def test_what_the_store_does_not_take_has_not_happened(bench: Bench, service: ApplicationService) -> None:
    made = await service.create(ACCOUNT, WANTED)
    with closing(sqlite3.connect(bench.settings.store.directory / "trunkline.db")) as broken:
        broken.execute("DROP TABLE applications")
    asked: list[Callable[[], Awaitable[Application]]] = [
        lambda: service.create(ACCOUNT, WANTED),
        lambda: service.update(ACCOUNT, made.sid, {"active": False}),
        lambda: service.delete(ACCOUNT, made.sid),
    ]
    for change in asked:
        with pytest.raises(Unavailable, match="does not answer") as refused:
            await change()
        assert refused.value.retry_after == 2
    assert await service.application(ACCOUNT, made.sid) == made
    assert len(await service.applications(ACCOUNT)) == 2


async def test_an_account_has_at_most_a_thousand(bench: Bench, service: ApplicationService) -> None:
    blank = await service.create(ACCOUNT, WANTED)
    for number in range(APPLICATION_LIMIT - 3):
        bench.directory.put(replace(blank, sid=str(number)))
    assert len(await service.applications(ACCOUNT)) == 999
    await service.create(ACCOUNT, WANTED)
    with pytest.raises(InvalidRequest, match="may have 1000 applications"):
        await service.create(ACCOUNT, WANTED)
    assert (await service.create(OTHER_ACCOUNT, WANTED)).account_sid == OTHER_ACCOUNT


@pytest.mark.parametrize("name", ["voice_url", "voice_fallback_url", "status_callback"])
async def test_no_url_of_an_application_is_one_that_may_not_be_requested(
    bench: Bench, service: ApplicationService, name: str
) -> None:
    made = await service.create(ACCOUNT, WANTED)
    denied = {name: "http://169.254.169.254/"}
    for refused in (service.create(ACCOUNT, {**WANTED, **denied}), service.update(ACCOUNT, made.sid, denied)):
        with pytest.raises(InvalidRequest) as refusal:
            await refused
        assert refusal.value.pointer == f"/{name}"
    assert await bench.store.applications() == [made]
