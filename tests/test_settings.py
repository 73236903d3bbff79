"""Settings: four layers, the last one wins, and a mistake is one line."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trunkline.compiled import ENV_VAR
from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.setting_tables import derived_sid
from trunkline.settings import leaves, load, parse_flags, shown


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
    settings = load({}, {"TRUNKLINE_ACCOUNT_SID": "a", "TRUNKLINE_API_KEY": "KEY4567890123456"}, None).settings
    assert (settings.account_sid, settings.api_key) == ("a", "KEY4567890123456")


def test_every_setting_has_an_origin() -> None:
    assert list(load({}, {}, None).origins) == list(leaves())
    assert "streams.prebuffer" in leaves()


@pytest.mark.parametrize(
    ("flags", "environ", "text", "words"),
    [
        ({"http.port": "70000"}, {}, "", "bad setting http.port (flag)"),
        ({}, {"TRUNKLINE_MEDIA__WORKERS": "two"}, "", "bad setting media.workers (environment)"),
        ({}, {"TRUNKLINE_MEDIA__WROKERS": "2"}, "", "TRUNKLINE_MEDIA__WROKERS (is it TRUNKLINE_MEDIA__WORKERS?"),
        ({}, {"TRUNKLINE_SIP__UNKNOWN_CALER": "none"}, "", "no such setting: TRUNKLINE_SIP__UNKNOWN_CALER (is it"),
        ({}, {"TRUNKLINE_SIP__": "none"}, "", "no such setting: TRUNKLINE_SIP__"),
        ({}, {}, "[http]\nprot = 1\n", "no such setting: http.prot (file); is it http.port?"),
        ({}, {}, "[htpp]\nport = 1\n", "no such setting: htpp (file)"),
        ({"sip.port": "1"}, {}, "sip = 3\n", "bad setting sip (file): it is a section, written [sip]"),
        (
            {},
            {},
            "[[sip.phones]]\nuser = 'a'\npassword = 'b'\nname = 'c'\n",
            "no such setting: sip.phones[0].name (file)",
        ),
        ({}, {}, "[http\n", "is not TOML"),
        ({}, {}, "[media]\nport_min = 3000\nport_max = 3000\n", "port_max above it"),
        (
            {},
            {"TRUNKLINE_API_KEY": "KEY456789012345"},
            "",
            "bad setting api_key (environment): String should have at least 16",
        ),
        ({}, {"TRUNKLINE_ACCOUNT_SID": ""}, "", "bad setting account_sid (environment): String should have at least 1"),
        ({}, {}, "[media]\nport_min = 3001\nport_max = 3002\n", "port_max above it, with an even port between them"),
        (
            {"media.workers": "6"},
            {},
            "[media]\nport_min = 3001\nport_max = 3011\n",
            "is 5 pairs of ports, too few for 6",
        ),
        ({"media.codecs": "PCMU,AMR"}, {}, "", "media.codecs"),
        (
            {"streams.mark_limit": str(10**20)},
            {},
            "",
            "bad setting streams.mark_limit (flag): must be a number below",
        ),
        ({"streams.playback_limit": "inf"}, {}, "", "must be a number below 1,000,000,000,000"),
        ({"streams.close_timeout": "nan"}, {}, "", "bad setting streams.close_timeout"),
        ({"media.host": "localhost"}, {}, "", "must be a literal IPv4 or IPv6 address"),
        ({"media.host": "0.0.0.0"}, {}, "", "bad setting media.host (flag): host 0.0.0.0 is no address"),
        (
            {},
            {"TRUNKLINE_SIP__HOST": "::"},
            "[sip]\nport = 5070\n",
            "bad setting sip.host (environment): host :: is no",
        ),
        ({"sip.port": "5070"}, {}, "[sip]\nhost = '::'\n", "bad setting sip.host (file): host :: is no"),
        ({"media.workers": "1"}, {}, "[media]\nport_min = 9\n", "bad setting media.port_min (file): port_min must be"),
        (
            {"media.workers": "6"},
            {"TRUNKLINE_MEDIA__PORT_MIN": "29990"},
            "",
            "bad setting media.workers (flag), media.port_min (environment): port_min 29990 to port_max 29999 is 5",
        ),
        (
            {"sip.port": "5070"},
            {},
            2 * "[[sip.phones]]\nuser = 'a'\npassword = 'b'\n",
            "bad setting sip.phones (file): two phones are called 'a'",
        ),
        (
            {"applications": "[]"},
            {},
            "[[numbers]]\npattern = '*'\napplication = 'bot'\n",
            "bad setting numbers (file), applications (flag): number '*' has the application 'bot', and no",
        ),
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


KUBERNETES = {
    "TRUNKLINE_SERVICE_HOST": "10.0.0.1",
    "TRUNKLINE_SERVICE_PORT": "8080",
    "TRUNKLINE_SERVICE_PORT_HTTP": "8080",
    "TRUNKLINE_PORT": "tcp://10.0.0.1:8080",
    "TRUNKLINE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "TRUNKLINE_PORT_8080_TCP_ADDR": "10.0.0.1",
    "TRUNKLINE_SIP_SERVICE_HOST": "10.0.0.2",
    "TRUNKLINE_SIP_PORT_5060_UDP_PORT": "5060",
    "TRUNKLINE_HTTP": "tcp://10.0.0.1:8080",
}


def test_unknown_variables_are_listed_each_with_the_nearest_setting() -> None:
    loaded = load({}, {**KUBERNETES, "TRUNKLINE_SIP__PORT": "5070", "TRUNKLINE_APIKEY": "x", "PATH": "y"}, None)
    assert loaded.settings == load({"sip.port": "5070"}, {}, None).settings
    assert loaded.unknown_variables.keys() == {*KUBERNETES, "TRUNKLINE_APIKEY"}
    assert loaded.unknown_variables["TRUNKLINE_APIKEY"] == "TRUNKLINE_API_KEY"
    known = {"TRUNKLINE_" + name.upper().replace(".", "__") for name in leaves()}
    assert set(loaded.unknown_variables.values()) <= known


@given(st.from_regex(r"TRUNKLINE_[A-Z0-9_]{0,20}", fullmatch=True))
def test_a_wrong_variable_stops_the_start_only_in_a_section_of_ours(variable: str) -> None:
    names = {"TRUNKLINE_" + name.upper().replace(".", "__") for name in leaves()} | {ENV_VAR}
    assume(variable not in names)
    section, separator, _ = variable.removeprefix("TRUNKLINE_").partition("__")
    if separator and section.lower() in {name.partition(".")[0] for name in leaves() if "." in name}:
        with pytest.raises(StartupError, match=f"no such setting: {variable}"):
            load({}, {variable: "x"}, None)
    else:
        assert variable in load({}, {variable: "x"}, None).unknown_variables


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


TABLES = """
[[applications]]
name = "bot"
voice_url = "https://bot.example/texml"

