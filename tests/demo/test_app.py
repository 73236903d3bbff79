"""The sample app: echo, tones in place of the echo, marks, and what it records."""

import base64
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from trunkline.demo.app import BURST, ROUND, SampleApp
from trunkline.demo.audio import find_tones, speech


async def send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


async def send_media(socket: ClientConnection, frames: list[bytes]) -> list[dict[str, Any]]:
    """Send frames one by one; returns all messages of the app."""
    said = []
    for number, frame in enumerate(frames, start=1):
        payload = base64.b64encode(frame).decode()
        media = {"track": "inbound", "chunk": str(number), "timestamp": str(20 * number), "payload": payload}
        await send(socket, event="media", media=media)
        said.append(json.loads(await socket.recv()))
        if number % ROUND == ROUND - 1 and said[-1]["media"]["payload"] != payload:
            said.append(json.loads(await socket.recv()))  # the mark after the tone
    return said


def audio_of(said: list[dict[str, Any]]) -> list[bytes]:
    return [base64.b64decode(message["media"]["payload"]) for message in said if message["event"] == "media"]


async def test_a_burst_of_tone_takes_the_place_of_echo_and_is_followed_by_its_mark() -> None:
    frames = speech(ROUND)
    async with SampleApp() as app, connect(app.url) as socket:
        said = await send_media(socket, frames)
    audio = audio_of(said)
    assert audio[: ROUND - BURST - 1] == frames[: ROUND - BURST - 1]
    assert audio[-1] == frames[-1]
    assert find_tones(audio).bursts == 1
    assert [message["mark"] for message in said if message["event"] == "mark"] == [{"name": "tone-1"}]
    seen = app.conversation
    assert seen.echoed == [frame for frame in audio if frame in frames]
    assert [frame.payload for frame in seen.frames] == frames
    assert (seen.tones_sent, seen.marks_sent) == (1, ["tone-1"])


async def test_without_tones_wanted_everything_is_echoed() -> None:
    frames = speech(2 * ROUND)
    async with SampleApp() as app, connect(app.url) as socket:
        app.no_more_tones()
        assert audio_of(await send_media(socket, frames)) == frames
    assert app.conversation.marks_sent == []


async def test_the_app_records_start_marks_errors_and_stop() -> None:
    async with SampleApp() as app, connect(app.url) as socket:
        await send(socket, event="connected", version="1.0.0")
        await send(socket, event="start", start={"user_id": "u"})
        await send(socket, event="mark", mark={"name": "tone-1"})
        await send(socket, event="error", payload={"code": 100003, "title": "t", "detail": "why"})
        await send(socket, event="stop")
        assert await app.watch.until(lambda: app.conversation.stopped, 5)
    seen = app.conversation
    assert seen.started_at is not None
    assert (seen.start, seen.marks_returned, seen.errors) == ({"user_id": "u"}, ["tone-1"], ["100003 why"])


async def test_a_connection_that_breaks_is_an_error() -> None:
    async with SampleApp() as app:
        async with connect(app.url) as socket:
            socket.transport.abort()
            await socket.wait_closed()
        assert await app.watch.until(lambda: bool(app.conversation.errors), 5)
