"""The SIP messages of calls, kept for those who look for a fault. Pure.

Messages come as bytes in both directions and are kept as they came: what is secret is left out by `Mask` when they are
read. A dialog begins with an INVITE. Until its call has a name it is unclaimed; one that is refused before it becomes a
call stays so. A call keeps its first `FIRST` messages and the newest. If all calls have too many bytes, the account
that has most loses its oldest; dialogs that are unclaimed have a quarter of the memory beside that, so that
refused INVITEs drive out no call.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from trunkline.config import TraceSettings
from trunkline.ids import AccountSid, CallSid

FIRST = 20
"""Messages of a call that newer ones never replace: its set-up."""
CALLS_KEPT = 10_000
"""Calls whose Call-ID is known, the oldest forgotten first: messages come after the end, too."""
UNCLAIMED_KEPT = 500
"""Dialogs without a call, the oldest dropped first, and"""
UNCLAIMED_MESSAGES = 30
"""messages of each."""
OVERHEAD = 250
"""Bytes that a message takes beside its own."""
HEAD_LIMIT = 8192
"""Bytes of a message in which its Call-ID is looked for."""
LEFT_OUT = "(left out)"

_CALL_ID = re.compile(rb"^(?:Call-ID|i)[ \t]*:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_CSEQ = re.compile(r"^CSeq[ \t]*:[ \t]*(\d+)[ \t]+(\w+)", re.IGNORECASE | re.MULTILINE)
_FOLDED = r"(?:[^\r\n]|\r?\n[ \t])*"
"""The rest of a header field, with its continuation lines (RFC 3261 section 7.3.1)."""
_CREDENTIALS = re.compile(
    rf"^((?:Proxy-)?Authorization|(?:Proxy-)?Authentication-Info)([ \t]*:)({_FOLDED})", re.IGNORECASE | re.MULTILINE
)
_PROOF = re.compile(r"\b(response|rspauth)([ \t]*=[ \t\r\n]*)(\"[^\"]*\"?|[^\s,]*)", re.IGNORECASE)
_KEYS = re.compile(r"^(a=crypto:[ \t]*\d+[ \t]+\S+|a=key-mgmt:\S+|k=\w+)[^\r\n]*", re.IGNORECASE | re.MULTILINE)


class TracedMessage(NamedTuple):
    """One message, as it was on the wire."""

    number: int
    """In its dialog, from 1."""
    at: datetime
    direction: str
    """`received` or `sent`."""
    data: bytes
    local: str
    """Our address and port."""
    peer: str
    """The other's."""
    transport: str


@dataclass(slots=True, eq=False)
class TracedCall:
    """The messages of one Call-ID."""

    call_id: str
    began: datetime
    account: AccountSid | None = None
    sid: CallSid | None = None
    """Both None: it is no call, or none yet."""
    messages: list[TracedMessage] = field(default_factory=list)
    count: int = 0
    """Of all messages that there were."""
    size: int = 0
    """Bytes that are kept."""

    @property
    def dropped(self) -> int:
        """Messages that are not kept any more."""
        return self.count - len(self.messages)


