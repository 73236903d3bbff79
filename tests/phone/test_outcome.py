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
    rising = [replace(GOOD, answered_ms=number / 7) for number in range(PERCENTILE_RUNS)]
    assert series_json(rising, CallLimits())["series"]["metrics"]["answered_ms"]["p95"] == 2.58
    one_less = series_json(rising[1:], CallLimits())["series"]
    assert (one_less["metrics"]["answered_ms"]["p95"], one_less["percentiles_withheld"]) == (None, True)


def test_what_was_not_measured_has_missed_its_limit() -> None:
    (found,) = thresholds(SILENT, LATE)
    assert not found.passed
    assert found.words == "not measured, the limit is 400"


FULL = replace(
    WRONG,
    cleared_ms=(120.0, 300.0),
    digits="12",
    dropped=3,
    reordered=2,
    late_ms=(7.0, 40.0),
    report=LegReport(mos=4.39, packets_out=7, frames_in=8),
    duration_ms=12_340.0,
    loudest_db=-12,
    said_ms=500,
    status=200,
)
REPORTED = replace(
    GOOD,
    call_sid="",
    gaps=Gaps(20.0, 31.7, 60.1),
    report=LegReport(mos=4.39, loss_percent=0.5, jitter_ms=-1, peer_loss_percent=2, peer_jitter_ms=7.26, peer_mos=4.1),
)
CALLED = "call        PCMU, 4.0 s, answered after 30 ms"
SID = f"call sid    {GOOD.call_sid}"
MISSED = "FAILED      first audio: 440.7, the limit is 400"
LINES = [
    (
        FULL,
        "call        PCMU, 12.3 s, answered after 30 ms",
        SID,
        "first audio 441 ms",
        "heard       2.0 s, loudest -12 dBFS",
        "cleared     120 ms, 300 ms after an interruption",
        "keys        12",
        "heard line  nothing came",
        "faults      3 packets not sent, 2 put out of order",
        "stalls      1, the longest 120 ms",
        "beware      our packets left 7.0 ms late on average: this machine is too busy",
        MISSED,
        "passed      MOS: 4.39, the limit is 4",
        "violation   SIP: no Via",
    ),
    (
        REPORTED,
        CALLED,
        "first audio 441 ms",
        "heard       2.0 s, loudest -96 dBFS",
        "heard line  0.5 % lost, jitter 0.0 ms, MOS 4.39",
        "sent line   2 % lost, jitter 7.3 ms, MOS 4.1, as they report",
        MISSED,
        "passed      MOS: 4.39, the limit is 4",
    ),
    (
        replace(SILENT, gaps=Gaps(), report=None, reordered=1),
        CALLED,
        SID,
        "first audio nothing was heard",
        "heard       0.0 s, loudest -96 dBFS",
        "heard line  nothing came",
        "faults      0 packets not sent, 1 put out of order",
        "FAILED      first audio: not measured, the limit is 400",
        "FAILED      MOS: not measured, the limit is 4",
    ),
    (REFUSED, "call        not answered: 486 Busy Here, from 127.0.0.1:5060"),
    (
        replace(REFUSED, failure="", violations=("SDP: none", "SIP: no Via")),
        "call        not answered: given up",
        "violation   SDP: none",
        "violation   SIP: no Via",
    ),
]


@pytest.mark.parametrize(("result", "lines"), [(result, lines) for result, *lines in LINES])
def test_lines_for_people(result: CallResult, lines: list[str]) -> None:
    found = call_lines(result, CallLimits(first_audio_ms=400, mos=4))
    assert found == lines
    assert max(map(len, found)) <= 80


def test_lines_for_people_of_several_calls() -> None:
    assert series_lines([GOOD, WRONG, REFUSED, FULL], LATE) == [
        "4 calls, 4 failed",
        "",
        "                           median      min      max      p95    measured",
        "answered_ms                  30.0     30.0     30.0        -       3/4",
        "time_to_first_audio_ms      440.7    440.7    440.7        -       3/4",
        "mean_inbound_gap_ms          20.0     20.0     20.0        -       3/4",
        "loss_percent                  0.0      0.0      0.0        -       2/4",
        "mos                          4.39     4.39     4.39        -       3/4",
        "peer_loss_percent               -        -        -        -       0/4",
        "peer_mos                        -        -        -        -       0/4",
        "faults      3 packets not sent, 2 put out of order",
        "beware      in 1 calls our packets left late: this machine is too busy",
        "1 x 486 Busy Here, from 127.0.0.1:5060",
        "2 x SIP: no Via",
    ]
    assert series_lines([GOOD], CallLimits())[-1].startswith("peer_mos")
    assert series_lines([replace(GOOD, reordered=1)], CallLimits())[-1].startswith("faults      0 packets not sent, 1 ")


