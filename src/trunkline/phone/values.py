"""What a phone is asked for and what it reports: values, and its errors. Pure.

PhoneError                the call cannot go on
├── CallUnreachable       no answer from the other side at all, or its name cannot be resolved
├── CallRefused           a final failure response, with its status
└── CallOver              the call has ended, or was never up
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from trunkline.errors import TrunklineError
from trunkline.sdp.values import Endpoint
from trunkline.sip.values import Credentials

LATE = 0.005
"""Seconds; a packet that leaves later is counted as late."""

PhoneEventKind = Literal["invited", "ringing", "answered", "renegotiated", "digit", "ended", "violation"]


class PhoneError(TrunklineError):
    """The call cannot be placed, or cannot go on."""


class CallUnreachable(PhoneError):
    """No response came, or the host cannot be reached."""


class CallRefused(PhoneError):
    """The other side has refused the call."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        """Of the SIP response."""


class CallOver(PhoneError):
    """The call has ended, or was never up."""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One call to place."""

    uri: str
    """The Request-URI: `sip:+13125550123@192.0.2.10:5060`."""
    target: Endpoint
    """Address and port of its host."""
    user: str = "phone"
    """User of our From URI, such as a number."""
    credentials: Credentials | None = None
    """Answer digest challenges."""
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722")
    """What we offer, in this order; of `codecs.CALL_CODECS`."""
    ptime: int | None = None
    """Milliseconds per packet, both asked for and sent; None: 20 asked for, and sent what the other side asks for."""
    rate: int = 16000
    """Samples per second of the PCM that goes in and comes out: 8000, 16000, 24000 or 48000."""
    drift_ppm: float = 0.0
    """How much our clock is faster than real time, in parts per million."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of the INVITE."""


class PhoneEvent(NamedTuple):
    """Something that happened in the call."""

    at: float
    """Seconds of the driver's clock."""
    kind: PhoneEventKind
    detail: str
    """`ringing`: status and reason. `answered`, `renegotiated`: codec. `digit`: the key. `ended`: by which side, why.
    `violation`: what the other side did wrong."""


class HeardFrame(NamedTuple):
    """The audio of one packet from the other side."""

    at: float
    """Seconds of the driver's clock at its arrival, or when the gap before it was given up."""
    media_ms: int
    """Its place on the call's timeline, in ms."""
    pcm: bytes
    """16-bit little-endian mono samples."""
    missing: int
    """Packets before it that were lost."""


class OutgoingDatagram(NamedTuple):
    """What the driver sends."""

    port: Literal["sip", "rtp", "rtcp"]
    """Socket that it leaves by."""
    data: bytes
    to: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Impairments:
    """Faults of the network in our direction; 0 is none. Audio and key presses pass them, SIP and RTCP do not."""

    loss: float = 0.0
    """Share of packets that are never sent, 0 to 1."""
    jitter: float = 0.0
    """Seconds that a packet is late, at most; evenly distributed, the order is kept."""
    reorder: float = 0.0
    """Share of packets that are held back until the next one has left."""

    @property
    def any(self) -> bool:
        """Whether there is a fault."""
        return bool(self.loss or self.jitter or self.reorder)


@dataclass(slots=True)
class LineCounts:
    """What a line with faults has done."""

    sent: int = field(default=0)
    """Packets that have left."""
    dropped: int = field(default=0)
    """Packets that were never sent."""
    reordered: int = field(default=0)
    """Packets that left after their successor."""


@dataclass(slots=True)
class Pacing:
    """How late our own packets left. A caller that is late measures the other side as later than it is."""

    packets: int = field(default=0)
    late: int = field(default=0)
    """Packets that left more than `LATE` behind their time."""
    total: float = field(default=0.0)
    """Seconds that all of them were late, together."""
    worst: float = field(default=0.0)
    """Seconds that the latest was late."""

    def sent_at(self, due: float, now: float) -> None:
        """A packet leaves."""
        behind = now - due
        self.packets += 1
        self.late += behind > LATE
        self.total += behind
        self.worst = max(self.worst, behind)

    @property
    def mean_ms(self) -> float:
        """Milliseconds that a packet was late."""
        return self.total * 1000 / self.packets if self.packets else 0.0
