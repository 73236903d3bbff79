"""The browser phone's WebSocket: a real call of a real server, with PCM in and out."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from peers.harness import RecordingApp, happens, new_server, running
from trunkline.api.phone_socket import PHONES
from trunkline.demo.server import ServerProcess
from trunkline.media.codecs import CODECS

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]
TONE = (np.sin(2 * np.pi * 440 * np.arange(320) / 16000) * 16000).astype("<i2").tobytes()
"""20 ms at 16 kHz."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot() -> AsyncIterator[RecordingApp]:
    async with RecordingApp() as app:
        yield app


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(tmp_path_factory: pytest.TempPathFactory, bot: RecordingApp) -> AsyncIterator[ServerProcess]:
    directory: Path = tmp_path_factory.mktemp("server")
    async with running(new_server(directory, stream=bot.url)) as server:
        yield server


class Page:
    """What a page does with its socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard = b""

    async def until(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(30):
            while True:
                message = await self.socket.recv()
                if isinstance(message, bytes):
                    self.heard += message
                elif (found := json.loads(message))["event"] == event:
                    assert isinstance(found, dict)
                    return found

    async def hears(self, enough: Callable[[bytes], bool]) -> None:
        async with asyncio.timeout(30):
            while not enough(self.heard):
                message = await self.socket.recv()
                self.heard += message if isinstance(message, bytes) else b""

    async def say(self, **message: str) -> None:
        await self.socket.send(json.dumps(message))


def opened(server: ServerProcess, query: str, key: str | None = None) -> AbstractAsyncContextManager[ClientConnection]:
    url = f"ws://127.0.0.1:{server.http_port}/v2/phone?{query}"
    return connect(url, additional_headers={"Authorization": f"Bearer {key or server.api_key}"}, open_timeout=30)


async def status_of(opening: AbstractAsyncContextManager[ClientConnection]) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with opening:
            pass
    return refused.value.response.status_code


def is_loud(pcm: bytes) -> bool:
    return bool(pcm) and int(np.abs(np.frombuffer(pcm, "<i2").astype(int)).max()) > 8000


async def test_a_page_talks_is_heard_presses_keys_comes_back_and_hangs_up(
    serving: ServerProcess, bot: RecordingApp
) -> None:
    begun = len(bot.sockets)
    async with opened(serving, "to=%2B13125550123") as socket:
        page = Page(socket)
        await socket.send(TONE)  # a page does not wait with its audio
        assert (await page.until("calling"))["call_sid"] is None
        answered = await page.until("answered")
        assert answered["call_sid"].startswith("v3:")
        await happens(bot.watch, "a stream starts", lambda: len(bot.sockets) > begun and bot.sockets[-1].started)
        stream = bot.sockets[-1]
        start = stream.all("start")[0]["start"]
        assert (start["from"], start["to"], start["call_control_id"]) == (
            "browser-phone",
            "+13125550123",
            answered["call_sid"],
        )

        def loud() -> bool:
            return is_loud(b"".join(map(CODECS["PCMU"].decoder(), stream.payloads()[-50:])))

        async with asyncio.timeout(30):
            while not loud():
                await socket.send(TONE)
                await asyncio.sleep(0.02)
        await stream.play(CODECS["PCMU"].encoder()(TONE) * 20)
        await page.hears(is_loud)
        await page.say(action="digits", digits="7")
        await happens(bot.watch, "a key comes", lambda: bool(stream.all("dtmf")))
        assert stream.all("dtmf")[0]["dtmf"] == {"digit": "7"}
        for bad in ({"action": "digits", "digits": "x"}, {"action": "digits"}, {"action": "dance"}):
            await page.say(**bad)
            assert (await page.until("error"))["reason"] == "action must be digits (0-9, *, #, A-D) or hang-up"
    async with opened(serving, f"resume={answered['resume']}") as socket:
        page = Page(socket)
        assert (await page.until("answered"))["call_sid"] == answered["call_sid"]
        await stream.play(CODECS["PCMU"].encoder()(TONE) * 20)
        await page.hears(is_loud)
        await page.say(action="hang-up")
        assert (await page.until("ended"))["reason"] == "hung up"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    await happens(bot.watch, "the stream stops", lambda: bool(stream.all("stop")))
    assert await status_of(opened(serving, f"resume={answered['resume']}")) == 404


async def test_what_cannot_be_called_is_refused(serving: ServerProcess) -> None:
    assert await status_of(opened(serving, "to=")) == 422
    assert await status_of(opened(serving, "to=sip:alice@192.0.2.1")) == 422
    assert await status_of(opened(serving, "to=1", key="wrong")) == 401


async def test_a_key_that_only_reads_has_no_phone(serving: ServerProcess) -> None:
    headers = {"authorization": f"Bearer {serving.api_key}"}
    async with httpx.AsyncClient(base_url=serving.base_url, trust_env=False, verify=False, headers=headers) as client:
        made = await client.post("/trunkline/keys", json={"name": "reader", "scope": "read"})
    assert await status_of(opened(serving, "to=1", key=made.json()["data"]["api_key"])) == 403


async def test_a_page_that_hangs_up_before_the_answer_ends_its_call(serving: ServerProcess) -> None:
    async with opened(serving, "to=%2B1") as socket:
        page = Page(socket)
        await page.until("calling")
        await page.say(action="hang-up")
        await page.until("ended")


async def test_phones_are_bounded(serving: ServerProcess) -> None:
    sockets = [await opened(serving, f"to=%2B{number}").__aenter__() for number in range(PHONES)]
    pages = [Page(socket) for socket in sockets]
    for page in pages:
        await page.until("calling")
    assert await status_of(opened(serving, "to=%2B99")) == 429
    for page in pages:
        await page.say(action="hang-up")
        await page.until("ended")
