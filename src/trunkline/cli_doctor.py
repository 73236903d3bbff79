"""`trunkline doctor`: what keeps the server from taking calls, and what to change."""

from contextlib import suppress
from dataclasses import replace
from textwrap import wrap

import typer

from trunkline.cli_settings import ANY_SETTING, SETTINGS_HELP, ConfigFile, SettingsCommand, load_settings
from trunkline.cli_text import AsJson, examples, print_json, terminal_width

MARKS = {"ok": "✓", "warning": "!", "error": "✗"}  # those of `trunkline why`
EPILOG = examples("trunkline doctor", "trunkline doctor --config trunkline.toml --json", more=SETTINGS_HELP)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="doctor", cls=SettingsCommand, context_settings=ANY_SETTING, epilog=EPILOG)(doctor)


def doctor(context: typer.Context, as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Examine the settings and this machine, and say what to change.

    It changes nothing, and works with and without a running server; of one that runs, use its settings and its user.
    Exit code 1: calls will fail.
    """
    from trunkline.doctor import examine
    from trunkline.doctor_values import Subject
    from trunkline.drain import NotRunning, find
    from trunkline.running import adopted

    loaded = load_settings(context, config)
    directory = loaded.settings.store.directory
    pid = None
    with suppress(NotRunning):
        pid = find(directory)
        loaded = replace(loaded, settings=adopted(loaded))
    found: list[dict[str, str]] = []
    for name, finding in examine(Subject(loaded.settings, pid)):
        found.append({"check": name, "severity": finding.severity, "text": finding.text, "change": finding.change})
        if not as_json:
            _show(f"{MARKS[finding.severity]} {name}: {finding.text}")
            if finding.change:
                _show(f"    {finding.change}")
    healthy = not any(one["severity"] == "error" for one in found)
    if as_json:
        print_json({"healthy": healthy, "findings": found})
    raise typer.Exit(int(not healthy))


def _show(line: str) -> None:
    width = terminal_width()
    indent = " " * (len(line) - len(line.lstrip()) or 2)
    lines = (
        [line]
        if width is None
        else wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    )
    for each in lines:
        typer.echo(each)
