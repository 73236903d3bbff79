"""What commands print: nothing is cut, within 80 columns where it can be."""

import json

import pytest

from trunkline.cli_text import examples, named_values, print_json, table

COLUMNS = ("id", "name")
ROWS = [("4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e", "first"), ("x", "a longer name")]


def test_a_table_that_fits_is_aligned() -> None:
    assert table(COLUMNS, ROWS, 80) == [
        "id                                    name",
        "4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e  first",
        "x                                     a longer name",
    ]
    assert table(COLUMNS, [], 80) == ["id  name"]


def test_a_table_that_does_not_fit_is_a_block_for_each_row() -> None:
    blocks = ["id    4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e", "name  first", "", "id    x", "name  a longer name"]
    assert table(COLUMNS, ROWS, 50) == blocks
    assert table(COLUMNS, ROWS, 51) == table(COLUMNS, ROWS, None)


def test_settings_stand_on_a_line_each_and_long_values_below() -> None:
    rows = [("a", "1", "default"), ("bcd", "word " * 20 + "end", "file"), ("e", "x\ny", "flag")]
    lines = named_values(rows, 40)
    assert lines[0].split() == ["a", "1", "default"]
    assert lines[1].split() == ["bcd", "file"]
    assert lines[2].startswith("    word word")
    assert lines[-3:] == [lines[-3], "    x", "    y"]
    assert lines[-3].split() == ["e", "flag"]
    assert max(map(len, lines)) <= 40
    assert {word for line in lines for word in line.split()} == {
        *("a", "1", "default", "bcd", "file", "word", "end", "e", "flag", "x", "y")
    }


def test_in_a_pipe_a_setting_is_one_line_however_long() -> None:
    value = "word " * 40 + "end"
    [line] = named_values([("bcd", value, "file")], None)
    assert line == f"bcd  {value}  file"


def test_examples_keep_their_lines() -> None:
    assert examples("a", "b", more="c") == "\b\nExamples:\n  a\n  b\n\nc"
    assert examples("a") == "\b\nExample:\n  a"


@pytest.mark.parametrize("value", [{"a": ["é", None, 1]}, []])
def test_json_is_json(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(value)
    assert json.loads(capsys.readouterr().out) == value


def test_last_columns_stand_below_a_row_that_is_too_long() -> None:
    rows = [["up", "a-long-id"], ["over", "b"]]
    assert table(("status", "id"), rows, 12, ("id",)) == ["status", "up", "  id a-long-id", "over", "  id b"]
    assert table(("status", "id"), rows, 17, ("id",))[1] == "up      a-long-id"
    assert table(("status", "id"), rows, 5, ("id",))[0] == "status  up", "a block where that is too long too"
