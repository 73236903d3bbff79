"""Reports: what happened on one leg of a media worker. Values that reach the call model and TeXML unchanged:
`messages.FromLeg` says which leg. Pure.
"""

from typing import Literal

import msgspec

from trunkline.ids import StreamSid
from trunkline.media.report import LegReport, LegSample
from trunkline.sdp.values import Endpoint
from trunkline.streaming.params import SeenMessage, StreamReport

RecordingReason = Literal["stopped", "silence", "key", "limit", "hangup", "error"]


class LegOpened(msgspec.Struct, frozen=True, tag=True):
    """The leg has its RTP ports."""

    local: Endpoint
    """Address for our SDP."""


class LegFailed(msgspec.Struct, frozen=True, tag=True):
    """No leg could be opened."""

    detail: str
    """For people: why."""


class LegUpdated(msgspec.Struct, frozen=True, tag=True):
    """The leg has applied an `orders.UpdateLeg`."""

    number: int
    """Number of the update."""


class LegSilent(msgspec.Struct, frozen=True, tag=True):
    """No RTP came for `media.silence_timeout` while the call was not on hold."""

    seconds: float
    """Length of the silence so far."""


class LegClosed(msgspec.Struct, frozen=True, tag=True):
    """The leg is closed."""

    report: LegReport
    """Its last counters."""


class DigitHeard(msgspec.Struct, frozen=True, tag=True):
    """The peer pressed a key (RFC 4733, SIP INFO, or both); apps have their `dtmf` message already."""

    digit: str
    """One of `0123456789*#ABCD`."""


class PlaybackEnded(msgspec.Struct, frozen=True, tag=True):
    """An `orders.StartPlayback` is over."""

    job: int
    """Number of the playback."""
    error: str | None
    """For people: why it failed; None = played or stopped."""


class RecordingEnded(msgspec.Struct, frozen=True, tag=True):
    """An `orders.StartRecording` is over and its file complete."""

    job: int
    """Number of the recording."""
    seconds: float
    """Length of the audio in the file."""
    reason: RecordingReason
    """What ended it."""
    digit: str = ""
    """The key that ended it."""
    error: str | None = None
    """For people: why there is no file, or only a part."""
    size: int = 0
    """Bytes of the file."""


class StreamStarted(msgspec.Struct, frozen=True, tag=True):
    """The app's WebSocket is open and `start` was sent."""

    sid: StreamSid
    """The stream."""


class StreamEnded(msgspec.Struct, frozen=True, tag=True):
    """The stream is over, by itself or by `orders.CloseStream`."""

    sid: StreamSid
    """The stream."""
    error: str | None
    """For people: why it failed; None = it ended in good order."""
    reason: str
    """For people: why it ended."""
    report: StreamReport | None
    """Its last counters; None = it had no leg to begin on."""


class StreamWatched(msgspec.Struct, frozen=True):
    """One stream of a watched leg since the last report."""

    sid: StreamSid
    """The stream."""
    state: str
    """Of its socket."""
    queued_ms: int
    """Audio of the app that waits to be played."""
    played_ms: int
    """Audio of the app played so far."""
    marks: int
    """Marks returned so far."""
    media_sent: int
    """`media` messages to the app since it is watched."""
    media_received: int
    """`media` messages of the app since it is watched."""
    messages: list[SeenMessage]
    """Other messages, either way, since the last report."""
    dropped: int
    """Messages that were too many to be kept."""


class LegWatched(msgspec.Struct, frozen=True, tag=True):
    """A watched leg since the last report. It does not reach the call model."""

    now: float
    """Seconds of the clock of `SeenMessage.at`, when this was made."""
    sample: LegSample
    """Both tracks."""
    streams: list[StreamWatched]
    """Its streams."""


class LegHeard(msgspec.Struct, frozen=True, tag=True):
    """Audio of a leg that is listened to. It does not reach the call model."""

    at_ms: int
    """On the leg's timeline."""
    pcm: bytes
    """See `LegEar.take`."""


class WorkerLost(msgspec.Struct, frozen=True, tag=True):
    """The media worker died, and with it everything of this call in it. Made by `pool.py`."""

    detail: str
    """For people: what happened."""


Report = (
    LegOpened
    | LegFailed
    | LegUpdated
    | LegSilent
    | LegClosed
    | DigitHeard
    | PlaybackEnded
    | RecordingEnded
    | StreamStarted
    | StreamEnded
    | LegWatched
    | LegHeard
    | WorkerLost
)
