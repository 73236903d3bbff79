"""Settings: four layers, the last one wins, and a mistake is one line."""

from pathlib import Path

import pytest

from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.settings import leaves, load, parse_flags


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trunkline.toml"
    path.write_text("[http]\nport = 1111\n[sip]\nport = 1111\n[media]\nworkers = 1\ncodecs = ['G722']\n")
    return path


def test_flag_beats_environment_beats_file_beats_default(file: Path) -> None:
    loaded = load({"http.port": "3333"}, {"TRUNKLINE_HTTP__PORT": "2222", "TRUNKLINE_SIP__PORT": "2222"}, file)
    settings = loaded.settings
    assert (settings.http.port, settings.sip.port, settings.media.workers) == (3333, 2222, 1)
    assert settings.http.host == "127.0.0.1"
    origins = loaded.origins
    assert origins["http.port"] == "flag"
    assert origins["sip.port"] == "environment"
    assert origins["media.workers"] == "file"
    assert origins["http.host"] == "default"


def test_lists_come_from_every_layer(file: Path) -> None:
    assert load({}, {}, file).settings.media.codecs == ("G722",)
    environ = {"TRUNKLINE_MEDIA__CODECS": "PCMA, PCMU"}
    assert load({}, environ, file).settings.media.codecs == ("PCMA", "PCMU")


def test_the_account_is_taken_from_its_two_variables() -> None:
    settings = load({}, {"TRUNKLINE_ACCOUNT_SID": "a", "TRUNKLINE_API_KEY": "KEY"}, None).settings
    assert (settings.account_sid, settings.api_key) == ("a", "KEY")


def test_every_setting_has_an_origin() -> None:
    assert list(load({}, {}, None).origins) == list(leaves())
    assert "streams.prebuffer" in leaves()


@pytest.mark.parametrize(
    ("flags", "environ", "text", "words"),
    [
        ({"http.port": "70000"}, {}, "", "bad setting http.port (flag)"),
        ({}, {"TRUNKLINE_MEDIA__WORKERS": "two"}, "", "bad setting media.workers (environment)"),
        ({}, {"TRUNKLINE_MEDIA__WROKERS": "2"}, "", "no such setting: TRUNKLINE_MEDIA__WROKERS"),
        ({}, {}, "[http]\nprot = 1\n", "http.prot (file)"),
        ({}, {}, "[http\n", "is not TOML"),
        ({}, {}, "[media]\nport_min = 3000\nport_max = 3000\n", "port_max above it"),
        ({"media.codecs": "PCMU,AMR"}, {}, "", "media.codecs"),
        ({"media.host": "localhost"}, {}, "", "must be a literal IPv4 or IPv6 address"),
        ({"media.host": "0.0.0.0"}, {}, "", "set advertised_host too"),
        ({"sip.host": "::"}, {}, "", "set advertised_host too"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, flags: dict[str, str], environ: dict[str, str], text: str, words: str
) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text(text)
    with pytest.raises(StartupError) as error:
        load(flags, environ, file)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="no such file"):
        load({}, {}, tmp_path / "absent.toml")


def test_flags_are_dotted_names() -> None:
    flags = parse_flags(["--http.port", "9000", "--media.port-min=21000", "--sip.host=::1"])
    assert flags == {"http.port": "9000", "media.port_min": "21000", "sip.host": "::1"}


@pytest.mark.parametrize("arguments", [["--htpp.port", "1"], ["--http.port"], ["9000"], ["-p", "1"]])
def test_a_wrong_flag_is_refused(arguments: list[str]) -> None:
    with pytest.raises(StartupError):
        parse_flags(arguments)


@pytest.mark.parametrize("name", ["port", "host"])
def test_settings_are_frozen(name: str) -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(Settings().http, name, 1)
