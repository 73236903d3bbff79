"""The fields of TeXML applications: what becomes of each, from JSON and from forms."""

from typing import Any

import jsonschema_rs
import pytest

from trunkline.api.bodies import Fields, parse_query
from trunkline.errors import InvalidRequest, InvalidType, MissingParameter
from trunkline.faces.telnyx.fields.applications import (
    DEFAULTS,
    FIELDS,
    MORE_SCHEMAS,
    OBJECTS,
    OTHER_FIELDS,
    application_changes,
)

INTEGER_LIMIT = 999_999_999
TAGS_LIMIT = 100

LEAST = {"friendly_name": "router", "voice_url": "https://a.example/"}


def changes(**members: Any) -> dict[str, Any]:
    """Of the JSON body of an update."""
    return application_changes(Fields(members.items()), create=False)


def created(**members: Any) -> dict[str, Any]:
    """Of the JSON body of a create."""
    return application_changes(Fields(members.items()), create=True)


def test_what_is_not_given_is_not_changed() -> None:
    assert created(**LEAST) == {**LEAST, "other": {}}
    assert changes() == {"other": {}}
    assert changes(active=False) == {"active": False, "other": {}}
    with pytest.raises(MissingParameter, match="voice_url is required"):
        created(friendly_name="router")


def test_methods_are_kept_in_capitals_however_they_are_written() -> None:
    for written in ("get", "GET"):
        given = changes(voice_method=written, status_callback_method=written)
        assert given == {"voice_method": "GET", "status_callback_method": "GET", "other": {}}


@pytest.mark.parametrize("name", ["voice_fallback_url", "status_callback"])
def test_null_or_an_empty_value_takes_a_url_away(name: str) -> None:
    assert changes(**{name: None}) == {name: None, "other": {}}
    assert application_changes(parse_query(f"{name}="), create=False) == {name: None, "other": {}}
    with pytest.raises(InvalidRequest):
        changes(**{name: "ftp://x/"})


def test_null_does_not_take_away_what_must_be() -> None:
    assert changes(voice_url=None, friendly_name=None, active=None) == {"other": {}}


def test_objects_come_as_json_as_text_and_in_brackets() -> None:
    inbound = {"channel_limit": 7, "shaken_stir_enabled": True, "sip_subdomain": "x"}
    wanted = {"other": {"inbound": inbound}}
    assert changes(inbound=inbound) == wanted
    text = '{"channel_limit": 7, "shaken_stir_enabled": true, "sip_subdomain": "x"}'
    assert changes(inbound=text) == wanted
    form = "inbound[channel_limit]=7&inbound[shaken_stir_enabled]=true&inbound[sip_subdomain]=x"
    assert application_changes(parse_query(form), create=False) == wanted
    both = Fields([("inbound", {"channel_limit": 1, "sip_subdomain": "x"}), ("inbound[channel_limit]", "2")])
    assert application_changes(both, create=False)["other"]["inbound"] == {"channel_limit": 2, "sip_subdomain": "x"}


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_member_that_is_taken_away_has_its_default_again(nothing: str | None) -> None:
    for name, members in OBJECTS.items():
        given = changes(**{name: dict.fromkeys(members, nothing)})
        assert given["other"] == {name: {member: DEFAULTS[name][member] for member in members}}


def test_a_member_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidType) as failure:
        changes(outbound={"channel_limit": "many"})
    assert failure.value.pointer == "/outbound/channel_limit"
    with pytest.raises(InvalidRequest, match="from 0 to 999999999"):
        changes(outbound={"channel_limit": INTEGER_LIMIT + 1})
    assert changes(outbound={"channel_limit": INTEGER_LIMIT, "unknown": 1})["other"] == {
        "outbound": {"channel_limit": 999_999_999}
    }
    with pytest.raises(InvalidType, match="inbound must be an object"):
        changes(inbound=[])


def test_tags_come_as_an_array_as_text_and_one_by_one() -> None:
    for given in (["a", "b"], '["a", "b"]'):
        assert changes(tags=given)["other"] == {"tags": ["a", "b"]}
    assert application_changes(parse_query("tags[]=a&tags[]=b"), create=False)["other"] == {"tags": ["a", "b"]}
    assert changes(tags=[])["other"] == {"tags": []}
    assert changes(tags=["x"] * TAGS_LIMIT)["other"] == {"tags": ["x"] * 100}
    for wrong, pointer in (
        (["x"] * 101, "/tags"),
        ({}, "/tags"),
        (["a", 7], "/tags/1"),
        (["x" * 256], "/tags/0"),
        ("a, b", "/tags"),
    ):
        with pytest.raises(InvalidRequest) as failure:
            changes(tags=wrong)
        assert failure.value.pointer == pointer


def test_the_fields_that_are_only_kept_are_read_too() -> None:
    given = {
        "anchorsite_override": "London, UK",
        "call_cost_in_webhooks": True,
        "dtmf_type": "SIP INFO",
        "first_command_timeout": False,
        "first_command_timeout_secs": 0,
    }
    assert changes(**given) == {"other": given}
    for name in given:
        with pytest.raises(InvalidRequest) as failure:
            changes(**{name: "nothing of it"})
        assert failure.value.pointer == f"/{name}"


def test_a_default_keeps_to_its_own_schema_and_every_object_has_one() -> None:
    schemas = {row.name: row.schema for row in OTHER_FIELDS} | dict(MORE_SCHEMAS)
    assert set(DEFAULTS) == set(schemas)
    for name, schema in schemas.items():
        jsonschema_rs.Draft202012Validator(dict(schema)).validate(DEFAULTS[name])
    assert {name: set(members) for name, members in OBJECTS.items()} == {
        name: set(DEFAULTS[name]) for name in ("inbound", "outbound")
    }


@pytest.mark.parametrize("row", FIELDS + OTHER_FIELDS, ids=lambda row: row.name)
def test_what_a_fields_schema_shows_is_taken(row: Any) -> None:
    shown = [row.schema[key] for key in ("example", "default", "minimum", "maximum") if key in row.schema]
    assert shown
    for value in [*shown, *row.schema.get("enum", ())]:
        row.read(row.name, value)
        jsonschema_rs.Draft202012Validator(dict(row.schema)).validate(value)
    assert row.schema["description"].endswith((".", ". "))
