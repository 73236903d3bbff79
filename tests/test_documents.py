"""The documents keep to the code: what they name exists, and they stay short enough to be read."""

import re
from pathlib import Path

import pytest

from trunkline.settings import load

ROOT = Path(__file__).parent.parent
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
NAMED_FILE = re.compile(r"`((?:api|calls|demo|media|sdp|sip|store|streaming|texml|webhooks|workers)/[\w/]+\.py)[`:]")


def documents() -> list[Path]:
    return [
        ROOT / name
        for name in (
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "docs/compatibility.md",
            "docs/configuration.md",
        )
    ]


def rows(path: Path) -> list[list[str]]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(path: Path) -> None:
    for file, test in NAMED_TEST.findall(path.read_text()):
        assert (ROOT / file).exists(), file
        if test:
            assert re.search(rf"def {test}\(", (ROOT / file).read_text()), f"{file}::{test}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_source_file_that_a_document_names_exists(path: Path) -> None:
    for file in NAMED_FILE.findall(path.read_text()):
        assert (ROOT / "src/trunkline" / file).exists(), file


def test_every_row_of_the_compatibility_table_has_a_verdict_and_every_same_names_its_test() -> None:
    verdicts = [row for row in rows(ROOT / "docs/compatibility.md") if row[0] not in {"feature", "---"}]
    assert len(verdicts) > 30
    for feature, verdict, shown in verdicts:
        assert verdict in {"same", "differs", "absent"}, feature
        assert verdict != "same" or NAMED_TEST.search(shown), feature


def test_every_invariant_names_its_test() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text.split("## Invariants", 1)[1].split("\n## ", 1)[0]
    invariants = [line for line in table.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(invariants) > 10
    assert all(NAMED_TEST.search(line) for line in invariants)


@pytest.mark.parametrize(("name", "most"), [("README.md", 150), ("ARCHITECTURE.md", 250)])
def test_documents_stay_short(name: str, most: int) -> None:
    assert len((ROOT / name).read_text().splitlines()) <= most


def test_the_examples_of_the_configuration_load_together_and_show_every_setting(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/configuration.md").read_text(), re.DOTALL)
    file = tmp_path / "trunkline.toml"
    file.write_text("\n".join(examples))
    settings = load({}, {}, file).settings
    for [table] in (settings.applications, settings.numbers, settings.sip.trunks, settings.sip.phones):
        assert table.model_fields_set == set(type(table).model_fields)
