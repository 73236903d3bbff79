"""Who asks, and whether they may now: API keys and the rate limit. Every route under `/v2` but the public key's goes
through `Authenticator.admit` before its body is read."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request

from trunkline.api.limits import TokenBuckets
from trunkline.errors import AuthenticationFailed, ResourceNotFound, TooManyRequests
from trunkline.ids import AccountSid, Seconds

KEY_LENGTH_LIMIT = 512
"""Characters of an API key; ours and Telnyx's have about 60."""


class Accounts(Protocol):
    """Who an API key belongs to."""

    async def account_of(self, api_key: str) -> AccountSid | None:
        """The key's account, or None for an unknown key."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent the request."""

    account: AccountSid
    api_key: str


class Authenticator:
    """Lets requests in, one by one."""

    def __init__(self, accounts: Accounts, buckets: TokenBuckets, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._buckets = buckets
        self._clock = clock

    async def admit(self, request: Request, account_sid: str | None = None) -> Principal:
        """The caller. `account_sid` is the path's, where it has one.

        Raises AuthenticationFailed, TooManyRequests, and ResourceNotFound for another account's path: never 403,
        which would reveal that the account exists.
        """
        api_key = bearer(request.headers.getlist("authorization"))
        account = await self._accounts.account_of(api_key) if api_key else None
        identified = getattr(request.state, "identified", None)
        if identified is not None:  # The server counts connections without a key by their address.
            identified(account is not None)
        if account is None:
            raise AuthenticationFailed()
        wait = self._buckets.take(api_key, Seconds(self._clock()))
        if wait > 0:
            raise TooManyRequests("The rate limit of this API key is reached", retry_after=math.ceil(wait))
        if account_sid not in (None, account):
            raise ResourceNotFound()
        return Principal(account, api_key)


def bearer(headers: list[str]) -> str:
    """The key in `Authorization: Bearer <key>` (RFC 6750 section 2.1); empty when there is not exactly one."""
    if len(headers) != 1:
        return ""
    scheme, _, key = headers[0].partition(" ")
    key = key.strip()
    well_formed = scheme.lower() == "bearer" and key.isascii() and key.isprintable() and len(key) <= KEY_LENGTH_LIMIT
    return key if well_formed else ""
