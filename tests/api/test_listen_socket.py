"""Listening in over a real port: who may, what comes, how it ends."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.helpers import until
from trunkline.api import listen_socket
from trunkline.api.app import ApiApplication, create_app
from trunkline.api.server import HttpServer
from trunkline.config import HttpSettings
from trunkline.control.accounts import AccountService
from trunkline.control.applications import ApplicationService
from trunkline.faces.telnyx.rest import REST
from trunkline.ids import AccountSid, CallSid
from trunkline.live.hub import Hub
from trunkline.live.listening import LISTENERS_OF_ACCOUNT, HeardPiece
from trunkline.webhooks.signing import Signer

if TYPE_CHECKING:
    from api.conftest import Clock, MemoryCalls

KEY, OTHER_KEY, OPERATORS_KEY = "KEY0123456789", "KEY9876543210", "KEYoperator"
ACCOUNT = AccountSid("61bf923e-5e4d-4595-a110-56190ea18a1b")
CALL = CallSid("v3:KBnLO0ZK3DhKM5s7bE9VluaSmKsOchKht_fUYvxcp8ysbmzCCtpkmA")
HUNDRED_MS = bytes(1600 * 4)
Listen = Callable[..., AbstractAsyncContextManager[ClientConnection]]


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
def listen(server: HttpServer) -> Listen:
    """Listen in: `listen(query, key, **headers)`."""

    def listen(
        query: str = f"?call_sid={CALL}", key: str | None = KEY, **headers: str
    ) -> AbstractAsyncContextManager[ClientConnection]:
        more = dict(headers) if key is None else {"Authorization": f"Bearer {key}", **headers}
        return connect(f"ws://127.0.0.1:{server.port}/v2/listen{query}", additional_headers=more, open_timeout=30)

    return listen


async def read(socket: ClientConnection) -> Any:
    async with asyncio.timeout(30):
        message = await socket.recv()
    return message if isinstance(message, bytes) else json.loads(message)


async def status_of(opening: AbstractAsyncContextManager[ClientConnection]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with opening:
            pass
    return refused.value.response.status_code


async def test_audio_comes_with_its_time_and_gaps_are_said(listen: Listen, hub: Hub) -> None:
    with capture_logs() as lines:
        async with listen() as socket:
            hello = await read(socket)
            assert hello == {
                "event": "listening",
                "call_sid": CALL,
                "rate": 16000,
                "tracks": ["inbound", "outbound"],
            }
            for at in (1000, 1100, 1500):
                hub.listening.heard(CALL, HeardPiece(at, HUNDRED_MS))
            hub.listening.heard(CallSid("v3:another"), HeardPiece(0, b"theirs"))
            assert [await read(socket) for _ in range(5)] == [
                {"event": "at", "at_ms": 1000},
                HUNDRED_MS,
                HUNDRED_MS,
                {"event": "at", "at_ms": 1500},
                HUNDRED_MS,
            ]
    [line] = [line for line in lines if line["event"] == "audit_call_listened"]
    assert (line["call_sid"], line["account_sid"], line["key_name"]) == (CALL, ACCOUNT, "first")


async def test_the_end_of_the_call_ends_it(listen: Listen, hub: Hub) -> None:
    async with listen() as socket:
        await read(socket)
        hub.listening.ended(CALL)
        assert await read(socket) == {"event": "ended"}
        with pytest.raises(ConnectionClosed) as closed:
            await read(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000


async def test_a_client_that_leaves_is_not_listened_for_any_more(listen: Listen, hub: Hub) -> None:
    async with listen() as socket:
        await read(socket)
        assert hub.listening.listened(CALL)
        await socket.send("what it says is not read")
    await until(lambda: not hub.listening.listened(CALL))


async def test_only_who_may_change_the_call_hears_it(listen: Listen, accounts: AccountService) -> None:
    assert await status_of(listen(key=None)) == 401
    assert await status_of(listen(key=OPERATORS_KEY)) == 403
    assert await status_of(listen(key=OTHER_KEY)) == 404
    read_key = await accounts.create_key(ACCOUNT, "reader", "read", None)
    assert await status_of(listen(key=read_key.secret)) == 403
    calls_key = await accounts.create_key(ACCOUNT, "caller", "calls", None)
    async with listen(key=calls_key.secret) as socket:
        assert (await read(socket))["event"] == "listening"


async def test_a_call_must_be_named_and_live(listen: Listen, control: "MemoryCalls") -> None:
    assert await status_of(listen("")) == 422
    assert await status_of(listen("?call_sid=v3:none")) == 404
    (await control.end_after(ACCOUNT, CALL))()
    assert await status_of(listen()) == 422


async def test_a_ticket_is_good_for_one_socket_of_our_own_page(listen: Listen, client: httpx.AsyncClient) -> None:
    ticket = (await client.post("/v2/events/tickets")).json()["data"]["ticket"]
    query = f"?call_sid={CALL}&ticket={ticket}"
    assert await status_of(listen(query, None, Origin="http://evil.example")) == 403
    async with listen(query, None, Origin=str(client.base_url).rstrip("/")) as socket:
        assert (await read(socket))["event"] == "listening"
    assert await status_of(listen(query, None)) == 401


async def test_a_revoked_key_ends_it(listen: Listen, accounts: AccountService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen_socket, "LOOK", 0.01)
    async with listen() as socket:
        await read(socket)
        await accounts.revoke_key(ACCOUNT, accounts.keys(ACCOUNT)[0].sid)
        with pytest.raises(ConnectionClosed) as closed:
            await read(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_listeners_of_an_account_are_bounded(listen: Listen, hub: Hub) -> None:
    for _ in range(LISTENERS_OF_ACCOUNT):
        hub.listening.connect(ACCOUNT, CALL, lambda: None)
    assert await status_of(listen()) == 429
