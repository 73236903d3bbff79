"""TeXML applications over real HTTP."""

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from api.conftest import ACCOUNT
from trunkline.control.accounts import AccountService
from trunkline.control.applications import APPLICATION_LIMIT, ApplicationService
from trunkline.errors import InvalidRequest
from trunkline.ids import AccountSid

if TYPE_CHECKING:
    from api.conftest import MemoryApplications

PATH = "/v2/texml_applications"
WANTED = {"friendly_name": "call-router", "voice_url": "https://example.com"}
CONFIGURED, NAMED = "7", "1293384261075731499"

DOCUMENTED = {
    "active": False,
    "anchorsite_override": "Amsterdam, Netherlands",
    "call_cost_in_webhooks": False,
    "dtmf_type": "Inband",
    "first_command_timeout": True,
    "first_command_timeout_secs": 10,
    "friendly_name": "call-router",
    "inbound": {
        "channel_limit": 10,
        "shaken_stir_enabled": True,
        "sip_subdomain": "example",
        "sip_subdomain_receive_settings": "only_my_connections",
    },
    "outbound": {"channel_limit": 10, "outbound_voice_profile_id": "1293384261075731499"},
    "status_callback": "https://example.com",
    "status_callback_method": "get",
    "tags": ["tag1", "tag2"],
    "voice_fallback_url": "https://fallback.example.com",
    "voice_method": "get",
    "voice_url": "https://example.com",
}
"""The example of Telnyx's reference of CreateTexmlApplication."""


