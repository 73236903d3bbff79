"""Host names in SDP, where an address should stand: pure.

RFC 8866 section 5.7 allows names in `c=` lines, and some devices write them. An event with such a description is held
back until the names are looked up, and what comes of its dialog meanwhile behind it, in order; all other dialogs go on.
A name of which nobody knows in time is left empty: media is then sent to where the peer's comes from, as to a peer
behind a NAT. Whoever may call may name an address, so a name gives no more than the address that it leads to.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from trunkline.sdp.session import SessionDescription
from trunkline.sip.values import (
    AckReceived,
    DialogId,
    InfoDigitReceived,
    InviteAccepted,
    InviteProgressed,
    InviteReceived,
    ReinviteReceived,
    SipEvent,
)

HELD_LIMIT = 100
"""Events of one dialog that wait; then keys and provisional responses are dropped and counted. Of all others the
protocol allows but a few at a time."""

_DESCRIPTIONS: dict[type, str] = {
    InviteReceived: "offer",
    ReinviteReceived: "offer",
    AckReceived: "answer",
    InviteProgressed: "answer",
    InviteAccepted: "answer",
}
"""Where events have one."""

Find = Callable[[str, Callable[[str], None]], None]
"""Look a name up: call back once, later, with its address, empty where nobody knows one."""


class MediaHosts:
    """The events of one endpoint that wait. `tell` takes them when they have waited; it must not raise."""

    def __init__(self, find: Find, tell: Callable[[SipEvent], None], counters: Counter[str]) -> None:
        self._find = find
        self._tell = tell
        self._counters = counters
        self._held: dict[DialogId, deque[SipEvent]] = {}

    def __len__(self) -> int:
        """Dialogs that wait."""
        return len(self._held)

    def holds(self, event: SipEvent) -> bool:
        """Whether an event has to wait; it is then told later."""
        held = self._held.get(event.dialog)
        if held is None:
            if not _names(event):
                return False
            self._held[event.dialog] = deque([event])
            self._look_up(event)
        elif len(held) >= HELD_LIMIT and isinstance(event, InfoDigitReceived | InviteProgressed):
            self._counters["held_dropped"] += 1
        else:
            held.append(event)
        return True

    def forget(self, dialog: DialogId) -> None:
        """The application has done with a dialog."""
        self._held.pop(dialog, None)

    def _look_up(self, event: SipEvent) -> None:
        names = _names(event)
        found: dict[str, str] = {}
        for name in names:
            self._find(name, partial(self._found, event, names, found, name))

    def _found(self, event: SipEvent, names: tuple[str, ...], found: dict[str, str], name: str, address: str) -> None:
        found[name] = address
        held = self._held.get(event.dialog)
        if len(found) < len(names) or held is None or held[0] is not event:
            return
        self._counters["media_hosts_unknown"] += list(found.values()).count("")
        held[0] = _placed(event, found)
        while held and self._held.get(event.dialog) is held:
            if _names(held[0]):
                self._look_up(held[0])
                return
            self._tell(held.popleft())
        if self._held.get(event.dialog) is held:
            del self._held[event.dialog]


def _description(event: Any) -> SessionDescription | None:
    member = _DESCRIPTIONS.get(type(event))
    return None if member is None else getattr(event, member)


def _names(event: SipEvent) -> tuple[str, ...]:
    description = _description(event)
    return () if description is None else description.names


def _placed(event: Any, found: Mapping[str, str]) -> SipEvent:
    description = _description(event)
    assert description is not None
    placed: SipEvent = replace(event, **{_DESCRIPTIONS[type(event)]: description.placed(found)})
    return placed
