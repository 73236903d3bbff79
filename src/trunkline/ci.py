"""What a CI gets from `call`, `check` and `replay`: one exit code, one form of JUnit XML. Pure.

The exit codes are those that `streamdouble` (PyPI) documents, so that a CI can change from one to the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal
from xml.etree import ElementTree


class ExitCode(IntEnum):
    """Of a command that tests a bot."""

    CLEAN = 0
    THRESHOLD = 1
    """A limit was missed, or a baseline."""
    NEVER_SPOKE = 2
    VIOLATION = 3
    """The other side broke the protocol, or its audio is not what it says."""
    USAGE = 4
    NO_CONNECTION = 5
    """It was not reached, or refused."""


@dataclass(frozen=True, slots=True)
class JunitCase:
    """One case of a JUnit report."""

    name: str
    outcome: Literal["passed", "failure", "skipped"] = "passed"
    text: str = ""
    """Why, for what did not pass."""


@dataclass(frozen=True, slots=True)
class JunitSuite:
    """The cases of one call or check."""

    name: str
    cases: Sequence[JunitCase]
    seconds: float | None = None


def junit(command: str, suites: Sequence[JunitSuite]) -> bytes:
    """The XML of a run of `trunkline COMMAND`."""
    root = ElementTree.Element("testsuites", name=f"trunkline {command}")
    for suite in suites:
        counts = {each: sum(case.outcome == each for case in suite.cases) for each in ("failure", "skipped")}
        attributes = {
            "name": suite.name,
            "tests": str(len(suite.cases)),
            "failures": str(counts["failure"]),
            "skipped": str(counts["skipped"]),
            "errors": "0",
            **({} if suite.seconds is None else {"time": f"{suite.seconds:.3f}"}),
        }
        found = ElementTree.SubElement(root, "testsuite", attributes)
        for case in suite.cases:
            made = ElementTree.SubElement(found, "testcase", classname=f"trunkline.{command}", name=case.name)
            if case.outcome != "passed":
                ElementTree.SubElement(made, case.outcome, message=_printable(case.text))
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _printable(text: str) -> str:
    """Without characters that XML does not have."""
    return "".join(character if character.isprintable() else "?" for character in text)
