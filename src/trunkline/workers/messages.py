"""What the control process and a media worker say to each other: msgpack-encoded structs, tagged by name.

Orders go down, reports come up. Orders about one leg are carried out in the order sent, so "close" may follow "open"
at once.
"""

from typing import Literal

import msgspec

from trunkline.ids import CallSid, LegId, StreamSid
from trunkline.sdp.values import MediaParams
from trunkline.streaming.params import StreamIdentity, StreamParams


class Configure(msgspec.Struct, frozen=True, tag=True):
    """The first order of all; answered by `Ready`."""

    media: str
    """`MediaSettings` as JSON."""
    streams: str
    """`StreamSettings` as JSON."""
    log: str
    """`LogSettings` as JSON."""
    port_min: int
    port_max: int
    """This worker's share of the RTP ports, both ends included."""


class SetLog(msgspec.Struct, frozen=True, tag=True):
    """Log like this from now on; for a decoder, too."""

    log: str
    """`LogSettings` as JSON."""


class Trust(msgspec.Struct, frozen=True, tag=True):
    """Read the certificates that apps are verified with again."""

    ca_file: str | None


class Said(msgspec.Struct, frozen=True, tag=True):
    """A line for the log, of a decoder, too."""

    line: str
    dropped: int
    """Lines before it that there was no room for."""


class OpenLeg(msgspec.Struct, frozen=True, tag=True):
    """Answered by `LegOpened` or `LegFailed`."""

    leg: LegId
    call_sid: CallSid
    params: MediaParams


class UpdateLeg(msgspec.Struct, frozen=True, tag=True):
    """A new negotiation outcome; answered by `LegUpdated`."""

    leg: LegId
    params: MediaParams
    number: int
    """Of the order, among those of its leg."""
    early: bool = False
    """By a provisional response: another answer may follow, of somebody else."""


class CloseLeg(msgspec.Struct, frozen=True, tag=True):
    """Answered by `LegClosed`; its streams are closed too."""

    leg: LegId
    reason: str


class PressKey(msgspec.Struct, frozen=True, tag=True):
    """The peer pressed a key and signalling told it: `DigitHeard` follows, and the leg's streams are told, if media has
    not heard it already."""

    leg: LegId
    digit: str


class Play(msgspec.Struct, frozen=True, tag=True):
    """Play an mp3 or wav file to the peer; answered by `Played`, also when the leg is gone."""

    leg: LegId
    job: int
    path: str
    loop: int
    """Times; 0 = until stopped."""


class StopPlaying(msgspec.Struct, frozen=True, tag=True):
    """End a `Play`; nothing if it is over."""

    leg: LegId
    job: int


class Record(msgspec.Struct, frozen=True, tag=True):
    """Record into a wav file, see `calls.commands.StartRecording`; answered by `Recorded`."""

    leg: LegId
    job: int
    path: str
    channels: int
    max_length: float
    silence: float
    finish_on: str


class StopRecording(msgspec.Struct, frozen=True, tag=True):
    """End a `Record`; nothing if it is over."""

    leg: LegId
    job: int


class SendDigits(msgspec.Struct, frozen=True, tag=True):
    """Press keys towards the peer; `w` and `W` wait half a second and a second."""

    leg: LegId
    digits: str


class Bridge(msgspec.Struct, frozen=True, tag=True):
    """Let two legs of this worker hear each other, instead of whom they heard before, until `Unbridge` or the end of
    either."""

    leg: LegId
    other: LegId


class Unbridge(msgspec.Struct, frozen=True, tag=True):
    """Part a leg from those it is bridged with."""

    leg: LegId


class OpenStream(msgspec.Struct, frozen=True, tag=True):
    """Answered by `StreamStarted`, and in the end by exactly one `StreamEnded`."""

    leg: LegId
    identity: StreamIdentity
    params: StreamParams
    encoding: str


class CloseStream(msgspec.Struct, frozen=True, tag=True):
    """Send `stop` and close."""

    leg: LegId
    sid: StreamSid
    reason: str


class PauseStream(msgspec.Struct, frozen=True, tag=True):
    """Send the app no audio, or send it again."""

    leg: LegId
    sid: StreamSid
    paused: bool


