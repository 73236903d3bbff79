"""Settings as arguments of a command."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from trunkline.cli_settings import ANY_SETTING, ConfigFile, load_settings
from trunkline.settings import Loaded


def test_a_command_takes_any_setting_and_names_unknown_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, found = typer.Typer(), list[Loaded]()

    @app.command(context_settings=ANY_SETTING)
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