class SipTrace:
    """All calls'. `on_message` is called with each message of a call that has a name; `counters` gets `trace_dropped`:
    messages that made room for others."""

    def __init__(
        self,
        settings: TraceSettings,
        counters: Counter[str] | None = None,
        on_message: Callable[[TracedCall, TracedMessage], None] = lambda _call, _message: None,
    ) -> None:
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.on_message = on_message
        self._messages = settings.messages
        self._memory = int(settings.memory * 1_000_000)
        self._dialogs: dict[str, TracedCall] = {}
        """By Call-ID."""
        self._calls: dict[CallSid, TracedCall] = {}
        self._rings: dict[AccountSid | None, dict[TracedCall, None]] = {None: {}}
        """Those of each account that have messages, the oldest first; None: unclaimed."""
        self._sizes: Counter[AccountSid | None] = Counter()
        """Bytes of each ring, and"""
        self._size = 0
        """of all."""

    def knows(self, call: CallSid) -> bool:
        """The Call-ID of that call is known."""
        return call in self._calls

    def name(self, call_id: str, account: AccountSid, call: CallSid) -> None:
        """That Call-ID is this call's. One that an account has called itself by is that of both its calls."""
        found = self._dialogs.get(call_id)
        if found is None or found.account not in (None, account):
            found = self._dialogs[call_id] = TracedCall(call_id, datetime.min)
        self._calls[call] = found
        if len(self._calls) > CALLS_KEPT:
            self.forget([next(iter(self._calls))])
        if found.sid is not None:
            return
        found.account, found.sid = account, call
        self._sizes[None] -= found.size
        self._sizes[account] += found.size
        self._rings[None].pop(found, None)
        if found.messages:
            self._rings.setdefault(account, {})[found] = None
        for message in found.messages:
            self.on_message(found, message)
        self._make_room()

    def seen(self, direction: str, data: bytes, local: str, peer: str, transport: str, at: datetime) -> None:
        """A message was `received` or `sent`."""
        match = _CALL_ID.search(data, 0, HEAD_LIMIT)
        if match is None:
            return
        call_id = match[1].decode(errors="replace")
        dialog = self._dialogs.get(call_id)
        if dialog is None:
            if not data.startswith(b"INVITE "):
                return
            dialog = self._dialogs[call_id] = TracedCall(call_id, at)
        message = TracedMessage(dialog.count + 1, at, direction, data, local, peer, transport)
        self._keep(dialog, message)
        if dialog.sid is not None:
            self.on_message(dialog, message)

    def of_call(self, account: AccountSid, call: CallSid) -> TracedCall | None:
        """What is kept of a call of an account; None: nothing is known of it."""
        found = self._calls.get(call)
        return found if found is not None and found.account == account else None

    def unclaimed(self) -> list[TracedCall]:
        """Dialogs that became no call, the newest first."""
        return [*self._rings[None]][::-1]

    def forget(self, calls: Iterable[CallSid]) -> None:
        """Keep nothing of those calls."""
        for call in calls:
            found = self._calls.pop(call, None)
            if found is not None:
                self._clear(found)
                if self._dialogs.get(found.call_id) is found:
                    del self._dialogs[found.call_id]

    def _keep(self, dialog: TracedCall, message: TracedMessage) -> None:
        dialog.count += 1
        if dialog.count == 1:
            dialog.began = message.at
        dialog.messages.append(message)
        if not dialog.size:
            self._rings.setdefault(dialog.account, {})[dialog] = None
        self._grow(dialog, len(message.data) + OVERHEAD)
        if len(dialog.messages) > (self._messages if dialog.sid is not None else UNCLAIMED_MESSAGES):
            self._grow(dialog, -len(dialog.messages.pop(FIRST).data) - OVERHEAD)
            self.counters["trace_dropped"] += 1
        self._make_room()

    def _grow(self, dialog: TracedCall, size: int) -> None:
        dialog.size += size
        self._sizes[dialog.account] += size
        self._size += size

    def _make_room(self) -> None:
        unclaimed = self._rings[None]
        while self._sizes[None] > self._memory // 4 or len(unclaimed) > UNCLAIMED_KEPT:
            oldest = next(iter(unclaimed))
            self._clear(oldest)
            del self._dialogs[oldest.call_id]
        while self._size - self._sizes[None] > self._memory:
            account = max((one for one in self._sizes if one is not None), key=self._sizes.__getitem__)
            self._clear(next(iter(self._rings[account])))

    def _clear(self, dialog: TracedCall) -> None:
        """What comes later is kept again."""
        self.counters["trace_dropped"] += len(dialog.messages)
        dialog.messages.clear()
        self._grow(dialog, -dialog.size)
        ring = self._rings.get(dialog.account, {})
        ring.pop(dialog, None)
        if not ring and dialog.account is not None:
            self._rings.pop(dialog.account, None)
            del self._sizes[dialog.account]


class Mask:
    """Writes messages for people: without the proofs of passwords, keys of media, and the fields that `headers` names.

    Of digest credentials the `response` is left out, so that who made them and for which nonce can be seen and no
    password be guessed.
    """

    def __init__(self, headers: Iterable[str] = ()) -> None:
        names = "|".join(map(re.escape, headers))
        pattern = rf"^({names})([ \t]*:)[ \t]*{_FOLDED}"
        self._headers = re.compile(pattern, re.IGNORECASE | re.MULTILINE) if names else None

    def __call__(self, data: bytes) -> str:
        """The text of a message."""
        text = _CREDENTIALS.sub(_without_proof, data.decode(errors="replace"))
        if self._headers is not None:
            text = self._headers.sub(rf"\1\2 {LEFT_OUT}", text)
        return _KEYS.sub(rf"\1 {LEFT_OUT}", text)


def _without_proof(match: re.Match[str]) -> str:
    name, colon, value = match.groups()
    if name.lower().endswith("authorization") and not value.lstrip().lower().startswith("digest"):
        return f"{name}{colon} {LEFT_OUT}"
    return f"{name}{colon}" + _PROOF.sub(rf'\1\2"{LEFT_OUT}"', value)


def summary(text: str) -> str:
    """`INVITE sip:+1@host` or `200 OK`: the first line without the protocol."""
    return text.partition("\n")[0].rstrip("\r").removeprefix("SIP/2.0 ").removesuffix(" SIP/2.0")


def cseq(text: str) -> str:
    """`1 INVITE`; empty without one."""
    found = _CSEQ.search(text)
    return " ".join(found.groups()) if found else ""
