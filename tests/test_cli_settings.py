"""Settings as arguments of a command."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from trunkline.cli import app as trunkline
from trunkline.cli_settings import ANY_SETTING, ConfigFile, SettingsCommand, load_settings, parted
from trunkline.settings import Loaded


def test_a_command_takes_any_setting_and_names_unknown_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, found = typer.Typer(), list[Loaded]()

    @app.command(cls=SettingsCommand, context_settings=ANY_SETTING)
    def look(context: typer.Context, name: Annotated[str, typer.Argument()], config: ConfigFile = None) -> None:
        assert name == "x"
        found.append(load_settings(context, config))

    (tmp_path / "file.toml").write_text("[sip]\nport = 5070\n")
    monkeypatch.setenv("TRUNKLINE_PORTS", "1")
    done = CliRunner().invoke(
        app, ["x", "--config", str(tmp_path / "file.toml"), "--http.port", "9", "--http.host=::1"]
    )
    assert done.exit_code == 0, done.exception
    assert (found[0].settings.http.port, found[0].settings.http.host, found[0].settings.sip.port) == (9, "::1", 5070)
    assert "TRUNKLINE_PORTS is no setting and is ignored" in done.stderr


@pytest.mark.parametrize(
    ("given", "settings", "others"),
    [
        (["--http.port", "9", "SID"], ["--http.port", "9"], ["SID"]),
        (["SID", "--http.port", "9"], ["--http.port", "9"], ["SID"]),
        (["--http.port=9", "SID"], ["--http.port=9"], ["SID"]),
        (["--account-sid", "x", "ci", "--days", "2"], ["--account-sid", "x"], ["ci", "--days", "2"]),
        (["--", "--http.port", "9"], [], ["--", "--http.port", "9"]),
        (["--store.dir", "x", "FILE"], [], ["--store.dir", "x", "FILE"]),
        (["SID", "--http.port"], ["--http.port"], ["SID"]),
        ([], [], []),
    ],
)
def test_settings_and_arguments_are_parted(given: list[str], settings: list[str], others: list[str]) -> None:
    assert parted(given) == (settings, others)


def _commands(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        yield from _commands(command) if hasattr(command, "commands") else [command]


def test_every_command_with_settings_takes_them_before_its_arguments() -> None:
    found = [one for one in _commands(get_command(trunkline)) if one.context_settings == ANY_SETTING]
    assert len(found) > 10
    assert [one.name for one in found if not isinstance(one, SettingsCommand)] == []


def test_a_missing_argument_is_named_whatever_settings_there_are() -> None:
    done = CliRunner().invoke(trunkline, ["erase", "--http.port", "9"])
    assert done.exit_code == 2
    assert "missing argument 'number'" in done.stderr.lower()
