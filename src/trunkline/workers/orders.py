"""Orders: what a media worker does on one leg. The API, TeXML and the call model make these values, and they reach the
worker unchanged: `messages.ToLeg` adds the leg, `pool.py` sends it. Pure.

Orders of one leg are carried out in the order sent, so that `CloseLeg` may follow `OpenLeg` at once. A `job` is the
sender's own number of a playback or a recording, unique in its call.
"""

from typing import Literal

import msgspec

from trunkline.ids import CallSid, StreamSid
from trunkline.sdp.values import MediaParams
from trunkline.streaming.params import StreamIdentity, StreamParams


class OpenLeg(msgspec.Struct, frozen=True, tag=True):
    """Bind RTP ports; answered by `reports.LegOpened` or `reports.LegFailed`."""

    call_sid: CallSid
    """The call of the leg: for the log, and for `Bridge`."""
    params: MediaParams
    """Outcome of the negotiation, or what may be received before it."""
    confirmed: bool = True
    """False = the peer calls, and only its INVITE says where it is: until `ConfirmLeg`, or RTP from there, ten packets
    are sent at most, and no other source is learned."""
    account: str = ""
    """The account of the call: accounts take turns at the decoder."""


class ConfirmLeg(msgspec.Struct, frozen=True, tag=True):
    """The ACK of the call's 200 came."""


class UpdateLeg(msgspec.Struct, frozen=True, tag=True):
    """A new outcome of the negotiation; answered by `reports.LegUpdated` once the leg has applied it."""

    params: MediaParams
    """The whole outcome, not the difference."""
    number: int
    """Counts the updates of the leg."""
    early: bool = False
    """From a provisional response: another answer, from another callee, may follow (RFC 3261 section 13.2.2.4)."""


class CloseLeg(msgspec.Struct, frozen=True, tag=True):
    """Release the ports and close the leg's streams; answered by `reports.LegClosed`."""

    reason: str
    """For people: the end of the call."""


class NotifyDtmf(msgspec.Struct, frozen=True, tag=True):
    """The peer pressed a key by SIP INFO. `reports.DigitHeard` and `dtmf` messages follow, unless the same key came in
    RTP already."""

    digit: str
    """One of `0123456789*#ABCD`."""


class StartPlayback(msgspec.Struct, frozen=True, tag=True):
    """Play an audio file to the peer; answered by `reports.PlaybackEnded`, also when the leg is gone. Several at a time
    are mixed."""

    job: int
    """Number of the playback."""
    path: str
    """An mp3 or wav file on this machine."""
    loop: int = 1
    """Times; 0 = until stopped."""


class StopPlayback(msgspec.Struct, frozen=True, tag=True):
    """End a playback; no effect if it has ended."""

    job: int
    """Number of the playback."""


class RecordingOptions(msgspec.Struct, frozen=True):
    """What is recorded, and what ends it besides `StopRecording` and the end of the call."""

    channels: Literal[1, 2] = 1
    """1 = both sides mixed; 2 = from the peer, and to the peer."""
    max_length: float = 0.0
    """Seconds; 0 = no limit."""
    silence: float = 0.0
    """Seconds of the peer's silence that end it; 0 = none do."""
    finish_on: str = ""
    """Keys of the peer that end it."""
    track: Literal["inbound", "outbound", "both"] = "both"
    """Sides that are recorded; of two channels the other is silent."""
    after_speech: bool = False
    """`silence` counts only once the peer has spoken."""


class StartRecording(msgspec.Struct, frozen=True, tag=True):
    """Record the call into a wav file; answered by `reports.RecordingEnded`, also when the leg is gone."""

    job: int
    """Number of the recording."""
    path: str
    """The wav file to be made on this machine."""
    options: RecordingOptions = RecordingOptions()
    """What is recorded, and until when."""
    floor: int = 0
    """Bytes of the disk that stay free: with less it ends."""


class StopRecording(msgspec.Struct, frozen=True, tag=True):
    """End a recording; no effect if it has ended."""

    job: int
    """Number of the recording."""


class PauseRecording(msgspec.Struct, frozen=True, tag=True):
    """Leave out of a recording what comes until it is resumed; no effect if it has ended."""

    job: int
    """Number of the recording."""
    paused: bool
    """True = pause, False = resume."""


class SendDigits(msgspec.Struct, frozen=True, tag=True):
    """Press keys towards the peer (RFC 4733)."""

    digits: str
    """Keys; `w` and `W` wait half a second and a second."""


class Bridge(msgspec.Struct, frozen=True, tag=True):
    """Connect the audio of two calls on this worker, instead of earlier bridges of either, until `Unbridge` or the end
    of either. No effect if the other is not here."""

    other: CallSid
    """The other call."""


class Unbridge(msgspec.Struct, frozen=True, tag=True):
    """Part the leg from those that it is bridged with."""


class OpenStream(msgspec.Struct, frozen=True, tag=True):
    """Open the app's WebSocket; answered by `reports.StreamStarted`, and in the end by one `reports.StreamEnded`."""

    identity: StreamIdentity
    """Sids and numbers for the `start` message."""
    params: StreamParams
    """The start request."""
    encoding: str
    """Codec of audio to the app, see `StreamParams.encoding`."""


class CloseStream(msgspec.Struct, frozen=True, tag=True):
    """Send `stop` and close the WebSocket; no effect if the stream has ended."""

    sid: StreamSid
    """The stream."""
    reason: str
    """For people: why it is closed."""


class PauseStream(msgspec.Struct, frozen=True, tag=True):
    """Stop or resume the audio to the app. Audio from the app is played either way."""

    sid: StreamSid
    """The stream."""
    paused: bool
    """True = stop, False = resume."""


class WatchLeg(msgspec.Struct, frozen=True, tag=True):
    """Report what the leg sounds like and what its streams say, as `reports.LegWatched` ten times a second, or stop."""

    on: bool
    """True = report, False = stop."""


class ListenLeg(msgspec.Struct, frozen=True, tag=True):
    """Report the leg's audio, as `reports.LegHeard` ten times a second, or stop."""

    on: bool
    """True = report, False = stop."""


MediaOrder = (
    StartPlayback | StopPlayback | StartRecording | StopRecording | PauseRecording | SendDigits | Bridge | Unbridge
)
"""Orders that a call must be answered for, and that need nothing else of it."""
StreamOrder = OpenStream | CloseStream | PauseStream
Order = OpenLeg | ConfirmLeg | UpdateLeg | CloseLeg | NotifyDtmf | MediaOrder | StreamOrder | WatchLeg | ListenLeg
