"""What happened on one socket to a bot, and the measures of it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from trunkline.media.audio.level import level
from trunkline.media.codecs import CODECS, UndecodablePacket
from trunkline.streaming.messages import FromApp, Media, Refusal

FRAME_MS = 20
AUDIBLE = -50
"""dBFS below which audio is not heard, as in the catching up of the playback."""
LATE_MS = 5.0
"""A frame that is sent later than this is late."""
RELIABLE_MS = 10.0
"""Mean lateness of our frames above which times measured on this machine mean little."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message of the bot."""

    at: float
    """Seconds since `connected` was sent."""
    what: FromApp | Refusal | int
    """As the server reads it; a binary message is its size."""
    queued_ms: int
    """Audio that was queued for playback before it."""
    leg_ms: int | None = None
    """When it came on the clock of the call, which stands still while this machine is too busy."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message to the bot, `media` apart."""

    at: float
    event: str
    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Closed:
    """The end of a socket."""

    at: float
    code: int | None
    """None: without a close frame."""
    reason: str
    by_bot: bool
    """Before our `stop`."""


@dataclass(frozen=True, slots=True)
class Played:
    """A packet of the call."""

    at: int
    """Milliseconds since `connected`."""
    payload: bytes
    """In the call's codec."""
    audible: bool


@dataclass(slots=True)
class Trace:
    """One socket. Times are seconds since `connected`, unless they are in `_ms`."""

    codec: str
    """Of the call, and of the media to the bot: a name of `CODECS`."""
    bot_codec: str
    """Of the audio from the bot."""
    mode: str = "rtp"
    received: list[Received] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    """The caller's frames, silence included, from `connected` on."""
    words: list[bytes] = field(default_factory=list)
    """Those of them that are audible."""
    played: list[Played] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    """Milliseconds, of each of our frames."""
    pings: list[tuple[float, float | None]] = field(default_factory=list)
    """When it was sent, and the seconds until its pong; None: there was none."""
    dropped: int = 0
    """Messages dropped because the bot did not read."""
    closed: Closed | None = None
    closing: float | None = None
    """Seconds from our close frame to the bot's; None: none came, or we sent none."""
    marks_pending: int = 0
    """At the end of the socket."""
    queued_ms: int = 0
    """Likewise."""
    underruns: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    """Refused messages by the title of their error, those that were not answered too."""

    def media(self) -> Iterator[tuple[Received, Media]]:
        """The bot's `media`."""
        for one in self.received:
            if isinstance(one.what, Media):
                yield one, one.what

    @property
    def first_audio(self) -> float | None:
        """Seconds until the first `media`."""
        return next((one.at for one, _ in self.media()), None)

    def audio(self) -> bytes:
        """All audio of the bot, as it came."""
        return b"".join(message.media.payload for _, message in self.media())

    def milliseconds(self, size: int) -> float:
        """The duration of so many bytes of the bot's audio; 0 where bytes have no duration."""
        per_ms = CODECS[self.bot_codec].bytes_per_ms
        return size / per_ms if per_ms and self.mode == "rtp" else 0.0

    def unheard(self) -> int:
        """Milliseconds of audible audio in the queue when the socket ended."""
        per_ms = CODECS[self.bot_codec].bytes_per_ms
        if not self.queued_ms or not per_ms or self.mode != "rtp":
            return 0
        rest = self.audio()[-self.queued_ms * per_ms :]
        return sum(FRAME_MS for frame in cut(rest, FRAME_MS * per_ms) if is_audible(frame, self.bot_codec))

    def audible(self, since_ms: float, until_ms: float) -> int:
        """Milliseconds of audible packets of the bot that were played in this time."""
        return sum(FRAME_MS for one in self.played if one.audible and since_ms <= one.at < until_ms)

    def gaps(self) -> list[float]:
        """Milliseconds between each two `media` of the bot."""
        times = [one.at for one, _ in self.media()]
        return [(later - earlier) * 1000 for earlier, later in pairwise(times)]

    def echoes(self) -> bool:
        """The bot says what it hears: an audible frame of the caller's is in its audio, byte for byte."""
        if self.codec != self.bot_codec:
            return False
        # µ-law has two zeros, and PCM has one for both.
        heard = self.audio().replace(b"\x7f", b"\xff")
        return any(frame.replace(b"\x7f", b"\xff") in heard for frame in self.words[::5])


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """In pieces of `size`."""
    return (data[at : at + size] for at in range(0, len(data), size))


def is_audible(payload: bytes, codec: str) -> bool:
    """Whether a payload is louder than `AUDIBLE`."""
    try:
        return level(CODECS[codec].decoder()(payload)) > AUDIBLE
    except UndecodablePacket:
        return False
