"""How commands print: rows for people at 80 columns, one row a line in a pipe, and JSON. Words are never cut."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Annotated

import typer

WIDTH = 80
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
_GAP = 2


def examples(*commands: str, more: str = "") -> str:
    """The end of a command's help."""
    shown = "\n".join(f"  {command}" for command in commands)
    return f"\b\nExample{'s' if len(commands) > 1 else ''}:\n{shown}" + (f"\n\n{more}" if more else "")


def print_json(value: object) -> None:
    """One JSON value."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table, or a block of lines for each row where the terminal is too narrow for the table."""
    for line in table(columns, cells_of(rows), terminal_width()):
        typer.echo(line)


def cells_of(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    """The texts of a table."""
    return [["-" if cell is None or cell == "" else str(cell) for cell in row] for row in rows]


def terminal_width() -> int | None:
    """Columns of the terminal; None: the text goes into a pipe or a file."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else None


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, below: Sequence[str] = ()
) -> list[str]:
    """The lines of a table. `width` None: however long they are. Where a row is too long the columns `below`, which
    are the last ones, have a line of their own; where that is too long each row is a block of lines."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    if _fits(widths, width):
        return [_aligned(row, widths) for row in (columns, *rows)]
    kept = len(columns) - len(below)
    if below and _fits(widths[:kept], width):
        indented = [[f"  {name} {cell}" for name, cell in zip(below, row[kept:], strict=True)] for row in rows]
        pairs = zip((_aligned(row[:kept], widths[:kept]) for row in rows), indented, strict=True)
        return [_aligned(columns[:kept], widths[:kept]), *(line for row, more in pairs for line in (row, *more))]
    name = max(map(len, columns)) + _GAP
    blocks = [[f"{column:<{name}}{cell}" for column, cell in zip(columns, row, strict=True)] for row in rows]
    return [line for block in blocks for line in (*block, "")][:-1]


def _fits(widths: Sequence[int], width: int | None) -> bool:
    return width is None or sum(widths) + _GAP * (len(widths) - 1) <= width


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (f"{cell:<{width + _GAP}}" for cell, width in zip(row, widths, strict=True))
    return "".join(cells).rstrip()


def named_values(rows: Sequence[tuple[str, str, str]], width: int | None) -> list[str]:
    """Lines for settings: name, value, where it comes from. A value that is too long for its line, or has several
    lines, stands below its name."""
    name_width = max(len(name) for name, _, _ in rows)
    value_width = 0 if width is None else width - name_width - max(len(end) for _, _, end in rows) - 2 * _GAP
    if width is None:
        value_width = max(len(value) for _, value, _ in rows if "\n" not in value)
    lines = []
    for name, value, end in rows:
        if len(value) <= value_width and "\n" not in value:
            lines.append(f"{name:<{name_width + _GAP}}{value:<{value_width + _GAP}}{end}".rstrip())
            continue
        lines.append(f"{name:<{name_width + _GAP}}{'':<{value_width + _GAP}}{end}".rstrip())
        lines += [part for line in value.splitlines() for part in _below(line, width)]
    return lines


def _below(value: str, width: int | None) -> list[str]:
    indent = " " * 4
    if width is None:
        return [indent + value]
    return textwrap.wrap(
        value,
        width,
        initial_indent=indent,
        subsequent_indent=indent * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )
