"""What a CI reads of a run."""

from xml.etree import ElementTree

from trunkline.ci import ExitCode, JunitCase, JunitSuite, junit


def test_exit_codes_are_those_that_are_documented() -> None:
    assert [(code.name, code.value) for code in ExitCode] == [
        ("CLEAN", 0),
        ("THRESHOLD", 1),
        ("NEVER_SPOKE", 2),
        ("VIOLATION", 3),
        ("USAGE", 4),
        ("NO_CONNECTION", 5),
    ]


def test_a_report_counts_its_cases_and_says_why_they_did_not_pass() -> None:
    cases = [JunitCase("a"), JunitCase("b", "failure", "too late\0"), JunitCase("c", "skipped", "no audio")]
    root = ElementTree.fromstring(junit("call", [JunitSuite("call 1", cases, 1.25), JunitSuite("call 2", [])]))
    assert (root.tag, root.get("name")) == ("testsuites", "trunkline call")
    first, second = root
    assert first.attrib == {
        "name": "call 1", "tests": "3", "failures": "1", "skipped": "1", "errors": "0", "time": "1.250"
    }  # fmt: skip
    assert [(case.get("classname"), case.get("name")) for case in first] == [("trunkline.call", one) for one in "abc"]
    assert [[(one.tag, one.get("message")) for one in case] for case in first] == [
        [],
        [("failure", "too late?")],
        [("skipped", "no audio")],
    ]
    assert (second.get("tests"), second.get("time")) == ("0", None)
