"""The display: a line a second without a terminal, a panel on one, and the closing table."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from trunkline.demo.show import Show, Snapshot, summary, verdict
from trunkline.demo.verdict import Row

NOW = Snapshot(
    elapsed=0.0,
    seconds=8.0,
    sent=50,
    app_frames=48,
    app_level=-20.0,
    heard=49,
    heard_level=-96.0,
    echo_ms=81.4,
    marks="1 of 2",
    callbacks="stream-started",
)


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=100, color_system=None, legacy_windows=False), out


def test_without_a_terminal_there_is_one_plain_line_a_second() -> None:
    target, out = console(terminal=False)
    with Show(target) as show:
        for tenth in range(25):
            show.update(replace(NOW, elapsed=tenth / 10))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert "at the app 48 (-20 dB)" in lines[0]
    assert "echo 81 ms, marks 1 of 2, callbacks stream-started" in lines[0]
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_the_levels_are_bars() -> None:
    target, out = console(terminal=True)
    with Show(target) as show:
        show.update(replace(NOW, echo_ms=None))
    shown = out.getvalue()
    assert "█" in shown
    assert "48 frames of 50 packets sent" in shown


def test_the_table_names_what_failed() -> None:
    target, out = console(terminal=False)
    summary(target, [Row("marks", "1 of 2", "missing"), Row("exit", "0")])
    assert "failed: missing" in out.getvalue()
    assert "ok" in out.getvalue()


@pytest.mark.parametrize("failure", ["", "12 ms"])
def test_the_end_is_a_verdict_the_sound_and_the_next_command(tmp_path: Path, failure: str) -> None:
    target, out = console(terminal=False)
    verdict(target, [Row("a", "1"), Row("b", "2", failure), Row("c", "3", failure)], tmp_path / "heard.wav")
    first, heard, following = out.getvalue().splitlines()
    assert first == ("FAILED: b: 12 ms; c: 12 ms" if failure else "OK: all 3 checks passed")
    assert heard.endswith(f" {tmp_path / 'heard.wav'}")
    assert following.endswith("trunkline dev ws://127.0.0.1:7860/ws")
