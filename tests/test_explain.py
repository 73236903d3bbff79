"""What `trunkline config --explain` says of settings."""

import pytest

from trunkline.errors import StartupError
from trunkline.explain import Explanation, explain, explanations, in_words
from trunkline.settings import leaves

WORKERS = Explanation("media.workers", "Processes.", "integer, 0 or more", "0", False)


def test_every_setting_is_explained_with_its_meaning() -> None:
    found = {one.name: one for one in explanations()}
    assert set(leaves()) <= set(found)
    assert not [name for name, one in found.items() if not one.meaning]
    assert found["numbers[].pattern"].default == ""
    assert found["sip.trunks[].register"].default == "false", "by the name that the file has"


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("http.port", "integer, 0 to 65,535", "8080"),
        ("media.codecs", "list: text, 1 entries or more", "PCMU,PCMA,G722"),
        ("streams.connect_timeout", "number, above 0", "10"),
        ("sip.unknown_callers", "`loopback` or `all` or `none`", "loopback"),
        ("sip.tls_verify", "true or false", "true"),
        ("egress.allow", "list: network", "empty"),
        ("store.directory", "path", "~/.local/share/trunkline"),
        ("http.operators_port", "integer", "none"),
        ("numbers", "list of tables", "empty"),
        ("sip.trunks[].name", "text, 1 to 255 characters", ""),
        ("applications[].sid", "text", "made"),
    ],
)
def test_values_and_default_are_in_words(name: str, kind: str, default: str) -> None:
    one = explain(name)[0]
    assert (one.name, one.kind, one.default) == (name, kind, default)


def test_a_section_or_a_list_is_explained_whole() -> None:
    assert {one.name for one in explain("log")} == {"log.level", "log.format", "log.mask_numbers", "log.mask_digits"}
    names = [one.name for one in explain("numbers")]
    assert names[0] == "numbers"
    assert "numbers[].pattern" in names


def test_a_name_that_no_setting_has_is_answered_with_the_nearest() -> None:
    with pytest.raises(StartupError, match=r"no such setting: media.worker; is it media.workers\?"):
        explain("media.worker")


def test_what_is_in_force_and_how_to_change_it_is_said() -> None:
    assert in_words(WORKERS, "2 (file)").splitlines() == [
        "media.workers: integer, 0 or more",
        "  Processes.",
        "  default: 0",
        "  now: 2 (file)",
        "  in force at the next start",
        "  --media.workers or TRUNKLINE_MEDIA__WORKERS",
    ]
    column = Explanation("numbers[].pattern", "Which.", "text", "", True)
    assert in_words(column, None).splitlines()[2:] == ["  must be given", "  in force at a reload (SIGHUP)"]
