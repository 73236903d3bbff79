"""What may be asked of a live call. Each either changes it or raises an `errors.ApiError` that says why not."""

from dataclasses import dataclass
from typing import Literal

from trunkline.ids import StreamSid
from trunkline.streaming.params import StreamParams


@dataclass(frozen=True, slots=True)
class StartStream:
    """Accept a stream under the given sid."""

    sid: StreamSid
    params: StreamParams


@dataclass(frozen=True, slots=True)
class StopStream:
    """Stop a stream."""

    sid: StreamSid


@dataclass(frozen=True, slots=True)
class PauseStream:
    """Send the app of a stream no audio, or send it again. What the app plays goes on either way."""

    sid: StreamSid
    paused: bool


@dataclass(frozen=True, slots=True)
class EndCall:
    """Hang up, or refuse a call that is not answered yet."""

    cause: str
    """In words for people."""
    status: Literal["completed", "failed"] = "completed"


Command = StartStream | StopStream | PauseStream | EndCall
