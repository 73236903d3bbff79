"""Bots to test: handlers of `websockets`, as a customer writes them. `python bots.py NAME PORT` runs one."""

import asyncio
import base64
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

LOUD = 20
"""Bytes of mu-law of a packet that are far from silence, above which the caller speaks."""


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tone(milliseconds: int, frequency: float = 600.0) -> bytes:
    """Mu-law of a tone: 16-bit samples to codes by the library's own table would be no test."""
    at = np.arange(8 * milliseconds)
    samples = 8000 * np.sin(2 * np.pi * frequency * at / 8000)
    magnitude = np.minimum(np.abs(samples).astype(int) + 132, 32635)
    exponent = np.floor(np.log2(magnitude)).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    codes = ~(np.where(samples < 0, 128, 0) | exponent << 4 | mantissa) & 255
    return bytes(codes.astype(np.uint8))


def is_loud(payload: str) -> bool:
    """Whether the caller speaks in this packet."""
    codes = np.frombuffer(base64.b64decode(payload), np.uint8)
    return int(((codes & 0x7F) < 0x50).sum()) > LOUD


class Ear:
    """Notices when the caller begins to speak, and when it has been silent for 0.4 s."""

    def __init__(self) -> None:
        self.speaking = False
        self._quiet = 0

    def hears(self, payload: str) -> str:
        """`begins`, `ends`, or nothing."""
        if is_loud(payload):
            self._quiet = 0
            began, self.speaking = not self.speaking, True
            return "begins" if began else ""
        self._quiet += 1
        if self.speaking and self._quiet == 20:
            self.speaking = False
            return "ends"
        return ""


async def play(ws: ServerConnection, audio: bytes) -> None:
    """Send it in one message."""
    await ws.send(json.dumps({"event": "media", "media": {"payload": base64.b64encode(audio).decode()}}))


async def echo(ws: ServerConnection) -> None:
    """Sends back what it hears."""
    async for text in ws:
        message = json.loads(text)
        if message["event"] == "media":
            await ws.send(json.dumps({"event": "media", "media": {"payload": message["media"]["payload"]}}))


async def silent(ws: ServerConnection) -> None:
    """Never speaks."""
    async for _ in ws:
        pass


async def greeter(ws: ServerConnection) -> None:
    """Greets for 5 s, and stops when the caller speaks; then it answers with another tone. Keys are answered, too."""
    ear = Ear()
    async for text in ws:
        message: dict[str, Any] = json.loads(text)
        heard = ear.hears(message["media"]["payload"]) if message["event"] == "media" else ""
        if message["event"] == "start":
            await play(ws, tone(5000))
        elif heard == "begins":
            await ws.send(json.dumps({"event": "clear"}))
        elif heard == "ends":
            await play(ws, tone(600, 900.0))
        elif message["event"] == "dtmf":
            await play(ws, tone(300, 1200.0))


async def answerer(ws: ServerConnection) -> None:
    """Answers the caller's words with 1.5 s of tone, and stops when it is interrupted."""
    ear = Ear()
    async for text in ws:
        message: dict[str, Any] = json.loads(text)
        heard = ear.hears(message["media"]["payload"]) if message["event"] == "media" else ""
        if heard == "begins":
            await ws.send(json.dumps({"event": "clear"}))
        elif heard == "ends":
            await play(ws, tone(1500))


async def deaf(ws: ServerConnection) -> None:
    """Speaks for 2 s and never stops for the caller."""
    async for text in ws:
        if json.loads(text)["event"] == "start":
            await play(ws, tone(2000))


GREETS_AFTER, CLEARS_AFTER = 0.7, 0.4
"""Seconds that `slow` takes."""


async def slow(ws: ServerConnection) -> None:
    """Greets and stops late, by times that are known."""
    ear, timers = Ear(), set[asyncio.Task[None]]()

    async def later(seconds: float, what: bytes | None) -> None:
        await asyncio.sleep(seconds)
        await (play(ws, what) if what else ws.send(json.dumps({"event": "clear"})))

    async for text in ws:
        message: dict[str, Any] = json.loads(text)
        heard = ear.hears(message["media"]["payload"]) if message["event"] == "media" else ""
        if message["event"] == "start":
            timers.add(asyncio.create_task(later(GREETS_AFTER, tone(5000))))
        elif heard == "begins":
            timers.add(asyncio.create_task(later(CLEARS_AFTER, None)))


BOTS: dict[str, Callable[[ServerConnection], Awaitable[None]]] = {
    "echo": echo,
    "silent": silent,
    "greeter": greeter,
    "answerer": answerer,
    "deaf": deaf,
    "slow": slow,
}


async def main(name: str, port: int) -> None:
    async def handler(ws: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await BOTS[name](ws)

    async with serve(handler, "127.0.0.1", port):
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
