"""Keys in headers, and the gate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from api.conftest import ACCOUNT, KEY, OPERATORS_KEY
from trunkline.api.auth import (
    CALL_CHANGES,
    CALL_VIEWS,
    FULL,
    OPERATOR,
    VIEWS,
    Authenticator,
    Principal,
    Right,
    bearer,
    permit,
)
from trunkline.api.limits import TokenBuckets
from trunkline.calls.accounts import Scope
from trunkline.control.accounts import AccountService
from trunkline.errors import AuthenticationFailed, PermissionDenied, ResourceNotFound, TooManyRequests


@pytest.fixture
def gate(accounts: AccountService) -> Authenticator:
    return Authenticator(accounts, TokenBuckets(0), lambda: 0.0)


def _request(authorization: bytes) -> Request:
    return Request({"type": "http", "headers": [(b"authorization", authorization)]})


def _admit(gate: Authenticator, request: Request, account: str | None, rights: frozenset[Right]) -> Principal:
    sender = gate.admit(request, account)
    permit(sender, rights)
    return sender


@pytest.mark.parametrize("header", ["Bearer KEY", "bearer KEY", "BEARER  KEY ", "Bearer KEY\t"])
def test_a_bearer_key_is_found(header: str) -> None:
    assert bearer([header]) == "KEY"


@pytest.mark.parametrize(
    "headers",
    [[], ["KEY"], ["Bearer"], ["Basic KEY"], ["Bearer k\u00e9y"], ["Bearer " + "x" * 513], ["Bearer KEY"] * 2],
)
def test_what_is_no_bearer_key_is_none(headers: list[str]) -> None:
    assert bearer(headers) == ""


@given(st.lists(st.text()))
def test_any_header_gives_a_printable_key_or_none(headers: list[str]) -> None:
    key = bearer(headers)
    assert key.isascii()
    assert key == "" or key.isprintable()


async def test_the_gate_admits_the_key_to_its_own_account_only(gate: Authenticator) -> None:
    request = _request(f"Bearer {KEY}".encode())
    for path_account in (None, ACCOUNT):
        sender = _admit(gate, request, path_account, FULL)
        assert (sender.account, sender.key_name, sender.right) == (ACCOUNT, "first", "full")
    for other in ("", "other", ACCOUNT.upper()):
        with pytest.raises(ResourceNotFound):
            _admit(gate, request, other, FULL)
    with pytest.raises(AuthenticationFailed):
        _admit(gate, _request(b"Bearer other"), ACCOUNT, FULL)


async def test_a_refused_key_takes_no_token_and_a_wrong_account_does(accounts: AccountService) -> None:
    gate = Authenticator(accounts, TokenBuckets(0.25), lambda: 0.0)
    with pytest.raises(AuthenticationFailed):
        _admit(gate, _request(b"Bearer other"), None, FULL)
    request = _request(f"Bearer {KEY}".encode())
    with pytest.raises(ResourceNotFound):
        _admit(gate, request, "other", FULL)
    with pytest.raises(TooManyRequests) as refusal:
        _admit(gate, request, None, FULL)
    assert refusal.value.retry_after == 4


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("full", [FULL, CALL_CHANGES, VIEWS, CALL_VIEWS]),
        ("calls", [CALL_CHANGES, CALL_VIEWS]),
        ("read", [VIEWS, CALL_VIEWS]),
    ],
)
async def test_a_key_may_do_what_its_scope_says(
    gate: Authenticator, accounts: AccountService, scope: Scope, granted: list[frozenset[Right]]
) -> None:
    new = await accounts.create_key(ACCOUNT, "scoped", scope, None)
    request = _request(f"Bearer {new.secret}".encode())
    for rights in (FULL, CALL_CHANGES, VIEWS, CALL_VIEWS, OPERATOR):
        if rights in granted:
            assert _admit(gate, request, ACCOUNT, rights).right == scope
        else:
            with pytest.raises(PermissionDenied):
                _admit(gate, request, ACCOUNT, rights)
            with pytest.raises(ResourceNotFound):
                _admit(gate, request, "other", rights)


async def test_the_operators_key_manages_any_account_and_places_no_call(gate: Authenticator) -> None:
    request = _request(f"Bearer {OPERATORS_KEY}".encode())
    assert _admit(gate, request, "any", OPERATOR).account == "any"
    with pytest.raises(PermissionDenied):
        _admit(gate, request, ACCOUNT, FULL)
