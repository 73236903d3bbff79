"""The tables of the settings: what they take, and what is refused."""

from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from trunkline.setting_tables import ApplicationSettings, NumberSettings, TrunkSettings, derived_sid
from trunkline.setting_types import Section

TRUNK: dict[str, Any] = {"name": "t", "targets": ["sip:a"]}
PHONE: dict[str, Any] = {"user": "ann", "password": "x"}
APPLICATION: dict[str, Any] = {"name": "bot", "voice_url": "http://a/"}


def refused(kind: type[Section], **given: Any) -> str:
    """The words of the refusal."""
    with pytest.raises(ValidationError) as failure:
        kind.model_validate(given)
    return str(failure.value.errors()[0]["msg"])


@pytest.mark.parametrize("target", ["sip:a", "sips:a-b_c.example:1", "sip:[2001:db8::1]:65535;transport=tcp"])
@pytest.mark.parametrize("transport", ["", ";transport=udp", ";transport=tls"])
def test_a_target_is_a_host_with_a_port_and_a_transport_if_need_be(target: str, transport: str) -> None:
    given = target if "transport" in target else target + transport
    assert TrunkSettings.model_validate({**TRUNK, "targets": [given]}).targets == (given,)


@pytest.mark.parametrize(
    "target",
    ["a", "sip:", "sip:a:0", "sip:a:65536", "sip:a:123456", "sip:a;transport=ws", "sip:u@a", "SIP:a", "sip:a "],
)
def test_what_is_no_target(target: str) -> None:
    words = "must be sip:host, sip:host:port or sips:host, with ;transport=udp, tcp or tls if need be"
    assert words in refused(TrunkSettings, **{**TRUNK, "targets": [target]})


def test_a_network_may_be_a_single_address_and_has_no_host_bits() -> None:
    networks = TrunkSettings.model_validate({**TRUNK, "networks": ["192.0.2.0/24", "2001:db8::1"]}).networks
    assert networks == (ip_network("192.0.2.0/24"), ip_network("2001:db8::1/128"))
    assert "must be a network as 192.0.2.0/24" in refused(TrunkSettings, **{**TRUNK, "networks": ["192.0.2.1/24"]})
    with pytest.raises(ValidationError):
        TrunkSettings.model_validate({**TRUNK, "networks": [7.5]})


def test_a_trunk_with_a_password_has_a_username() -> None:
    for more in ({"register": True}, {"password": "x"}, {"realm": "x"}):
        words = "trunk 't' needs a username to register or to use its password or realm"
        assert words in refused(TrunkSettings, **TRUNK, **more)
        assert TrunkSettings.model_validate({**TRUNK, **more, "username": "u"}).username == "u"
    assert TrunkSettings.model_validate({**TRUNK, "username": "u", "register": True}).registers is True


def test_an_applications_sid_is_made_from_its_name() -> None:
    assert derived_sid("bot") == ApplicationSettings.model_validate(APPLICATION).sid
    assert ApplicationSettings.model_validate({**APPLICATION, "sid": "7"}).sid == "7"
    sids = {derived_sid(str(number)) for number in range(100)}
    assert len(sids) == 100
    assert all(len(sid) == 19 and sid[0] in "12345678" for sid in sids)
    assert derived_sid("bot") == "4345855177827492316", "it stays the same from version to version"


def test_an_application_and_a_number_say_once_what_calls_do() -> None:
    stream, texml = {"stream": "ws://a"}, {"texml": "<Response/>"}
    for one in (stream, texml, {"voice_url": "http://a"}):
        assert ApplicationSettings.model_validate({"name": "a", **one}).given() == list(one)
        assert NumberSettings.model_validate({"pattern": "1", **one}).given() == list(one)
    assert "has stream and texml" in refused(ApplicationSettings, name="a", **stream, **texml)
    assert "has stream and application" in refused(NumberSettings, pattern="1", application="a", **stream)
    assert "has none" in refused(NumberSettings, pattern="1")
    fallback = {"voice_fallback_url": "http://a"}
    assert "voice_fallback_url without a voice_url" in refused(ApplicationSettings, name="a", **texml, **fallback)
