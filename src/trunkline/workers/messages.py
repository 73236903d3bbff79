"""The wire between the control process and a media worker: msgpack-encoded structs, tagged by name, over `link.py`."""

import msgspec

from trunkline.ids import LegId, StreamSid
from trunkline.media.report import LiveLegReport
from trunkline.outbound.egress import EgressRules
from trunkline.streaming.params import StreamReport
from trunkline.workers.orders import Order
from trunkline.workers.reports import Report


class Configure(msgspec.Struct, frozen=True, tag=True):
    """The first order of all; answered by `Ready`."""

    media: str
    """`MediaSettings` as JSON."""
    streams: str
    """`StreamSettings` as JSON."""
    log: str
    """`LogSettings` as JSON."""
    egress: EgressRules
    port_min: int
    port_max: int
    """This worker's share of the RTP ports, both ends included."""


class SetLog(msgspec.Struct, frozen=True, tag=True):
    """Log like this from now on; for a decoder, too."""

    log: str
    """`LogSettings` as JSON."""


class SetEgress(msgspec.Struct, frozen=True, tag=True):
    """Dial by these rules from now on."""

    rules: EgressRules


class Trust(msgspec.Struct, frozen=True, tag=True):
    """Read the certificates that apps are verified with again."""

    ca_file: str | None


class ToLeg(msgspec.Struct, frozen=True, tag=True):
    """An order for one leg."""

    leg: LegId
    order: Order


class GetReport(msgspec.Struct, frozen=True, tag=True):
    """Answered by `Reported` after listening to the leg for a moment."""

    leg: LegId
    request: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker takes orders."""


class Said(msgspec.Struct, frozen=True, tag=True):
    """A line for the log, of a decoder, too."""

    line: str
    dropped: int
    """Lines before it that there was no room for."""


class FromLeg(msgspec.Struct, frozen=True, tag=True):
    """A report of one leg."""

    leg: LegId
    report: Report


class StreamState(msgspec.Struct, frozen=True):
    """One stream at one moment."""

    sid: StreamSid
    state: str
    """Of its socket: `connecting`, `open`, …"""
    report: StreamReport


class Reported(msgspec.Struct, frozen=True, tag=True):
    """A leg as it is, and its streams; None when the leg is gone."""

    request: int
    leg: LiveLegReport | None
    streams: list[StreamState]


class Status(msgspec.Struct, frozen=True, tag=True):
    """Sent every second, also as the sign of life."""

    legs: int
    streams: int
    counters: dict[str, int]
    load: float = 0.0
    """CPU since the last one, of a core."""
    lag: float = 0.0
    """Seconds by which packets left late since the last one, on average."""


ToWorker = Configure | SetLog | SetEgress | Trust | ToLeg | GetReport
ToControl = Ready | Said | FromLeg | Reported | Status

LOG_BACKLOG = 256 * 1024
"""Unsent bytes of a link over which lines for the log are dropped."""
STATUS_INTERVAL = 1.0
"""Seconds."""
LISTENING = 0.4
"""Seconds for which a worker listens to a leg before it reports."""
REPORT_TIMEOUT = 3.0
"""Seconds after which a report is not waited for any more."""
SIGN_OF_LIFE = 10.0
"""Seconds without any report after which a worker counts as dead: ten times the interval, so that a machine that
stalls for a moment costs no calls."""
