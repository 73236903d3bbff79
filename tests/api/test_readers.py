"""The readers of fields, each by itself: what it takes, what it makes of it, and the words of each refusal."""

from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline.api import readers
from trunkline.api.bodies import Fields
from trunkline.api.readers import Field, read_field
from trunkline.errors import InvalidEnum, InvalidRequest, InvalidType, InvalidUrl, MissingParameter


def refused(read: readers.Reader, value: object) -> tuple[type[InvalidRequest], str]:
    """The kind of the refusal and its words; it points to the field."""
    with pytest.raises(InvalidRequest) as failure:
        read("Field", value)
    assert failure.value.pointer == "/Field"
    return type(failure.value), failure.value.detail


def test_text_is_what_can_be_stored_and_sent_on() -> None:
    assert readers.text("Field", "") == ""
    assert readers.text("Field", "\ud7ff\ue000\u00e9\x01", limit=4) == "\ud7ff\ue000\u00e9\x01"
    assert refused(readers.text, 7) == (InvalidType, "Field must be a string")
    assert refused(readers.text, None) == (InvalidType, "Field must be a string")
    for character in ("\0", "\ud800", "\udfff"):
        found = refused(readers.text, f"a{character}b")
        assert found == (InvalidRequest, "Field holds a character that is not allowed")
    with pytest.raises(InvalidRequest, match="Field must be at most 4 characters"):
        readers.text("Field", "abcde", limit=4)


def test_a_time_is_iso_8601_and_utc_where_it_names_no_zone() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for given in ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00", "2026-01-31 14:00+02:00", "2026-01-31T12"):
        found = readers.time("Field", given)
        assert (found, found.tzinfo) == (noon, UTC)
    malformed = (InvalidRequest, "Field must be a time as 2026-01-31T12:00:00Z")
    for wrong in ("", "noon", "2026-01-32", "0001-01-01T00:00:00+01:00"):
        assert refused(readers.time, wrong) == malformed
    assert refused(readers.time, "2" * 65) == (InvalidRequest, "Field must be at most 64 characters")
    assert refused(readers.time, "2" * 64) == malformed
    assert refused(readers.time, 7) == (InvalidType, "Field must be a string")


def test_an_enumeration_names_what_it_takes_and_what_is_to_come() -> None:
    read = readers.one_of("a", "b", later=("c",), make=str.upper)
    assert read("Field", "b") == "B"
    assert refused(read, "c") == (InvalidEnum, "Field c is not supported yet")
    assert refused(read, "B") == (InvalidEnum, "Field must be one of a, b, c")
    assert refused(read, 7) == (InvalidType, "Field must be a string")


def test_a_rate_is_a_number_or_its_digits() -> None:
    read = readers.rate(8000, 16000, later=(44100,))
    assert [read("Field", value) for value in (8000, "16000")] == [8000, 16000]
    assert refused(read, 44100) == (InvalidEnum, "Field 44100 is not supported yet")
    assert refused(read, "1") == (InvalidEnum, "Field must be one of 8000, 16000, 44100")
    for other in (True, 8000.0, None, [8000]):
        assert refused(read, other) == (InvalidType, "Field must be a number")


def test_a_whole_number_lies_within_its_bounds() -> None:
    read = readers.whole(1, 123_456_789)
    assert [read("Field", value) for value in (1, "1", "007", 123_456_789, "123456789")] == [
        *(1, 1, 7),
        *(123_456_789, 123_456_789),
    ]
    for outside in (0, "0", -1, 123_456_790, "999999999"):
        assert refused(read, outside) == (InvalidRequest, "Field must be from 1 to 123456789")
    for other in ("-1", "+1", "1.5", "", "1234567890", "\u0661", 1.0, True, None):
        assert refused(read, other) == (InvalidType, "Field must be a whole number")