async def create(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post(PATH, json=WANTED | fields)
    assert response.status_code == 201, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def refusal(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["errors"][0]
    return response.status_code, error["code"], error.get("source", {}).get("pointer")


async def test_the_documented_example_comes_back_whole(client: httpx.AsyncClient, store: "MemoryApplications") -> None:
    response = await client.post(PATH, json=DOCUMENTED)
    assert response.status_code == 201
    data = response.json()["data"]
    assert DOCUMENTED.items() <= data.items()
    assert data["record_type"] == "texml_application"
    assert data["created_at"] == data["updated_at"]
    assert data["created_at"].endswith("Z")
    assert len(data["id"]) == 19
    assert data["id"].isdecimal()
    assert (await client.get(f"{PATH}/{data['id']}")).json() == {"data": data}
    kept = store.kept[data["id"]]
    assert (kept.voice_method, kept.status_callback_method, kept.active) == ("GET", "GET", False)


async def test_lists_and_keys_that_only_read_see_no_user_info_and_no_query(
    client: httpx.AsyncClient, accounts: AccountService
) -> None:
    urls = {
        "voice_url": "https://me:s3cret@example.com:8443/v?token=s3cret#s3cret",
        "voice_fallback_url": "https://s3cret@[2001:db8::1]/?s3cret",
        "status_callback": "http://example.com?s3cret",
    }
    shown = {
        "voice_url": "https://example.com:8443/v",
        "voice_fallback_url": "https://[2001:db8::1]/",
        "status_callback": "http://example.com",
    }
    made = await create(client, **urls)
    assert urls.items() <= made.items()
    path = f"{PATH}/{made['id']}"
    assert (await client.get(path)).json()["data"] == made
    (listed,) = [one for one in (await client.get(PATH)).json()["data"] if one["id"] == made["id"]]
    assert listed == made | shown
    reader = {"authorization": f"Bearer {(await accounts.create_key(ACCOUNT, 'ci', 'read', None)).secret}"}
    for where in (path, PATH):
        assert "s3cret" not in (await client.get(where, headers=reader)).text
    assert (await client.get(path, headers=reader)).json()["data"] == made | shown


async def test_what_is_not_given_has_its_documented_default(client: httpx.AsyncClient) -> None:
    data = await create(client)
    assert (data["active"], data["voice_method"], data["status_callback_method"]) == (True, "post", "post")
    assert (data["voice_fallback_url"], data["status_callback"]) == (None, None)
    assert (data["anchorsite_override"], data["dtmf_type"], data["tags"]) == ("Latency", "RFC 2833", [])
    assert data["first_command_timeout_secs"] == 30
    assert data["outbound"] == {"channel_limit": None, "outbound_voice_profile_id": None}
    assert data["inbound"]["sip_subdomain_receive_settings"] == "from_anyone"


@pytest.mark.parametrize(
    "form",
    [
        {"inbound[channel_limit]": "10", "tags[]": ["a", "b"], "active": "false"},
        {"inbound": '{"channel_limit": 10}', "tags": '["a", "b"]', "Active": "false"},
    ],
)
async def test_forms_say_the_same(client: httpx.AsyncClient, form: dict[str, Any]) -> None:
    response = await client.post(PATH, data=WANTED | form)
    assert response.status_code == 201, response.text
    data = response.json()["data"]
    assert (data["inbound"]["channel_limit"], data["tags"], data["active"]) == (10, ["a", "b"], False)


async def test_an_update_changes_what_is_given_and_nothing_else(client: httpx.AsyncClient) -> None:
    before = await create(client, **DOCUMENTED)
    path = f"{PATH}/{before['id']}"
    changes = {"friendly_name": "other", "inbound": {"channel_limit": None}, "tags": [], "voice_method": "post"}
    after = (await client.patch(path, json=changes)).json()["data"]
    expected = before | changes | {"inbound": before["inbound"] | {"channel_limit": None}}
    assert after == expected | {"updated_at": after["updated_at"]}
    assert after["updated_at"] >= before["updated_at"]
    for nothing in ({"json": {"status_callback": None}}, {"data": {"status_callback": ""}}):
        await client.patch(path, json={"status_callback": "https://example.com"})
        assert (await client.patch(path, **nothing)).json()["data"]["status_callback"] is None
    assert (await client.get(path)).json()["data"]["voice_fallback_url"] == "https://fallback.example.com"


async def test_updates_at_once_lose_nothing(client: httpx.AsyncClient, store: "MemoryApplications") -> None:
    made = await create(client)
    store.before_change = lambda: asyncio.sleep(0)
    path = f"{PATH}/{made['id']}"
    changes: list[dict[str, Any]] = [{"active": False}, {"voice_method": "get"}, {"inbound": {"channel_limit": 3}}]
    await asyncio.gather(*(client.patch(path, json=one) for one in changes))
    data = (await client.get(path)).json()["data"]
    assert (data["active"], data["voice_method"], data["inbound"]["channel_limit"]) == (False, "get", 3)


async def test_a_deleted_application_is_shown_once_more_and_gone(
    client: httpx.AsyncClient, store: "MemoryApplications"
) -> None:
    made = await create(client)
    path = f"{PATH}/{made['id']}"
    assert (await client.delete(path)).json() == {"data": made}
    assert made["id"] not in store.kept
    for again in (await client.delete(path), await client.get(path), await client.patch(path, json={})):
        assert (again.status_code, again.json()) == (404, {"errors": [{"detail": "Resource not found"}]})


async def test_another_accounts_application_does_not_exist(client: httpx.AsyncClient) -> None:
    made = await create(client)
    client.headers["authorization"] = "Bearer KEY9876543210"
    assert (await client.get(f"{PATH}/{made['id']}")).status_code == 404
    assert (await client.patch(f"{PATH}/{made['id']}", json={"active": False})).status_code == 404
    assert (await client.delete(f"{PATH}/{made['id']}")).status_code == 404
    assert (await client.get(PATH)).json()["data"] == []


async def test_applications_of_the_configuration_are_shown_and_stay_as_they_are(client: httpx.AsyncClient) -> None:
    shown = (await client.get(f"{PATH}/{CONFIGURED}")).json()["data"]
    assert (shown["friendly_name"], shown["voice_url"]) == ("configured", "http://configured.example/")
    for refused in (await client.patch(f"{PATH}/{CONFIGURED}", json={}), await client.delete(f"{PATH}/{CONFIGURED}")):
        assert refusal(refused) == (422, "10015", None)
        assert "comes from the configuration" in refused.json()["errors"][0]["detail"]
    assert (await client.get(f"{PATH}/{CONFIGURED}")).json()["data"] == shown


async def test_what_the_configuration_names_may_change_but_not_go(client: httpx.AsyncClient) -> None:
    assert (await client.patch(f"{PATH}/{NAMED}", json={"active": False})).json()["data"]["active"] is False
    refused = await client.delete(f"{PATH}/{NAMED}")
    assert refusal(refused) == (422, "10015", None)
    assert "number '+49*'" in refused.json()["errors"][0]["detail"]
    assert (await client.get(f"{PATH}/{NAMED}")).status_code == 200


async def test_pages_filters_and_order_of_the_list(client: httpx.AsyncClient) -> None:
    for name, active in (("Beta", True), ("alpha", False), ("gamma bet", True)):
        await create(client, friendly_name=name, active=active, outbound={"outbound_voice_profile_id": name})

    async def names(**query: Any) -> list[str]:
        response = await client.get(PATH, params=query)
        assert response.status_code == 200, response.text
        return [one["friendly_name"] for one in response.json()["data"]]

    everything = ["gamma bet", "alpha", "Beta"]
    assert (await names())[:3] == everything
    assert (await names(sort="created_at"))[-3:] == everything[::-1]
    assert await names(sort="-friendly_name") == ["named by a number", "gamma bet", "configured", "alpha", "Beta"]
    assert (await names(sort="active"))[0] == "alpha"
    assert await names(**{"filter[friendly_name]": "BET"}) == ["gamma bet", "Beta"]
    assert await names(**{"filter[outbound_voice_profile_id]": "alpha"}) == ["alpha"]
    assert await names(**{"page[number]": 2, "page[size]": 2, "sort": "-friendly_name"}) == ["configured", "alpha"]
    assert await names(**{"page[number]": 4, "page[size]": 2}) == []
    meta = (await client.get(PATH, params={"page[size]": 2})).json()["meta"]
    assert meta == {"page_number": 1, "page_size": 2, "total_pages": 3, "total_results": 5}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"page[number]": "0"}, "/page[number]"),
        ({"page[size]": "251"}, "/page[size]"),
        ({"sort": "voice_url"}, "/sort"),
    ],
)
async def test_a_bad_query_is_refused(client: httpx.AsyncClient, query: dict[str, str], pointer: str) -> None:
    assert refusal(await client.get(PATH, params=query))[::2] == (422, pointer)


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"friendly_name": ""}, "10004", "/friendly_name"),
        ({"voice_url": None}, "10004", "/voice_url"),
        ({"voice_url": "ftp://example.com"}, "10003", "/voice_url"),
        ({"voice_method": "put"}, "10032", "/voice_method"),
        ({"active": 1}, "10026", "/active"),
        ({"friendly_name": "x" * 256}, "10015", "/friendly_name"),
        ({"friendly_name": "\0"}, "10015", "/friendly_name"),
        ({"inbound": 7}, "10026", "/inbound"),
        ({"inbound": "{"}, "10015", "/inbound"),
        ({"inbound": {"channel_limit": "many"}}, "10026", "/inbound/channel_limit"),
        ({"outbound": {"outbound_voice_profile_id": 7}}, "10026", "/outbound/outbound_voice_profile_id"),
        ({"tags": "7"}, "10026", "/tags"),
        ({"tags": [7]}, "10026", "/tags/0"),
        ({"tags": "a, b"}, "10015", "/tags"),
        ({"tags": ["x"] * 101}, "10015", "/tags"),
        ({"dtmf_type": "morse"}, "10032", "/dtmf_type"),
    ],
)
async def test_a_bad_field_is_named(client: httpx.AsyncClient, fields: dict[str, Any], code: str, pointer: str) -> None:
    assert refusal(await client.post(PATH, json=WANTED | fields)) == (422, code, pointer)
    made = await create(client)
    if code != "10004":
        assert refusal(await client.patch(f"{PATH}/{made['id']}", json=fields)) == (422, code, pointer)
    assert (await client.get(f"{PATH}/{made['id']}")).json()["data"] == made


