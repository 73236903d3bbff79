"""What the interpreter is given: facts, in TeXML's words.

A `job` is a number that the interpreter gives to whatever takes time; facts bring it back, and one that the
interpreter waits for no more is ignored. A `leg` is the same for a call that `<Dial>` placed.
"""

from dataclasses import dataclass

from trunkline.calls.commands import Instructions
from trunkline.calls.views import CallStatus
from trunkline.texml.verbs import Document
from trunkline.workers.reports import DigitHeard, PlaybackEnded, RecordingEnded


@dataclass(frozen=True, slots=True)
class Instructed:
    """Begin; or, from the API, drop what runs and do this instead."""

    instructions: Instructions


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document came."""

    job: int
    document: Document
    url: str
    """Where it was found at last; relative URLs in it start there."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """No document is to be had, from the fallback neither."""

    job: int
    detail: str


@dataclass(frozen=True, slots=True)
class CallAnswered:
    """The call is answered, by us or by the peer."""


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The call is over, by either side."""


@dataclass(frozen=True, slots=True)
class TimerExpired:
    """The time of `StartTimer` is over."""

    job: int


@dataclass(frozen=True, slots=True)
class StreamOver:
    """A stream has ended, or could not be started."""

    job: int
    error: str | None


@dataclass(frozen=True, slots=True)
class RecordingSaved:
    """An `effects.RecordCall` is over and its file complete."""

    sid: str
    url: str
    """Where the customer gets the file; empty when nothing was recorded."""
    ended: RecordingEnded


@dataclass(frozen=True, slots=True)
class LegProgressed:
    """A dialled party sends audio before it answers."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegAnswered:
    """A dialled party answered, and did what its own document says, if it has one."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegOver:
    """A dialled call is over, or could not be placed."""

    leg: int
    sid: str
    """Empty when it could not be placed."""
    status: CallStatus
    seconds: int
    """From its answer; 0 without one."""


Fact = (
    Instructed
    | Fetched
    | FetchFailed
    | CallAnswered
    | CallFinished
    | TimerExpired
    | StreamOver
    | RecordingSaved
    | DigitHeard
    | PlaybackEnded
    | LegProgressed
    | LegAnswered
    | LegOver
)
