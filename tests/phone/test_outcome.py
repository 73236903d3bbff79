"""The exit code, and the result as JSON, JUnit and lines."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from trunkline.ci import ExitCode
from trunkline.media.report import LegReport
from trunkline.phone.measures import CallResult, Gaps, not_placed
from trunkline.phone.outcome import (
    PERCENTILE_RUNS,
    CallLimits,
    call_json,
    call_lines,
    exit_code,
    report,
    series_json,
    series_lines,
    thresholds,
    worst_exit_code,
)

GOOD = replace(
    not_placed("sip:+1@127.0.0.1", ""),
    codec="PCMU",
    call_sid="v3:" + "x" * 56,
    answered_ms=30.0,
    duration_ms=4000.0,
    first_audio_ms=440.7,
    audible_ms=2000,
    gaps=Gaps(20.0, 31.7, 60.1, (120.0,)),
    ended_by="us",
    report=LegReport(mos=4.39, loss_percent=0.0, jitter_ms=1.5, packets_out=200, frames_in=199),
)
SILENT = replace(GOOD, first_audio_ms=None, audible_ms=0)
WRONG = replace(GOOD, violations=("SIP: no Via",))
REFUSED = not_placed("sip:+1@127.0.0.1", "486 Busy Here, from 127.0.0.1:5060")
LATE = CallLimits(first_audio_ms=400)


@pytest.mark.parametrize(
    ("result", "limits", "code"),
    [
        (GOOD, CallLimits(), ExitCode.CLEAN),
        (GOOD, CallLimits(first_audio_ms=441, gap_ms=61, mos=4.3), ExitCode.CLEAN),
        (GOOD, LATE, ExitCode.THRESHOLD),
        (GOOD, CallLimits(mos=4.4), ExitCode.THRESHOLD),
        (GOOD, CallLimits(cleared_ms=300), ExitCode.THRESHOLD),
        (GOOD, CallLimits(cleared_ms=300, allow_no_audio=True), ExitCode.CLEAN),
        (SILENT, LATE, ExitCode.NEVER_SPOKE),
        (SILENT, CallLimits(first_audio_ms=400, allow_no_audio=True), ExitCode.CLEAN),
        (WRONG, LATE, ExitCode.VIOLATION),
        (REFUSED, CallLimits(), ExitCode.NO_CONNECTION),
        (replace(REFUSED, violations=("SDP: none",)), CallLimits(), ExitCode.VIOLATION),
    ],
)
def test_the_exit_code_says_the_gravest(result: CallResult, limits: CallLimits, code: ExitCode) -> None:
    assert exit_code(result, limits) is code
    suite = ElementTree.fromstring(report([result], limits))[0]
    verdict = suite.findall("testcase")[-1]
    assert (verdict.get("name"), verdict.find("failure") is None) == ("verdict", code == 0)
    assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
    assert call_json(result, limits)["exit_code"] == code


def test_of_several_calls_the_gravest_counts() -> None:
    assert worst_exit_code([GOOD, GOOD], CallLimits()) is ExitCode.CLEAN
    assert worst_exit_code([GOOD, SILENT, REFUSED], LATE) is ExitCode.NO_CONNECTION
    assert worst_exit_code([GOOD, SILENT], LATE) is ExitCode.NEVER_SPOKE


def test_the_json_has_the_documented_keys_and_null_for_what_was_not_measured() -> None:
    found = call_json(GOOD, LATE)
    assert {name: found[name] for name in ("schema_version", "time_to_first_audio_ms", "p95_inbound_gap_ms")} == {
        "schema_version": 1,
        "time_to_first_audio_ms": 440.7,
        "p95_inbound_gap_ms": 31.7,
    }
    assert (found["stall_count"], found["timed_out"], found["closed_by"]) == (1, False, "caller")
    assert found["thresholds"] == [{"name": "first audio", "limit_ms": 400, "value_ms": 440.7, "passed": False}]
    assert found["pacing"]["measurement_is_reliable"]
    assert found["quality"]["mos"] == 4.39
    assert found["quality"]["peer_mos"] is found["quality"]["round_trip_ms"] is None
    silent = call_json(SILENT, LATE)
    assert (silent["time_to_first_audio_ms"], silent["timed_out"]) == (None, True)
    hung_up = call_json(replace(SILENT, ended_by="them"), LATE)
    assert (hung_up["closed_by"], hung_up["closed_before_audio"], hung_up["timed_out"]) == ("agent", True, False)
    refused = call_json(REFUSED, LATE)
    assert (refused["closed_by"], refused["quality"]["mos"], refused["codec"]) == (None, None, None)


def test_a_series_has_its_spread_and_a_percentile_only_of_enough_calls() -> None:
    few = series_json([GOOD, replace(GOOD, first_audio_ms=500.0), SILENT], LATE)
    first = few["series"]["metrics"]["time_to_first_audio_ms"]
    assert (first["min"], first["max"], first["measured"], first["missing"], first["p95"]) == (440.7, 500, 2, 1, None)
    assert (few["series"]["exit_codes"], few["series"]["failures"], few["exit_code"]) == ([1, 1, 2], 3, 2)
    many = series_json([GOOD] * PERCENTILE_RUNS, CallLimits())["series"]
    assert (many["metrics"]["mos"]["p95"], many["percentiles_withheld"]) == (4.39, False)


def test_what_was_not_measured_has_missed_its_limit() -> None:
    (found,) = thresholds(SILENT, LATE)
    assert not found.passed
    assert found.words == "not measured, the limit is 400"


def test_lines_for_people_fit_80_columns() -> None:
    full = replace(
        WRONG, cleared_ms=(120.0, 300.0), digits="12", dropped=3, late_ms=(7.0, 40.0), report=LegReport(mos=4.39)
    )
    peers = LegReport(mos=4.39, loss_percent=0.0, jitter_ms=1.0, peer_loss_percent=2.0, peer_mos=4.1)
    for result in (GOOD, SILENT, full, replace(full, report=peers), REFUSED):
        lines = call_lines(result, CallLimits(first_audio_ms=400, mos=4))
        assert max(map(len, lines)) <= 80
        assert (lines[0].startswith("call        not answered") and "486" in lines[0]) == (result is REFUSED)
    text = "\n".join(call_lines(full, LATE))
    for words in ("cleared", "keys", "faults", "beware", "FAILED", "violation   SIP: no Via", "stalls"):
        assert words in text
    several = series_lines([GOOD, WRONG, REFUSED, full], LATE)
    assert max(map(len, several)) <= 80
    assert "2 x SIP: no Via" in several
    assert "faults      3 packets not sent, 0 put out of order" in several
    assert any(line.startswith("beware      in 1 calls") for line in several)
