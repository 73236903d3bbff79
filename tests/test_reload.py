"""What a reload changes, and what it leaves for the next start."""

from typing import Any

from trunkline.config import Settings
from trunkline.reload import RELOADABLE, compare
from trunkline.settings import leaves, value_of

APPLICATION = {"name": "bot", "voice_url": "http://a/"}
TRUNK = {"name": "carrier", "targets": ["sip:a"]}


def settings(**given: Any) -> Settings:
    return Settings.model_validate(given)


def test_what_can_change_changes_and_the_rest_is_named_and_stays() -> None:
    before = settings(
        applications=[APPLICATION, {"name": "old", "voice_url": "http://b/"}],
        numbers=[{"pattern": "*", "application": "bot"}],
        sip={"port": 5070, "trunks": [TRUNK], "phones": [{"user": "ann", "password": "secret"}]},
    )
    after = settings(
        applications=[APPLICATION | {"voice_url": "http://c/"}, {"name": "new", "voice_url": "http://d/"}],
        numbers=[{"pattern": "*", "application": "new"}],
        sip={"port": 5080, "trunks": [TRUNK], "phones": [{"user": "ann", "password": "other"}]},
        media={"workers": 3},
        log={"level": "debug"},
    )
    found = compare(before, after)
    assert found.changed == (
        "sip.phones: ann changed",
        "log.level",
        "applications: new added, bot changed, old removed",
        "numbers: * changed",
    )
    assert "other" not in str(found.changed)
    assert found.restart == ("sip.port", "media.workers")
    for name in leaves():
        assert value_of(found.settings, name) == value_of(after if name in RELOADABLE else before, name)
    again = compare(found.settings, after)
    assert (again.changed, again.restart) == ((), found.restart), "it is reported until the restart"


def test_another_order_is_a_change_and_the_same_is_none() -> None:
    trunks = [TRUNK, TRUNK | {"name": "backup"}]
    one, other = (settings(sip={"trunks": each}) for each in (trunks, trunks[::-1]))
    assert compare(one, other).changed == ("sip.trunks: order",)
    assert compare(one, one).changed == ()


def test_what_can_be_reloaded_exists() -> None:
    assert set(leaves()) >= RELOADABLE
