"""The live calls of one node, found by call sid, by SIP dialog and by media leg. Plain look-ups; nothing decided."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from trunkline.calls.call import Call
from trunkline.calls.commands import Instructions
from trunkline.ids import CallSid, LegId


@dataclass(frozen=True, slots=True)
class InviteInfo:
    """What the INVITE of a call said beyond the call's view."""

    from_uri: str = ""
    to_uri: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """`X-` headers, `Diversion` and `P-Asserted-Identity`."""


@dataclass(frozen=True, slots=True)
class LiveCall:
    """A live call and the numbers by which the drivers know it."""

    call: Call
    dialog: int
    leg: LegId
    origin: InviteInfo
    instructions: Instructions | None
    """What the call is to do: an inbound one from the start, an outbound one when it was answered."""
    same_worker_as: LegId | None
    """The media leg that this call's is to share a worker with."""
    clock: Callable[[], datetime]
    """UTC of its facts: the wall clock when it began, and from there the monotonic clock, so that a step of the wall
    clock changes no duration."""


class Registry:
    """Every call from its INVITE until nothing more will happen to it."""

    def __init__(self) -> None:
        self._by_sid: dict[CallSid, LiveCall] = {}
        self._by_dialog: dict[int, LiveCall] = {}
        self._by_leg: dict[LegId, LiveCall] = {}
        self._last_leg = 0

    def __len__(self) -> int:
        return len(self._by_sid)

    def __iter__(self) -> Iterator[LiveCall]:
        """Over a copy: calls may go while one looks at them."""
        return iter(list(self._by_sid.values()))

    def add(
        self,
        call: Call,
        dialog: int,
        origin: InviteInfo,
        instructions: Instructions | None,
        same_worker_as: LegId | None,
        clock: Callable[[], datetime],
    ) -> LiveCall:
        """Take a new call in and give it a media leg's number."""
        self._last_leg += 1
        entry = LiveCall(call, dialog, LegId(self._last_leg), origin, instructions, same_worker_as, clock)
        self._by_sid[call.view.sid] = entry
        self._by_dialog[dialog] = entry
        self._by_leg[entry.leg] = entry
        return entry

    def remove(self, entry: LiveCall) -> None:
        """Forget a call."""
        del self._by_sid[entry.call.view.sid]
        del self._by_dialog[entry.dialog]
        del self._by_leg[entry.leg]

    def by_sid(self, sid: CallSid) -> LiveCall | None:
        """The live call of that sid."""
        return self._by_sid.get(sid)

    def by_dialog(self, dialog: int) -> LiveCall | None:
        """The live call of that SIP dialog."""
        return self._by_dialog.get(dialog)

    def by_leg(self, leg: LegId) -> LiveCall | None:
        """The live call of that media leg."""
        return self._by_leg.get(leg)
