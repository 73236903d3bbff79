"""The event WebSocket over a real port: who may open it, what it is asked, how it ends."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.helpers import until
from trunkline.api import event_socket
from trunkline.api.app import ApiApplication, create_app
from trunkline.api.server import HttpServer
from trunkline.config import HttpSettings
from trunkline.control.accounts import AccountService
from trunkline.control.applications import ApplicationService
from trunkline.faces.telnyx.rest import REST
from trunkline.ids import AccountSid
from trunkline.live.hub import CLIENTS_OF_ACCOUNT, Hub
from trunkline.webhooks.signing import Signer

if TYPE_CHECKING:
    from api.conftest import Clock, MemoryCalls

KEY, OTHER_KEY, OPERATORS_KEY = "KEY0123456789", "KEY9876543210", "KEYoperator"
ACCOUNT = AccountSid("61bf923e-5e4d-4595-a110-56190ea18a1b")
CALL = "v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA"
Open = Callable[..., AbstractAsyncContextManager[ClientConnection]]


@pytest.fixture
def hub() -> Hub:
    return Hub("life", lambda *_: None)


@pytest.fixture
def app(
    hub: Hub,
    control: "MemoryCalls",
    applications: ApplicationService,
    accounts: AccountService,
    settings: HttpSettings,
    clock: "Clock",
    tmp_path: Path,
) -> ApiApplication:
    """The application, with events."""
    return create_app(
        REST,
        control,
        applications,
        accounts,
        settings,
        ready=lambda: None,
        api_ready=lambda: None,
        signing=Signer.load(tmp_path),
        metrics=lambda: b"",
        clock=clock,
        hub=hub,
    )


@pytest.fixture
def at(server: HttpServer) -> Open:
    """Open a socket: `at(query, key, **headers)`."""

    def at(query: str = "", key: str | None = KEY, **headers: str) -> AbstractAsyncContextManager[ClientConnection]:
        more = dict(headers) if key is None else {"Authorization": f"Bearer {key}", **headers}
        return connect(f"ws://127.0.0.1:{server.port}/v2/events{query}", additional_headers=more, open_timeout=30)

    return at


async def read(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(30):
        message = json.loads(await socket.recv())
    assert isinstance(message, dict)
    return message


async def status_of(opening: AbstractAsyncContextManager[ClientConnection]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with opening:
            pass
    body = refused.value.response.body
    assert json.loads(body)["errors"] if body else False
    return refused.value.response.status_code


async def test_a_client_is_greeted_and_gets_events_of_its_account(at: Open, hub: Hub) -> None:
    async with at() as mine, at(key=OTHER_KEY) as theirs:
        hello = await read(mine)
        assert (hello["event"], hello["account_sid"], hello["session"]) == ("hello", ACCOUNT, "life")
        assert (await read(theirs))["account_sid"] != ACCOUNT
        hub.publish(ACCOUNT, lambda: {"event": "a"})
        hub.publish(AccountSid(hello["account_sid"]), lambda: {"event": "b"})
        assert [(await read(mine))["event"] for _ in range(2)] == ["a", "b"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await theirs.recv()


async def test_a_client_resumes_where_it_was(at: Open, hub: Hub) -> None:
    hub.publish(ACCOUNT, lambda: {"event": "a"})
    hub.publish(ACCOUNT, lambda: {"event": "b"})
    hub.publish(ACCOUNT, lambda: {"event": "c"})
    async with at("?after=1&session=life") as socket:
        assert [(await read(socket))["event"] for _ in range(3)] == ["hello", "b", "c"]


async def test_a_place_that_is_no_number_is_refused(at: Open) -> None:
    for bad in ("x", "-1", "1.5", "٣", "9" * 30):
        assert await status_of(at(f"?after={bad}")) == 422


@pytest.mark.parametrize("key", [None, "KEYwrong"])
async def test_without_a_valid_key_there_is_no_socket(at: Open, key: str | None) -> None:
    assert await status_of(at(key=key)) == 401


async def test_the_operator_has_no_events(at: Open, client: httpx.AsyncClient) -> None:
    assert await status_of(at(key=OPERATORS_KEY)) == 403
    headers = {"Authorization": f"Bearer {OPERATORS_KEY}"}
    assert (await client.post("/v2/events/tickets", headers=headers)).status_code == 403


async def test_a_ticket_opens_one_socket_within_half_a_minute(
    at: Open, client: httpx.AsyncClient, clock: "Clock"
) -> None:
    ticket = (await client.post("/v2/events/tickets")).json()["data"]["ticket"]
    async with at(f"?ticket={ticket}", None) as socket:
        assert (await read(socket))["account_sid"] == ACCOUNT
    assert await status_of(at(f"?ticket={ticket}", None)) == 401
    late = (await client.post("/v2/events/tickets")).json()["data"]["ticket"]
    clock.now += 30
    assert await status_of(at(f"?ticket={late}", None)) == 401


async def test_a_ticket_is_worth_no_more_than_its_key(
    at: Open, client: httpx.AsyncClient, accounts: AccountService
) -> None:
    ticket = (await client.post("/v2/events/tickets")).json()["data"]["ticket"]
    await accounts.revoke_key(ACCOUNT, accounts.keys(ACCOUNT)[0].sid)
    assert await status_of(at(f"?ticket={ticket}", None)) == 401


async def test_pages_of_other_sites_are_refused_even_with_a_ticket(at: Open, client: httpx.AsyncClient) -> None:
    ticket = (await client.post("/v2/events/tickets")).json()["data"]["ticket"]
    assert await status_of(at(f"?ticket={ticket}", None, Origin="http://evil.example")) == 403
    async with at(f"?ticket={ticket}", None, Origin=str(client.base_url).rstrip("/")) as socket:
        assert (await read(socket))["event"] == "hello"


async def test_a_revoked_key_ends_its_sockets(
    at: Open, accounts: AccountService, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_socket, "LOOK", 0.05)
    async with at() as socket:
        await read(socket)
        await accounts.revoke_key(ACCOUNT, accounts.keys(ACCOUNT)[0].sid)
        hub.publish(ACCOUNT, lambda: {"event": "a secret"})
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "the API key is not valid any more")


async def test_a_live_call_of_the_account_can_be_watched(at: Open, hub: Hub) -> None:
    async with at() as socket:
        await read(socket)
        await socket.send(json.dumps({"action": "watch", "call_sid": CALL}))
        assert await read(socket) == {"event": "watching", "call_sid": CALL}
        [client] = hub.ring(ACCOUNT).clients
        assert client.watches == {CALL}
        await socket.send(json.dumps({"action": "unwatch", "call_sid": CALL}))
        assert await read(socket) == {"event": "unwatched", "call_sid": CALL}
        assert not client.watches
        await socket.send(json.dumps({"action": "watch", "call_sid": CALL}))
        await read(socket)
    await until(lambda: not hub.ring(ACCOUNT).clients)
    assert not client.watches


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"action": "watch", "call_sid": "v3:others"}, "Resource not found"),
        ({"action": "watch", "call_sid": "v3:ended"}, "the call is over"),
        ({"action": "listen", "call_sid": CALL}, "action must be watch or unwatch"),
        ({"action": "watch"}, 'a message is {"action": "watch" or "unwatch", "call_sid": "v3:…"}'),
        ([], 'a message is {"action": "watch" or "unwatch", "call_sid": "v3:…"}'),
        ("x" * 2000, 'a message is {"action": "watch" or "unwatch", "call_sid": "v3:…"}'),
    ],
)
async def test_what_cannot_be_done_is_answered_and_the_socket_stays(at: Open, message: object, reason: str) -> None:
    async with at() as socket:
        await read(socket)
        await socket.send(json.dumps(message))
        answer = await read(socket)
        assert (answer["event"], answer["reason"]) == ("error", reason)
        await socket.send(b"binary")
        await socket.send("no JSON")
        assert [(await read(socket))["event"] for _ in range(2)] == ["error", "error"]


async def test_an_account_has_a_bounded_number_of_sockets(at: Open, hub: Hub) -> None:
    for _ in range(CLIENTS_OF_ACCOUNT):
        hub.connect(ACCOUNT, lambda: None)
    assert await status_of(at()) == 429


async def test_an_upgrade_elsewhere_is_an_ordinary_request(server: HttpServer, client: httpx.AsyncClient) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert (await client.get("/healthz", headers=upgrade)).json() == {"status": "ok"}


async def test_sockets_end_with_the_server(server: HttpServer, at: Open) -> None:
    async with at() as socket:
        await read(socket)
        await server.stop(grace=1)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