async def test_what_the_store_does_not_take_has_not_happened(
    client: httpx.AsyncClient, store: "MemoryApplications"
) -> None:
    made = await create(client)

    async def fail() -> None:
        raise OSError("the disk is full")

    store.before_change = fail
    path = f"{PATH}/{made['id']}"
    for refused in (
        await client.post(PATH, json=WANTED),
        await client.patch(path, json={"active": False}),
        await client.delete(path),
    ):
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
    assert (await client.get(path)).json()["data"] == made
    assert (await client.get(PATH)).json()["meta"]["total_results"] == 3


async def test_a_repeated_create_returns_what_the_first_try_made(client: httpx.AsyncClient) -> None:
    made = await create(client)
    again = await client.post(PATH, json=WANTED, headers={"x-stainless-retry-count": "1"})
    assert (again.status_code, again.json()["data"]) == (201, made)
    assert (await create(client))["id"] != made["id"]


async def test_an_account_has_a_bound_of_applications(applications: ApplicationService) -> None:
    account = AccountSid("one of its own")
    for _ in range(APPLICATION_LIMIT):
        await applications.create(account, WANTED)
    with pytest.raises(InvalidRequest, match="may have 1000"):
        await applications.create(account, WANTED)
    assert len({one.sid for one in await applications.applications(account)}) == APPLICATION_LIMIT
