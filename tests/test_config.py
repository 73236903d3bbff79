"""Each kind of setting: what it takes, what it makes of it, and what is refused."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from trunkline.config import HttpSettings, MediaSettings, Settings, SipSettings, StreamSettings
from trunkline.setting_tables import PhoneSettings
from trunkline.setting_types import NUMBER_LIMIT, Section

TRUNK: dict[str, Any] = {"name": "t", "targets": ["sip:a"]}
PHONE: dict[str, Any] = {"user": "ann", "password": "x"}
APPLICATION: dict[str, Any] = {"name": "bot", "voice_url": "http://a/"}


def refused(kind: type[Section], **given: Any) -> str:
    """The words of the refusal."""
    with pytest.raises(ValidationError) as failure:
        kind.model_validate(given)
    return str(failure.value.errors()[0]["msg"])


@pytest.mark.parametrize("url", ["http://a", "https://a:1/b?c=d#e", "http://[::1]/", "http://a/" + "x" * 1991])
def test_a_url_of_a_customer(url: str) -> None:
    assert HttpSettings(public_url=url).public_url == url


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "http://", "http:///x", "http://a:0/", "http://a:65536/", "http://a/ b", "http://a/\x7f", "http://é/"],
)
def test_what_is_no_url(url: str) -> None:
    assert "must be an http:// or https:// URL" in refused(HttpSettings, public_url=url)


def test_a_url_has_at_most_two_thousand_characters() -> None:
    assert "at most 2000" in refused(HttpSettings, public_url="http://a/" + "x" * 1992)


@pytest.mark.parametrize("kind", [SipSettings, MediaSettings])
def test_peers_must_be_able_to_reach_us(kind: type[Any]) -> None:
    for host in ("0.0.0.0", "::"):
        assert f"host {host} is no address that peers can reach: set advertised_host too" in refused(kind, host=host)
        assert kind(host=host, advertised_host="192.0.2.1").host == host
    assert "must be a literal IPv4 or IPv6 address" in refused(kind, host="localhost")
    assert kind(host="2001:DB8::0001").host == "2001:db8::1"


def test_tls_is_on_any_port_where_sip_is_and_may_be_off() -> None:
    assert SipSettings().tls_port == 5061
    assert SipSettings(port=5070).tls_port == 5061
    assert SipSettings.model_validate({"port": 0}).tls_port == 0
    assert SipSettings.model_validate({"port": "0", "tls_port": 5071}).tls_port == 5071
    assert SipSettings.model_validate({"tls_port": "off"}).tls_port is None


def test_lists_are_given_as_such_or_separated_by_commas() -> None:
    assert MediaSettings.model_validate({"codecs": "PCMA, OPUS"}).codecs == ("PCMA", "OPUS")
    assert MediaSettings(codecs=("G722",)).codecs == ("G722",)
    assert SipSettings.model_validate({"digest_algorithms": "SHA-256,MD5"}).digest_algorithms == ("SHA-256", "MD5")
    assert "at least 1 item" in refused(MediaSettings, codecs=())


def test_tables_may_be_given_as_json() -> None:
    phones = SipSettings.model_validate({"phones": '[{"user": "ann", "password": "x"}]'}).phones
    assert phones == (PhoneSettings(user="ann", password="x"),)
    assert "must be a JSON list of objects" in refused(SipSettings, phones="[")


@pytest.mark.parametrize(
    ("least", "most", "pairs"),
    [(2000, 2001, 1), (2001, 2003, 1), (2000, 2002, 1), (2000, 2003, 2), (1024, 65535, 32256)],
)
def test_a_call_has_an_even_port_and_the_next(least: int, most: int, pairs: int) -> None:
    assert MediaSettings(port_min=least, port_max=most).port_pairs == pairs


@pytest.mark.parametrize(("least", "most"), [(2000, 2000), (2001, 2002), (2002, 2000), (1023, 2000)])
def test_ports_make_a_range(least: int, most: int) -> None:
    assert "port_min must be at least 1024, and port_max above it" in refused(
        MediaSettings, port_min=least, port_max=most
    )


def test_each_worker_needs_a_pair_of_ports() -> None:
    assert MediaSettings(workers=2, port_min=2000, port_max=2003).workers == 2
    words = refused(MediaSettings, workers=3, port_min=2000, port_max=2003)
    assert "port_min 2000 to port_max 2003 is 2 pairs of ports, too few for 3 workers" in words


def test_names_in_a_table_differ() -> None:
    twice = {**APPLICATION, "name": "other", "sid": "7"}
    assert "two applications are called 'bot'" in refused(Settings, applications=[APPLICATION, APPLICATION])
    assert "two applications are called '7'" in refused(Settings, applications=[twice, {**twice, "name": "third"}])
    numbers = [{"pattern": "+1", "application": "7"}] * 2
    assert "two numbers are called '+1'" in refused(Settings, numbers=numbers)
    assert "two trunks are called 't'" in refused(SipSettings, trunks=[TRUNK, TRUNK])
    assert "two phones are called 'ann'" in refused(SipSettings, phones=[PHONE, PHONE])


def test_what_names_an_application_names_one_that_there_is_or_may_be() -> None:
    given: dict[str, Any] = {
        "applications": [APPLICATION],
        "numbers": [{"pattern": "+1", "application": "bot"}],
        "sip": {
            "trunks": [{**TRUNK, "application": "123"}],
            "phones": [{**PHONE, "application": "bot"}, {**PHONE, "user": "bob"}],
        },
    }
    assert Settings.model_validate(given).application_references() == [
        ("number '+1'", "bot"),
        ("trunk 't'", "123"),
        ("phone 'ann'", "bot"),
    ]
    given["applications"] = []
    assert "number '+1' has the application 'bot', and no application is called so" in refused(Settings, **given)


def test_settings_are_frozen_and_strict_about_names_and_sizes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(HttpSettings(), "port", 7)  # noqa: B010 - the type checker knows better
    assert "Extra inputs" in refused(HttpSettings, prot=7)
    assert StreamSettings(mark_limit=NUMBER_LIMIT).mark_limit == 10**12
    for number in (NUMBER_LIMIT + 1, float("inf")):
        assert "must be a number below 1,000,000,000,000" in refused(StreamSettings, playback_limit=number)
    assert refused(StreamSettings, playback_limit=float("nan"))


def test_no_password_is_in_what_is_shown() -> None:
    settings = Settings.model_validate(
        {
            "api_key": "hidden-hidden-hidden",
            "sip": {
                "phones": [{"user": "a", "password": "hidden"}],
                "trunks": [{**TRUNK, "username": "u", "password": "hidden"}],
            },
        }
    )
    assert "hidden" not in repr(settings)


def numbers(kind: type[BaseModel]) -> list[str]:
    return [name for name, field in kind.model_fields.items() if type(field.default) in (int, float)]


@pytest.mark.parametrize(
    "kind", [type(section) for section in vars(Settings()).values() if isinstance(section, Section)]
)
def test_no_number_may_be_below_zero_but_a_level(kind: type[Section]) -> None:
    assert kind.__doc__
    for name in numbers(kind):
        if name != "recording_silence":
            assert "greater than" in refused(kind, **{name: -1}), name


def test_the_documents_of_the_configuration_have_the_names_of_their_settings() -> None:
    given = {
        "stream": "ws://a",
        "applications": [APPLICATION, {"name": "b", "texml": "<Response>1</Response>"}],
        "numbers": [{"pattern": "1", "texml": "<Response>2</Response>"}],
    }
    settings = Settings.model_validate(given)
    named = [("applications[1].texml", "<Response>1</Response>"), ("numbers[0].texml", "<Response>2</Response>")]
    assert settings.documents == named
    assert "ws://a" in (settings.document or "")
    assert Settings().document is None
