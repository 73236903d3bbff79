"""What a TeXML document is made of: a value per verb, and the document itself. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from trunkline.streaming.params import StreamParams

Method = Literal["GET", "POST"]


@dataclass(frozen=True, slots=True)
class Say:
    """Speak."""

    text: str
    """SSML without its root (`texml/ssml.py`): `&`, `<` and `>` of plain words are escaped."""
    voice: str = "man"
    language: str = ""
    """As the document has it (`en-US`); empty = the voice's own."""
    loop: int = 1
    """Times; 0 = for ever."""


@dataclass(frozen=True, slots=True)
class Play:
    """Play a file, or press keys."""

    url: str = ""
    loop: int = 1
    digits: str = ""
    """Instead of a file; `w` and `W` wait half a second and a second."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    length: int = 1
    """Seconds."""


Prompt = Say | Play | Pause


@dataclass(frozen=True, slots=True)
class Start:
    """Start streams and go on."""

    streams: tuple[StreamParams, ...]


@dataclass(frozen=True, slots=True)
class Connect:
    """Start a stream and go on when it has ended."""

    stream: StreamParams


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the stream of a name, or all of them."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Gather:
    """Collect keys, prompting meanwhile."""

    prompts: tuple[Prompt, ...] = ()
    action: str | None = None
    method: Method = "POST"
    timeout: int = 5
    """Seconds after the last prompt or key."""
    finish_on: str = "#"
    """Any of these keys ends it."""
    max_digits: int = 128
    valid: str = "0123456789*#ABCD"
    """Other keys are not heard."""


@dataclass(frozen=True, slots=True)
class DialTarget:
    """One callee of `<Dial>`."""

    kind: Literal["number", "sip"]
    to: str
    """A number, or a SIP URI without headers."""
    headers: tuple[tuple[str, str], ...] = ()
    """The URI's `X-` headers (RFC 3261 section 19.1.1), for the INVITE."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    send_digits: str = ""
    """Keys to press when it answers."""
    url: str | None = None
    """URL of a document that the callee hears before the two are connected."""
    method: Method = "POST"
    status_callback: str | None = None
    status_callback_method: Method = "POST"
    status_callback_events: str = "completed"


DIAL_RECORDS = (
    "do-not-record",
    *("record-from-answer", "record-from-ringing", "record-from-answer-dual", "record-from-ringing-dual"),
)
"""Whether and from when a `<Dial>` is recorded; `dual`: on two channels."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Call one or more callees and connect the two parties."""

    targets: tuple[DialTarget, ...]
    """Called at the same time; the first to answer wins."""
    action: str | None = None
    method: Method = "POST"
    timeout: int = 30
    """Seconds to wait for an answer."""
    time_limit: int = 14400
    """Seconds that the second call may last."""
    caller_id: str | None = None
    """None: as the first call's."""
    caller_name: str = ""
    answer_on_bridge: bool = False
    """Leave the first call ringing until the second is answered."""
    hangup_on_star: bool = False
    """The first party ends the second call by `*`."""
    record: str = "do-not-record"
    """Of `DIAL_RECORDS`."""
    recording_callback: str | None = None
    recording_callback_method: Method = "POST"
    recording_callback_events: str = "completed"


@dataclass(frozen=True, slots=True)
class Record:
    """Record the call."""

    action: str | None = None
    method: Method = "POST"
    timeout: int = 0
    """Seconds of silence that end it; 0 = none do."""
    max_length: int = 3600
    """Seconds; 0 = no limit."""
    finish_on: str = "1234567890*#"
    play_beep: bool = True
    channels: Literal[1, 2] = 2
    status_callback: str | None = None
    status_callback_method: Method = "POST"


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go on with another document."""

    url: str
    method: Method = "POST"


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the call, or end it once it is answered."""

    reason: Literal["rejected", "busy"] = "rejected"


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the call. Not documented, and not needed: the first verb that needs the call answered answers it."""


Verb = Answer | Say | Play | Pause | Start | Connect | Stop | Gather | Dial | Record | Redirect | Reject | Hangup


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be done, in order, and what was wrong with the text."""

    verbs: tuple[Verb, ...]
    warnings: tuple[str, ...] = ()


Read = Callable[[str, str | None], Document]
"""Reads a document from its text and the URL where it was found. Raises `document.DocumentError`."""
