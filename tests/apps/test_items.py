"""What a check prints, and its exit code."""

from xml.etree import ElementTree

import pytest

from trunkline.apps.items import Findings, Item, Threshold, Verdict, measured
from trunkline.apps.trace import Closed, Received, Trace
from trunkline.ci import ExitCode
from trunkline.streaming.messages import Media, MediaBody

FINE = Item("messages", Verdict.OK, "9 media.")
LATE = Item("barge-in", Verdict.MISSED, "No clear." + " word" * 30, "no_clear", "Send one.")
WRONG = Item("audio", Verdict.VIOLATION, "16-bit PCM.", "pcm16", "Convert it.")
SPOKE = Trace("PCMU", "PCMU", received=[Received(0.25 + at, Media(MediaBody(b"a")), 0) for at in (0, 0.02, 0.06)])
SILENT = Trace("PCMU", "PCMU", closed=Closed(1.0, 1000, "", True))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (Findings("check", "ws://a", [FINE], trace=SPOKE), ExitCode.CLEAN),
        (Findings("check", "ws://a", [FINE, LATE], trace=SPOKE), ExitCode.THRESHOLD),
        (Findings("check", "ws://a", [], [Threshold("first audio", 100, 250.0)], SPOKE), ExitCode.THRESHOLD),
        (Findings("check", "ws://a", [], [Threshold("first audio", 100, None)], SILENT), ExitCode.NEVER_SPOKE),
        (Findings("check", "ws://a", [], [Threshold("first audio", 9, None)], SILENT, True), ExitCode.CLEAN),
        (Findings("check", "ws://a", [WRONG, LATE], trace=SILENT), ExitCode.VIOLATION),
        (Findings("check", "ws://a", unreachable="refused"), ExitCode.NO_CONNECTION),
    ],
)
def test_the_exit_code_is_that_of_the_gravest_finding(found: Findings, code: ExitCode) -> None:
    assert found.exit_code is code
    assert found.json()["exit_code"] == int(code)
    verdict = ElementTree.fromstring(found.junit())[0].findall("testcase")[-1]
    assert verdict.get("name") == "verdict"
    assert (verdict.find("failure") is None) == (code is ExitCode.CLEAN)


def test_the_keys_that_mean_the_same_are_those_of_streamdouble() -> None:
    found = Findings("check", "ws://a", [WRONG], [Threshold("first audio", 800, 250.0)], SPOKE).json()
    assert found["time_to_first_audio_ms"] == 250
    assert found["max_inbound_gap_ms"] == 40
    assert found["violations"] == ["pcm16"]
    assert found["thresholds"] == [{"name": "first audio", "limit_ms": 800, "value_ms": 250, "passed": True}]
    same = {"schema_version", "mean_inbound_gap_ms", "p95_inbound_gap_ms", "stall_count", "timed_out", "pacing"}
    assert same <= found.keys()
    pacing = {"drift_ms", "late_frames", "max_lateness_ms", "mean_lateness_ms", "measurement_is_reliable"}
    assert pacing <= found["pacing"].keys()
    silent = Findings("check", "ws://a", trace=SILENT).json()
    assert (silent["time_to_first_audio_ms"], silent["closed_by"], silent["closed_before_audio"]) == (
        None,
        "agent",
        True,
    )


def test_lines_have_at_most_80_columns_with_code_and_advice() -> None:
    lines = Findings("check", "ws://a", [FINE, LATE, WRONG], trace=SPOKE).lines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for part in ("ok    messages      9 media.", "[no_clear]", "Send one.", "WRONG audio", "[pcm16]", "Exit code 3."):
        assert part in text


def test_a_junit_report_has_a_case_for_each_item() -> None:
    found = Findings("check", "ws://a", [FINE, LATE, Item("keys", Verdict.SKIPPED, "\x01<&>")], trace=SPOKE)
    suite = ElementTree.fromstring(found.junit())[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "4", "failures": "2", "skipped": "1",
    }  # fmt: skip


def test_the_json_has_each_member_of_each_item() -> None:
    found = Findings("check", "ws://a", [WRONG], trace=SPOKE, measures={"marks": 1}, more={"capture": 2})
    shown = found.json()
    assert shown["items"] == [
        {"name": "audio", "verdict": "violation", "text": "16-bit PCM.", "code": "pcm16", "advice": "Convert it."}
    ]
    assert {name: shown[name] for name in ("schema_version", "command", "url", "mistakes", "measures", "capture")} == {
        "schema_version": 1, "command": "check", "url": "ws://a", "mistakes": ["pcm16"], "measures": {"marks": 1},
        "capture": 2,
    }  # fmt: skip
    assert "error" not in shown
    assert Findings("check", "ws://a", unreachable="refused").json()["error"] == "refused"


NOTHING = {
    "time_to_first_audio_ms": None,
    "mean_inbound_gap_ms": None,
    "p95_inbound_gap_ms": None,
    "max_inbound_gap_ms": None,
    "stall_count": 0,
    "timed_out": False,
    "closed_by": None,
    "closed_before_audio": False,
    "pacing": {
        "drift_ms": 0.0,
        "late_frames": 0,
        "max_lateness_ms": 0.0,
        "mean_lateness_ms": 0.0,
        "deviation_ms": 0.0,
        "measurement_is_reliable": True,
    },
}


