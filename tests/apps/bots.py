"""Bots that make one mistake each, and bots that make none: WebSocket servers as users write them."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from trunkline.apps.speech import speak
from trunkline.apps.wire import frames

Bot = Callable[[ServerConnection], Awaitable[None]]
README = Path(__file__).parents[2] / "README.md"

TEXT = "Good morning. Thank you for calling. We are open from nine to five, on every day of the week but Sunday."
PCM8, PCM16, PCM24 = (speak(TEXT, rate) for rate in (8000, 16_000, 24_000))
PCMU = b"".join(frames(PCM8, "PCMU"))
SWAPPED = b"".join(PCM16[at + 1 : at + 2] + PCM16[at : at + 1] for at in range(0, len(PCM16) - 1, 2))
WAV_HEADER = (
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\xff\xff\xff\xff"
)


def media(payload: bytes) -> str:
    return json.dumps({"event": "media", "media": {"payload": b64encode(payload).decode()}})


def pieces(audio: bytes, size: int) -> list[bytes]:
    return [audio[at : at + size] for at in range(0, len(audio), size)]


def at_start(say: Callable[[ServerConnection], Awaitable[None]]) -> Bot:
    """A bot that begins to `say` something at `start`, and reads meanwhile."""

    async def bot(socket: ServerConnection) -> None:
        speaking: asyncio.Task[None] | None = None
        async for text in socket:
            message = json.loads(text)
            if message["event"] == "start":
                speaking = asyncio.ensure_future(_quietly(say(socket)))
        if speaking is not None:
            await speaking

    return bot


async def _quietly(work: Awaitable[None]) -> None:
    with suppress(ConnectionClosed):
        await work


def says(audio: bytes, size: int = 4000, every: float = 0.0) -> Bot:
    """Sends audio in messages of `size` bytes, `every` so many seconds, once."""

    async def say(socket: ServerConnection) -> None:
        began = asyncio.get_running_loop().time()
        for number, piece in enumerate(pieces(audio, size)):
            await socket.send(media(piece))
            await asyncio.sleep(began + (number + 1) * every - asyncio.get_running_loop().time())

    return at_start(say)


async def binary(socket: ServerConnection) -> None:
    """Sends the audio as it is."""
    for piece in pieces(PCMU, 160):
        await socket.send(piece)
        await asyncio.sleep(0.02)


async def wrong_event(socket: ServerConnection) -> None:
    """Has a name of its own for the message."""
    await socket.send(media(PCMU[:4000]).replace('"event": "media"', '"event": "Media"'))


async def goodbye(socket: ServerConnection) -> None:
    """Hangs up while its words are still queued."""
    await socket.send(media(PCMU[: 8000 * 4]))
    await socket.send(json.dumps({"event": "mark", "mark": {"name": "end"}}))
    await socket.close()


async def slow(socket: ServerConnection) -> None:
    """Thinks about each message."""
    async for text in socket:
        message = json.loads(text)
        await asyncio.sleep(0.06)
        if message["event"] == "media":
            await socket.send(media(PCMU[:160]))


async def leaves(socket: ServerConnection) -> None:
    """Closes after the first messages."""
    for _ in range(3):
        await socket.recv()


async def fails(socket: ServerConnection) -> None:
    """Has a fault: the library closes with 1011."""
    async for text in socket:
        if json.loads(text)["event"] == "media":
            await socket.close(1011, "internal error")


async def one_socket(socket: ServerConnection) -> None:
    """Serves one socket, and refuses all others."""
    if getattr(socket.server, "taken", False):
        await socket.close(1013, "busy")
        return
    vars(socket.server)["taken"] = True
    async for text in socket:
        message = json.loads(text)
        if message["event"] == "media":
            await socket.send(media(PCMU[:160]))


def from_readme() -> Bot:
    """The bot of README."""
    [code] = re.findall(r"```python\n# examples/echo_bot\.py\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {"print": lambda *_, **__: None}
    exec(code.partition("async def main")[0], names)
    bot: Bot = names["bot"]
    return bot


async def realtime_bridge(socket: ServerConnection) -> None:
    """As bridges to a realtime API do: deltas in a burst, a mark behind each, `clear` when the caller speaks."""
    pending: set[str] = set()
    loud = 0
    async for text in socket:
        message = json.loads(text)
        if message["event"] == "start":
            for number, piece in enumerate(pieces(PCMU, 4000)):
                await socket.send(media(piece))
                pending.add(str(number))
                await socket.send(json.dumps({"event": "mark", "mark": {"name": str(number)}}))
        elif message["event"] == "mark":
            pending.discard(message["mark"]["name"])
        elif message["event"] == "media" and pending:
            loud = loud + 1 if len(set(message["media"]["payload"])) > 20 else 0
            if loud == 10:
                pending.clear()
                await socket.send(json.dumps({"event": "clear"}))


async def leads(socket: ServerConnection) -> None:
    """Sends in real time, 160 ms ahead, with a mark after every 160 ms, and stops when the caller speaks."""
    speaking: asyncio.Task[None] | None = None

    async def say() -> None:
        began = asyncio.get_running_loop().time()
        for number, piece in enumerate(pieces(PCMU, 160)):
            await socket.send(media(piece))
            if number % 8 == 7:
                await socket.send(json.dumps({"event": "mark", "mark": {"name": str(number)}}))
            await asyncio.sleep(began + (number - 8) * 0.02 - asyncio.get_running_loop().time())

    loud = 0
    async for text in socket:
        message = json.loads(text)
        if message["event"] == "start":
            speaking = asyncio.ensure_future(_quietly(say()))
        elif message["event"] == "media" and speaking is not None:
            loud = loud + 1 if len(set(message["media"]["payload"])) > 20 else 0
            if loud == 10:
                speaking.cancel()
                await socket.send(json.dumps({"event": "clear"}))


async def listens(socket: ServerConnection) -> None:
    """Says nothing, as transcribers do."""
    async for _ in socket:
        pass
