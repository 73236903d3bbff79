"""The sample app, as a customer would write it. It echoes the audio, and once a second replaces a fifth of a second of
the echo by a 440 Hz tone, with a mark that reports when it was played.

Because tone takes the place of echo, as much goes out as comes in and the playback queue stays short; and every echoed
frame is untouched, so that the caller can recognise it.
"""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from trunkline.demo.audio import FRAME_BYTES, FRAME_MS, split, tone
from trunkline.demo.watch import Watch

ROUND = 50
"""Frames from one tone to the next."""
BURST = 10
"""Frames of tone in a round, at its end."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One `media` message from the server."""

    at: float
    """Loop time of its arrival."""
    chunk: int
    timestamp: int
    """Milliseconds since the stream started."""
    payload: bytes


@dataclass(slots=True)
class Conversation:
    """What the app saw and did on its one socket."""

    started_at: float | None = None
    """Loop time at which `start` came."""
    start: dict[str, Any] = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    echoed: list[bytes] = field(default_factory=list)
    tones_sent: int = 0
    marks_sent: list[str] = field(default_factory=list)
    marks_returned: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Error frames from the server, and messages in the wrong order."""
    stopped: bool = False
    """`stop` came."""


class SampleApp:
    """A WebSocket server for one conversation. Use as an async context manager."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.conversation = Conversation()
        self.watch = Watch()
        """Notified of every message."""
        self._host = host
        self._tone = split(tone(BURST * FRAME_MS))
        self._tones_wanted = True

    async def __aenter__(self) -> "SampleApp":
        self._server: Server = await serve(self._converse, self._host, 0, compression=None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where the app listens."""
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://{self._host}:{port}/conversation"

    def no_more_tones(self) -> None:
        """Begin no further burst, so that the conversation can end with nothing under way."""
        self._tones_wanted = False

    async def _converse(self, socket: ServerConnection) -> None:
        try:
            async for text in socket:
                await self._heard(socket, json.loads(text))
                self.watch.changed()
        except ConnectionClosed:
            self.conversation.errors.append("the connection broke")
            self.watch.changed()

    async def _heard(self, socket: ServerConnection, message: dict[str, Any]) -> None:
        """One message from the server."""
        seen = self.conversation
        now = asyncio.get_running_loop().time()
        event = message["event"]
        if event == "start":
            seen.started_at, seen.start = now, message["start"]
        elif event == "media":
            media = message["media"]
            frame = Frame(now, int(media["chunk"]), int(media["timestamp"]), base64.b64decode(media["payload"]))
            seen.frames.append(frame)
            await self._speak(socket, frame.payload)
        elif event == "mark":
            seen.marks_returned.append(message["mark"]["name"])
        elif event == "error":
            seen.errors.append(f"{message['payload']['code']} {message['payload']['detail']}")
        elif event == "stop":
            seen.stopped = True

    async def _speak(self, socket: ServerConnection, payload: bytes) -> None:
        """Answer one frame with its echo, or with the next piece of a tone."""
        seen = self.conversation
        turn = len(seen.frames) % ROUND - (ROUND - BURST)
        begun = len(seen.marks_sent) < seen.tones_sent
        if not (begun or (turn == 0 and self._tones_wanted)) or len(payload) != FRAME_BYTES:
            seen.echoed.append(payload)
            await self._send(socket, event="media", media={"payload": base64.b64encode(payload).decode()})
            return
        if turn == 0:
            seen.tones_sent += 1
        await self._send(socket, event="media", media={"payload": base64.b64encode(self._tone[turn]).decode()})
        if turn == BURST - 1:
            name = f"tone-{seen.tones_sent}"
            seen.marks_sent.append(name)
            await self._send(socket, event="mark", mark={"name": name})

    @staticmethod
    async def _send(socket: ServerConnection, **message: Any) -> None:
        await socket.send(json.dumps(message))
