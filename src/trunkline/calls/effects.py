"""What a transition wants done, in order. `control/runner.py` does it; the model never waits for it. What the media leg
shall do is an order of `workers/orders.py`."""

from dataclasses import dataclass, field
from typing import Literal

from trunkline.calls.commands import RecordingRequest, Route
from trunkline.calls.events import Recorded
from trunkline.calls.views import CallEvent, CallView, StreamEvent, StreamView
from trunkline.workers.orders import Order


@dataclass(frozen=True, slots=True)
class RingCaller:
    """180 Ringing."""


@dataclass(frozen=True, slots=True)
class AnswerCaller:
    """200 OK."""

    sdp: str = field(repr=False)
    """It may hold a key."""


@dataclass(frozen=True, slots=True)
class RejectCaller:
    """A final failure to the INVITE."""

    status: int
    reason: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class AcceptReoffer:
    """200 OK to the re-INVITE."""

    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RejectReoffer:
    """A final failure to the re-INVITE; the call goes on as it was."""

    status: int
    reason: str
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class HangUpPeer:
    """BYE, or CANCEL, with a reason for people."""

    reason: str
    cause: int = 200
    """The SIP status that says the same to programs (RFC 3326); 200 where nothing went wrong."""


@dataclass(frozen=True, slots=True)
class InviteCallee:
    """INVITE with our offer; answered by `Progressed`, `Accepted`, `Refused`."""

    route: Route
    sdp: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SetTimer:
    """`TimerFired` follows after that many seconds, unless the call has ended."""

    name: Literal["ring", "limit"]
    seconds: float


@dataclass(frozen=True, slots=True)
class BeginRecording:
    """Record the call."""

    request: RecordingRequest


@dataclass(frozen=True, slots=True)
class Persist:
    """Store what changed and send its events: one transaction, events after it."""

    calls: tuple[CallView, ...] = ()
    streams: tuple[StreamView, ...] = ()
    events: tuple[StreamEvent, ...] = ()
    call_events: tuple[CallEvent, ...] = ()
    then: Recorded | None = None
    """Follows once it is durable; `NotRecorded` if the store does not take it in time."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing more will happen to this call."""


Effect = (
    Order
    | RingCaller
    | AnswerCaller
    | RejectCaller
    | AcceptReoffer
    | RejectReoffer
    | HangUpPeer
    | InviteCallee
    | SetTimer
    | BeginRecording
    | Persist
    | Forget
)
