"""The SIP messages of calls as events, for the ladder. Pure.

Messages come as bytes in both directions, those that belong to no call too: they are kept until the call of their
Call-ID has a name, or dropped. `MESSAGES` of a call are published; the rest is counted by the event's `number`, whose
gaps show it. Credentials and media keys are left out.
"""

import re
from collections.abc import Callable
from datetime import datetime

from trunkline.ids import AccountSid, CallSid
from trunkline.live.hub import Hub, timestamp

MESSAGES = 200
"""Of one call."""
TEXT_LIMIT = 6000
"""Characters of a message."""
CALLS_KEPT = 2000
"""Calls whose Call-ID is known, the oldest forgotten first: messages come after the end, too."""
WAITING = 200
"""Call-IDs without a call, and"""
WAITING_OF_ONE = 10
"""messages of each, the oldest dropped first."""

_CALL_ID = re.compile(rb"^(?:Call-ID|i)[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_CSEQ = re.compile(r"^CSeq[ \t]*:[ \t]*(\d+) +(\w+)", re.IGNORECASE | re.MULTILINE)
_SECRETS = re.compile(
    r"^((?:Proxy-)?Authorization|(?:WWW|Proxy)-Authenticate)([ \t]*:[ \t]*\w*)[^\r\n]*", re.IGNORECASE | re.MULTILINE
)
_KEYS = re.compile(r"^(a=crypto:\d+ \S+ )[^\r\n]*", re.MULTILINE)

Publish = Callable[[], dict[str, object]]


class Ladder:
    """All calls'."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._calls: dict[str, tuple[AccountSid, CallSid]] = {}
        """By Call-ID."""
        self._counts: dict[CallSid, int] = {}
        """Messages of each call that is known."""
        self._waiting: dict[str, list[tuple[str, bytes, str, str, datetime]]] = {}

    def knows(self, call: CallSid) -> bool:
        """The Call-ID of that call is known."""
        return call in self._counts

    def name(self, call_id: str, account: AccountSid, call: CallSid) -> None:
        """That Call-ID is this call's."""
        self._calls[call_id] = account, call
        self._counts[call] = 0
        if len(self._calls) > CALLS_KEPT:
            _, oldest = self._calls.pop(next(iter(self._calls)))
            self._counts.pop(oldest, None)
        for message in self._waiting.pop(call_id, ()):
            self._publish(account, call, *message)

    def seen(self, direction: str, data: bytes, peer: str, transport: str, at: datetime) -> None:
        """A message was `received` or `sent`."""
        found = _CALL_ID.search(data[:TEXT_LIMIT])
        if found is None:
            return
        call_id = found[1].decode(errors="replace")
        known = self._calls.get(call_id)
        if known is not None:
            self._publish(*known, direction, data, peer, transport, at)
            return
        if data.startswith((b"REGISTER ", b"OPTIONS ")):
            return
        waiting = self._waiting.setdefault(call_id, [])
        waiting.append((direction, data, peer, transport, at))
        del waiting[:-WAITING_OF_ONE]
        if len(self._waiting) > WAITING:
            del self._waiting[next(iter(self._waiting))]

    def _publish(
        self, account: AccountSid, call: CallSid, direction: str, data: bytes, peer: str, transport: str, at: datetime
    ) -> None:
        number = self._counts[call] = self._counts[call] + 1
        if number > MESSAGES:
            return
        data = data[:TEXT_LIMIT]

        def make() -> dict[str, object]:
            text = plain(data)
            cseq = _CSEQ.search(text)
            return {
                "event": "sip-message",
                "occurred_at": timestamp(at),
                "call_sid": call,
                "number": number,
                "direction": direction,
                "peer": peer,
                "transport": transport,
                "summary": text.partition("\r\n")[0].removeprefix("SIP/2.0 ").removesuffix(" SIP/2.0"),
                "cseq": " ".join(cseq.groups()) if cseq else "",
                "text": text,
            }

        self._hub.publish(account, make)


def plain(data: bytes) -> str:
    """A message for people, without credentials and media keys."""
    text = data.decode(errors="replace")
    return _KEYS.sub(r"\1(left out)", _SECRETS.sub(r"\1\2 (left out)", text))
