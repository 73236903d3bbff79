"""A stand-in for OpenAI's Realtime API: the events that its reference documents, a tone instead of a voice.

It greets when a response is asked for, notices when the caller begins to speak (server VAD), and answers when the
caller is silent again, with the event name that the API had before its general release.
"""

import base64
import json
from contextlib import suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from testing.bots import Ear, tone
from trunkline.demo.watch import Watch

KEY = "sk-test"
GREETING, ANSWER = 600.0, 900.0
"""Hz."""
PART = 2000
"""Bytes of a delta: 250 ms, which come faster than they are played."""


class RealtimeApi:
    """Use as an async context manager. `received` are the bridge's events."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.refused = 0
        self.sessions = 0
        self.ended = 0
        self.watch = Watch()
        self._open: list[ServerConnection] = []

    async def __aenter__(self) -> "RealtimeApi":
        self._server = await serve(self._serve, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1/realtime?model=gpt-realtime"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The bridge's events of one type."""
        return [event for event in self.received if event["type"] == kind]

    def lose(self) -> None:
        """Break the connections, without a close frame."""
        for ws in self._open:
            ws.transport.abort()

    async def _serve(self, ws: ServerConnection) -> None:
        if ws.request is None or ws.request.headers.get("Authorization") != f"Bearer {KEY}":
            self.refused += 1
            await ws.close(1008, "invalid_api_key")
            return
        self.sessions += 1
        self._open.append(ws)
        self.watch.changed()
        with suppress(ConnectionClosed):
            await self._converse(ws)
        self.ended += 1
        self.watch.changed()

    async def _converse(self, ws: ServerConnection) -> None:
        ear = Ear()
        await self._send(ws, "session.created", session={})
        async for text in ws:
            event = json.loads(text)
            self.received.append(event)
            self.watch.changed()
            match event["type"]:
                case "session.update":
                    await self._send(ws, "session.updated", session=event["session"])
                case "response.create":
                    await self._say(ws, "response.output_audio.delta", "item_1", tone(5000, GREETING))
                case "input_audio_buffer.append":
                    heard = ear.hears(event["audio"])
                    if heard == "begins":
                        await self._send(ws, "input_audio_buffer.speech_started", audio_start_ms=0, item_id="item_2")
                    elif heard == "ends":
                        await self._send(ws, "input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="item_2")
                        await self._say(ws, "response.audio.delta", "item_3", tone(600, ANSWER))

    async def _say(self, ws: ServerConnection, kind: str, item: str, audio: bytes) -> None:
        for at in range(0, len(audio), PART):
            delta = base64.b64encode(audio[at : at + PART]).decode()
            await self._send(
                ws, kind, delta=delta, item_id=item, content_index=0, output_index=0, response_id="response"
            )

    @staticmethod
    async def _send(ws: ServerConnection, kind: str, **more: object) -> None:
        await ws.send(json.dumps({"type": kind, "event_id": "event", **more}))
