"""Rows of facts: a condition, a sentence in which counts are words, and the counters behind it."""

from dataclasses import dataclass

from trunkline.calls.findings import Finding, FindingRow, apply, sentence


@dataclass(frozen=True)
class Facts:
    lost: int
    codec: str = "PCMU"


ROWS: tuple[FindingRow[Facts], ...] = (
    FindingRow("error", "some_lost", lambda facts: facts.lost, "{lost:packet} of {codec} lost.", ("lost",)),
    FindingRow("info", "none_lost", lambda facts: not facts.lost, "None lost."),
)


def test_a_row_is_a_finding_under_its_condition_with_its_counters() -> None:
    assert list(apply(ROWS, Facts(2), None)) == [Finding("error", "some_lost", "2 packets of PCMU lost.", {"lost": 2})]
    (none,) = apply(ROWS, Facts(0), None)
    assert (none.code, none.numbers, none.stream) == ("none_lost", {}, None)


def test_a_count_of_one_is_singular() -> None:
    assert sentence.format("{lost:packet}", Facts(1)) == "1 packet"
    assert sentence.format("{lost}", Facts(1)) == "1"
