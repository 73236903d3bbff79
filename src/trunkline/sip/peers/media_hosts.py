"""Host names in SDP, where an address is expected. Pure.

RFC 8866 section 5.7 allows names in `c=` lines, and some devices write them. An event with such a description waits
until its names have been looked up, and later events of the same dialog wait behind it, in order; other dialogs go on.
A name that is not found in time becomes an empty address: media is then sent to the source of the peer's media, as to a
peer behind a NAT. Any caller may write an address, so a name gives no more access than the address it leads to.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
"""Events of one dialog that wait; beyond it digits and provisional responses are dropped and counted. Of other events
the protocol allows only a few at a time."""

_DESCRIPTIONS: dict[type, str] = {
    InviteReceived: "offer",
    ReinviteReceived: "offer",
    AckReceived: "answer",
    InviteProgressed: "answer",
    InviteAccepted: "answer",
}
"""Member of each event that is a session description."""


@dataclass(frozen=True, slots=True, eq=False)
class HostLookup:
    """A name to be looked up, once: `MediaHosts.found` takes its address."""

    host: str
    """The name."""
    event: SipEvent
    """The event that waits for it."""
    wanted: frozenset[str]
    """All names for which the event waits."""
    found: dict[str, str] = field(repr=False)
    """Addresses found so far, by name."""


class MediaHosts:
    """The events of one endpoint on their way to the application."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._held: dict[DialogId, deque[SipEvent]] = {}
        self._ready: deque[SipEvent | HostLookup] = deque()

    def __len__(self) -> int:
        """Dialogs whose events wait."""
        return len(self._held)

    def put(self, event: SipEvent) -> None:
        """Take an event."""
        held = self._held.get(event.dialog)
        if held is None:
            if not _names(event):
                self._ready.append(event)
                return
            self._held[event.dialog] = deque([event])
            self._look_up(event)
        elif len(held) >= HELD_LIMIT and isinstance(event, InfoDigitReceived | InviteProgressed):
            self._counters["held_dropped"] += 1
        else:
            held.append(event)

    def next_event(self) -> SipEvent | HostLookup | None:
        """The next event for the application, or a name to be looked up; None if there is none."""
        return self._ready.popleft() if self._ready else None

    def found(self, lookup: HostLookup, address: str) -> None:
        """The address of a name; empty if it was not found."""
        lookup.found[lookup.host] = address
        event = lookup.event
        held = self._held.get(event.dialog)
        if len(lookup.found) < len(lookup.wanted) or held is None or held[0] is not event:
            return
        self._counters["media_hosts_unknown"] += list(lookup.found.values()).count("")
        held[0] = _with_addresses(event, lookup.found)
        while held:
            if _names(held[0]):
                self._look_up(held[0])
                return
            self._ready.append(held.popleft())
        del self._held[event.dialog]

    def forget(self, dialog: DialogId) -> None:
        """The application has ended a dialog: drop its events."""
        self._held.pop(dialog, None)
        self._ready = deque(one for one in self._ready if isinstance(one, HostLookup) or one.dialog != dialog)

    def _look_up(self, event: SipEvent) -> None:
        names = _names(event)
        wanted, found = frozenset(names), dict[str, str]()
        self._ready.extend(HostLookup(name, event, wanted, found) for name in names)


def _description(event: Any) -> SessionDescription | None:
    member = _DESCRIPTIONS.get(type(event))
    return None if member is None else getattr(event, member)


def _names(event: SipEvent) -> tuple[str, ...]:
    description = _description(event)
    return () if description is None else description.names


def _with_addresses(event: Any, found: Mapping[str, str]) -> SipEvent:
    description = _description(event)
    assert description is not None
    placed: SipEvent = replace(event, **{_DESCRIPTIONS[type(event)]: description.placed(found)})
    return placed
