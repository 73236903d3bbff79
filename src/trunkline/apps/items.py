"""What a check of a bot found, item by item: for people, as JSON, as JUnit. Pure.

The keys of the JSON that mean the same are those of `streamdouble` (PyPI), a simulator of Twilio's
media streams, so that a CI can change from one to the other.
"""

import textwrap
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import fmean, median, stdev
from typing import Any

from trunkline.apps.trace import LATE_MS, RELIABLE_MS, Trace
from trunkline.ci import ExitCode, JunitCase, JunitSuite, junit

WIDTH = 80
_LABELS = 20
"""Columns before the text of an item."""


class Verdict(StrEnum):
    """Of one item."""

    OK = "ok"
    """As documented."""
    ACCEPTED = "accepted"
    """Works with this server, but is not documented by Telnyx."""
    SKIPPED = "skipped"
    """Could not be judged."""
    MISSED = "missed"
    """A limit of time, or something that callers notice; exit code 1."""
    VIOLATION = "violation"
    """Exit code 3."""


_MARKS = {
    Verdict.OK: "ok",
    Verdict.ACCEPTED: "note",
    Verdict.SKIPPED: "skip",
    Verdict.MISSED: "BAD",
    Verdict.VIOLATION: "WRONG",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    text: str
    code: str = ""
    """Of the mistake, stable; empty where there is none."""
    advice: str = ""
    """What to do about it."""

    def lines(self) -> list[str]:
        """In at most `WIDTH` columns."""
        label = f"{_MARKS[self.verdict]:6}{self.name:{_LABELS - 6}}"
        code = f" [{self.code}]" if self.code else ""
        found = textwrap.wrap(self.text + code, WIDTH - _LABELS) + textwrap.wrap(self.advice, WIDTH - _LABELS)
        return [(label if number == 0 else " " * _LABELS) + line for number, line in enumerate(found)]


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit that the user set."""

    name: str
    limit_ms: float
    value_ms: float | None

    @property
    def passed(self) -> bool:
        """What was never measured has not passed."""
        return self.value_ms is not None and self.value_ms <= self.limit_ms


@dataclass(slots=True)
class Findings:
    """Of one run."""

    command: str
    url: str
    items: list[Item] = field(default_factory=list)
    thresholds: list[Threshold] = field(default_factory=list)
    trace: Trace | None = None
    """Of the conversation; None where there was no connection."""
    allow_no_audio: bool = False
    unreachable: str = ""
    measures: dict[str, float | None] = field(default_factory=dict)
    """What is compared with a baseline."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further keys of the JSON."""

    @property
    def violations(self) -> list[str]:
        """Codes."""
        return [item.code for item in self.items if item.verdict is Verdict.VIOLATION]

    @property
    def mistakes(self) -> list[str]:
        """Codes of the violations, and of what else is wrong."""
        return [item.code for item in self.items if item.verdict in (Verdict.MISSED, Verdict.VIOLATION)]

    @property
    def exit_code(self) -> ExitCode:
        """The gravest first: a bot of which every message is refused has not spoken either."""
        if self.unreachable:
            return ExitCode.NO_CONNECTION
        if self.violations:
            return ExitCode.VIOLATION
        if self.trace is not None and self.trace.first_audio is None and not self.allow_no_audio:
            return ExitCode.NEVER_SPOKE
        if self.mistakes or not all(one.passed or self._excused(one) for one in self.thresholds):
            return ExitCode.THRESHOLD
        return ExitCode.CLEAN

    def _excused(self, threshold: Threshold) -> bool:
        return threshold.value_ms is None and self.allow_no_audio

    def lines(self) -> list[str]:
        """For people."""
        if self.unreachable:
            return [f"no connection to {self.url}", *textwrap.wrap(self.unreachable, WIDTH)]
        found = [line for item in self.items for line in item.lines()]
        for one in self.thresholds:
            value = "never measured" if one.value_ms is None else f"{one.value_ms:.0f} ms"
            mark = "ok" if one.passed else "skip" if self._excused(one) else "LATE"
            found.append(f"{mark:6}{one.name:{_LABELS - 6}}{value}, the limit is {one.limit_ms:g} ms")
        return [*found, "", *textwrap.wrap(self.summary(), WIDTH)]

    def summary(self) -> str:
        """The last line."""
        code = self.exit_code
        words = {
            ExitCode.CLEAN: "Nothing is wrong.",
            ExitCode.THRESHOLD: f"Not in time, or not as callers expect{': ' if self.mistakes else ''}"
            f"{', '.join(self.mistakes)}.",
            ExitCode.NEVER_SPOKE: "The bot never spoke (--allow-no-audio if it need not).",
            ExitCode.VIOLATION: f"Wrong: {', '.join(dict.fromkeys(self.mistakes))}.",
        }
        return f"{words[code]} Exit code {code}."

    def json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "schema_version": 1,
            "command": self.command,
            "url": self.url,
            **measured(self.trace),
            "violations": self.violations,
            "mistakes": self.mistakes,
            "thresholds": [
                {"name": one.name, "limit_ms": one.limit_ms, "value_ms": one.value_ms, "passed": one.passed}
                for one in self.thresholds
            ],
            "items": [
                {
                    "name": item.name,
                    "verdict": item.verdict,
                    "text": item.text,
                    "code": item.code,
                    "advice": item.advice,
                }
                for item in self.items
            ],
            "measures": self.measures,
            **({"error": self.unreachable} if self.unreachable else {}),
            **self.more,
            "exit_code": int(self.exit_code),
        }

    def junit(self) -> bytes:
        """A test case for each item and threshold, and one for the exit code."""
        cases: list[JunitCase] = []
        for item in self.items:
            failed = item.verdict in (Verdict.MISSED, Verdict.VIOLATION)
            skipped = item.verdict is Verdict.SKIPPED
            cases.append(_case(item.name, failed, skipped, f"{item.text} {item.advice}".strip()))
        for one in self.thresholds:
            words = f"{one.value_ms} ms, the limit is {one.limit_ms:g} ms"
            cases.append(_case(one.name, not one.passed and not self._excused(one), not one.passed, words))
        failed = self.exit_code is not ExitCode.CLEAN
        cases.append(_case("verdict", failed, False, self.unreachable or self.summary()))
        return junit(self.command, [JunitSuite(f"trunkline {self.command}", cases)])


