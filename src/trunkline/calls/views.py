"""What can be seen of calls and streams: what the store keeps and the API shows. Times are UTC, aware."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from trunkline.ids import AccountSid, CallSessionId, CallSid, StreamSid
from trunkline.media.report import LegReport
from trunkline.streaming.params import StreamReport

CallStatus = Literal["queued", "ringing", "in-progress", "completed", "busy", "no-answer", "canceled", "failed"]
StreamStatus = Literal["in-progress", "paused", "stopped", "failed"]
LIVE: tuple[StreamStatus, ...] = ("in-progress", "paused")
"""Of streams that have not ended."""


@dataclass(frozen=True, slots=True)
class CallView:
    """One leg of a call (docs/reference/rest.md#a-call)."""

    sid: CallSid
    account_sid: AccountSid
    session_id: CallSessionId
    direction: Literal["inbound", "outbound"]
    from_: str
    to: str
    caller_name: str
    status: CallStatus
    created_at: datetime
    updated_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    codec: str | None = None
    hangup_cause: str | None = None
    """In words for people: `caller hung up`, `no RTP for 60 s`, …"""
    hangup_source: Literal["caller", "callee", "system"] | None = None
    report: LegReport | None = None
    """The media leg's counters at its end."""
    parent_sid: CallSid | None = None
    """The call whose `<Dial>` made this one."""
    application_sid: str | None = None
    """The TeXML application; `ConnectionId` in callbacks."""
    status_callback: str | None = None
    status_callback_method: str = "POST"
    status_callback_events: str = "completed"
    """Those of `initiated ringing answered completed` that get a callback, separated by spaces."""
    hangup_code: str | None = None
    """One word for programs, `HangupCause` in callbacks: `normal_clearing`, `user_busy`, …"""
    sip_status: int | None = None
    """Of the response that refused the call, either way."""
    notes: tuple[str, ...] = ()
    """Warnings about its instructions, a line each."""

    @property
    def duration(self) -> int | None:
        """Seconds from the answer to the end, 0 for a call that was not answered; None for one that is not over."""
        if self.ended_at is None:
            return None
        if self.answered_at is None:
            return 0
        # After a crash the end is by the wall clock of the next start, which may be behind.
        return max(0, round((self.ended_at - self.answered_at).total_seconds()))


RecordingStatus = Literal["in-progress", "paused", "completed", "failed", "stopped"]
RecordingSource = Literal["RecordVerb", "StartCallRecordingAPI", "OutboundAPI", "DialVerb"]
RecordingEventKind = Literal["in-progress", "completed", "absent"]
RECORDING_EVENTS: tuple[RecordingEventKind, ...] = ("in-progress", "completed", "absent")


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """Public keys of callbacks, in base64."""

    accepted: tuple[str, ...]
    """Those by which a signature may be; the first signs now."""
    next_from: datetime | None
    """When the second begins to sign, if it is new."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was deleted of one caller or callee."""

    calls: int = 0
    streams: int = 0
    callbacks: int = 0
    recordings: int = 0
    captures: int = 0
    in_progress: int = 0
    """Calls that have not ended, of which nothing was deleted."""

    def plus(self, calls: int, streams: int, callbacks: int, recordings: int, captures: int) -> "Erasure":
        """With these too."""
        return Erasure(
            self.calls + calls,
            self.streams + streams,
            self.callbacks + callbacks,
            self.recordings + recordings,
            self.captures + captures,
        )


@dataclass(frozen=True, slots=True)
class CapturePart:
    """One file of a capture."""

    path: Path
    size: int
    """Bytes: whole lines, although more may follow."""


@dataclass(frozen=True, slots=True)
class CaptureView:
    """What was captured of one stream."""

    stream_sid: str
    call_sid: str
    started_at: datetime
    file_name: str
    """For a copy of it."""
    has_audio: bool
    """False: hashes instead of it."""
    parts: tuple[CapturePart, ...]
    """At least one, in order. The first are absent where they made room for others."""

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """Which recordings are wanted; None = any."""

    call: CallSid | None = None
    created: tuple[datetime | None, datetime | None] = (None, None)
    """Not before, before."""


@dataclass(frozen=True, slots=True)
class RecordingView:
    """One recording of a call. `stopped`: a crash of the server cut it; what was written of it plays."""

    sid: str
    account_sid: AccountSid
    call_sid: CallSid
    status: RecordingStatus
    source: str
    """What began it, by Telnyx's names: `RecordVerb`, `StartCallRecordingAPI`, …"""
    channels: int
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    duration: float | None = None
    """Seconds of audio in the file."""
    size: int | None = None
    """Bytes of the file."""
    error: str | None = None
    """For people: why there is no file, or only a part."""
    track: str = "both"
    """`inbound`, `outbound` or `both`."""
    application_sid: str | None = None
    """Of the call."""
    status_callback: str | None = None
    status_callback_method: str = "POST"
    status_callback_events: str = "completed"
    """Of `RECORDING_EVENTS`, separated by spaces."""
    sends_url: bool = True
    """Callbacks say where the audio is."""


@dataclass(frozen=True, slots=True)
class RecordingEvent:
    """What a status callback reports. `completed`: there is audio; `absent`: it is over, and there is none."""

    kind: RecordingEventKind
    recording: RecordingView


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream (docs/reference/rest.md#a-stream)."""

    sid: StreamSid
    account_sid: AccountSid
    call_sid: CallSid
    name: str | None
    url: str
    track: str
    status: StreamStatus
    created_at: datetime
    updated_at: datetime
    status_callback: str | None
    status_callback_method: str
    ended_reason: str | None = None
    """In words for people: why it ended."""
    report: StreamReport | None = None
    """The stream's counters at its end."""
    mode: str | None = None
    """`rtp` or `mp3`; None of a stream recorded before this was kept."""
    codec: str | None = None
    """In which the app sends audio in rtp mode; None likewise."""


@dataclass(frozen=True, slots=True)
class Application:
    """A TeXML application (docs/reference/rest.md#operations): where calls get their instructions."""

    sid: str
    """Decimal digits, as Telnyx's; `ApplicationSid` and `ConnectionId`."""
    account_sid: AccountSid
    friendly_name: str
    voice_url: str
    voice_method: Literal["GET", "POST"]
    voice_fallback_url: str | None
    status_callback: str | None
    status_callback_method: Literal["GET", "POST"]
    active: bool
    created_at: datetime
    updated_at: datetime
    other: dict[str, Any] = field(default_factory=dict)
    """The documented fields that are kept and shown, and mean nothing here."""
    texml: str | None = None
    """The document itself, in place of `voice_url`, which is empty then. The configuration's alone: never stored."""


@dataclass(frozen=True, slots=True)
class CallbackView:
    """A callback as it is stored, with what came of it."""

    sid: str
    """`webhook-id`."""
    call_sid: CallSid
    stream_sid: StreamSid | None
    url: str
    method: str
    form: str
    """The parameters, form-encoded."""
    created_at: datetime
    state: Literal["pending", "delivered", "failed"]
    tries: int
    last_status: int | None
    last_error: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class NumberView:
    """What a called number runs."""

    pattern: str
    runs: str
    """`application NAME`, `stream URL`, `voice_url URL` or `texml`; URLs without user-info and query."""


@dataclass(frozen=True, slots=True)
class PhoneView:
    """A phone of the settings."""

    user: str
    contacts: tuple[str, ...]
    """Addresses that it is registered at now."""


@dataclass(frozen=True, slots=True)
class TargetView:
    """Where calls of a trunk go."""

    target: str
    up: bool


@dataclass(frozen=True, slots=True)
class TrunkView:
    """A trunk with its state."""

    name: str
    registered: bool | None
    """None: we do not register."""
    targets: tuple[TargetView, ...]


@dataclass(frozen=True, slots=True)
class RoutesView:
    """Numbers, phones and trunks of the settings."""

    numbers: tuple[NumberView, ...] = ()
    phones: tuple[PhoneView, ...] = ()
    trunks: tuple[TrunkView, ...] = ()


@dataclass(frozen=True, slots=True)
class InboundRouteView:
    """What a call to a number would run."""

    number: str | None
    """The pattern that matches it."""
    application: str | None
    application_sid: str | None
    runs: str | None
    """`stream URL`, `voice_url URL` or `texml`; URLs without user-info and query. None: nothing."""
    refused: bool
    """Its application is not active."""
    why: str


@dataclass(frozen=True, slots=True)
class OutboundRouteView:
    """Where a call to a number would go."""

    kind: Literal["trunk", "phone", "uri"] | None
    """None: nowhere."""
    name: str | None
    """Of the trunk or phone."""
    to: str | None
    """The number as the trunk gets it, or the SIP URI."""
    why: str


@dataclass(frozen=True, slots=True)
class RoutingView:
    """What the server would do with a number."""

    inbound: InboundRouteView
    placed: OutboundRouteView
    """By REST."""
    dialled: OutboundRouteView
    """By a TeXML document, or with a key of the scope `calls`."""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A media worker by its last status."""

    worker: int
    pid: int | None
    """None: no process of it takes calls."""
    lags: bool
    """It gets no new call while another does not lag."""
    lag_ms: int
    """By which its packets or its reports are late."""
    share: float
    """Of a core, in the last second."""
    legs: int
    streams: int


@dataclass(frozen=True, slots=True)
class SipMessageView:
    """A SIP message of a call, for people: nothing secret is in it."""

    number: int
    """In the call, from 1."""
    at: datetime
    direction: str
    """`received` or `sent`."""
    local: str
    peer: str
    """Addresses with ports."""
    transport: str
    """`udp`, `tcp` or `tls`."""
    summary: str
    """`INVITE sip:+1@host` or `200 OK`."""
    cseq: str
    """`1 INVITE`."""
    text: str
    """All of it."""


@dataclass(frozen=True, slots=True)
class SipTraceView:
    """The SIP messages that are kept of a call, or of an INVITE that became none."""

    call_sid: CallSid | None
    sip_call_id: str | None
    """None: no message is kept."""
    messages: tuple[SipMessageView, ...] = ()
    dropped: int = 0
    """Messages that are not kept any more."""


@dataclass(frozen=True, slots=True)
class CallFilter:
    """The list query's filters (docs/reference/rest.md#lists), dates inclusive."""

    status: str | None = None
    to: str | None = None
    from_: str | None = None
    started: tuple[datetime | None, datetime | None] = (None, None)
    """Not before, before."""
    ended: tuple[datetime | None, datetime | None] = (None, None)


@dataclass(frozen=True, slots=True)
class StreamFilter:
    """The filters of the list of an account's streams (docs/reference/rest.md#lists)."""

    status: str | None = None
    call: CallSid | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A stream status callback to be (docs/reference/callbacks.md#of-a-stream)."""

    kind: Literal["stream-started", "stream-stopped", "stream-error"]
    stream: StreamView
    at: datetime
    error: str | None = None


END_EVENTS = ("stream-stopped", "stream-error", "completed")
"""Of a stream or a call, each has one of these, its last event."""

CallEventKind = Literal["initiated", "ringing", "answered", "completed"]
CALL_EVENTS: tuple[CallEventKind, ...] = ("initiated", "ringing", "answered", "completed")
"""In the order in which they happen; the place is the `SequenceNumber`."""


@dataclass(frozen=True, slots=True)
class CallEvent:
    """A call status callback to be (docs/reference/callbacks.md#of-a-call)."""

    kind: CallEventKind
    call: CallView
    at: datetime