class GetReport(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Reported` after listening to the leg for a moment."""

    leg: LegId
    request: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker takes orders."""


class LegOpened(msgspec.Struct, frozen=True, tag=True):
    """The leg's local RTP port."""

    leg: LegId
    port: int


class LegFailed(msgspec.Struct, frozen=True, tag=True):
    """No leg."""

    leg: LegId
    detail: str


class LegUpdated(msgspec.Struct, frozen=True, tag=True):
    """What comes from now on is heard as the `UpdateLeg` of that number says."""

    leg: LegId
    number: int


class LegSilent(msgspec.Struct, frozen=True, tag=True):
    """No RTP for that long."""

    leg: LegId
    seconds: float


class DigitHeard(msgspec.Struct, frozen=True, tag=True):
    """The peer pressed a key (RFC 4733, SIP INFO, or both)."""

    leg: LegId
    digit: str


class Played(msgspec.Struct, frozen=True, tag=True):
    """A `Play` is over: played, stopped, or failed."""

    leg: LegId
    job: int
    error: str | None


class Recorded(msgspec.Struct, frozen=True, tag=True):
    """A `Record` is over and its file complete, see `calls.events.RecordingEnded`."""

    leg: LegId
    job: int
    seconds: float
    reason: Literal["stopped", "silence", "key", "limit", "hangup", "error"]
    digit: str
    error: str | None


class LegClosed(msgspec.Struct, frozen=True, tag=True):
    """The leg's last counters."""

    leg: LegId
    report: dict[str, bool | int | float | str]


class StreamStarted(msgspec.Struct, frozen=True, tag=True):
    """The socket is open and `start` was sent."""

    leg: LegId
    sid: StreamSid


class StreamEnded(msgspec.Struct, frozen=True, tag=True):
    """The stream is gone."""

    leg: LegId
    sid: StreamSid
    error: str | None
    reason: str
    report: dict[str, int | str]


class StreamState(msgspec.Struct, frozen=True):
    """One stream at one moment."""

    sid: StreamSid
    state: str
    """Of its socket: `connecting`, `open`, …"""
    report: dict[str, int | str]


class Reported(msgspec.Struct, frozen=True, tag=True):
    """A leg as it is, and its streams; no counters when the leg is gone."""

    request: int
    leg: dict[str, bool | int | float | str]
    streams: list[StreamState]


class Status(msgspec.Struct, frozen=True, tag=True):
    """Sent every second, also as the sign of life."""

    legs: int
    streams: int
    counters: dict[str, int]
    load: float = 0.0
    """CPU since the last one, of a core."""


LegOrder = OpenLeg | UpdateLeg | CloseLeg | PressKey | GetReport
PlayOrder = Play | StopPlaying | Record | StopRecording | SendDigits | Bridge | Unbridge
StreamOrder = OpenStream | CloseStream | PauseStream
Order = Configure | SetLog | Trust | LegOrder | PlayOrder | StreamOrder

LegReport = LegOpened | LegFailed | LegUpdated | LegSilent | LegClosed
Happening = LegReport | DigitHeard | Played | Recorded | StreamStarted | StreamEnded
"""Reports that concern a call."""
Report = Ready | Happening | Reported | Status | Said


# ── a media worker and its decoder ──────────────────────────────────────────────────────────────────────────


class Decode(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Decoded` or `Undecoded`, unless it is cancelled."""

    job: int
    codec: str
    room: int
    """Bytes of `codec` that may come of it."""
    data: bytes
    """The frames of an mp3 file."""


class DecodeFile(msgspec.Struct, frozen=True, tag=True):
    """Answered by so many `DecodedPiece`s as were asked for here and by `More`, the last by `Decoded`; or by
    `Undecoded`."""

    job: int
    codec: str
    path: str
    times: int
    """The file, over and over; 0 = until cancelled."""
    pieces: int


class More(msgspec.Struct, frozen=True, tag=True):
    """One piece more of a `DecodeFile`."""

    job: int


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Forget a job; one that is answered already is ignored."""

    job: int


class WriteFile(msgspec.Struct, frozen=True, tag=True):
    """Make a wav file; each order about it is answered by `Wrote`, the last by `Written`."""

    job: int
    path: str
    rate: int
    channels: int


class Append(msgspec.Struct, frozen=True, tag=True):
    """More of it."""

    job: int
    audio: bytes
    """16-bit PCM, one sample of each channel in turn."""


class FinishFile(msgspec.Struct, frozen=True, tag=True):
    """That was all of it."""

    job: int


class DecodedPiece(msgspec.Struct, frozen=True, tag=True):
    """Some of a file."""

    job: int
    audio: bytes


class Decoded(msgspec.Struct, frozen=True, tag=True):
    """The whole file, or the rest of it."""

    job: int
    audio: bytes


class Undecoded(msgspec.Struct, frozen=True, tag=True):
    """Nothing came of it."""

    job: int
    too_long: bool
    """It is longer than `room`; else it holds no audio."""
    detail: str = ""


class Wrote(msgspec.Struct, frozen=True, tag=True):
    """What was sent is in the file."""

    job: int


class Written(msgspec.Struct, frozen=True, tag=True):
    """The file is complete, or nothing more can be written to it."""

    job: int
    error: str | None


class Decoding(msgspec.Struct, frozen=True, tag=True):
    """Sent every second while there is work, as the sign of life."""


DecoderOrder = SetLog | Decode | DecodeFile | More | Cancel | WriteFile | Append | FinishFile
DecoderReport = DecodedPiece | Decoded | Undecoded | Wrote | Written | Decoding | Said

LOG_BACKLOG = 256 * 1024
"""Unsent bytes of a link over which lines for the log are dropped."""
DECODER_BACKLOG = 64 * 1024 * 1024
"""Bytes of files in the decoder; one more is refused. The largest message holds 6 MB of mp3."""

# ── signs of life ───────────────────────────────────────────────────────────────────────────────────────────

STATUS_INTERVAL = 1.0
"""Seconds."""
LISTENING = 0.4
"""Seconds for which a worker listens to a leg before it reports."""
REPORT_TIMEOUT = 3.0
"""Seconds after which a report is not waited for any more."""
SIGN_OF_LIFE = 10.0
"""Seconds without any report after which a worker counts as dead: ten times the interval, so that a machine that
stalls for a moment costs no calls."""
