"""Facts: what happened to a call, told by signalling and media, in words that neither of them owns."""

from dataclasses import dataclass, field
from typing import Literal

from trunkline.ids import StreamSid
from trunkline.sdp.session import SessionDescription
from trunkline.sdp.values import Endpoint


@dataclass(frozen=True, slots=True)
class Invited:
    """A caller wants to talk; no offer = we make one."""

    offer: SessionDescription | None
    answer: bool = True
    """Answer as soon as the leg is there; else ring until `commands.AnswerCall`."""


@dataclass(frozen=True, slots=True)
class Progressed:
    """The called peer is being alerted (180), or sends early media (an answer in 183); 100: a server has our call."""

    status: int
    answer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The called peer answered."""

    answer: SessionDescription | None
    """None: as in `Progressed`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The called peer, or the way to it, refused."""

    status: int
    """SIP status."""
    reason: str
    detail: str
    responded: bool = True
    """There was a response; else nobody was reached, and the status is ours."""
    unreachable: bool = False
    """There was none as nothing at the callee's address took the call."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time that `effects.SetTimer` set is over."""

    name: Literal["ring", "limit"]


@dataclass(frozen=True, slots=True)
class LegOpened:
    """The media leg is there."""

    local: Endpoint
    """Address for our SDP."""


@dataclass(frozen=True, slots=True)
class LegUpdated:
    """The media leg hears and speaks as the `effects.UpdateLeg` of that number says."""

    number: int


@dataclass(frozen=True, slots=True)
class LegFailed:
    """No media leg to be had."""

    detail: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The peer confirmed our answer (ACK), with its own answer if the offer was ours."""

    answer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class OfferReceived:
    """A re-INVITE, or an UPDATE with an offer; no offer = we make one."""

    offer: SessionDescription | None


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The peer answered our last description, which was sent again to refresh the session."""

    answer: SessionDescription


@dataclass(frozen=True, slots=True)
class ReofferCancelled:
    """The last re-INVITE or UPDATE is over without our answer: cancelled, or it waited too long."""


@dataclass(frozen=True, slots=True)
class DigitReceived:
    """The peer pressed a key and signalling told it. Media, which may have heard it too, tells it as `DigitHeard`."""

    digit: str


@dataclass(frozen=True, slots=True)
class DigitHeard:
    """The peer pressed a key (RFC 4733, SIP INFO, or both); streams know already."""

    digit: str


@dataclass(frozen=True, slots=True)
class PlaybackEnded:
    """A `commands.StartPlayback` is over: played, stopped, or failed."""

    job: int
    error: str | None


@dataclass(frozen=True, slots=True)
class RecordingEnded:
    """A `commands.StartRecording` is over and its file complete."""

    job: int
    seconds: float
    reason: Literal["stopped", "silence", "key", "limit", "hangup", "error"]
    digit: str = ""
    """The key that ended it."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PeerEnded:
    """The signalling is over, and not by us."""

    cause: Literal["bye", "cancel", "no-ack", "error"]
    detail: str


@dataclass(frozen=True, slots=True)
class LegSilent:
    """No RTP for `media.silence_timeout`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LegClosed:
    """The leg's last counters."""

    report: dict[str, bool | int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The media worker died and everything of this call that was in it."""

    detail: str


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The app's socket is open and has been sent `start`."""

    sid: StreamSid


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The stream is gone, by itself or as told; `error` in words when it failed."""

    sid: StreamSid
    error: str | None
    reason: str
    report: dict[str, int | str] = field(default_factory=dict)


Fact = (
    Invited
    | Progressed
    | Accepted
    | Refused
    | TimerFired
    | LegOpened
    | LegUpdated
    | LegFailed
    | Confirmed
    | OfferReceived
    | Refreshed
    | ReofferCancelled
    | DigitReceived
    | DigitHeard
    | PlaybackEnded
    | RecordingEnded
    | PeerEnded
    | LegSilent
    | LegClosed
    | WorkerLost
    | StreamStarted
    | StreamEnded
)
