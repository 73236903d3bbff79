"""The calls and applications of the API's tests, events as the tests of webhooks have them, operations without HTTP."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
from starlette.requests import Request

from api.conftest import ACCOUNT, MemoryCalls, accounts, applications, control, database, directory, store
from trunkline.api.app import IdempotencyCache
from trunkline.api.auth import Principal
from trunkline.api.logins import Logins
from trunkline.api.operation import ApiRequest, Services
from trunkline.control.accounts import AccountService
from trunkline.control.applications import ApplicationService
from trunkline.faces.telnyx.rest import OPERATIONS
from trunkline.ids import AccountSid
from trunkline.webhooks.signing import Signer
from webhooks.conftest import call_event_of, event_of, stream_of

__all__ = [
    "accounts",
    "applications",
    "call_event_of",
    "control",
    "database",
    "directory",
    "event_of",
    "store",
    "stream_of",
]


LOGINS = Logins(lambda: "a token", lambda: 0.0, lambda: datetime.now(UTC))


class Ask(Protocol):
    """Serves one request of the first account: the operation's id, the body, the query string, the path's names;
    `key_sid`: by another key."""

    async def __call__(self, operation: str, body: object = None, query: str = "", /, **path: str) -> tuple[int, Any]:
        """Status and JSON of the answer."""


@pytest.fixture
def ask(control: MemoryCalls, applications: ApplicationService, accounts: AccountService, tmp_path: Path) -> Ask:
    """Operations over calls and applications in memory."""
    handlers = {one.id: one.handler for one in OPERATIONS}
    signer, tries = Signer.load(tmp_path), IdempotencyCache[Any](lambda: 0.0)
    services = Services(control, applications, accounts, signer, 4096, Counter(), tries, lambda _: "a ticket", LOGINS)

    async def ask(operation: str, body: object = None, query: str = "", /, **path: str) -> tuple[int, Any]:
        content = b"" if body is None else json.dumps(body).encode()

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": content}

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": query.encode(),
            "headers": [(b"content-type", b"application/json"), (b"x-stainless-retry-count", b"0")],
        }
        key = path.pop("key_sid", accounts.keys(ACCOUNT)[0].sid)
        sender = Principal(AccountSid(path.get("account_sid", ACCOUNT)), key, "first", "full")
        response = await handlers[operation](ApiRequest(Request(scope, receive), path, sender, services))
        return response.status_code, json.loads(bytes(response.body) or b"null")

    return ask
