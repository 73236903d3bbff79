"""Twenty new calls a second for five seconds, each streamed through REST, none failing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from telnyx import AsyncTelnyx

from peers import sipp as steps
from peers.harness import RecordingApp, Socket, events, happens, new_server, running
from peers.sipp import SippRun
from trunkline.demo.audio import speech
from trunkline.demo.callbacks import CallbackReceiver
from trunkline.demo.server import ServerProcess

pytestmark = pytest.mark.peer
CALLS = 200
RATE = 20


class BriefApp(RecordingApp):
    """Hangs up each call of which it has heard a second."""

    client: AsyncTelnyx

    async def _received(self, socket: Socket, message: dict[str, Any]) -> None:
        await super()._received(socket, message)
        if len(socket.messages) == 53:  # `connected`, `start`, and the rest audio
            await self.client.calls.actions.hangup(socket.all("start")[0]["start"]["call_control_id"])


@pytest.fixture
async def app(client: AsyncTelnyx) -> AsyncIterator[BriefApp]:
    async with BriefApp() as app:
        app.client = client
        yield app


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """With ports for all that may be open or resting at once."""
    async with running(new_server(tmp_path, media_ports=800)) as server:
        yield server


async def test_twenty_calls_a_second_are_all_streamed_and_reported(
    server: ServerProcess,
    sipp: Callable[..., SippRun],
    client: AsyncTelnyx,
    app: BriefApp,
    callbacks: CallbackReceiver,
    tmp_path: Path,
) -> None:
    frames = speech(50)
    audio = tmp_path / "speech.ulaw"
    audio.write_bytes(b"".join(frames))

    async def stream(call_sid: str) -> str:
        answer = await client.texml.accounts.calls.streams_json(
            call_sid, account_sid=server.account_sid, url=app.url, status_callback=callbacks.url
        )
        assert answer.sid
        return answer.sid

    scenario = (
        steps.invite(steps.sdp(steps.PCMU_LINES)),
        steps.answered(),
        steps.ack(),
        steps.stream(audio, -1),
        steps.byed(),
    )
    async with sipp(*scenario, calls=CALLS, rate=RATE, seconds=60, media_ports=4 * CALLS) as run:
        starts = [asyncio.create_task(stream((await run.answered()).call_sid)) for _ in range(CALLS)]
        sids = await asyncio.gather(*starts)
        await run.succeeds()
    await happens(callbacks.watch, "all callbacks arrive", lambda: len(callbacks.received) >= 2 * CALLS, 60)
    assert len(set(sids)) == CALLS
    for sid in sids:
        assert events(callbacks, sid) == ["stream-started", "stream-stopped"]
    assert len(app.sockets) == CALLS
    lost = heard = 0
    for socket in app.sockets:
        payloads = socket.payloads()
        assert len(payloads) > 50
        assert set(payloads) <= set(frames)
        chunks = [int(message["media"]["chunk"]) for message in socket.all("media")]
        assert chunks == sorted(set(chunks))
        lost += chunks[-1] - len(chunks)
        heard += len(chunks)
        assert socket.messages[-1]["event"] == "stop"
    assert lost <= heard / 100, "what a busy machine may drop on the way from sipp"
