"""What a check prints, and its exit code."""

from xml.etree import ElementTree

import pytest

from trunkline.apps.items import Findings, Item, Threshold, Verdict
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
