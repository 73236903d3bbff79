"""Why is there no audio? Counters in, sentences out: pure.

The tables of `leg_findings.py` and `stream_findings.py` have a row for each thing that can be wrong: severity, code
(stable, for machines), condition, sentence, and the counters that show it. Rows stand in the order in which one would
look, and that order is kept within a severity.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from trunkline.calls.findings import Finding, Severity, apply
from trunkline.calls.leg_findings import LEG_ROWS, LegFacts
from trunkline.calls.stream_findings import STREAM_ROWS, StreamFacts
from trunkline.calls.views import CallView, StreamView
from trunkline.media.report import LegReport
from trunkline.outbound.urls import WebSocketUrl
from trunkline.streaming.params import StreamReport

_ORDER: tuple[Severity, ...] = ("error", "warning", "info", "ok")


@dataclass(frozen=True, slots=True)
class StreamMedia:
    """A stream and what is known of its media."""

    view: StreamView
    state: str
    """Of its socket: `connecting`, `open`, …; `ended`."""
    report: StreamReport | None
    """None = none has come yet."""


@dataclass(frozen=True, slots=True)
class MediaReport:
    """What a call's media is doing, or did."""

    call: CallView
    live: bool
    leg: LegReport | None
    """Counters of the media leg, `LiveLegReport` while it is up; None when there are none."""
    streams: tuple[StreamMedia, ...]
    findings: tuple[Finding, ...]
    """Errors first."""


def diagnose(
    call: CallView, leg: LegReport | None, streams: Iterable[StreamMedia], *, live: bool
) -> tuple[Finding, ...]:
    """All that the counters show, errors first; while a stream runs, findings on those that ended come last, as
    information. With nothing wrong the finding is that audio flows; a call without an answer has only that finding."""
    if not call.answered_at and (call.ended_at or call.status in ("queued", "ringing")):
        return (_unanswered(call), *_notes(call))
    streams = tuple(streams)
    running = live and any(stream.state != "ended" for stream in streams)
    facts = LegFacts(
        **({} if leg is None else leg.counters()),
        live=live,
        streams=sum(stream.state != "ended" for stream in streams),
        no_stream="No stream is running any more" if streams else "No stream has been started",
    )
    findings = list(apply(LEG_ROWS, facts, None)) if leg else [_no_leg(call, live=live)]
    findings += _notes(call)
    past: list[Finding] = []
    for stream in streams:
        found = apply(STREAM_ROWS, _stream_facts(stream, facts), stream.view.sid)
        if running and stream.state == "ended":
            past += [replace(finding, severity="info") for finding in found]
        else:
            findings += found
    if not any(finding.severity in ("error", "warning") for finding in findings):
        flows = f"Nothing is wrong: {facts.frames_in} audio frames came from the peer, {facts.packets_out} went to it."
        counted = {"frames_in": facts.frames_in, "packets_out": facts.packets_out}
        findings.append(Finding("ok", "audio_flows", flows, counted))
    return (*sorted(findings, key=lambda finding: _ORDER.index(finding.severity)), *past)


def _notes(call: CallView) -> list[Finding]:
    notes = (note for note in call.notes if not (call.hangup_cause or "").startswith(note))
    return [Finding("warning", "instructions", f"The call's instructions: {_closed(note)}", {}) for note in notes]


def _closed(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _unanswered(call: CallView) -> Finding:
    """Its leg's counters would only say that nothing has flowed."""
    if call.ended_at is None:
        return Finding("warning", "not_answered_yet", "The call is not answered yet, so nothing can be streamed.", {})
    cause = call.hangup_cause or "why was not recorded"
    return Finding("error", "never_answered", f"The call was never answered: {cause}.", {})


def _no_leg(call: CallView, *, live: bool) -> Finding:
    if live:
        return Finding("error", "worker_silent", "The media worker of this call does not answer.", {})
    cause = call.hangup_cause or "its end was not recorded"
    return Finding("error", "never_had_media", f"No counters are kept of this call; {cause}.", {})


def _stream_facts(stream: StreamMedia, leg: LegFacts) -> StreamFacts:
    view, report = stream.view, stream.report or StreamReport()
    return StreamFacts(
        **{field.name: getattr(report, field.name) for field in fields(StreamReport)},
        state=stream.state,
        status=view.status,
        mode=view.mode,
        codec=view.codec or "the codec that was agreed",
        track=view.track,
        reason=view.ended_reason or "for no reason that was recorded",
        host=WebSocketUrl.parse(view.url).host,
        why_waiting="the call is on hold" if leg.on_hold else "the prebuffer is not full yet",
    )
