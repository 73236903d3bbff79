"""The server's side of a stream, against real sockets."""

import asyncio
import json
from contextlib import suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from trunkline.apps import call as call_module
from trunkline.apps.call import BotCall
from trunkline.apps.stream import BotStream, BotUnreachable
from trunkline.apps.wire import mark, media
from trunkline.streaming.params import BidirectionalMode, Track


async def test_the_messages_are_those_of_the_server() -> None:
    came: list[dict[str, object]] = []

    async def bot(socket: ServerConnection) -> None:
        came.extend([json.loads(text) async for text in socket])

    async with serve(bot, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        asked = BotStream(f"ws://127.0.0.1:{port}/", track=Track.BOTH, custom_parameters=(("a", "b"),), auth_token="t")
        call = BotCall(asked)
        await call.open([bytes(160)] * 3)
        call.press("5")
        assert await call.until(lambda: len(call.trace.said) > 5, 10)
        call.ping()
        trace = await call.hang_up()
    events = [message["event"] for message in came]
    assert events[:5] == ["connected", "start", "media", "media", "media"]
    assert events.count("dtmf") == 1
    assert events[-1] == "stop"
    numbers = [int(str(message["sequence_number"])) for message in came[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert trace.closed is not None
    assert (trace.closed.code, trace.closed.by_bot) == (1000, False)
    assert trace.pings[0][1] is not None


async def test_audio_is_played_at_the_call_s_pace_and_marks_come_back_behind_it() -> None:
    async def bot(socket: ServerConnection) -> None:
        await socket.send(media(bytes(1600)))
        await socket.send(mark("end"))
        await socket.wait_closed()

    async with serve(bot, "127.0.0.1", 0) as server:
        call = BotCall(BotStream(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"))
        await call.open()
        assert await call.until(lambda: call.marks_pending == 1, 10)
        assert await call.until(lambda: any(one.event == "mark" for one in call.trace.sent), 10)
        trace = await call.abort()
    assert b"".join(one.payload for one in trace.played) == bytes(1600)
    assert trace.marks_pending == 0


async def test_bad_messages_are_answered_and_counted() -> None:
    async def bot(socket: ServerConnection) -> None:
        await socket.send(b"\0")
        await socket.send("{}")
        await socket.send(media(b"no mp3 file" * 100))
        await socket.wait_closed()

    async with serve(bot, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        call = BotCall(BotStream(url, mode=BidirectionalMode.MP3))
        await call.open()
        assert await call.until(lambda: sum(one.event == "error" for one in call.trace.sent) == 3, 10)
        trace = await call.abort()
    assert trace.errors == {"malformed_frame": 2, "invalid_media": 1}


@pytest.mark.parametrize("url", ["http://a/", "ws://127.0.0.1:9/", "ws://no-such-host.invalid/"])
async def test_what_cannot_be_reached_is_an_error_in_words(url: str) -> None:
    with pytest.raises(BotUnreachable, match=r"\w+ \w+"):
        await BotCall(BotStream(url)).open()


async def test_a_bot_that_floods_and_never_reads_stops_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "CLOSE_TIMEOUT", 0.2)

    async def bot(socket: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await socket.send(mark("a"))

    async with serve(bot, "127.0.0.1", 0) as server, asyncio.timeout(30):
        call = BotCall(BotStream(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"))
        await call.open()
        await call.until(lambda: False, 0.4)
        trace = await call.hang_up()
    assert len(trace.said) >= 15
    assert trace.closed is not None
    assert len(trace.received) <= call_module.MESSAGE_RATE * (trace.closed.at + 1) + call_module.TURN