[[numbers]]
pattern = "+49*"
application = "bot"

[[sip.trunks]]
name = "carrier"
targets = ["sip:sip.example:5061;transport=tls", "sip:[2001:db8::1]"]
username = "us"
password = "hidden"
networks = ["192.0.2.0/24", "2001:db8::/32"]
register = true
application = "bot"

[[sip.phones]]
user = "alice"
password = "hidden"
application = "1293384261075731499"
"""


def test_tables_come_from_the_file_and_as_json_from_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text(TABLES)
    environ = {"TRUNKLINE_NUMBERS": '[{"pattern": "*", "application": "bot"}]'}
    loaded = load({"sip.phones": '[{"user": "bob", "password": "x"}]'}, environ, file)
    settings = loaded.settings
    assert [one.pattern for one in settings.numbers] == ["*"]
    assert [one.user for one in settings.sip.phones] == ["bob"]
    [trunk] = settings.sip.trunks
    assert (trunk.registers, trunk.prefixes, [str(one) for one in trunk.networks]) == (
        True,
        ("*",),
        ["192.0.2.0/24", "2001:db8::/32"],
    )
    origins = [loaded.origins[name] for name in ("applications", "numbers", "sip.trunks", "sip.phones")]
    assert origins == ["file", "environment", "file", "flag"]


def test_an_application_without_a_sid_has_the_same_one_at_each_start(tmp_path: Path) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text(TABLES)
    [application] = load({}, {}, file).settings.applications
    assert application.sid == derived_sid("bot") == "4345855177827492316"
    assert derived_sid("bot2") != derived_sid("bot")


def test_what_is_shown_has_a_line_for_each_table_and_no_password(tmp_path: Path) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text(TABLES)
    settings = load({}, {}, file).settings
    text = "\n".join(shown(settings, name) for name in leaves())
    assert (
        "name=carrier targets=sip:sip.example:5061;transport=tls,sip:[2001:db8::1] username=us password=(set)" in text
    )
    assert "hidden" not in text + repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<Response>\n <Say>Hello.</Say\n</Response>", "not well-formed (invalid token): line 3, column 0"),
        ("<Response>\n <Say>Hello.</Says>\n</Response>", "mismatched tag: line 2, column 14"),
        ("<Say>Hello.</Say>", "the document's root is <Say>, not <Response>"),
        ("<!DOCTYPE x><Response/>", "the document has a DTD"),
    ],
)
def test_a_document_that_is_no_texml_is_named_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "trunkline.toml"
    file.write_text(
        f"[[numbers]]\npattern = '1'\ntexml = '<Response/>'\n[[numbers]]\npattern = '2'\ntexml = '''{text}'''"
    )
    with pytest.raises(StartupError) as error:
        load({}, {}, file)
    assert str(error.value).startswith("bad setting numbers[1].texml (file): ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


APPLICATION = '{"name": "bot", "voice_url": "http://a/b"}'
TRUNK = '"name": "a", "targets": ["sip:a"]'


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("applications", "[{]", "bad setting applications (flag): must be a JSON list of objects"),
        ("applications", '[{"name": "a"}]', "application 'a' needs exactly one of voice_url, stream and texml"),
        ("applications", '[{"name": "a", "stream": "http://a"}]', "must be a ws:// or wss:// URL"),
        ("applications", '[{"name": "a", "texml": "<R>"}]', "bad setting applications[0].texml (flag): the document"),
        ("numbers", '[{"pattern": "1"}]', "number '1' needs exactly one of application, voice_url, stream and texml"),
        ("numbers", '[{"pattern": "1", "stream": "ws://a/#b"}]', "numbers[0].stream (flag): must be a ws:// or wss://"),
        ("stream", "127.0.0.1:7860", "bad setting stream (flag): must be a ws:// or wss:// URL, got '127.0.0.1:7860'"),
        ("applications", '[{"name": "a", "voice_url": "ftp://a"}]', "must be an http:// or https:// URL"),
        ("applications", '[{"name": "a", "voice_url": "http://[a"}]', "must be an http:// or https:// URL"),
        ("applications", '[{"name": "a", "voice_url": "http://a:0/"}]', "must be an http:// or https:// URL"),
        ("applications", f"[{APPLICATION}, {APPLICATION}]", "two applications are called 'bot'"),
        ("numbers", '[{"pattern": "1", "application": "x"}]', "number '1' has the application 'x', and no application"),
        ("sip.trunks", f'[{{{TRUNK}, "application": "x"}}]', "trunk 'a' has the application 'x'"),
        ("sip.phones", '[{"user": "a", "password": "s", "application": "x"}]', "phone 'a' has the application 'x'"),
        ("sip.trunks", f"[{{{TRUNK}}}, {{{TRUNK}}}]", "two trunks are called 'a'"),
        ("sip.trunks", '[{"name": "a", "targets": []}]', "sip.trunks[0].targets"),
        ("sip.trunks", '[{"name": "a", "targets": ["a:5060"]}]', "must be sip:host"),
        ("sip.trunks", f'[{{{TRUNK}, "networks": ["192.0.2.1/24"]}}]', "sip.trunks[0].networks[0] (flag): must be a"),
        ("sip.trunks", f'[{{{TRUNK}, "register": true}}]', "trunk 'a' needs a username"),
        ("sip.trunks", f'[{{{TRUNK}, "realm": "x"}}]', "trunk 'a' needs a username"),
        ("sip.phones", '[{"user": "a", "password": "s"}, {"user": "a", "password": "s"}]', "two phones are called 'a'"),
        ("sip.phones", '[{"user": "a b", "password": "s"}]', "sip.phones[0].user"),
        ("sip.unknown_callers", "some", "sip.unknown_callers"),
    ],
)
def test_a_mistake_in_a_table_is_named_with_its_place(name: str, text: str, words: str) -> None:
    with pytest.raises(StartupError) as error:
        load({name: text}, {}, None)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        '[{"user": "a", "password": "hidden"',
        '[{"user": "a", "password": ["hidden"]}]',
        '[{"user": "a", "pasword": "hidden"}]',
        '{"password": "hidden"}',
        '["hidden"]',
    ],
)
def test_no_mistake_shows_a_password(text: str) -> None:
    with pytest.raises(StartupError) as error:
        load({"sip.phones": text}, {}, None)
    assert "sip.phones" in str(error.value)
    assert "hidden" not in str(error.value)
