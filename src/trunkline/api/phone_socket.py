"""The browser phone: `GET /v2/phone`, a WebSocket with PCM, and a real call of this server behind it (docs/guide/
console.md). A driver.

Each socket has a `PhoneCall`: SIP and RTP over loopback, with a credential that the server makes for it at its start. A
page that is loaded again comes back to its call with the `resume` of `calling`, within `RESUME` seconds.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from trunkline.api.auth import CALL_CHANGES, Principal, permit
from trunkline.api.event_socket import Admit, EventSockets
from trunkline.api.operation import RestFace
from trunkline.errors import ApiError, InvalidRequest, PermissionDenied, ResourceNotFound, TooManyRequests
from trunkline.ids import AccountSid
from trunkline.live.hub import encode
from trunkline.media.rtp.dtmf import NoTelephoneEvent, TooManyDigits
from trunkline.phone.values import PhoneError, PhoneEvent
from trunkline.sip.values import Credentials

if TYPE_CHECKING:
    from trunkline.phone.call import PhoneCall

PATH = "/v2/phone"
RATE = 16000
"""Samples per second, both ways; 16-bit little-endian mono."""
PHONES = 10
"""Browser phones in calls at once."""
RESUME = 10.0
"""Seconds for which a call outlives its socket."""
NEWEST_MS = 200
"""Audio of the browser that may wait to be sent; of more the oldest is dropped."""

_CALLED = re.compile(r"[A-Za-z0-9+*#_.-]{1,64}")
_DIGITS = re.compile(r"[0-9*#A-DwW]{1,32}")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PhoneLine:
    """How browser phones call this server: `host` of its SIP (with the port), and a credential that it has made."""

    account: AccountSid
    """Whose calls they are."""
    host: Callable[[], str]
    user: str
    password: str = field(repr=False)


class BrowserPhone:
    """One call, and the socket that has it now, if one does."""

    def __init__(self, call: "PhoneCall") -> None:
        self.call = call
        self.resume = secrets.token_urlsafe(24)
        self.socket: WebSocket | None = None
        self.lost: asyncio.TimerHandle | None = None
        """Ends a call that no socket comes back to."""
        self.task: asyncio.Task[None] | None = None


class PhoneSockets:
    """Serves them. `events` admits: by key or ticket, and our own pages only."""

    def __init__(self, face: RestFace, events: EventSockets, line: PhoneLine) -> None:
        self._face = face
        self._events = events
        self._line = line
        self._phones: dict[str, BrowserPhone] = {}

    async def serve(self, socket: WebSocket, admit: Admit) -> None:
        """One socket, until it closes or its call is over."""
        try:
            sender = await self._events.admitted(socket, admit)
            # A tenth of a second, and 30 MB that a server without browser phones does without.
            await asyncio.to_thread(import_module, "trunkline.phone.call")
            phone = self._phone(socket, sender)
        except ApiError as error:
            await socket.send_denial_response(self._face.error_response(error, "GET", ()))
            return
        await socket.accept()
        former, phone.socket = phone.socket, socket
        if former is not None:
            with suppress(Exception):
                await former.close(1000, "another page has the phone now")
        if phone.lost is not None:
            phone.lost.cancel()
            phone.lost = None
        if phone.task is None:
            phone.task = asyncio.create_task(self._run(phone), name="browser phone")
        else:
            await self._say(phone, "answered" if phone.call.is_up else "calling")
        try:
            await self._read(phone, socket)
        finally:
            self._left(phone, socket)

    async def stop(self) -> None:
        """Hang all up."""
        tasks = [phone.task for phone in self._phones.values() if phone.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _phone(self, socket: WebSocket, sender: Principal) -> BrowserPhone:
        """The phone to resume, or a new one. Raises ApiError."""
        from trunkline.phone.call import PhoneCall

        permit(sender, CALL_CHANGES)
        if sender.account != self._line.account:
            raise PermissionDenied("The browser phone is for the account of inbound calls")
        query = socket.query_params
        if (resume := query.get("resume")) is not None:
            if resume not in self._phones:
                raise ResourceNotFound
            return self._phones[resume]
        if len(self._phones) >= PHONES:
            raise TooManyRequests(f"{PHONES} browser phones are in calls already", retry_after=5)
        called = query.get("to", "")
        if not _CALLED.fullmatch(called):
            raise InvalidRequest("to must be a number, or app- and the sid of an application", pointer="/to")
        line = self._line
        events: list[PhoneEvent] = []
        call = PhoneCall(
            f"sip:{quote(called, safe='+*')}@{line.host()}",
            user=line.user,
            credentials=Credentials(line.user, line.password),
            codecs=("PCMU", "PCMA", "G722"),
            rate=RATE,
            keep=False,
            on_event=events.append,
        )
        phone = BrowserPhone(call)
        self._phones[phone.resume] = phone
        return phone

    def _left(self, phone: BrowserPhone, socket: WebSocket) -> None:
        if phone.socket is socket:
            phone.socket = None
            if phone.resume in self._phones:
                phone.lost = asyncio.get_running_loop().call_later(RESUME, self._give_up, phone)

    def _give_up(self, phone: BrowserPhone) -> None:
        if phone.task is not None:
            phone.task.cancel()

    async def _run(self, phone: BrowserPhone) -> None:
        """The call, whatever sockets come and go."""
        reason = "hung up"
        try:
            async with phone.call:
                await self._say(phone, "calling")
                await phone.call.wait_answered()
                await self._say(phone, "answered")
                async for frame in phone.call.frames():
                    if (socket := phone.socket) is not None:
                        with suppress(RuntimeError, WebSocketDisconnect, OSError):
                            await socket.send_bytes(frame.pcm)
                reason = phone.call.events[-1].detail if phone.call.events else reason
        except PhoneError as error:
            reason = str(error)
        except Exception as error:
            _log.error("browser_phone_failed", reason=repr(error), exc_info=True)
            reason = "internal error"
        finally:
            self._phones.pop(phone.resume, None)
            await self._say(phone, "ended", reason=reason)
            if (socket := phone.socket) is not None:
                with suppress(RuntimeError, WebSocketDisconnect, OSError):
                    await socket.close()

    async def _say(self, phone: BrowserPhone, event: str, **members: object) -> None:
        if phone.socket is None:
            return
        about = {"call_sid": phone.call.call_sid if event == "answered" else None, "resume": phone.resume}
        with suppress(RuntimeError, WebSocketDisconnect, OSError):
            await phone.socket.send_text(encode({"event": event, **about, **members}).decode())

    async def _read(self, phone: BrowserPhone, socket: WebSocket) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            pcm = message.get("bytes")
            if pcm:
                if phone.call.is_up:
                    phone.call.play(pcm, NEWEST_MS)
                continue
            if not await self._act(phone, message.get("text") or ""):
                return

    async def _act(self, phone: BrowserPhone, text: str) -> bool:
        """What the page asks for; False: nothing more is read."""
        try:
            wanted: Any = json.loads(text)
        except ValueError:
            wanted = None
        action = wanted.get("action") if isinstance(wanted, dict) else None
        if action == "hang-up":
            if phone.task is not None:
                phone.task.cancel()
            return True
        if action == "digits" and _DIGITS.fullmatch(str(wanted.get("digits"))):
            try:
                phone.call.send_digits(wanted["digits"])
            except (PhoneError, NoTelephoneEvent, TooManyDigits) as error:
                await self._say(phone, "error", reason=str(error))
            return True
        await self._say(phone, "error", reason="action must be digits (0-9, *, #, A-D) or hang-up")
        return True
