"""What the interpreter wants done: effects. See `facts.py` for `job` and `leg`.

Most are commands to the call (`calls/commands.py`, `workers/orders.py`), and reach it unchanged. TeXML has effects of
its own where more is to be done first: a document or sound to fetch, a sid to make, another call to find.
"""

from dataclasses import dataclass
from typing import Literal

from trunkline.calls.commands import NOT_REPORTED, AnswerCall, EndCall, Note, RecordingCallback, RejectCall
from trunkline.calls.views import RecordingSource
from trunkline.streaming.params import StreamParams
from trunkline.texml.verbs import DialTarget, Method, Say
from trunkline.workers.orders import RecordingOptions, SendDigits, StopPlayback, StopRecording


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """An HTTP request to the application; the parameters common to all are added to its own."""

    url: str
    method: Method
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a document; answered by `Fetched` or `FetchFailed`."""

    job: int
    request: DocumentRequest
    fallback: DocumentRequest | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """Make a request whose answer is of no interest, again until it succeeds, as status callbacks are."""

    request: DocumentRequest


@dataclass(frozen=True, slots=True)
class FinishDocument:
    """The document has ended: the call ends, or a dialled party is connected with who dialled it."""


@dataclass(frozen=True, slots=True)
class StartStreaming:
    """Start a stream; ends with `facts.StreamOver`."""

    job: int
    params: StreamParams


@dataclass(frozen=True, slots=True)
class StopStreaming:
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
    """Get a file, and play it; ends with `reports.PlaybackEnded`. `StopPlayback` gives up either."""

    job: int
    sound: Say | RemoteFile | Tone
    loop: int = 1
    """Times; 0 = until stopped."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answered by `TimerExpired`; instead of what was set before."""

    job: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RecordCall:
    """Record into a file that the runner names; ends with `facts.RecordingSaved`."""

    job: int
    options: RecordingOptions
    source: RecordingSource = "RecordVerb"
    callback: RecordingCallback = NOT_REPORTED


@dataclass(frozen=True, slots=True)
class PlaceLeg:
    """Place a call; answered by `LegProgressed`, `LegAnswered`, and in the end `LegOver`."""

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
    | Note
    | AnswerCall
    | RejectCall
    | EndCall
    | SendDigits
    | StopPlayback
    | StopRecording
    | FinishDocument
    | StartStreaming
    | StopStreaming
    | StopStreams
    | PlaySound
    | StartTimer
    | RecordCall
    | PlaceLeg
    | EndLeg
    | BridgeLeg
)
