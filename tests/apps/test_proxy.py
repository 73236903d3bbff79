"""The proxy between the server's side and a bot."""

from websockets.asyncio.server import Server, ServerConnection, serve

from trunkline.apps.call import BotCall
from trunkline.apps.proxy import BOT_UNREACHABLE
from trunkline.apps.server import listen
from trunkline.apps.speech import babble
from trunkline.apps.stream import BotStream
from trunkline.apps.wire import AppNote, frames


def _port(server: Server) -> int:
    number: int = next(iter(server.sockets)).getsockname()[1]
    return number


async def test_all_passes_both_ways_and_is_shown() -> None:
    seen: list[str | None] = []

    async def echo(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.append(socket.request.headers.get("x-telnyx-streaming-auth-token"))
        async for text in socket:
            await socket.send(text)

    notes: list[AppNote] = []
    async with serve(echo, "127.0.0.1", 0) as bot:
        url = f"ws://127.0.0.1:{_port(bot)}/"
        async with await listen("proxy", url, host="127.0.0.1", port=0, codec="PCMU", report=notes.append) as proxy:
            call = BotCall(BotStream(f"ws://127.0.0.1:{_port(proxy)}/", auth_token="secret"))
            await call.open()
            call.speak(frames(babble(200), "PCMU"))
            assert await call.until(call.trace.echoes, 10)
            trace = await call.hang_up()
    assert seen == ["secret"]
    assert trace.closed is not None
    assert trace.closed.code == 1000
    kinds = {(note.event, note.fields.get("kind")) for note in notes}
    assert {
        ("-> bot", "start"),
        ("-> bot", "media"),
        ("<- bot", "media"),
        ("-> bot", "stop"),
        ("-> bot", "close"),
    } <= kinds


async def test_a_bot_that_cannot_be_reached_is_named() -> None:
    notes: list[AppNote] = []
    async with await listen(
        "proxy", "ws://127.0.0.1:9/", host="127.0.0.1", port=0, codec="PCMU", report=notes.append
    ) as proxy:
        call = BotCall(BotStream(f"ws://127.0.0.1:{_port(proxy)}/"))
        await call.open()
        assert await call.until(lambda: call.over, 10)
        trace = await call.hang_up()
    assert trace.closed is not None
    assert trace.closed.code == BOT_UNREACHABLE
    assert any("no bot at ws://127.0.0.1:9/" in str(note.fields) for note in notes)
