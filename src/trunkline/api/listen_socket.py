"""Listening in: `GET /v2/listen`, a WebSocket with the audio of a live call (docs/reference/listen.md). A driver.

The key is looked at again while the socket is open, as that of the event WebSocket.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from trunkline.api.auth import CALL_CHANGES, Principal, permit
from trunkline.api.event_socket import LOOK, REVOKED, Admit, EventSockets
from trunkline.api.operation import RestFace
from trunkline.calls.accounts import Accounts
from trunkline.calls.control import CallControl
from trunkline.errors import ApiError, CallEnded, MissingParameter
from trunkline.ids import CallSid
from trunkline.live.hub import encode
from trunkline.live.listening import RATE, CallListener, HeardPiece, Listening

PATH = "/v2/listen"

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class ListenSockets:
    """Serves them. `events` admits: by key or ticket, and our own pages only."""

    def __init__(
        self, face: RestFace, events: EventSockets, listening: Listening, accounts: Accounts, control: CallControl
    ) -> None:
        self._face = face
        self._events = events
        self._listening = listening
        self._accounts = accounts
        self._control = control

    async def serve(self, socket: WebSocket, admit: Admit) -> None:
        """One socket, until it closes or its call is over."""
        awake = asyncio.Event()
        try:
            sender = await self._events.admitted(socket, admit)
            listener = await self._connect(socket, sender, awake.set)
        except ApiError as error:
            await socket.send_denial_response(self._face.error_response(error, "GET", ()))
            return
        about = {"key_name": sender.key_name, "key_sid": sender.key_sid, "account_sid": sender.account}
        _log.info("audit_call_listened", call_sid=listener.call, **about)
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.accept()
            tasks = [
                asyncio.create_task(self._send(socket, listener, sender, awake), name="audio of a listener"),
                asyncio.create_task(_read(socket), name="end of a listener"),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._listening.disconnect(listener)
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, WebSocketDisconnect | OSError):
                    raise ended

    async def _connect(self, socket: WebSocket, sender: Principal, wake: Callable[[], object]) -> CallListener:
        # Who may change a call may hear it: a key that may only read sees no audio either.
        permit(sender, CALL_CHANGES)
        call = CallSid(socket.query_params.get("call_sid", ""))
        if not call:
            raise MissingParameter("call_sid is required", pointer="/call_sid")
        view = await self._control.call(sender.account, call)
        if view.ended_at is not None:
            raise CallEnded("The call is over")
        return self._listening.connect(sender.account, call, wake)

    async def _send(self, socket: WebSocket, listener: CallListener, sender: Principal, awake: asyncio.Event) -> None:
        hello = {"event": "listening", "call_sid": listener.call, "rate": RATE, "tracks": ["inbound", "outbound"]}
        await socket.send_text(encode(hello).decode())
        expected: int | None = None
        while True:
            if not self._accounts.is_valid(sender.key_sid):
                await socket.close(REVOKED, "the API key is not valid any more")
                return
            awake.clear()
            while (piece := listener.take()) is not None:
                if piece.at_ms != expected:
                    await socket.send_text(encode({"event": "at", "at_ms": piece.at_ms}).decode())
                expected = piece.at_ms + _milliseconds(piece)
                await socket.send_bytes(piece.pcm)
            if listener.over:
                await socket.send_text(encode({"event": "ended"}).decode())
                await socket.close(1000)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(awake.wait(), LOOK)


def _milliseconds(piece: HeardPiece) -> int:
    return len(piece.pcm) * 1000 // (RATE * 4)


async def _read(socket: WebSocket) -> None:
    """Until the client is gone; what it says is not read."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
