"""The phone of the server's own gets into the settings beside those of the operator."""

from trunkline.browser_phones import BrowserPhones
from trunkline.config import Settings


def test_it_is_added_with_a_secret_of_its_own() -> None:
    settings = Settings.model_validate({"sip": {"phones": [{"user": "alice", "password": "x"}]}})
    one, other = BrowserPhones.of(settings), BrowserPhones.of(settings)
    assert one.password != other.password
    assert one.password not in repr(one)
    added = one.added_to(settings).sip.phones
    assert [phone.user for phone in added] == ["alice", "browser-phone"]
    assert added[-1].password == one.password
    assert len(settings.sip.phones) == 1


def test_a_phone_of_that_name_keeps_its_name() -> None:
    settings = Settings.model_validate({"sip": {"phones": [{"user": "browser-phone", "password": "x"}]}})
    assert BrowserPhones.of(settings).user == "browser-phone_"
