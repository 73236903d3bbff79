"""The operations on keys and accounts, as they are described and as they are answered."""

from typing import TYPE_CHECKING

import pytest

from api.conftest import ACCOUNT
from api.documented import check, refusals, routes, validate
from trunkline.api.auth import FULL, OPERATOR
from trunkline.api.operation import Operation
from trunkline.errors import InvalidRequest, ResourceNotFound
from trunkline.faces.telnyx.operations.accounts import ACCOUNTS, OPERATIONS, SCHEMAS

if TYPE_CHECKING:
    from faces.telnyx.conftest import Ask


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_what_is_described_holds_together(operation: Operation) -> None:
    check(operation)
    assert operation.rights == (OPERATOR if operation.path.startswith(ACCOUNTS) else FULL)


def test_the_routes_are_the_documented_ones() -> None:
    accounts, keys = "/v2/trunkline/accounts", "/v2/trunkline/accounts/{account_sid}/keys"
    assert routes(OPERATIONS) == [
        "POST /v2/trunkline/keys CreateApiKey 201 NewApiKey",
        "GET /v2/trunkline/keys ListApiKeys 200 ApiKeyList",
        "DELETE /v2/trunkline/keys/{key_id} RevokeApiKey 200 ApiKey",
        f"POST {accounts} CreateAccount 201 NewAccount",
        f"GET {accounts} ListAccounts 200 AccountList",
        f"DELETE {accounts}/{{account_sid}} DeleteAccount 200 Account",
        f"POST {keys} CreateAccountApiKey 201 NewApiKey",
        f"GET {keys} ListAccountApiKeys 200 ApiKeyList",
        f"DELETE {keys}/{{key_id}} RevokeAccountApiKey 200 ApiKey",
    ]


def test_refusals_name_the_field() -> None:
    key = "10023 10024 10015 10004/name 10026/name 10032/scope 10015/expires_at 10015/name"
    assert refusals(OPERATIONS) == {
        "CreateApiKey": key,
        "ListApiKeys": "",
        "RevokeApiKey": "",
        "CreateAccount": "10023 10024 10015 10004/name 10026/name",
        "ListAccounts": "",
        "DeleteAccount": "10015",
        "CreateAccountApiKey": key,
        "ListAccountApiKeys": "",
        "RevokeAccountApiKey": "",
    }


async def test_a_key_is_shown_once_and_revoked(ask: "Ask") -> None:
    body = {"name": "ci", "scope": "read", "expires_at": "2099-01-31T12:00:00+01:00"}
    status, made = await ask("CreateApiKey", body)
    assert status == 201
    validate(SCHEMAS["NewApiKey"], made)
    assert (made["data"]["scope"], made["data"]["expires_at"]) == ("read", "2099-01-31T11:00:00.000Z")
    _, listed = await ask("ListApiKeys")
    validate(SCHEMAS["ApiKeyList"], listed)
    assert [key["name"] for key in listed["data"]] == ["first", "ci"]
    assert made["data"]["api_key"] not in str(listed)
    status, revoked = await ask("RevokeApiKey", key_id=made["data"]["id"])
    assert (status, revoked["data"]["name"]) == (200, "ci")
    validate(SCHEMAS["ApiKey"], revoked)
    with pytest.raises(ResourceNotFound):
        await ask("RevokeApiKey", key_id=made["data"]["id"])


async def test_accounts_are_made_listed_and_deleted(ask: "Ask") -> None:
    status, made = await ask("CreateAccount", {"name": "acme"})
    assert status == 201
    validate(SCHEMAS["NewAccount"], made)
    sid = made["data"]["account_sid"]
    _, listed = await ask("ListAccounts")
    validate(SCHEMAS["AccountList"], listed)
    assert [account["name"] for account in listed["data"]] == ["", "", "acme"]
    _, keys = await ask("ListAccountApiKeys", account_sid=sid)
    assert [(key["name"], key["scope"]) for key in keys["data"]] == [("first", "full")]
    _, deleted = await ask("DeleteAccount", account_sid=sid)
    validate(SCHEMAS["Account"], deleted)
    with pytest.raises(ResourceNotFound):
        await ask("ListAccountApiKeys", account_sid=sid)
    with pytest.raises(InvalidRequest, match="account of inbound calls"):
        await ask("DeleteAccount", account_sid=ACCOUNT)
