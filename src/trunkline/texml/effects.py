"""What the interpreter wants done: effects. See `facts.py` for `job` and `leg`."""

from dataclasses import dataclass
from typing import Literal

from trunkline.streaming.params import StreamParams
from trunkline.texml.verbs import DialTarget, Method, Say


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
