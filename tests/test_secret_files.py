"""Secrets from files and credentials, and where they must not be shown."""

from pathlib import Path
from typing import Any

import pytest

from trunkline.errors import StartupError
from trunkline.secret_files import in_flags, without_secrets
from trunkline.settings import load, shown

TABLES = """
[[sip.phones]]
user = "ann"
{ann}
[[sip.trunks]]
name = "pbx"
targets = ["sip:pbx.example"]
username = "us"
{pbx}
"""


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A directory with secrets, by the names of credentials."""
    directory = tmp_path / "secrets"
    directory.mkdir()
    contents: dict[str, str | bytes] = {
        "api_key": "KEYcredential4567\n",
        "store.url": "postgresql://u:hush@db/x\n",
        "sip.phones.ann.password": "phone's\r\n",
        "sip.trunks.pbx.password": "trunk's",
        "empty": "\n",
        "binary": b"\xff",
    }
    for name, value in contents.items():
        (directory / name).write_bytes(value if isinstance(value, bytes) else value.encode())
    return directory


def settings(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None, **flags: str) -> Any:
    file = tmp_path / "trunkline.toml"
    file.write_text(text)
    return load(flags, environ or {}, file)


def test_every_secret_may_be_in_a_file_of_its_own(tmp_path: Path, secrets: Path) -> None:
    text = f"api_key_file = '{secrets}/api_key'\n[store]\nurl_file = '{secrets}/store.url'\n" + TABLES.format(
        ann=f"password_file = '{secrets}/sip.phones.ann.password'",
        pbx=f"password_file = '{secrets}/sip.trunks.pbx.password'",
    )
    loaded = settings(tmp_path, text)
    found = loaded.settings
    assert (found.api_key, found.store.url) == ("KEYcredential4567", "postgresql://u:hush@db/x")
    assert (found.sip.phones[0].password, found.sip.trunks[0].password) == ("phone's", "trunk's")
    assert loaded.origins["api_key"] == "file"


def test_files_may_be_named_by_variables_flags_and_json(tmp_path: Path, secrets: Path) -> None:
    phones = f'[{{"user": "ann", "password_file": "{secrets}/sip.phones.ann.password"}}]'
    environ = {"TRUNKLINE_API_KEY_FILE": f"{secrets}/api_key", "TRUNKLINE_SIP__PHONES": phones}
    loaded = settings(tmp_path, "api_key = 'KEYfile890123456'", environ)
    assert (loaded.settings.api_key, loaded.settings.sip.phones[0].password) == ("KEYcredential4567", "phone's")
    loaded = settings(tmp_path, "", {"TRUNKLINE_API_KEY": "KEYenvironment567"}, api_key_file=f"{secrets}/api_key")
    assert loaded.settings.api_key == "KEYcredential4567", "a flag goes before a variable"


def test_credentials_of_systemd_are_found_by_their_names(tmp_path: Path, secrets: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(secrets)}
    loaded = settings(tmp_path, "api_key = 'KEYfile890123456'\n" + TABLES.format(ann="", pbx=""), environ)
    found = loaded.settings
    assert (found.api_key, found.store.url) == ("KEYcredential4567", "postgresql://u:hush@db/x")
    assert (found.sip.phones[0].password, found.sip.trunks[0].password) == ("phone's", "trunk's")
    assert loaded.origins["api_key"] == loaded.origins["store.url"] == "credential"
    given = TABLES.format(ann="password = 'given'", pbx="password = 'given'")
    loaded = settings(tmp_path, given, environ | {"TRUNKLINE_API_KEY": "KEYenvironment567"})
    found = loaded.settings
    assert (found.api_key, found.sip.phones[0].password, found.sip.trunks[0].password) == (
        "KEYenvironment567",
        "given",
        "given",
    )


def test_no_name_leads_out_of_the_directory_of_credentials(tmp_path: Path, secrets: Path) -> None:
    (tmp_path / "sip.trunks.x").mkdir()
    trunk = '[[sip.trunks]]\nname = "x/../../secrets/api_key"\ntargets = ["sip:a"]\nusername = "u"\n'
    found = settings(tmp_path, trunk, {"CREDENTIALS_DIRECTORY": str(secrets)}).settings
    assert found.sip.trunks[0].password is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", r"api_key_file \(file\): cannot read .*/none: No such file"),
        ("empty", r"api_key_file \(file\): .*/empty is empty"),
        ("binary", r"api_key_file \(file\): .*/binary is not text"),
    ],
)
def test_a_file_without_a_secret_stops_the_start(tmp_path: Path, secrets: Path, name: str, words: str) -> None:
    with pytest.raises(StartupError, match=words):
        settings(tmp_path, f"api_key_file = '{secrets / name}'")


def test_a_secret_has_one_source_in_a_layer(tmp_path: Path, secrets: Path) -> None:
    with pytest.raises(StartupError, match=r"api_key_file \(file\): api_key is given too"):
        settings(tmp_path, f"api_key = 'KEY'\napi_key_file = '{secrets}/api_key'")
    both = f"password = 'x'\npassword_file = '{secrets}/api_key'"
    with pytest.raises(StartupError, match=r"sip\.phones 'ann' password_file \(file\): password is given too"):
        settings(tmp_path, TABLES.format(ann=both, pbx=""))


def test_flags_with_secrets_are_named() -> None:
    flags = {
        "api_key": "KEY4567890123456",
        "sip.phones": '[{"user": "ann", "password": "x"}]',
        "sip.trunks": '[{"name": "t", "targets": ["sip:a"]}]',
        "store.url": "postgresql://u:p@db/x",
    }
    assert in_flags(flags) == ["api_key", "sip.phones", "store.url"]
    assert in_flags({"store.url": "sqlite:////x.db", "api_key_file": "x", "http.port": "1"}) == []
    assert load({"api_key": "KEY4567890123456"}, {}, None).secrets_in_flags == ("api_key",)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+asyncpg://u:p@db:5/x?password=y", "postgresql+asyncpg://db:5/x?…"),
        ("http://u:p@a.test/voice?token=t#f", "http://a.test/voice?…"),
        ("http://a.test/voice", "http://a.test/voice"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
        ("http://[::1", "(not a URL)"),
        ("no URL", "no URL"),
    ],
)
def test_what_is_shown_of_a_url(url: str, words: str) -> None:
    assert without_secrets(url) == words


def test_no_secret_is_in_what_the_config_command_shows(tmp_path: Path) -> None:
    text = """
    api_key = "hush-hush-hush-hush"
    [store]
    url = "postgresql://hush:hush@db.test/x?sslpassword=hush"
    [http]
    public_url = "https://hush@voice.test/"
    [[applications]]
    name = "bot"
    voice_url = "http://u:hush@bot.test/voice?token=hush"
    """ + TABLES.format(ann="password = 'hush'", pbx="password = 'hush'")
    loaded = settings(tmp_path, text)
    lines = [shown(loaded.settings, name) for name in loaded.origins]
    assert "hush" not in "\n".join(lines)
    assert "postgresql://db.test/x?…" in lines
    assert any("voice_url=http://bot.test/voice?…" in line for line in lines)
