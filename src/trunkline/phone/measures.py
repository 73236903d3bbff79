"""What a call was like for the caller: when the other side spoke, how soon, how soon it fell silent. Pure.

Each packet's loudness (`audio.Loudness`) becomes spans of audible sound, in which shorter pauses do not count. Times
are seconds of the driver's clock, results are milliseconds; None is "not measured", which no threshold passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from trunkline.media.audio.level import SILENT
from trunkline.media.report import LegReport
from trunkline.phone.audio import AUDIBLE, Loudness
from trunkline.phone.core import PhoneCore

PAUSE = 0.3
"""Seconds of silence within a span: the pauses of speech are shorter."""
STALL_MS = 100.0
"""A gap between two packets that is heard as a stall."""
RELIABLE_MS = 5.0
"""Mean lateness of our own packets up to which what was measured is the other side's."""


class AudibleSpan(NamedTuple):
    """Audible sound, from its first packet to the end of its last."""

    start: float
    end: float


def spans(track: Sequence[Loudness], pause: float = PAUSE) -> list[AudibleSpan]:
    """The audible spans of a track, in order."""
    found: list[AudibleSpan] = []
    for at, milliseconds, decibels in track:
        if decibels < AUDIBLE:
            continue
        end = at + milliseconds / 1000
        if found and at - found[-1].end < pause:
            found[-1] = AudibleSpan(found[-1].start, max(end, found[-1].end))
        else:
            found.append(AudibleSpan(at, end))
    return found


def first_audio_ms(begun: float, heard: Sequence[AudibleSpan], said: Sequence[AudibleSpan]) -> float | None:
    """How long the caller waits for the first sound. The wait begins with the last of these before that sound: the
    call (`begun`), the start of what the caller says, and its end. So a greeting is measured from the answer, an echo
    from the first word, and a reply from the last. None: nothing was heard."""
    if not heard:
        return None
    first = heard[0].start
    turns = [at for span in said for at in span if at <= first]
    return round(max(0.0, first - max([begun, *turns])) * 1000, 1)


def cleared_ms(heard: Sequence[AudibleSpan], said: Sequence[AudibleSpan]) -> list[float]:
    """For each time that the caller began to speak while the other side was speaking: how long that went on."""
    interrupted = [span.end - begun.start for begun in said for span in heard if span.start < begun.start < span.end]
    return [round(seconds * 1000, 1) for seconds in interrupted]


@dataclass(frozen=True, slots=True)
class Gaps:
    """Times between the arrivals of packets, in ms."""

    mean: float | None = None
    p95: float | None = None
    longest: float | None = None
    stalls: tuple[float, ...] = ()
    """Those of `STALL_MS` or more."""


