"""Parameters of a stream: the fields of the start request, validated (docs/reference/rest.md#operations)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any, Literal, get_args

from trunkline.codecs import format_name
from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.outbound.urls import WebSocketUrl


class Track(StrEnum):
    """`Track`: which audio the app gets."""

    INBOUND = "inbound_track"
    OUTBOUND = "outbound_track"
    BOTH = "both_tracks"

    @property
    def inbound(self) -> bool:
        """The app gets the audio received from the leg."""
        return self is not Track.OUTBOUND

    @property
    def outbound(self) -> bool:
        """The app gets the audio sent to the leg."""
        return self is not Track.INBOUND


class BidirectionalMode(StrEnum):
    """`BidirectionalMode`: what the app's `media` messages contain."""

    MP3 = "mp3"
    RTP = "rtp"


class TargetLegs(StrEnum):
    """`BidirectionalTargetLegs`: which legs of a bridged call hear the app."""

    SELF = "self"
    OPPOSITE = "opposite"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class StreamParams:
    """One start request."""

    url: WebSocketUrl
    track: Track = Track.INBOUND
    name: str | None = None
    mode: BidirectionalMode = BidirectionalMode.MP3
    bidirectional_codec: str = "PCMU"
    bidirectional_sampling_rate: int = 8000
    """Of `bidirectional_codec`, in Hz, if it has several rates (L16); other codecs have one."""
    target_legs: TargetLegs = TargetLegs.SELF
    codec: str = "default"
    """Codec of the media to the app; `default` is the call's codec when the stream starts."""
    sampling_rate: int = 8000
    """Of `codec`, in Hz, if it has several rates (L16)."""
    l16_endian: Literal["little", "big"] | None = None
    """Byte order of L16 in both directions; None: `streams.l16_endian`."""
    enable_reconnect: bool = True
    capture: bool | None = None
    """Keep its messages, or not; None: as `streams.capture_streams` says."""
    auth_token: str | None = None
    custom_parameters: dict[str, str] = field(default_factory=dict)
    client_state: str | None = None
    status_callback: str | None = None
    status_callback_method: str = "POST"

    def encoding(self, call_codec: str) -> str:
        """The fork's format on a call of this codec: a codec's name, with its rate if it has several (`L16/16000`)."""
        return call_codec if self.codec == "default" else format_name(self.codec, self.sampling_rate)

    @property
    def bidirectional_encoding(self) -> str:
        """The format of the app's audio; as in `encoding`."""
        return format_name(self.bidirectional_codec, self.bidirectional_sampling_rate)


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """The stream and its call, as `start` names them."""

    stream_sid: StreamSid
    account_sid: AccountSid
    call_sid: CallSid
    call_session_id: CallSessionId
    from_: str
    to: str


ErrorTitle = Literal["unknown_error", "malformed_frame", "invalid_media", "rate_limit_reached"]
"""Titles of `error` messages (docs/reference/websocket.md#error)."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A stream's counters, as they were at one moment."""

    frames_sent: int = 0
    """`media` messages handed to the socket."""
    frames_dropped: int = 0
    """Oldest `media` messages dropped because the app did not read."""
    frames_waiting: int = 0
    """`media` messages that wait for the app to read."""
    frames_lost: int = 0
    """Messages lost with a socket, or while there was none, beyond what is replayed."""
    frames_missing: int = 0
    """RTP packets that never came, seen by the app as gaps in `chunk`."""
    messages_received: int = 0
    """Messages of the app."""
    bytes_received: int = 0
    """Bytes of audio in the app's `media` messages, decoded."""
    errors_received: int = 0
    """`error` messages of the app."""
    played_ms: int = 0
    """Audio of the app that was played."""
    unheard_ms: int = 0
    """Part of `played_ms` for the opposite leg while there was none."""
    cleared_ms: int = 0
    """Audio of the app removed by `clear`."""
    discarded_ms: int = 0
    """Audio of the app left out because it came too late or our clock was delayed."""
    queued_ms: int = 0
    """Audio of the app that is queued."""
    underruns: int = 0
    """Times that less than a packet was queued, and more audio arrived within half a second."""
    overruns: int = 0
    """Messages refused because too much audio was queued."""
    app_samples: int = 0
    """Pieces of the app's audio, of 100 ms each, whose level was measured."""
    app_level_db: int = 0
    """Level of the loudest piece in dB below full scale; -96 is digital silence. Valid only with `app_samples`."""
    app_audio: str = ""
    """What the app's audio is instead of the stream's codec: `pcm16`, `wav`, `noise`, …; empty = nothing else."""
    app_audio_words: str = ""
    """The same for people, with what to change."""
    app_pace_percent: int = -1
    """Speed at which the app's audio comes, while it comes steadily, of that at which it is played; -1 = not known."""
    bytes_per_second: int = 0
    """Of the app's audio as it is played; 0 = not constant (Opus)."""
    marks: int = 0
    """Marks returned to the app."""
    reconnects: int = 0
    """Sockets after the first."""
    failed_tries: int = 0
    """Failed connection attempts since the last socket."""
    last_cause: str = ""
    """Why the last attempt failed, or the last socket was lost."""
    errors: dict[ErrorTitle, int] = field(default_factory=dict)
    """Refused messages by error title."""
    refusals: dict[ErrorTitle, str] = field(default_factory=dict)
    """The detail of the last refused message of each error title."""

    def counters(self) -> dict[str, int | str]:
        """All of them by name, as JSON has them; refused messages as `error_<title>`, `refusal_<title>`."""
        counted: dict[str, int | str] = dict(zip(_NAMES, _read(self), strict=True))
        counted |= {f"error_{title}": count for title, count in self.errors.items()}
        return counted | {f"refusal_{title}": detail for title, detail in self.refusals.items()}

    @staticmethod
    def read(counters: Mapping[str, Any]) -> "StreamReport | None":
        """What `counters` gave, maybe of another version: counters that are not known are left out. None for {}."""
        if not counters:
            return None
        known = {name: counters[name] for name in _NAMES if name in counters}
        errors, refusals = (
            {title: counters[f"{kind}_{title}"] for title in get_args(ErrorTitle) if f"{kind}_{title}" in counters}
            for kind in ("error", "refusal")
        )
        return StreamReport(**known, errors=errors, refusals=refusals)


_NAMES = tuple(field.name for field in fields(StreamReport) if field.name not in ("errors", "refusals"))
_read = attrgetter(*_NAMES)


@dataclass(frozen=True, slots=True)
class SeenMessage:
    """One message that is not `media`, or what was no message at all."""

    at: float
    """Seconds of the owner's clock."""
    direction: Literal["received", "sent"]
    """By us: received from the app, sent to it."""
    event: str
    """Its `event`; empty if it has none."""
    text: str
