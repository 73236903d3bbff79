"""What may be asked of a live call. Each either changes it or raises an `errors.ApiError` that says why not. Commands
for the media alone are orders of `workers/orders.py`, which reach the media worker unchanged."""

from dataclasses import dataclass, field, replace
from typing import Literal

from trunkline.calls.views import Application
from trunkline.ids import StreamSid
from trunkline.streaming.params import StreamParams
from trunkline.workers.orders import MediaOrder, PauseStream, RecordingOptions


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
class EndCall:
    """Hang up, or refuse a call that is not answered yet."""

    cause: str
    """In words for people, the other party among them: what kind of end it is, and no more."""
    status: Literal["completed", "failed"] = "completed"
    source: Literal["caller", "callee", "system"] = "system"
    """Who ended it: `caller` of a call that was dialled is the party of the call that dialled it."""
    detail: str = ""
    """More of the cause, for the log, the record and `why` alone: it may name hosts of ours, or another party."""

    @property
    def words(self) -> str:
        """All of it."""
        return f"{self.cause}: {self.detail}" if self.detail else self.cause


@dataclass(frozen=True, slots=True)
class Route:
    """Where an outbound call goes."""

    kind: Literal["trunk", "phone", "uri"]
    name: str
    """Of the trunk or the phone; empty for `uri`."""
    to: str
    """User part to call through a trunk; the whole SIP URI for `uri`."""
    restricted: bool = False
    """Only for `uri`: to a trunk's address only what its `dial_prefixes` allow."""


@dataclass(frozen=True, slots=True)
class RecordingCallback:
    """Where the status of a recording is reported; see `RecordingView`."""

    url: str | None = None
    method: Literal["GET", "POST"] = "POST"
    events: str = "completed"
    sends_url: bool = True


NOT_REPORTED = RecordingCallback()


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    """A recording that a customer wants."""

    options: RecordingOptions
    callback: RecordingCallback = NOT_REPORTED
    play_beep: bool = False


@dataclass(frozen=True, slots=True)
class PlaceCall:
    """Place the call. The first command of an outbound call."""

    route: Route
    timeout: float = 30
    """Seconds to wait for the answer."""
    time_limit: float = 14400
    """Seconds that the call may last once answered."""
    codecs: tuple[str, ...] | None = None
    """To offer, in this order; None = those of the settings."""
    srtp: bool | None = None
    """Encrypted audio: only, or not at all; None = as the settings say."""
    headers: tuple[tuple[str, str], ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    """For digest challenges, instead of the trunk's own."""
    send_digits: str = ""
    """Keys to press when answered; `w` and `W` wait half a second and a second."""
    recording: RecordingRequest | None = None
    """Of the call, from its answer on."""


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """Answer an inbound call that rings; nothing if it is answered."""

    codec: str | None = None
    """The one to agree on if the caller has it: that of the call that it will be bridged with."""


@dataclass(frozen=True, slots=True)
class RejectCall:
    """Refuse an inbound call that is not answered yet."""

    status: int
    """SIP status of the refusal."""
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Keep a warning of the call's instructions, for `trunkline why`; `NOTE_LIMIT` different ones at most."""

    text: str


@dataclass(frozen=True, slots=True)
class SetStatusCallback:
    """Send the call's status callbacks there from here on."""

    url: str
    method: Literal["GET", "POST"]


Command = (
    StartStream
    | StopStream
    | PauseStream
    | EndCall
    | PlaceCall
    | AnswerCall
    | RejectCall
    | SetStatusCallback
    | Note
    | MediaOrder
)


@dataclass(frozen=True, slots=True)
class Instructions:
    """Where a TeXML document comes from: `texml` itself, else `url`, else `fallback_url`."""

    texml: str | None = None
    url: str | None = None
    method: Literal["GET", "POST"] | None = None
    """None = POST."""
    fallback_url: str | None = None
    fallback_method: Literal["GET", "POST"] | None = None
    """None = as for `url`."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call that a customer wants placed (docs/reference/rest.md#operations); see `PlaceCall` for the rest."""

    to: str
    """A number, a phone's name, or a `sip:` URI, as given."""
    from_: str
    caller_name: str
    application_sid: str | None = None
    instructions: Instructions | None = None
    """None = the application's; a `fallback_url` alone stands in for the application's own."""
    status_callback: str | None = None
    """None = the application's."""
    status_callback_method: Literal["GET", "POST"] | None = None
    """None = POST."""
    status_callback_events: str = "completed"
    """As in `views.CallView`."""
    timeout: float = 30
    time_limit: float = 14400
    codecs: tuple[str, ...] | None = None
    srtp: bool | None = None
    headers: tuple[tuple[str, str], ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    send_digits: str = ""
    recording: RecordingRequest | None = None

    def completed_by(self, application: Application) -> "CallRequest":
        """The request with what it leaves to its application: URLs, and methods where it gives none."""
        given = self.instructions or Instructions()
        if given.texml is None and given.url is None:
            fallback = given.fallback_url or application.voice_fallback_url
            given = Instructions(application.texml, application.voice_url or None, fallback_url=fallback)
        return replace(
            self,
            instructions=replace(given, method=given.method or application.voice_method),
            status_callback=self.status_callback or application.status_callback,
            status_callback_method=self.status_callback_method or application.status_callback_method,
        )

    def place(self, route: Route) -> PlaceCall:
        """The command that begins the call."""
        return PlaceCall(
            route,
            timeout=self.timeout,
            time_limit=self.time_limit,
            codecs=self.codecs,
            srtp=self.srtp,
            headers=self.headers,
            username=self.username,
            password=self.password,
            send_digits=self.send_digits,
            recording=self.recording,
        )
