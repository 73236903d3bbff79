"""The counters of a leg, for records, `trunkline why` and the API."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

QUIET = -60
"""dBFS; audio below it is inaudible."""


@dataclass(frozen=True, slots=True)
class LegReport:
    """One leg's counters at one moment. Times in ms are floats; counts are of packets unless stated."""

    codec: str = ""
    """Codec that we send."""
    codec_in: str = ""
    """Codec that the peer sends, one of those agreed."""
    srtp: str = ""
    """SRTP cipher suite; empty when not encrypted."""
    payload_type: int = -1
    """RTP payload type agreed for `codec`; -1 = none."""
    local_port: int = 0
    """Our UDP port for RTP."""
    expected: str = ""
    """Address of the peer's RTP by its SDP; empty when the SDP has no usable one."""
    remote: str = ""
    """Address to which we send: the learned source, else the signalled one; empty when neither is known."""
    remote_learned: bool = False
    """Whether `remote` is a learned source."""
    on_hold: bool = False
    """Whether one side has put the call on hold."""
    direction: str = "sendrecv"
    """Our direction, as negotiated (`sendrecv`, `sendonly`, `recvonly`, `inactive`)."""
    packets_in: int = 0
    """RTP packets accepted from the peer, of any payload type."""
    bytes_in: int = 0
    """Bytes of these packets, RTP headers included."""
    frames_in: int = 0
    """Audio frames delivered."""
    packets_out: int = 0
    """RTP packets sent."""
    bytes_out: int = 0
    """Payload bytes sent."""
    lost: int = 0
    """Packets given up after the reorder window."""
    late: int = 0
    """Packets that came after they were given up."""
    duplicate: int = 0
    """Packets that came twice."""
    reordered: int = 0
    """Packets that came out of order, within the window."""
    reorder_window_ms: float = 0.0
    """Current length of the reorder window."""
    stray: int = 0
    """Single packets of another SSRC, or far off in sequence, that were not taken for a restart."""
    restarts: int = 0
    """Restarts of the peer's stream: another SSRC or source, a jump in sequence, the end of a hold."""
    malformed: int = 0
    """Datagrams that are not RTP."""
    keepalives: int = 0
    """Datagrams, on the ports of RTP and RTCP, that only keep a NAT open (RFC 6263)."""
    wrong_source: int = 0
    """Packets from other sources than the peer, not heard. Once a source is latched, others are counted only after it
    has been silent for a second."""
    unexpected_source: str = ""
    """The last of these sources, or one that was heard until the signalled address took over."""
    unexpected_source_ms: float = -1.0
    """Age of its packet; -1 = there was none."""
    kept_dropped: int = 0
    """Packets kept for an answer, the trial of a source or a first listener, and dropped: more than a second of them,
    or the call ended first."""
    unknown_payload_type: int = 0
    """Packets of a payload type that was not negotiated."""
    seen_payload_type: int = -1
    """The last such payload type; -1 = there was none."""
    while_on_hold: int = 0
    """Audio packets that came although the direction does not allow them; dropped."""
    srtp_auth_failed: int = 0
    """SRTP and SRTCP packets without the peer's key; dropped."""
    srtp_replayed: int = 0
    """SRTP and SRTCP packets that were repeated, or too old to check; dropped."""
    rtcp_in: int = 0
    """RTCP packets accepted."""
    rtcp_out: int = 0
    """RTCP packets sent."""
    rtcp_malformed: int = 0
    """Datagrams on the RTCP port that are not RTCP."""
    send_errors: int = 0
    """Packets refused by the network, mostly because nothing listens at the peer's port."""
    receive_errors: int = 0
    """Errors of the socket when reading."""
    skipped_ms: int = 0
    """Milliseconds left out of the outbound audio because the process stalled."""
    jitter_ms: float = 0.0
    """Inter-arrival jitter (RFC 3550 section 6.4.1)."""
    round_trip_ms: float = -1.0
    """Round trip by RTCP; -1 = not known."""
    peer_lost: int = 0
    """Our packets that the peer reports as lost."""
    peer_jitter_ms: float = 0.0
    """Jitter of our packets as the peer reports it."""
    loss_percent: float = -1.0
    """Loss of the peer's packets; -1 = none came."""
    peer_loss_percent: float = -1.0
    """Loss of our packets as the peer reports it; -1 = no report."""
    mos: float = -1.0
    """Estimated opinion score of the peer's audio, from 1 to 4.5; -1 = no audio came."""
    peer_mos: float = -1.0
    """Estimated opinion score of our audio at the peer; -1 = no report."""
    last_packet_ms: float = -1.0
    """Age of the peer's last RTP packet; -1 = there was none."""
    duration_ms: float = 0.0
    """Age of the leg."""
    digits: int = 0
    """Key presses received."""
    digits_out: int = 0
    """Key presses sent."""
    digits_waiting: int = 0
    """Key presses of the app that are not sent yet; 0 in the last report."""
    digits_lost: int = 0
    """Key presses of a bridged leg that could not be relayed: no telephone-event, or too many wait."""

    def counters(self) -> dict[str, Any]:
        """All of them by name, as JSON has them."""
        names, read = _FIELDS[type(self)]
        return dict(zip(names, read(self), strict=True))

    @staticmethod
    def read(counters: Mapping[str, Any]) -> "LegReport | None":
        """What `counters` gave, maybe of another version: counters that are not known are left out. None for {}."""
        return LegReport(**{name: counters[name] for name in _NAMES if name in counters}) if counters else None


@dataclass(frozen=True, slots=True)
class LiveLegReport(LegReport):
    """A leg that is up, and the level of its audio of a moment ago."""

    heard_frames: int = 0
    """Frames from the peer that were measured."""
    heard_level_db: int = 0
    """Their level in dBFS; valid only with `heard_frames`."""
    said_frames: int = 0
    """Frames to the peer that were measured."""
    said_level_db: int = 0
    """Their level in dBFS; valid only with `said_frames`."""


_NAMES = tuple(field.name for field in fields(LegReport))
_FIELDS = {
    kind: (names := tuple(field.name for field in fields(kind)), attrgetter(*names))
    for kind in (LegReport, LiveLegReport)
}
UNKNOWN_BELOW_0 = frozenset(field.name for field in fields(LegReport) if field.default == -1)
"""Counters whose -1 says that the value is not known."""


@dataclass(frozen=True, slots=True)
class TrackLevels:
    """One track in one sample."""

    frames: int
    level_db: int
    """RMS in dBFS, `SILENT` without frames."""
    peaks: list[int]
    """Of each frame, 0 to 255."""


@dataclass(frozen=True, slots=True)
class LegSample:
    """Both tracks since the last sample."""

    at_ms: int
    """Time of the last frame on the leg's timeline, which both tracks share."""
    inbound: TrackLevels
    outbound: TrackLevels
    digits: str
    """Keys that the caller pressed."""
    barge_in_ms: list[int]
    """From the moment when the caller began to speak over the app's audio to the `clear` that came of it."""
    first_audio_ms: list[tuple[str, int]]
    """Sids of streams, and the time from their `start` to the first audio to the caller that was not quiet."""