@pytest.mark.parametrize(
    ("trace", "changed"),
    [
        (None, {}),
        (Trace("PCMU", "PCMU"), {"timed_out": True}),
        (SILENT, {"closed_by": "agent", "closed_before_audio": True}),
        (
            Trace("PCMU", "PCMU", closed=Closed(1.0, 1000, "", False), underruns=2),
            {"timed_out": True, "stall_count": 2},
        ),
        (
            SPOKE,
            {"time_to_first_audio_ms": 250.0, "mean_inbound_gap_ms": 30.0, "p95_inbound_gap_ms": 40.0}
            | {"max_inbound_gap_ms": 40.0},
        ),
        (
            Trace("PCMU", "PCMU", lateness=[1.0] * 10 + [5.0] + [6.0] * 10),
            {"timed_out": True}
            | {
                "pacing": {
                    "drift_ms": 5.0,
                    "late_frames": 10,
                    "max_lateness_ms": 6.0,
                    "mean_lateness_ms": 3.57,
                    "deviation_ms": 2.52,
                    "measurement_is_reliable": True,
                }
            },
        ),
    ],
)
def test_what_was_measured_of_a_conversation(trace: Trace | None, changed: dict[str, object]) -> None:
    assert measured(trace) == NOTHING | changed


@pytest.mark.parametrize(("late", "reliable"), [(9.99, True), (10.0, False)])
def test_times_mean_little_on_a_machine_whose_own_frames_are_late(late: float, reliable: bool) -> None:
    assert measured(Trace("PCMU", "PCMU", lateness=[late]))["pacing"]["measurement_is_reliable"] is reliable


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (
            Findings("check", "ws://a", unreachable="It refused."),
            ["no connection to ws://a", "It refused."],
        ),
        (
            Findings("check", "ws://a", [FINE], [Threshold("first audio", 800.5, 250.0)], SPOKE),
            [
                "ok    messages      9 media.",
                "ok    first audio   250 ms, the limit is 800.5 ms",
                "",
                "Nothing is wrong. Exit code 0.",
            ],
        ),
        (
            Findings("check", "ws://a", [], [Threshold("clear", 100, 250.0)], SPOKE),
            [
                "LATE  clear         250 ms, the limit is 100 ms",
                "",
                "Not in time, or not as callers expect. Exit code 1.",
            ],
        ),
        (
            Findings("check", "ws://a", [], [Threshold("clear", 100, None)], SILENT, True),
            ["skip  clear         never measured, the limit is 100 ms", "", "Nothing is wrong. Exit code 0."],
        ),
        (
            Findings("check", "ws://a", [Item("keys", Verdict.MISSED, "Bad.", "keys")], [], SPOKE),
            [
                "BAD   keys          Bad. [keys]",
                "",
                "Not in time, or not as callers expect: keys. Exit code 1.",
            ],
        ),
        (
            Findings("check", "ws://a", [Item("keys", Verdict.ACCEPTED, "So.")], trace=SILENT),
            [
                "note  keys          So.",
                "",
                "The bot never spoke (--allow-no-audio if it need not). Exit code 2.",
            ],
        ),
        (
            Findings("check", "ws://a", [WRONG, WRONG, Item("keys", Verdict.MISSED, "Bad.", "keys")], [], SPOKE),
            [
                "WRONG audio         16-bit PCM. [pcm16]",
                "                    Convert it.",
                "WRONG audio         16-bit PCM. [pcm16]",
                "                    Convert it.",
                "BAD   keys          Bad. [keys]",
                "",
                "Wrong: pcm16, keys. Exit code 3.",
            ],
        ),
    ],
)
def test_what_is_printed(found: Findings, lines: list[str]) -> None:
    assert found.lines() == lines


def test_the_cases_of_a_junit_report_say_what_is_wrong() -> None:
    items = [FINE, LATE, Item("keys", Verdict.SKIPPED, "None.")]
    limits = [Threshold("first audio", 800, 250.0), Threshold("clear", 100, 250.0), Threshold("gap", 9, None)]
    for found, state in (
        (Findings("check", "ws://a", items, limits, SPOKE), "failure"),
        (Findings("check", "ws://a", items, limits, SPOKE, True), "skipped"),
    ):
        suite = ElementTree.fromstring(found.junit())[0]
        cases = {case.get("name"): [(one.tag, one.get("message")) for one in case] for case in suite}
        assert suite.get("name") == "trunkline check"
        assert cases == {
            "messages": [],
            "barge-in": [("failure", f"{LATE.text} Send one.")],
            "keys": [("skipped", "None.")],
            "first audio": [],
            "clear": [("failure", "250.0 ms, the limit is 100 ms")],
            "gap": [(state, "None ms, the limit is 9 ms")],
            "verdict": [("failure", found.summary())],
        }
    refused = ElementTree.fromstring(Findings("check", "ws://a", unreachable="It refused.").junit())
    assert [one.get("message") for one in refused.iter("failure")] == ["It refused."]
