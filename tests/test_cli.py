"""The command line as a user meets it: real processes, what they print and how they exit."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from commands import CLEAN, trunkline
from trunkline.cli import app

pytestmark = pytest.mark.process

ACCOUNT = "4b5a5c0e-6d0a-4a9a-9f5e-0a8a1b3c5d7e"


@pytest.fixture
def busy_port() -> Iterator[str]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield str(holder.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--http.port", "99999"], "bad setting http.port (flag)"),
        (["--http.host", "203.0.113.9"], "http.host 203.0.113.9"),
        (["--http.port", "0", "--media.host", "203.0.113.9"], "media.host 203.0.113.9"),
        (["--http.port", "0", "--sip.host", "203.0.113.9"], "203.0.113.9:5060"),
        (["--store.directory", "/proc/none"], "/proc/none"),
        (["--account_sid", "x", "--api_key", "KEY" * 6], "not a UUID"),
        (["--account_sid", ACCOUNT], "set both or neither"),
        (["--streams.ca_file", "/none"], "streams.ca_file"),
        (["--what"], "no such setting: --what"),
        (["--numbers", '[{"pattern": "*", "application": "bot"}]'], "no application is called so"),
    ],
)
def test_what_stops_a_start_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = trunkline(tmp_path, "serve", "--store.directory", str(tmp_path / "store"), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith("trunkline: ")
    assert done.stderr.count("\n") == 1


def test_a_busy_http_port_is_named(tmp_path: Path, busy_port: str) -> None:
    done = trunkline(tmp_path, "serve", "--store.directory", str(tmp_path), "--http.port", busy_port)
    assert done.returncode == 2
    assert busy_port in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_busy_sip_port_is_named_with_the_reason(tmp_path: Path, kind: int) -> None:
    with socket.socket(type=kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        port = str(holder.getsockname()[1])
        arguments = ["--http.port", "0", "--sip.port", port, "--sip.tls_port", "off"]
        done = trunkline(tmp_path, "serve", "--store.directory", str(tmp_path / "store"), *arguments)
    assert done.returncode == 2
    assert done.stderr == f"trunkline: cannot listen for SIP on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_hangs_can_be_stopped(tmp_path: Path, number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"postgresql+asyncpg://127.0.0.1:{silent.getsockname()[1]}/x"
        command = "trunkline", "serve", "--store.url", url, "--store.directory", tmp_path
        with subprocess.Popen(
            [sys.executable, "-m", *command], cwd=tmp_path, env=CLEAN, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(number)
                output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"server_start_cancelled" in output
    assert b"Traceback" not in output


UNKNOWN_VARIABLES = {"TRUNKLINE_SERVICE_HOST": "10.0.0.1", "TRUNKLINE_PORT": "tcp://10.0.0.1:8080"}


def test_variables_of_an_orchestrator_are_a_warning_and_the_server_starts(tmp_path: Path) -> None:
    arguments = "--http.host", "203.0.113.9", "--store.directory", str(tmp_path / "store")
    done = trunkline(tmp_path, "serve", *arguments, env=UNKNOWN_VARIABLES)
    *warnings, last = done.stderr.splitlines()
    assert [json.loads(line)["variable"] for line in warnings] == list(UNKNOWN_VARIABLES)
    assert "http.host 203.0.113.9" in last
    shown = trunkline(tmp_path, "config", env=UNKNOWN_VARIABLES)
    assert shown.returncode == 0
    assert [line.split()[1] for line in shown.stderr.splitlines()] == list(UNKNOWN_VARIABLES)


def test_a_first_start_that_fails_shows_and_keeps_no_account(tmp_path: Path, busy_port: str) -> None:
    for _ in range(2):
        done = trunkline(tmp_path, "serve", "--store.directory", str(tmp_path), "--http.port", busy_port)
        assert (done.returncode, done.stdout) == (2, "")
    with sqlite3.connect(tmp_path / "trunkline.db") as database:
        assert database.execute("select count(*) from accounts").fetchone() == (0,)


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf", "1e9"])
def test_a_demo_of_no_time_is_refused(tmp_path: Path, seconds: str) -> None:
    done = trunkline(tmp_path, "demo", "--seconds", seconds)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("trunkline: --seconds must be above 0")


def test_config_shows_each_value_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text("[sip]\nport = 5070\n")
    done = trunkline(tmp_path, "config", "--http.port", "9", env={"TRUNKLINE_API_KEY": "KEYsecretKEYsecret"})
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:]}
    assert rows["http.port"] == ["9", "flag"]
    assert rows["sip.port"] == ["5070", "file"]
    assert rows["api_key"] == ["(set)", "environment"]
    assert rows["media.port_min"] == ["20000", "default"]
    assert "KEYsecretKEYsecret" not in done.stdout


def test_config_explains_a_setting_with_its_value(tmp_path: Path) -> None:
    done = trunkline(tmp_path, "config", "--explain", "media.workers", "--media.workers", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("media.workers: integer, 0 or more\n  Media worker processes")
    assert "\n  now: 3 (flag)\n" in done.stdout
    wrong = trunkline(tmp_path, "config", "--explain", "media.worker")
    assert (wrong.returncode, wrong.stderr) == (2, "trunkline: no such setting: media.worker; is it media.workers?\n")


def test_config_as_json_has_values_as_they_are_and_no_secret(tmp_path: Path) -> None:
    trunks = '[{"name": "a", "targets": ["sip:a"], "username": "u", "password": "hush", "networks": ["192.0.2.0/24"]}]'
    (tmp_path / "trunkline.toml").write_text("[sip]\nport = 5070\n")
    done = trunkline(
        tmp_path, "config", "--json", "--sip.trunks", trunks, env={"TRUNKLINE_API_KEY": "KEYsecretKEYsecret"}
    )
    found = json.loads(done.stdout)
    assert found["sip.port"] == {"value": 5070, "from": "file"}
    assert found["media.send_silence"] == {"value": True, "from": "default"}
    assert found["media.codecs"]["value"] == ["PCMU", "PCMA", "G722"]
    assert found["store.url"]["value"] is None
    assert found["api_key"] == {"value": "(set)", "from": "environment"}
    [trunk] = found["sip.trunks"]["value"]
    assert (trunk["password"], trunk["networks"], trunk["register"]) == ("(set)", ["192.0.2.0/24"], False)
    assert "hush" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frob"], "No such command 'frob'. `trunkline --help` shows what there is."),
        (["erase"], "Missing argument 'number'. `trunkline erase --help` shows what there is."),
        (["keys", "create", "a", "--scope", "all"], "is not one of 'full', 'calls', 'read'. `trunkline keys create"),
        (["demo", "--seconds", "x"], "`trunkline demo --help` shows what there is."),
    ],
)
def test_a_mistake_in_a_command_is_one_line_and_exit_code_2(tmp_path: Path, words: list[str], said: str) -> None:
    done = trunkline(tmp_path, *words, env={"COLUMNS": "80"})
    assert (done.returncode, done.stdout) == (2, "")
    assert said.lower() in done.stderr.lower()  # typer 0.26 writes NUMBER
    assert done.stderr.startswith("trunkline: ")
    assert done.stderr.count("\n") == 1


def test_the_version_for_machines_says_how_packets_are_handled(tmp_path: Path) -> None:
    found = json.loads(trunkline(tmp_path, "version", "--json").stdout)
    versions = [trunkline(tmp_path, asked).stdout.strip() for asked in ("version", "--version")]
    assert versions == [found["version"]] * 2
    command, uncompiled = (sys.executable, "-m", "trunkline", "version", "--json"), {"TRUNKLINE_UNCOMPILED": "1"}
    plain = json.loads(subprocess.check_output(command, env=CLEAN | uncompiled, cwd=tmp_path))
    assert (plain["packet_path"], plain["packet_path_reason"]) == ("as Python", "TRUNKLINE_UNCOMPILED is set")


@pytest.mark.parametrize(("shell", "words"), [("bash", "complete -o default -F"), ("zsh", "#compdef trunkline")])
def test_shells_complete_commands(tmp_path: Path, shell: str, words: str) -> None:
    script = trunkline(tmp_path, env={"_TRUNKLINE_COMPLETE": f"source_{shell}"}).stdout
    assert words in script
    asked = {"_TRUNKLINE_COMPLETE": "complete_bash", "COMP_WORDS": "trunkline d", "COMP_CWORD": "1"}
    assert trunkline(tmp_path, env=asked).stdout.split() == ["dev", "doctor", "drain", "demo", "db"]


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands, groups too, with the words that are typed for them."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def test_every_help_is_plain_text_of_80_columns_and_in_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    guide = (Path(__file__).parent.parent / "docs/guide/cli.md").read_text()
    for path, command in commands():
        done = CliRunner().invoke(app, [*path, "--help"])
        assert done.exit_code == 0
        assert max(map(len, done.stdout.splitlines())) <= 80, path
        assert not set(done.stdout) & set("\x1b╭│"), path
        if not hasattr(command, "commands"):
            assert "Example" in done.stdout or path == ("why",), path
        assert f"`trunkline {' '.join(path)}".rstrip() in guide, path


def test_the_exit_codes_of_the_guide_are_those_of_the_commands(tmp_path: Path) -> None:
    guide = (Path(__file__).parent.parent / "docs/guide/cli.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", guide, re.MULTILINE))
    assert set(rows) == {"0", "1", "2", "75", "130"}
    assert trunkline(tmp_path, "db", "current", "--store.directory", str(tmp_path)).returncode == 1
    assert "differ" in rows["1"]
    assert trunkline(tmp_path, "drain", "--store.directory", str(tmp_path)).returncode == 2


def test_keys_are_the_same_each_time(tmp_path: Path) -> None:
    first = trunkline(tmp_path, "keys", "--store.directory", str(tmp_path / "new"))
    assert first.returncode == 0, first.stderr
    assert len(first.stdout.strip()) == 44
    assert trunkline(tmp_path, "keys", "--store.directory", str(tmp_path / "new")).stdout == first.stdout


def test_a_secret_in_a_flag_is_warned_of_once_the_server_runs(tmp_path: Path) -> None:
    phones = json.dumps([{"user": "ann", "password": "hush"}])
    flags = ("--http.port", "0", "--sip.port", "0", "--store.directory", str(tmp_path), "--sip.phones", phones)
    with subprocess.Popen(
        [sys.executable, "-m", "trunkline", "serve", *flags],
        cwd=tmp_path,
        env=CLEAN,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        lines = []
        for text in server.stderr:
            lines.append(json.loads(text))
            if lines[-1]["event"] == "passwords_in_flags":
                server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    (line,) = [line for line in lines if line["event"] == "passwords_in_flags"]
    assert (line["level"], line["settings"]) == ("warning", ["sip.phones"])
    assert "hush" not in json.dumps(lines)


@pytest.mark.parametrize(
    ("before", "after"),
    [(["why"], ["none"]), (["accounts", "create"], ["acme"])],
)
def test_settings_stand_before_or_after_an_argument(tmp_path: Path, before: list[str], after: list[str]) -> None:
    flags = ["--store.directory", str(tmp_path / "store"), "--http.port", "1", "--account_sid", ACCOUNT]
    flags = [*flags, "--api_key", "KEY" * 6]
    answers = [trunkline(tmp_path, *before, *words) for words in ([*flags, *after], [*after, *flags])]
    assert answers[0].returncode == 2
    assert (answers[0].stdout, answers[0].stderr) == (answers[1].stdout, answers[1].stderr)
    assert "unexpected argument" not in answers[0].stderr


def test_a_database_is_copied_whatever_flags_stand_first(tmp_path: Path) -> None:
    flags = "--store.directory", str(tmp_path / "store")
    assert trunkline(tmp_path, "db", "upgrade", *flags).returncode == 0
    done = trunkline(tmp_path, "db", "backup", *flags, "copy.db")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("copy.db: ")
    assert (tmp_path / "copy.db").stat().st_size > 0
