"""Facts: what happened to a call. Those of signalling are here, in the words of the call model; those of media are the
reports of `workers/reports.py`."""

from dataclasses import dataclass
from typing import Literal

from trunkline.ids import StreamSid
from trunkline.sdp.session import SessionDescription
from trunkline.workers.reports import Report


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
    """There was a response; otherwise the callee was not reached, and the status is ours."""
    unreachable: bool = False
    """There was none as nothing at the callee's address took the call."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The first record of the call, or of a stream of it, is durable: from now on it has an end, whatever happens."""

    stream: StreamSid | None = None


@dataclass(frozen=True, slots=True)
class NotRecorded:
    """It is not, and will not be waited for any longer."""

    stream: StreamSid | None = None


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time that `effects.SetTimer` set is over."""

    name: Literal["ring", "limit"]


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
    """The peer pressed a key, says signalling. Media, which may have received it too, reports it as `DigitHeard`."""

    digit: str


@dataclass(frozen=True, slots=True)
class PeerEnded:
    """The signalling is over, and not by us."""

    cause: Literal["bye", "cancel", "no-ack", "error"]
    detail: str


Fact = (
    Invited
    | Progressed
    | Accepted
    | Refused
    | Recorded
    | NotRecorded
    | TimerFired
    | Confirmed
    | OfferReceived
    | Refreshed
    | ReofferCancelled
    | DigitReceived
    | PeerEnded
    | Report
)
