"""The operations on API keys, and an operator's on accounts. They are Trunkline's own."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import get_args

from starlette.responses import JSONResponse, Response

from trunkline import errors
from trunkline.api.auth import FULL, OPERATOR
from trunkline.api.operation import TEXT, TIME, ApiRequest, Operation, Schema, body_schema, record
from trunkline.calls.accounts import AccountView, ApiKey, NewKey, Scope
from trunkline.faces.telnyx.fields.accounts import ACCOUNT_FIELDS, KEY_FIELDS, account_name, key_request
from trunkline.faces.telnyx.operations.base import ACCOUNT, BAD_BODY
from trunkline.faces.telnyx.resources import with_milliseconds
from trunkline.ids import AccountSid

KEYS = "/v2/trunkline/keys"
ACCOUNTS = "/v2/trunkline/accounts"
_ACCOUNT = ACCOUNTS + "/{account_sid}"
_ACCOUNT_KEYS = _ACCOUNT + "/keys"
_ONE_KEY = "/{key_id}"

_KEY_EXAMPLE: Mapping[str, object] = {
    "id": "0b1e3f4a-5f0e-4c39-8f7e-6d3c0e1a2b4c",
    "account_sid": ACCOUNT,
    "name": "ci",
    "scope": "calls",
    "created_at": "2034-01-31T12:00:00.000Z",
    "expires_at": "2035-01-31T12:00:00.000Z",
    "last_used_at": None,
}
_SECRET = "KEYq3Zs0kXW1r9mT5vB8yC2uE4wH6jL7nP0aD3fG5hJ8k"
_NEW_KEY_EXAMPLE = {**_KEY_EXAMPLE, "api_key": _SECRET}
_ACCOUNT_EXAMPLE: Mapping[str, object] = {
    "account_sid": ACCOUNT,
    "name": "acme",
    "created_at": "2034-01-31T12:00:00.000Z",
}
_TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_KEY: Mapping[str, Schema] = {
    **dict.fromkeys(_KEY_EXAMPLE, TEXT),
    "scope": {"enum": list(get_args(Scope))},
    "created_at": TIME,
    "expires_at": _TIME_OR_NULL,
    "last_used_at": {**_TIME_OR_NULL, "description": "To the minute."},
}
_ACCOUNT_MEMBERS: Mapping[str, Schema] = {**dict.fromkeys(_ACCOUNT_EXAMPLE, TEXT), "created_at": TIME}
_NEW: Mapping[str, Schema] = {"api_key": {**TEXT, "description": "The key. It is shown this once."}}


def _many(schema: Schema) -> Schema:
    return record({"data": {"type": "array", "items": schema}})


SCHEMAS: Mapping[str, Schema] = {
    "ApiKey": record({"data": record(_KEY)}),
    "NewApiKey": record({"data": record({**_KEY, **_NEW})}),
    "ApiKeyList": _many(record(_KEY)),
    "Account": record({"data": record(_ACCOUNT_MEMBERS)}),
    "NewAccount": record({"data": record({**_ACCOUNT_MEMBERS, **_NEW})}),
    "AccountList": _many(record(_ACCOUNT_MEMBERS)),
}


async def _create_key(request: ApiRequest) -> Response:
    _, fields = await request.body()
    wanted = key_request(fields)
    accounts, account = request.services.accounts, request.principal.account
    new = await accounts.create_key(account, wanted.name, wanted.scope, wanted.expires_at)
    request.made.update({"key_id": new.key.sid, "name": new.key.name, "scope": new.key.scope})
    return JSONResponse({"data": _new_key(new)}, 201)


async def _list_keys(request: ApiRequest) -> Response:
    keys = request.services.accounts.keys(request.principal.account)
    return JSONResponse({"data": [_resource(key) for key in keys]})


async def _revoke_key(request: ApiRequest) -> Response:
    key = await request.services.accounts.revoke_key(request.principal.account, request.path["key_id"])
    request.made["name"] = key.name
    return JSONResponse({"data": _resource(key)})


async def _create_account(request: ApiRequest) -> Response:
    _, fields = await request.body()
    account, new = await request.services.accounts.create_account(account_name(fields))
    request.made.update({"account_sid": account.sid, "name": account.name})
    return JSONResponse({"data": {**_account(account), "api_key": new.secret}}, 201)


async def _list_accounts(request: ApiRequest) -> Response:
    return JSONResponse({"data": [_account(account) for account in request.services.accounts.accounts()]})


async def _delete_account(request: ApiRequest) -> Response:
    account = await request.services.accounts.delete_account(AccountSid(request.path["account_sid"]))
    return JSONResponse({"data": _account(account)})


def _new_key(new: NewKey) -> dict[str, object]:
    return {**_resource(new.key), "api_key": new.secret}


def _resource(value: ApiKey) -> dict[str, object]:
    members = {"id": value.sid, **asdict(value)}
    del members["sid"]
    return _timed(members)


def _account(value: AccountView) -> dict[str, object]:
    return _timed({"account_sid": value.sid, "name": value.name, "created_at": value.created_at})


def _timed(members: dict[str, object]) -> dict[str, object]:
    return {name: with_milliseconds(value) if isinstance(value, datetime) else value for name, value in members.items()}


_BAD_NAME: tuple[errors.ApiError, ...] = (
    errors.MissingParameter("name is required", pointer="/name"),
    errors.InvalidType("name must be a string", pointer="/name"),
)
_BAD_KEY: tuple[errors.ApiError, ...] = (
    *_BAD_NAME,
    errors.InvalidEnum("scope must be one of full, calls, read", pointer="/scope"),
    errors.InvalidRequest("expires_at must be in the future", pointer="/expires_at"),
    errors.InvalidRequest("The account has a key of this name.", pointer="/name"),
)
_KEY_BODY_EXAMPLE = {"name": "ci", "scope": "calls", "expires_at": "2035-01-31T12:00:00Z"}


def _key_operations(path: str, of: str, prefix: str) -> tuple[Operation, ...]:
    """The three of an account's own keys, or of those of the account in the path."""
    rights = OPERATOR if prefix else FULL
    return (
        Operation(
            "POST",
            path,
            f"Create{prefix}ApiKey",
            _create_key,
            f"Create an API key of {of}. The answer is the only one that has the key.",
            "NewApiKey",
            {"data": _NEW_KEY_EXAMPLE},
            body=body_schema(KEY_FIELDS),
            body_example=_KEY_BODY_EXAMPLE,
            refusals=BAD_BODY + _BAD_KEY,
            status=201,
            rights=rights,
        ),
        Operation(
            "GET",
            path,
            f"List{prefix}ApiKeys",
            _list_keys,
            f"List the API keys of {of}, oldest first. At most 100 may exist.",
            "ApiKeyList",
            {"data": [_KEY_EXAMPLE]},
            rights=rights,
        ),
        Operation(
            "DELETE",
            path + _ONE_KEY,
            f"Revoke{prefix}ApiKey",
            _revoke_key,
            f"Revoke an API key of {of}: it is not valid from now on, also for requests that are under way. What was "
            "begun with it goes on. One that the setting `api_key` names comes back at the next start of the server.",
            "ApiKey",
            {"data": _KEY_EXAMPLE},
            rights=rights,
        ),
    )


