"""What the interpreter is told (facts) and wants done (effects): one file of values, in TeXML's words.

A `job` is a number that the interpreter gives to whatever takes time; facts bring it back, and one that the
interpreter waits for no more is ignored. A `leg` is the same for a call that `<Dial>` placed.
"""

from dataclasses import dataclass
from typing import Literal

from trunkline.calls.commands import Instructions
from trunkline.calls.views import CallStatus
from trunkline.streaming.params import StreamParams
from trunkline.texml.verbs import DialTarget, Document, Method, Say

# ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────


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
    """The call is over, whoever ended it."""


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The peer pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class TimerExpired:
    """The time of `StartTimer` is over."""

    job: int


@dataclass(frozen=True, slots=True)
class SoundPlayed:
    """A `PlaySound` is over: played, stopped, or failed."""

    job: int
    error: str | None


@dataclass(frozen=True, slots=True)
class StreamOver:
    """A stream has ended, or could not be started."""

    job: int
    error: str | None


@dataclass(frozen=True, slots=True)
class RecordingDone:
    """A `Record` is over and its file complete."""

    job: int
    sid: str
    url: str
    seconds: float
    reason: Literal["stopped", "silence", "key", "limit", "hangup", "error"]
    digit: str
    error: str | None


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
    | KeyPressed
    | TimerExpired
    | SoundPlayed
    | StreamOver
    | RecordingDone
    | LegProgressed
    | LegAnswered
    | LegOver
)

# ── effects ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """An HTTP request to the application; the parameters common to all are added to its own."""

    url: str
    method: Method
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a document; told by `Fetched` or `FetchFailed`."""

    job: int
    request: DocumentRequest
    fallback: DocumentRequest | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """Make a request whose answer is of no interest, again until it succeeds, as status callbacks are."""

    request: DocumentRequest


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the operator."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Told by `CallAnswered`."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the call, which is not answered."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class FinishDocument:
    """The document has ended: the call ends, or a dialled party is connected with who dialled it."""


@dataclass(frozen=True, slots=True)
class HangUpCall:
    """End the call; see `calls.commands.EndCall`."""

    cause: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StartStream:
    """Told in the end by `StreamOver`."""

    job: int
    params: StreamParams


@dataclass(frozen=True, slots=True)
class StopStream:
    """Stop a stream that we started."""

    job: int


@dataclass(frozen=True, slots=True)
class StopStreams:
    """Stop the call's stream of that name, or all its streams."""

    name: str | None


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An mp3 or wav file on the network."""

    url: str


@dataclass(frozen=True, slots=True)
class Tone:
    """One of our own making."""

    name: Literal["ringback", "beep"]


@dataclass(frozen=True, slots=True)
class PlaySound:
    """Told by `SoundPlayed`."""

    job: int
    sound: Say | RemoteFile | Tone
    loop: int = 1
    """Times; 0 = until stopped."""


@dataclass(frozen=True, slots=True)
class StopPlaying:
    """Nothing if it is over."""

    job: int


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Press keys towards the peer."""

    digits: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Told by `TimerExpired`; instead of what was set before."""

    job: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Record:
    """Told by `RecordingDone`."""

    job: int
    channels: Literal[1, 2]
    max_length: float
    silence: float
    finish_on: str


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Nothing if it is over."""

    job: int


@dataclass(frozen=True, slots=True)
class PlaceLeg:
    """Call somebody; told by `LegProgressed`, `LegAnswered`, and in the end `LegOver`."""

    leg: int
    target: DialTarget
    caller_id: str | None
    caller_name: str
    timeout: float
    time_limit: float


@dataclass(frozen=True, slots=True)
class EndLeg:
    """End a dialled call, answered or not; nothing if it is over."""

    leg: int
    why: Literal["ended", "elsewhere", "redirected", "star"]
    """The call that dialled it is over, another party answered, new instructions came, the caller pressed *."""


@dataclass(frozen=True, slots=True)
class BridgeLeg:
    """Let the two parties hear each other."""

    leg: int


Effect = (
    Fetch
    | Notify
    | Warn
    | Answer
    | Reject
    | FinishDocument
    | HangUpCall
    | StartStream
    | StopStream
    | StopStreams
    | PlaySound
    | StopPlaying
    | SendDigits
    | StartTimer
    | Record
    | StopRecording
    | PlaceLeg
    | EndLeg
    | BridgeLeg
)
