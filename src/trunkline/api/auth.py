"""Who asks, and whether they may now: API keys and the rate limit. Every route under `/v2` but the public key's goes
through `Authenticator.admit` before its body is read."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from trunkline.api.limits import TokenBuckets
from trunkline.calls.accounts import Accounts, Scope
from trunkline.errors import AuthenticationFailed, PermissionDenied, ResourceNotFound, TooManyRequests
from trunkline.ids import AccountSid, Seconds

KEY_LENGTH_LIMIT = 512
"""Characters of an API key; ours and Telnyx's have about 60."""


Right = Scope | Literal["operator"]
FULL: frozenset[Right] = frozenset({"full"})
"""The rights of which a sender needs one: to change what stays."""
CALL_CHANGES: frozenset[Right] = FULL | {"calls"}
"""To change calls and streams."""
VIEWS: frozenset[Right] = FULL | {"read"}
"""To see what stays."""
CALL_VIEWS: frozenset[Right] = CALL_CHANGES | VIEWS
"""To see calls, streams and recordings."""
OPERATOR: frozenset[Right] = frozenset({"operator"})
"""To manage accounts."""
OPERATORS_KEY = "operator"
"""In place of the sid of a key."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent the request."""

    account: AccountSid
    """The key's; of an operator that in the path, or none."""
    key_sid: str
    key_name: str
    right: Right


class Authenticator:
    """Lets requests in, one by one."""

    def __init__(self, accounts: Accounts, buckets: TokenBuckets, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._buckets = buckets
        self._clock = clock

    def admit(self, request: HTTPConnection, account_sid: str | None) -> Principal:
        """The caller. `account_sid` is the path's, where it has one.

        Raises AuthenticationFailed, TooManyRequests, and ResourceNotFound for another account's path: never 403,
        which would reveal that the account exists.
        """
        sender = self._sender(bearer(request.headers.getlist("authorization")), account_sid)
        identified = getattr(request.state, "identified", None)
        if identified is not None:  # The server counts connections without a key by their address.
            identified(sender is not None)
        if sender is None:
            raise AuthenticationFailed()
        wait = self._buckets.take(sender.key_sid, Seconds(self._clock()))
        if wait > 0:
            raise TooManyRequests("The rate limit of this API key is reached", retry_after=math.ceil(wait))
        if account_sid not in (None, sender.account):
            raise ResourceNotFound()
        return sender

    def _sender(self, secret: str, account_sid: str | None) -> Principal | None:
        key = self._accounts.key_of(secret) if secret else None
        if key is not None:
            return Principal(key.account_sid, key.sid, key.name, key.scope)
        if secret and self._accounts.is_operator(secret):
            return Principal(AccountSid(account_sid or ""), OPERATORS_KEY, OPERATORS_KEY, "operator")
        return None


def permit(sender: Principal, rights: frozenset[Right]) -> None:
    """Let a sender pass who has one of these rights. Raises PermissionDenied."""
    if sender.right not in rights:
        raise PermissionDenied(f"This key's scope, {sender.right}, does not allow it")


def bearer(headers: list[str]) -> str:
    """The key in `Authorization: Bearer <key>` (RFC 6750 section 2.1); empty when there is not exactly one."""
    if len(headers) != 1:
        return ""
    scheme, _, key = headers[0].partition(" ")
    key = key.strip()
    well_formed = scheme.lower() == "bearer" and key.isascii() and key.isprintable() and len(key) <= KEY_LENGTH_LIMIT
    return key if well_formed else ""