OPERATIONS = (
    *_key_operations(KEYS, "the account", ""),
    Operation(
        "POST",
        ACCOUNTS,
        "CreateAccount",
        _create_account,
        "Create an account, with a key named `first` of the scope `full`. Needs the operator's key, as do all under "
        "this path.",
        "NewAccount",
        {"data": {**_ACCOUNT_EXAMPLE, "api_key": _SECRET}},
        body=body_schema(ACCOUNT_FIELDS),
        body_example={"name": "acme"},
        refusals=BAD_BODY + _BAD_NAME,
        status=201,
        rights=OPERATOR,
    ),
    Operation(
        "GET",
        ACCOUNTS,
        "ListAccounts",
        _list_accounts,
        "List all accounts, oldest first.",
        "AccountList",
        {"data": [_ACCOUNT_EXAMPLE]},
        rights=OPERATOR,
    ),
    Operation(
        "DELETE",
        _ACCOUNT,
        "DeleteAccount",
        _delete_account,
        "Delete an account with its keys and applications. Its calls and recordings are deleted once they are old. The "
        "account of inbound calls, and one with calls that are up, stay.",
        "Account",
        {"data": _ACCOUNT_EXAMPLE},
        refusals=(errors.InvalidRequest("The account has 2 calls that are up: end them first."),),
        rights=OPERATOR,
    ),
    *_key_operations(_ACCOUNT_KEYS, "an account", "Account"),
)
