"""The event WebSocket: `GET /v2/events` (docs/reference/events.md). A driver: it waits for the client and the hub.

A client is admitted by its key or by a ticket, gets what the hub has for it, and may ask to watch calls. Its key is
looked at again while it is open: one that was revoked, or has expired, ends it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from trunkline.api import origins
from trunkline.api.auth import CALL_VIEWS, OPERATORS_KEY, Principal, permit
from trunkline.api.operation import RestFace
from trunkline.calls.accounts import Accounts
from trunkline.calls.control import CallControl
from trunkline.errors import ApiError, AuthenticationFailed, InvalidRequest, PermissionDenied
from trunkline.ids import CallSid, Seconds
from trunkline.live.hub import EventClient, Hub, encode
from trunkline.live.tickets import Tickets

PATH = "/v2/events"
LOOK = 5.0
"""Seconds after which the key of a quiet socket is looked at again."""
REVOKED = 1008
"""Close code of a socket whose key is no longer valid (policy violation, RFC 6455 section 7.4.1)."""
ACTION_LIMIT = 1000
"""Characters of a message of the client."""

Admit = Callable[[WebSocket], Awaitable[Principal]]


class EventSockets:
    """Serves them. `admit` lets in who brings a key; `clock` is monotonic, in seconds."""

    def __init__(
        self,
        face: RestFace,
        hub: Hub,
        tickets: Tickets[Principal],
        accounts: Accounts,
        control: CallControl,
        public_url: str | None,
        clock: Callable[[], float],
    ) -> None:
        self._face = face
        self._hub = hub
        self._tickets = tickets
        self._accounts = accounts
        self._control = control
        self._public_url = public_url
        self._clock = clock

    async def serve(self, socket: WebSocket, admit: Admit) -> None:
        """One socket, until it closes."""
        awake = asyncio.Event()
        try:
            sender = await self.admitted(socket, admit)
            client = self._connect(socket, sender, awake.set)
        except ApiError as error:
            await socket.send_denial_response(self._face.error_response(error, "GET", ()))
            return
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.accept()
            await socket.send_text(self._hub.hello(client).decode())
            tasks = [
                asyncio.create_task(self._send(socket, client, sender, awake), name="event socket"),
                asyncio.create_task(self._read(socket, client), name="actions of an event socket"),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.disconnect(client)
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(ended, Exception) and not isinstance(ended, WebSocketDisconnect | OSError):
                    raise ended

    async def admitted(self, socket: WebSocket, admit: Admit) -> Principal:
        """Who opens a socket. Raises ApiError."""
        origins.check(socket.headers.get("origin"), socket.headers.get("host"), self._public_url)
        ticket = socket.query_params.get("ticket")
        if ticket is None:
            sender = await admit(socket)
        else:
            found = self._tickets.use(ticket, Seconds(self._clock()))
            if found is None or not self._accounts.is_valid(found.key_sid):
                raise AuthenticationFailed
            sender = found
        permit(sender, CALL_VIEWS)
        if sender.key_sid == OPERATORS_KEY:
            raise PermissionDenied("The operator's key has no account, and so no events")
        return sender

    def _connect(self, socket: WebSocket, sender: Principal, wake: Callable[[], object]) -> EventClient:
        query = socket.query_params
        after = query.get("after")
        if after is not None and not (after.isascii() and after.isdigit() and len(after) <= 15):
            raise InvalidRequest("after must be the number of an event", pointer="/after")
        return self._hub.connect(
            sender.account,
            wake,
            after=None if after is None else int(after),
            session=query.get("session"),
            watches_all=query.get("watch") == "all",
        )

    async def _send(self, socket: WebSocket, client: EventClient, sender: Principal, awake: asyncio.Event) -> None:
        while True:
            if not self._accounts.is_valid(sender.key_sid):
                await socket.close(REVOKED, "the API key is not valid any more")
                return
            awake.clear()
            for text in client.take():
                await socket.send_text(text.decode())
                awake.set()  # there may be more than one batch
            with suppress(TimeoutError):
                await asyncio.wait_for(awake.wait(), LOOK)

    async def _read(self, socket: WebSocket, client: EventClient) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            answer = await self._act(client, message.get("text") or "")
            await socket.send_text(encode(answer).decode())

    async def _act(self, client: EventClient, text: str) -> dict[str, object]:
        try:
            wanted: Any = json.loads(text) if len(text) <= ACTION_LIMIT else None
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict) or not isinstance(wanted.get("call_sid"), str):
            return _error('a message is {"action": "watch" or "unwatch", "call_sid": "v3:…"}')
        call = CallSid(wanted["call_sid"])
        if wanted.get("action") == "unwatch":
            self._hub.unwatch(client, call)
            return {"event": "unwatched", "call_sid": call}
        if wanted.get("action") != "watch":
            return _error("action must be watch or unwatch", call)
        try:
            view = await self._control.call(client.account, call)
        except ApiError as error:
            return _error(error.detail, call)
        if view.ended_at is not None:
            return _error("the call is over", call)
        refused = self._hub.watch(client, call)
        return {"event": "watching", "call_sid": call} if refused is None else _error(refused, call)


def _error(reason: str, call: CallSid | None = None) -> dict[str, object]:
    return {"event": "error", "reason": reason, "call_sid": call}
