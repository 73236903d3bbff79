"""What calls came to: limits, the exit code, and the same as JSON, as JUnit XML and as lines for people. Pure.

The JSON keys of what means the same are those that `streamdouble` (PyPI) documents, so that a CI
can change from one to the other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, stdev
from typing import Any

from trunkline.ci import ExitCode, JunitCase, JunitSuite, junit
from trunkline.phone.measures import CallResult, percentile

SCHEMA = 1
"""Version of the JSON."""
PERCENTILE_RUNS = 20
"""Measurements below which a 95th percentile says nothing."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What a call must keep to; None: no limit."""

    first_audio_ms: float | None = None
    gap_ms: float | None = None
    cleared_ms: float | None = None
    mos: float | None = None
    """The least."""
    allow_no_audio: bool = False
    """A call without a sound is no failure, and what was not measured misses no limit."""


@dataclass(frozen=True, slots=True)
class CallThreshold:
    """One limit, and what was measured."""

    name: str
    limit: float
    value: float | None
    at_least: bool = False
    """The limit is the least, not the most."""

    @property
    def passed(self) -> bool:
        """What was not measured has not passed."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def words(self) -> str:
        """Both values."""
        value = "not measured" if self.value is None else f"{self.value:g}"
        return f"{value}, the limit is {self.limit:g}"


def thresholds(result: CallResult, limits: CallLimits) -> list[CallThreshold]:
    """Each limit with what was measured."""
    mos = result.report.mos if result.report and result.report.mos >= 0 else None
    rows = (
        ("first audio", limits.first_audio_ms, result.first_audio_ms, False),
        ("gap", limits.gap_ms, result.gaps.longest, False),
        ("cleared", limits.cleared_ms, max(result.cleared_ms, default=None), False),
        ("MOS", limits.mos, mos, True),
    )
    return [CallThreshold(name, limit, value, least) for name, limit, value, least in rows if limit is not None]


def exit_code(result: CallResult, limits: CallLimits) -> ExitCode:
    """The gravest of what is wrong."""
    if result.answered_ms is None:
        return ExitCode.VIOLATION if result.violations else ExitCode.NO_CONNECTION
    if result.violations:
        return ExitCode.VIOLATION
    if not result.spoke and not limits.allow_no_audio:
        return ExitCode.NEVER_SPOKE
    missed = [one for one in thresholds(result, limits) if not one.passed]
    if any(one.value is not None or not limits.allow_no_audio for one in missed):
        return ExitCode.THRESHOLD
    return ExitCode.CLEAN


def worst_exit_code(results: Sequence[CallResult], limits: CallLimits) -> ExitCode:
    """Of several calls: no connection, then a violation, then silence, then a missed limit."""
    codes = {exit_code(result, limits) for result in results}
    order = (ExitCode.NO_CONNECTION, ExitCode.VIOLATION, ExitCode.NEVER_SPOKE, ExitCode.THRESHOLD)
    return next((code for code in order if code in codes), ExitCode.CLEAN)


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────


def call_json(result: CallResult, limits: CallLimits) -> dict[str, Any]:
    """One call. What was not measured is null."""
    report, gaps = result.report, result.gaps
    answered = result.answered_ms is not None
    return {
        "schema_version": SCHEMA,
        "time_to_first_audio_ms": result.first_audio_ms,
        "frames_sent": report.packets_out if report else 0,
        "media_frames_received": report.frames_in if report else 0,
        "audio_sent_ms": float(result.said_ms),
        "audio_received_ms": float(result.audible_ms),
        "call_duration_ms": result.duration_ms,
        "mean_inbound_gap_ms": gaps.mean,
        "p95_inbound_gap_ms": gaps.p95,
        "max_inbound_gap_ms": gaps.longest,
        "stall_count": len(gaps.stalls),
        "longest_stall_ms": max(gaps.stalls, default=None),
        "violations": list(result.violations),
        "timed_out": answered and not result.spoke and result.ended_by != "them",
        "closed_by": {"us": "caller", "them": "agent"}.get(result.ended_by) if answered else None,
        "closed_before_audio": result.closed_before_audio,
        "pacing": {
            "late_frames": result.late_packets,
            "max_lateness_ms": result.late_ms[1],
            "mean_lateness_ms": result.late_ms[0],
            "measurement_is_reliable": result.is_reliable,
        },
        "uri": result.uri,
        "call_sid": result.call_sid or None,
        "codec": result.codec or None,
        "answered_ms": result.answered_ms,
        "failure": result.failure or None,
        "status": result.status,
        "cleared_ms": list(result.cleared_ms),
        "digits": result.digits,
        "faults": {"dropped": result.dropped, "reordered": result.reordered},
        "quality": _quality_json(result),
        "thresholds": [
            {"name": one.name, "limit_ms": one.limit, "value_ms": one.value, "passed": one.passed}
            for one in thresholds(result, limits)
        ],
        "exit_code": int(exit_code(result, limits)),
    }


_QUALITY = ("loss_percent", "jitter_ms", "round_trip_ms", "mos", "peer_loss_percent", "peer_jitter_ms", "peer_mos")


def _quality_json(result: CallResult) -> dict[str, float | None]:
    """Of what was heard; `peer_…` of what the other side heard, by its RTCP reports."""
    report = result.report
    values = {name: getattr(report, name) if report else -1.0 for name in _QUALITY}
    if values["peer_loss_percent"] < 0:
        values["peer_jitter_ms"] = -1.0
    return {name: None if value < 0 else value for name, value in values.items()}


_SERIES: dict[str, tuple[str, Callable[[CallResult], float | None]]] = {
    "answered_ms": ("ms", lambda result: result.answered_ms),
    "time_to_first_audio_ms": ("ms", lambda result: result.first_audio_ms),
    "mean_inbound_gap_ms": ("ms", lambda result: result.gaps.mean),
    "loss_percent": ("percent", lambda result: _quality_json(result)["loss_percent"]),
    "mos": ("score", lambda result: _quality_json(result)["mos"]),
    "peer_loss_percent": ("percent", lambda result: _quality_json(result)["peer_loss_percent"]),
    "peer_mos": ("score", lambda result: _quality_json(result)["peer_mos"]),
}


def series_json(results: Sequence[CallResult], limits: CallLimits) -> dict[str, Any]:
    """Several calls."""
    codes = [int(exit_code(result, limits)) for result in results]
    return {
        "series": {
            "n": len(results),
            "failures": sum(code != 0 for code in codes),
            "exit_codes": codes,
            "percentiles_withheld": len(results) < PERCENTILE_RUNS,
            "metrics": {name: _metric(unit, [read(one) for one in results]) for name, (unit, read) in _SERIES.items()},
        },
        "runs": [call_json(result, limits) for result in results],
        "exit_code": int(worst_exit_code(results, limits)),
    }


def _metric(unit: str, values: list[float | None]) -> dict[str, Any]:
    found = sorted(value for value in values if value is not None)
    return {
        "n": len(values),
        "unit": unit,
        "measured": len(found),
        "missing": len(values) - len(found),
        "median": round(median(found), 2) if found else None,
        "min": found[0] if found else None,
        "max": found[-1] if found else None,
        "p95": round(percentile(found, 0.95), 2) if len(found) >= PERCENTILE_RUNS else None,
        "stddev": round(stdev(found), 2) if len(found) > 1 else None,
        "values": values,
    }


# ── JUnit ───────────────────────────────────────────────────────────────────────────────────────────────────────


def report(results: Sequence[CallResult], limits: CallLimits) -> bytes:
    """A test suite for each call; its last case, `verdict`, fails whenever the exit code is not 0."""
    suites = [
        JunitSuite(f"call {number}", _cases(result, limits), result.duration_ms / 1000)
        for number, result in enumerate(results, 1)
    ]
    return junit("call", suites)


def _cases(result: CallResult, limits: CallLimits) -> list[JunitCase]:
    answered, excused = result.answered_ms is not None, limits.allow_no_audio
    code = exit_code(result, limits)
    cases = [
        _case("answered", "" if answered else result.failure or "not answered"),
        _case("protocol", "; ".join(result.violations)),
        _case("audio", "" if result.spoke else "the other side never spoke", excused),
    ]
    cases += [
        _case(one.name, "" if one.passed else one.words, one.value is None and excused)
        for one in thresholds(result, limits)
    ]
    return [*cases, _case("verdict", "" if code is ExitCode.CLEAN else f"exit code {int(code)}")]


def _case(name: str, failure: str, excused: bool = False) -> JunitCase:
    """`failure`: empty for what passed."""
    return JunitCase(name, ("skipped" if excused else "failure") if failure else "passed", failure)


# ── for people ──────────────────────────────────────────────────────────────────────────────────────────────────


def call_lines(result: CallResult, limits: CallLimits) -> list[str]:
    """One call, a value a line, within 80 columns but for addresses and identifiers."""
    if result.answered_ms is None:
        return [*_row("call", f"not answered: {result.failure or 'given up'}"), *_violation_lines(result)]
    quality = _quality_json(result)
    lines = _row(
        "call", f"{result.codec}, {result.duration_ms / 1000:.1f} s, answered after {result.answered_ms:.0f} ms"
    )
    if result.call_sid:
        lines += _row("call sid", result.call_sid)
    first = "nothing was heard" if result.first_audio_ms is None else f"{result.first_audio_ms:.0f} ms"
    lines += _row("first audio", first)
    lines += _row("heard", f"{result.audible_ms / 1000:.1f} s, loudest {result.loudest_db} dBFS")
    if result.cleared_ms:
        lines += _row("cleared", ", ".join(f"{value:.0f} ms" for value in result.cleared_ms) + " after an interruption")
    if result.digits:
        lines += _row("keys", result.digits)
    lines += _row("heard line", _line(quality["loss_percent"], quality["jitter_ms"], quality["mos"]))
    if quality["peer_loss_percent"] is not None:
        values = (quality["peer_loss_percent"], quality["peer_jitter_ms"], quality["peer_mos"])
        lines += _row("sent line", f"{_line(*values)}, as they report")
    if result.dropped or result.reordered:
        lines += _row("faults", f"{result.dropped} packets not sent, {result.reordered} put out of order")
    if result.gaps.stalls:
        lines += _row("stalls", f"{len(result.gaps.stalls)}, the longest {max(result.gaps.stalls):.0f} ms")
    if not result.is_reliable:
        lines += _row(
            "beware", f"our packets left {result.late_ms[0]:.1f} ms late on average: this machine is too busy"
        )
    for one in thresholds(result, limits):
        lines += _row("passed" if one.passed else "FAILED", f"{one.name}: {one.words}")
    return [*lines, *_violation_lines(result)]


def series_lines(results: Sequence[CallResult], limits: CallLimits) -> list[str]:
    """Several calls."""
    series = series_json(results, limits)["series"]
    lines = [f"{series['n']} calls, {series['failures']} failed", ""]
    lines.append(f"{'':24}{'median':>9}{'min':>9}{'max':>9}{'p95':>9}{'measured':>12}")
    for name, one in series["metrics"].items():
        values = "".join(f"{'-' if one[key] is None else one[key]:>9}" for key in ("median", "min", "max", "p95"))
        lines.append(f"{name:24}{values}{one['measured']:>8}/{one['n']}")
    dropped, reordered = sum(one.dropped for one in results), sum(one.reordered for one in results)
    if dropped or reordered:
        lines += _row("faults", f"{dropped} packets not sent, {reordered} put out of order")
    if late := sum(not one.is_reliable for one in results):
        lines += _row("beware", f"in {late} calls our packets left late: this machine is too busy")
    reasons: dict[str, int] = {}
    for result in results:
        for text in [*result.violations, *([result.failure] if result.failure else [])]:
            reasons[text] = reasons.get(text, 0) + 1
    return [*lines, *[f"{count} x {text}" for text, count in sorted(reasons.items())]]


def _line(loss: float | None, jitter: float | None, mos: float | None) -> str:
    if loss is None:
        return "nothing came"
    return f"{loss:g} % lost, jitter {jitter or 0:.1f} ms, MOS {mos}"


def _violation_lines(result: CallResult) -> list[str]:
    return [line for text in result.violations for line in _row("violation", text)]


def _row(name: str, text: str) -> list[str]:
    return [f"{name:12}{text}"]
