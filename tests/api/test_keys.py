"""Keys over HTTP: what each may do, and that a revoked one does nothing more."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx
import pytest

from api.conftest import ACCOUNT, KEY, OPERATORS_KEY, until
from trunkline.api.app import ApiApplication
from trunkline.api.server import HttpServer
from trunkline.calls.accounts import Scope
from trunkline.config import HttpSettings
from trunkline.control.accounts import AccountService

if TYPE_CHECKING:
    from api.conftest import MemoryCalls

CALL_BODY = {"To": "+15551234567", "From": "+15557654321", "Url": "http://app.example/"}


def _with(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    ("scope", "statuses"),
    [("full", [200, 200, 200, 200]), ("calls", [200, 200, 403, 403]), ("read", [200, 403, 200, 403])],
)
async def test_a_scope_allows_what_the_page_says(
    anonymous: httpx.AsyncClient, accounts: AccountService, calls_path: str, scope: Scope, statuses: list[int]
) -> None:
    new = await accounts.create_key(ACCOUNT, "scoped", scope, None)
    asked = (
        ("GET", calls_path, None),
        ("POST", calls_path, CALL_BODY),
        ("GET", "/v2/texml_applications", None),
        ("GET", "/v2/trunkline/keys", None),
    )
    answers = [
        await anonymous.request(method, path, json=body, headers=_with(new.secret)) for method, path, body in asked
    ]
    assert [answer.status_code for answer in answers] == statuses
    for answer in answers:
        if answer.status_code == 403:
            error = answer.json()["errors"][0]
            assert (error["code"], error["title"]) == ("10010", "Authorization failed")
            assert answer.headers["x-should-retry"] == "false"


async def test_only_a_full_key_calls_by_any_trunk(
    anonymous: httpx.AsyncClient, accounts: AccountService, control: "MemoryCalls", calls_path: str
) -> None:
    new = await accounts.create_key(ACCOUNT, "calls", "calls", None)
    for secret in (KEY, new.secret):
        assert (await anonymous.post(calls_path, json=CALL_BODY, headers=_with(secret))).status_code == 200
    assert control.restricted == [False, True]


async def test_a_key_revoked_while_its_request_is_read_places_no_call(
    anonymous: httpx.AsyncClient, accounts: AccountService, control: "MemoryCalls", calls_path: str
) -> None:
    new = await accounts.create_key(ACCOUNT, "leaked", "full", None)
    begun, revoked = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"To": "+15551234567", "From": "+15557654321", '
        begun.set()
        await revoked.wait()
        yield b'"Url": "http://app.example/"}'

    headers = {**_with(new.secret), "content-type": "application/json"}
    posted = asyncio.create_task(anonymous.post(calls_path, content=body(), headers=headers))
    await until(lambda: begun.is_set() and accounts.keys(ACCOUNT)[-1].last_used_at is not None)  # it is admitted
    path = f"/v2/trunkline/keys/{new.key.sid}"
    assert (await anonymous.delete(path, headers=_with(KEY))).status_code == 200
    revoked.set()
    assert (await posted).status_code == 401
    assert control.placed == []
    assert (await anonymous.get(calls_path, headers=_with(new.secret))).status_code == 401


async def test_accounts_are_the_operators(anonymous: httpx.AsyncClient, calls_path: str) -> None:
    path = "/v2/trunkline/accounts"
    assert (await anonymous.get(path, headers=_with(KEY))).status_code == 403
    operator = _with(OPERATORS_KEY)
    made = (await anonymous.post(path, json={"name": "acme"}, headers=operator)).json()["data"]
    assert (await anonymous.get(f"{path}/{made['account_sid']}/keys", headers=_with(KEY))).status_code == 404
    keys = (await anonymous.get(f"{path}/{made['account_sid']}/keys", headers=operator)).json()["data"]
    assert [key["name"] for key in keys] == ["first"]
    theirs = calls_path.replace(ACCOUNT, made["account_sid"])
    assert (await anonymous.get(theirs, headers=_with(made["api_key"]))).status_code == 200
    assert (await anonymous.get(theirs, headers=operator)).status_code == 403
    assert (await anonymous.delete(f"{path}/{made['account_sid']}", headers=operator)).status_code == 200
    assert (await anonymous.get(theirs, headers=_with(made["api_key"]))).status_code == 401


@pytest.mark.parametrize("settings", [HttpSettings(port=0, operators_port=0)])
async def test_a_port_of_their_own_has_what_is_the_operators(
    app: ApiApplication, anonymous: httpx.AsyncClient, settings: HttpSettings, calls_path: str
) -> None:
    assert app.operators is not None
    theirs = HttpServer(app.operators, settings)
    await theirs.start()
    try:
        url = f"http://127.0.0.1:{theirs.port}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False) as operators:
            accounts = "/v2/trunkline/accounts"
            for path in ("/metrics", "/docs", "/openapi.json", "/asyncapi.json", accounts):
                assert (await anonymous.get(path, headers=_with(OPERATORS_KEY))).status_code == 404
                assert (await operators.get(path, headers=_with(OPERATORS_KEY))).status_code == 200
            assert (await operators.get(accounts)).status_code == 401
            for client, status in ((anonymous, 200), (operators, 404)):
                assert (await client.get(calls_path, headers=_with(KEY))).status_code == status
                assert (await client.get("/readyz")).status_code == 200
    finally:
        await theirs.stop(grace=1)


@pytest.mark.parametrize("settings", [HttpSettings(port=0, operators_need_key=True)])
async def test_what_operators_look_at_needs_their_key_if_the_settings_say_so(anonymous: httpx.AsyncClient) -> None:
    for path in ("/metrics", "/docs", "/openapi.json", "/asyncapi.json"):
        for headers, status in ((None, 401), (_with(KEY), 403), (_with(OPERATORS_KEY), 200)):
            assert (await anonymous.get(path, headers=headers)).status_code == status
    for path in ("/healthz", "/readyz", "/readyz/api"):
        assert (await anonymous.get(path)).status_code == 200