def test_a_plus_sign_that_a_form_read_as_a_space_comes_back() -> None:
    assert readers.party("Field", " 4930123") == "+4930123"
    for kept in ("+4930123", "sip:a@b", "", "4 9"):
        assert readers.party("Field", kept) == kept
    assert refused(readers.party, 49) == (InvalidType, "Field must be a string")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("http://" + "a" * 253 + "/", None),
        ("http://" + "a" * 254 + "/", "its host or port is malformed"),
        ("http://h:1/", None),
        ("http://h:65535/", None),
        ("http://h:0/", "its host or port is malformed"),
        ("http://h:65536/", "its host or port is malformed"),
        ("http://[2001:db8::1]:80/", None),
        ("http://[2001:db8::g]/", "its host or port is malformed"),
        ("http://[v1.a:b]/", "its host or port is malformed"),
        ("http:///x", "its host or port is malformed"),
        ("http://h/\x7f", "it holds a space, a control character or a character outside ASCII"),
        ("http://h/!~", None),
        ("http://h/ ", "it holds a space, a control character or a character outside ASCII"),
        ("//h/", "it has no scheme"),
        ("ftp://h/", "it has another scheme"),
        ("http://h/#a", None),
        ("http://h/" + "a" * 1991, None),
        ("http://h/" + "a" * 1992, "it is longer than 2000 characters"),
    ],
)
def test_a_url_has_a_scheme_a_host_and_a_port_that_can_be(given: str, fault: str | None) -> None:
    read = readers.url("http", "https")
    if fault is None:
        assert read("Field", given) == given
    else:
        assert refused(read, given) == (InvalidUrl, f"Field must be a http:// or https:// URL: {fault}")


def test_only_a_websocket_url_may_have_no_fragment() -> None:
    for scheme in ("ws", "WSS"):
        assert refused(readers.websocket_url, f"{scheme}://h/#") == (
            InvalidUrl,
            "Field must be a ws:// or wss:// URL: it has a fragment",
        )
    assert readers.url("http")("Field", "http://h/#") == "http://h/#"


def test_a_websocket_url_is_the_parsed_value() -> None:
    assert readers.websocket_url("Field", "WSS://App.example/x").host == "app.example"
    assert refused(readers.websocket_url, 7) == (InvalidType, "Field must be a string")


def test_base64_is_the_standard_one_with_its_padding() -> None:
    for encoded in ("", "YQ==", "+/+/"):
        assert readers.base64("Field", encoded) == encoded
    for wrong in ("YQ", "-_-_", "YQ==\n", "a b="):
        assert refused(readers.base64, wrong) == (InvalidRequest, "Field must be base64")


def test_an_object_may_be_given_as_its_json_text() -> None:
    assert readers.unfolded("Field", '{"a": [1]}') == {"a": [1]}
    for kept in ({"a": 1}, [1], 7, None):
        assert readers.unfolded("Field", kept) is kept
    kind, words = refused(readers.unfolded, '{"a": 1, "a": 2}')
    assert (kind, words.startswith("Field: ")) == (InvalidRequest, True)
    assert refused(readers.unfolded, "\0") == (InvalidRequest, "Field holds a character that is not allowed")


@pytest.mark.parametrize(("given", "meant"), [(True, True), ("true", True), (False, False), ("false", False)])
def test_a_boolean_or_its_name(given: object, meant: bool) -> None:
    assert readers.boolean("Field", given) is meant


@pytest.mark.parametrize("given", [1, 0, "True", "", "yes", None, []])
def test_nothing_else_is_a_boolean(given: object) -> None:
    assert refused(readers.boolean, given) == (InvalidType, "Field must be true or false")


def test_the_schema_of_an_enumeration_shows_an_example() -> None:
    schema: dict[str, Any] = {"type": "string", "enum": ["a", "b"], "description": "Which."}
    assert readers.enum_schema("a", "b", default=None, description="Which.") == schema | {"example": "a"}
    assert readers.enum_schema("a", "b", default="b", description="Which.") == schema | {"default": "b", "example": "b"}
    shown = readers.enum_schema("a", "b", default="a", description="Which.", example="b")
    assert shown == schema | {"default": "a", "example": "b"}


def test_a_field_is_read_by_its_name_and_missed_where_it_must_be() -> None:
    row = Field("MaxLength", readers.whole(1, 9), {})
    assert read_field(row, Fields([("max_length", "7")])) == 7
    assert read_field(row, Fields([])) is None
    needed = Field("MaxLength", readers.whole(1, 9), {}, required=True)
    assert read_field(needed, Fields([("MaxLength", 7)])) == 7
    with pytest.raises(MissingParameter, match="MaxLength is required") as failure:
        read_field(needed, Fields([("Other", 7)]))
    assert failure.value.pointer == "/MaxLength"
