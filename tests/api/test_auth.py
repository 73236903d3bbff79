"""Keys in headers, and the gate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from trunkline.api.auth import Authenticator, bearer
from trunkline.api.limits import TokenBuckets
from trunkline.errors import AuthenticationFailed, ResourceNotFound, TooManyRequests
from trunkline.ids import AccountSid

ACCOUNT = AccountSid("61bf923e-5e4d-4595-a110-56190ea18a1b")


class OneKey:
    """One account with one key."""

    async def account_of(self, api_key: str) -> AccountSid | None:
        return ACCOUNT if api_key == "KEY" else None


def _request(authorization: bytes) -> Request:
    return Request({"type": "http", "headers": [(b"authorization", authorization)]})


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


async def test_the_gate_admits_the_key_to_its_own_account_only() -> None:
    gate = Authenticator(OneKey(), TokenBuckets(0), lambda: 0.0)
    request = _request(b"Bearer KEY")
    for path_account in (None, ACCOUNT):
        assert (await gate.admit(request, path_account)).account == ACCOUNT
    for other in ("", "other", ACCOUNT.upper()):
        with pytest.raises(ResourceNotFound):
            await gate.admit(request, other)
    with pytest.raises(AuthenticationFailed):
        await gate.admit(_request(b"Bearer other"), ACCOUNT)


async def test_a_refused_key_takes_no_token_and_a_wrong_account_does() -> None:
    gate = Authenticator(OneKey(), TokenBuckets(0.25), lambda: 0.0)
    with pytest.raises(AuthenticationFailed):
        await gate.admit(_request(b"Bearer other"))
    with pytest.raises(ResourceNotFound):
        await gate.admit(_request(b"Bearer KEY"), "other")
    with pytest.raises(TooManyRequests) as refusal:
        await gate.admit(_request(b"Bearer KEY"))
    assert refusal.value.retry_after == 4
