"""What a transition wants done, in order. `runner.py` does it; the model never waits for it."""

from dataclasses import dataclass, field
from typing import Literal

from trunkline.calls.commands import (
    Bridge,
    Route,
    SendDigits,
    StartPlayback,
    StartRecording,
    StopPlayback,
    StopRecording,
    Unbridge,
)
from trunkline.calls.views import CallEvent, CallView, StreamEvent, StreamView
from trunkline.ids import StreamSid
from trunkline.sdp.values import MediaParams
from trunkline.streaming.params import StreamIdentity, StreamParams


@dataclass(frozen=True, slots=True)
class OpenLeg:
    """Get a media leg; told by `LegOpened` or `LegFailed`."""

    params: MediaParams


@dataclass(frozen=True, slots=True)
class UpdateLeg:
    """The negotiation has a new outcome; told by `LegUpdated` once the leg goes by it."""

    params: MediaParams
    number: int
    early: bool = False
    """By a provisional response: the answer that counts may be another's."""


@dataclass(frozen=True, slots=True)
class CloseLeg:
    """Told by `LegClosed`."""


@dataclass(frozen=True, slots=True)
class NotifyDtmf:
    """Let the streams know of a key that signalling told."""

    digit: str


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
    """INVITE with our offer; told by `Progressed`, `Accepted`, `Refused`."""

    route: Route
    sdp: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Tell `TimerFired` after that many seconds, unless the call has ended."""

    name: Literal["ring", "limit"]
    seconds: float


@dataclass(frozen=True, slots=True)
class Media:
    """A command for the media leg that needs nothing of the call but that it is up."""

    command: StartPlayback | StopPlayback | StartRecording | StopRecording | SendDigits | Bridge | Unbridge


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Open the app's socket; told by `StreamStarted`, and in the end `StreamEnded`."""

    identity: StreamIdentity
    params: StreamParams
    encoding: str
    """The fork's codec."""


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Send `stop` and close; told by `StreamEnded`."""

    sid: StreamSid
    reason: str


@dataclass(frozen=True, slots=True)
class PauseStream:
    """Send the app no audio, or send it again."""

    sid: StreamSid
    paused: bool


@dataclass(frozen=True, slots=True)
class Persist:
    """Store what changed and tell whom it concerns: one transaction, events after it."""

    calls: tuple[CallView, ...] = ()
    streams: tuple[StreamView, ...] = ()
    events: tuple[StreamEvent, ...] = ()
    call_events: tuple[CallEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing more will happen to this call."""


Effect = (
    OpenLeg
    | UpdateLeg
    | CloseLeg
    | NotifyDtmf
    | RingCaller
    | AnswerCaller
    | RejectCaller
    | AcceptReoffer
    | RejectReoffer
    | HangUpPeer
    | InviteCallee
    | SetTimer
    | Media
    | OpenStream
    | CloseStream
    | PauseStream
    | Persist
    | Forget
)