def test_the_json_of_a_call_in_full() -> None:
    assert call_json(FULL, LATE) == {
        "schema_version": 1,
        "time_to_first_audio_ms": 440.7,
        "frames_sent": 7,
        "media_frames_received": 8,
        "audio_sent_ms": 500.0,
        "audio_received_ms": 2000.0,
        "call_duration_ms": 12340.0,
        "mean_inbound_gap_ms": 20.0,
        "p95_inbound_gap_ms": 31.7,
        "max_inbound_gap_ms": 60.1,
        "stall_count": 1,
        "longest_stall_ms": 120.0,
        "violations": ["SIP: no Via"],
        "timed_out": False,
        "closed_by": "caller",
        "closed_before_audio": False,
        "pacing": {
            "late_frames": 0,
            "max_lateness_ms": 40.0,
            "mean_lateness_ms": 7.0,
            "measurement_is_reliable": False,
        },
        "uri": "sip:+1@127.0.0.1",
        "call_sid": GOOD.call_sid,
        "codec": "PCMU",
        "answered_ms": 30.0,
        "failure": None,
        "status": 200,
        "cleared_ms": [120.0, 300.0],
        "digits": "12",
        "faults": {"dropped": 3, "reordered": 2},
        "quality": {
            "loss_percent": None,
            "jitter_ms": 0.0,
            "round_trip_ms": None,
            "mos": 4.39,
            "peer_loss_percent": None,
            "peer_jitter_ms": None,
            "peer_mos": None,
        },
        "thresholds": [{"name": "first audio", "limit_ms": 400, "value_ms": 440.7, "passed": False}],
        "exit_code": 3,
    }
    refused = call_json(REFUSED, CallLimits())
    assert {name: refused[name] for name in ("frames_sent", "media_frames_received", "call_sid", "failure")} == {
        "frames_sent": 0, "media_frames_received": 0, "call_sid": None, "failure": REFUSED.failure,
    }  # fmt: skip
    assert set(refused["quality"].values()) == {None}
    assert call_json(REPORTED, LATE)["quality"]["peer_jitter_ms"] == 7.26


def test_the_metrics_of_a_series_in_full() -> None:
    series = series_json([GOOD, replace(REPORTED, answered_ms=40.0, first_audio_ms=440.777), SILENT], LATE)["series"]
    assert (series["n"], series["percentiles_withheld"]) == (3, True)
    spread = {name: list(one.values()) for name, one in series["metrics"].items()}
    assert list(series["metrics"]["mos"]) == [
        *("n", "unit", "measured", "missing", "median", "min", "max", "p95", "stddev", "values"),
    ]
    assert spread == {
        "answered_ms": [3, "ms", 3, 0, 30.0, 30.0, 40.0, None, 5.77, [30.0, 40.0, 30.0]],
        "time_to_first_audio_ms": [3, "ms", 2, 1, 440.74, 440.7, 440.777, None, 0.05, [440.7, 440.777, None]],
        "mean_inbound_gap_ms": [3, "ms", 3, 0, 20.0, 20.0, 20.0, None, 0.0, [20.0, 20.0, 20.0]],
        "loss_percent": [3, "percent", 3, 0, 0.0, 0.0, 0.5, None, 0.29, [0.0, 0.5, 0.0]],
        "mos": [3, "score", 3, 0, 4.39, 4.39, 4.39, None, 0.0, [4.39, 4.39, 4.39]],
        "peer_loss_percent": [3, "percent", 1, 2, 2, 2, 2, None, None, [None, 2, None]],
        "peer_mos": [3, "score", 1, 2, 4.1, 4.1, 4.1, None, None, [None, 4.1, None]],
    }


@pytest.mark.parametrize(
    ("result", "limits", "cases"),
    [
        (FULL, LATE, {"protocol": "failure SIP: no Via", "first audio": f"failure {MISSED[25:]}", "verdict": 3}),
        (GOOD, CallLimits(mos=4), {"MOS": None}),
        (replace(GOOD, violations=("a", "b")), CallLimits(), {"protocol": "failure a; b", "verdict": 3}),
        (
            SILENT,
            LATE,
            {
                "audio": "failure the other side never spoke",
                "first audio": "failure not measured, the limit is 400",
                "verdict": 2,
            },
        ),
        (
            SILENT,
            CallLimits(first_audio_ms=400, allow_no_audio=True),
            {
                "audio": "skipped the other side never spoke",
                "first audio": "skipped not measured, the limit is 400",
            },
        ),
        (
            GOOD,
            CallLimits(first_audio_ms=400, allow_no_audio=True),
            {"first audio": f"failure {MISSED[25:]}", "verdict": 1},
        ),
        (
            replace(REFUSED, failure=""),
            CallLimits(),
            {
                "answered": "failure not answered",
                "audio": "failure the other side never spoke",
                "verdict": 5,
            },
        ),
        (
            REFUSED,
            CallLimits(allow_no_audio=True),
            {
                "answered": f"failure {REFUSED.failure}",
                "audio": "skipped the other side never spoke",
                "verdict": 5,
            },
        ),
    ],
)
def test_the_cases_of_a_junit_report(
    result: CallResult, limits: CallLimits, cases: dict[str, str | int | None]
) -> None:
    suites = ElementTree.fromstring(report([GOOD, result], limits))
    suite = suites[1]
    assert (suites.get("name"), suite.get("name")) == ("trunkline call", "call 2")
    assert suite.get("time") == f"{result.duration_ms / 1000:.3f}"
    found = {case.get("name"): " ".join(f"{one.tag} {one.get('message')}" for one in case) or None for case in suite}
    if isinstance(code := cases.get("verdict"), int):
        cases = {**cases, "verdict": f"failure exit code {code}"}
    assert found == {"answered": None, "protocol": None, "audio": None, "verdict": None, **cases}


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        (CallLimits(first_audio_ms=440.7), True),
        (CallLimits(first_audio_ms=440.6), False),
        (CallLimits(gap_ms=60.1), True),
        (CallLimits(gap_ms=60), False),
        (CallLimits(cleared_ms=300), True),
        (CallLimits(cleared_ms=299), False),
        (CallLimits(mos=4.39), True),
        (CallLimits(mos=4.4), False),
    ],
)
def test_a_limit_is_kept_by_what_equals_it(limits: CallLimits, passed: bool) -> None:
    (found,) = thresholds(FULL, limits)
    assert found.passed is passed
    assert thresholds(replace(FULL, report=None), CallLimits(mos=1))[0].value is None
    assert thresholds(replace(FULL, report=LegReport(mos=0.0)), CallLimits(mos=1))[0].value == 0
    assert thresholds(replace(FULL, report=LegReport(mos=-1.0)), CallLimits(mos=1))[0].value is None