def _case(name: str, failed: bool, skipped: bool, text: str) -> JunitCase:
    return JunitCase(name, "failure" if failed else "skipped" if skipped else "passed", text)


def measured(trace: Trace | None) -> dict[str, Any]:
    """What was measured of a conversation; null for what was not."""
    gaps = sorted(trace.gaps()) if trace is not None else []
    first = trace.first_audio if trace is not None else None
    closed = trace.closed if trace is not None else None
    by_bot = closed is not None and closed.by_bot
    return {
        "time_to_first_audio_ms": None if first is None else round(first * 1000, 1),
        "mean_inbound_gap_ms": round(fmean(gaps), 1) if gaps else None,
        "p95_inbound_gap_ms": round(gaps[int(len(gaps) * 0.95)], 1) if gaps else None,
        "max_inbound_gap_ms": round(gaps[-1], 1) if gaps else None,
        "stall_count": trace.underruns if trace is not None else 0,
        "timed_out": trace is not None and first is None and not by_bot,
        "closed_by": "agent" if by_bot else None,
        "closed_before_audio": by_bot and first is None,
        "pacing": _pacing(trace.lateness if trace is not None else []),
    }


def _pacing(lateness: list[float]) -> dict[str, Any]:
    """Of our own frames: a machine that is too busy measures nothing."""
    mean = fmean(lateness) if lateness else 0.0
    return {
        "drift_ms": round(median(lateness[-10:]) - median(lateness[:10]), 1) if lateness else 0.0,
        "late_frames": sum(late > LATE_MS for late in lateness),
        "max_lateness_ms": round(max(lateness, default=0.0), 1),
        "mean_lateness_ms": round(mean, 2),
        "deviation_ms": round(stdev(lateness), 2) if len(lateness) > 1 else 0.0,
        "measurement_is_reliable": mean < RELIABLE_MS,
    }
