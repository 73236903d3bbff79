"""What the demo shows: live lines while the call runs, and the table at the end.

On a terminal the lines stay in place; elsewhere one plain line a second is printed.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trunkline.demo.verdict import Row

_BAR = 32
_FLOOR = -48.0
"""dB: the empty bar."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the call."""

    elapsed: float
    seconds: float
    sent: int
    app_frames: int
    app_level: float
    """dB below full scale of what the app hears."""
    heard: int
    heard_level: float
    echo_ms: float | None
    marks: str
    callbacks: str


class Show:
    """Draws snapshots. Use as a context manager around the call."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._lines_due = 0.0

    def __enter__(self) -> "Show":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def step(self, text: str) -> None:
        """One thing that was done."""
        self._console.print(f"  {text}", highlight=False, markup=False, soft_wrap=True)

    def update(self, now: Snapshot) -> None:
        """Show a moment."""
        if self._live:
            self._live.update(_panel(now), refresh=True)
        elif now.elapsed >= self._lines_due:
            self._lines_due = now.elapsed + 1
            self.step(_line(now))


def _bar(level: float) -> Text:
    filled = round(_BAR * min(1.0, max(0.0, 1 - level / _FLOOR)))
    return Text("█" * filled, "green") + Text("·" * (_BAR - filled), "dim")


def _echo(now: Snapshot) -> str:
    return "-" if now.echo_ms is None else f"{now.echo_ms:.0f} ms"


def _panel(now: Snapshot) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_row("call → app", _bar(now.app_level), f"{now.app_frames} frames of {now.sent} packets sent")
    table.add_row("app → call", _bar(now.heard_level), f"{now.heard} packets heard")
    table.add_row("echo", f"{_echo(now)} after it was said", f"marks returned {now.marks}")
    table.add_row("callbacks", now.callbacks, f"{now.elapsed:.0f} of {now.seconds:.0f} s")
    return table


def _line(now: Snapshot) -> str:
    return (
        f"{now.elapsed:4.1f} s  sent {now.sent}, at the app {now.app_frames} ({now.app_level:.0f} dB), "
        f"heard back {now.heard} ({now.heard_level:.0f} dB), echo {_echo(now)}, marks {now.marks}, "
        f"callbacks {now.callbacks}"
    )


def summary(console: Console, rows: Sequence[Row]) -> None:
    """The closing table."""
    table = Table(show_header=False)
    for row in rows:
        mark = Text("failed: " + row.failure, "bold red") if row.failure else Text("ok", "green")
        table.add_row(row.name, Text(row.value), mark)
    console.print(table)


def verdict(console: Console, rows: Sequence[Row], heard: Path) -> None:
    """The end: one line that says whether it worked, where the sound is, and what to type next."""
    failed = [f"{row.name}: {row.failure}" for row in rows if row.failure]
    text = f"FAILED: {'; '.join(failed)}" if failed else f"OK: all {len(rows)} checks passed"
    _line_of(console, text, "bold red" if failed else "bold green")
    _line_of(console, f"What the caller heard: {heard}")
    command = "trunkline" if shutil.which("trunkline") else str(Path(sys.executable).with_name("trunkline"))
    _line_of(console, f"With your own bot:     {command} dev ws://127.0.0.1:7860/ws")


def _line_of(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