def gaps(track: Sequence[Loudness]) -> Gaps:
    """Of what was heard."""
    found = sorted((later.at - earlier.at) * 1000 for earlier, later in pairwise(track))
    if not found:
        return Gaps()
    return Gaps(
        round(sum(found) / len(found), 1),
        round(percentile(found, 0.95), 1),
        round(found[-1], 1),
        tuple(round(gap, 1) for gap in found if gap >= STALL_MS),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value of ascending values that this share of them does not exceed, between neighbours in proportion."""
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call, measured."""

    uri: str
    call_sid: str
    """Of a Trunkline server; else empty."""
    codec: str
    """Empty: there was no media."""
    answered_ms: float | None
    """From the INVITE to the 200; None: not answered."""
    duration_ms: float
    """From the answer to the end."""
    first_audio_ms: float | None
    """See `first_audio_ms`."""
    audible_ms: int
    """Audible audio that was heard."""
    loudest_db: int
    """Level of the loudest packet, in dBFS."""
    cleared_ms: tuple[float, ...]
    """See `cleared_ms`."""
    digits: str
    """Keys of the other side."""
    gaps: Gaps
    said_ms: int
    """Audio that the caller said."""
    violations: tuple[str, ...]
    """What the other side did against the protocol."""
    failure: str
    """Why there was no call; empty if there was one."""
    status: int | None
    """SIP status of a refusal."""
    ended_by: str
    """`us`, `them`, or empty while it is up."""
    dropped: int
    """Packets that the faults of the line have swallowed."""
    reordered: int
    """Packets that the faults of the line have put behind their successor."""
    late_ms: tuple[float, float]
    """How late our own packets left: on average, and the latest."""
    late_packets: int
    report: LegReport | None = None
    """Counters, loss, jitter and MOS of the media."""

    @property
    def spoke(self) -> bool:
        """Something was heard."""
        return self.first_audio_ms is not None

    @property
    def is_reliable(self) -> bool:
        """Our own packets left in time, so that what was measured is the other side's."""
        return self.late_ms[0] <= RELIABLE_MS

    @property
    def closed_before_audio(self) -> bool:
        """The other side hung up without a sound."""
        return self.ended_by == "them" and not self.spoke and self.answered_ms is not None


def measure(core: PhoneCore, now: float, *, begun: float | None = None) -> CallResult:
    """What a call has been up to `now`. `begun`: when the other side could begin to speak, if not with the answer."""
    times = {event.kind: event.at for event in reversed(core.events)}
    invited, answered = times.get("invited", now), times.get("answered")
    heard, said = spans(core.audio.heard), spans(core.audio.said)
    start = begun or answered or now
    report, failure = core.report(now), core.failure
    return CallResult(
        uri=core.plan.uri,
        call_sid=core.call_sid,
        codec=report.codec if report else "",
        answered_ms=None if answered is None else round((answered - invited) * 1000, 1),
        duration_ms=0.0 if answered is None else round((times.get("ended", now) - answered) * 1000, 1),
        first_audio_ms=first_audio_ms(start, heard, said),
        audible_ms=core.audio.audible_ms,
        loudest_db=core.audio.loudest,
        cleared_ms=tuple(cleared_ms(heard, said)),
        digits="".join(event.detail for event in core.events if event.kind == "digit"),
        gaps=gaps(core.audio.heard),
        said_ms=sum(one.milliseconds for one in core.audio.said),
        violations=(*core.violations, *media_violations(report)),
        failure=_words(core),
        status=None if failure is None or not failure.responded else failure.status,
        ended_by=core.ended_by,
        dropped=core.line.counts.dropped,
        reordered=core.line.counts.reordered,
        late_ms=(round(core.pacing.mean_ms, 2), round(core.pacing.worst * 1000, 1)),
        late_packets=core.pacing.late,
        report=report,
    )


def media_violations(report: LegReport | None) -> list[str]:
    """What the counters of the media say that the other side did against RTP."""
    if report is None:
        return []
    found = []
    if report.malformed:
        found.append(f"RTP: {report.malformed} datagrams on the RTP port are no RTP (RFC 3550 section 5.1)")
    if report.unknown_payload_type:
        kind = report.seen_payload_type
        found.append(f"RTP: {report.unknown_payload_type} packets of payload type {kind}, which was not negotiated")
    if report.rtcp_malformed:
        found.append(f"RTCP: {report.rtcp_malformed} datagrams on the RTCP port are no RTCP (RFC 3550 section 6)")
    return found


def _words(core: PhoneCore) -> str:
    failure = core.failure
    if failure is None:
        return ""
    return f"{failure.status} {failure.reason}, from {failure.detail}" if failure.responded else failure.detail


def not_placed(uri: str, failure: str) -> CallResult:
    """A call that could not even be placed."""
    return CallResult(
        uri=uri,
        call_sid="",
        codec="",
        answered_ms=None,
        duration_ms=0.0,
        first_audio_ms=None,
        audible_ms=0,
        loudest_db=SILENT,
        cleared_ms=(),
        digits="",
        gaps=Gaps(),
        said_ms=0,
        violations=(),
        failure=failure,
        status=None,
        ended_by="",
        dropped=0,
        reordered=0,
        late_ms=(0.0, 0.0),
        late_packets=0,
    )
