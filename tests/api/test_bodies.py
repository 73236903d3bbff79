"""Bodies: two encodings, several spellings, everything else refused."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.api.bodies import FORM, JSON, Fields, parse, parse_query
from trunkline.errors import InvalidRequest, UnsupportedMediaType


def _parse(body: bytes, content_type: str | None = JSON, encoding: str | None = None) -> Fields:
    return parse(content_type, encoding, body)


@pytest.mark.parametrize(
    "spelling", ["StatusCallback", "status_callback", "statusCallback", "Status_Callback", "STATUSCALLBACK"]
)
def test_a_field_is_found_by_any_spelling(spelling: str) -> None:
    assert _parse(json.dumps({spelling: "x"}).encode()).get("StatusCallback") == "x"


def test_from_with_an_underscore_is_from() -> None:
    assert _parse(b"from_=%2B1&Page=2", FORM).get("From") == "+1"


@pytest.mark.parametrize("content_type", [None, "", "text/plain", JSON, FORM])
def test_an_empty_body_has_no_fields_whatever_its_type(content_type: str | None) -> None:
    assert _parse(b"", content_type).pairs == ()


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON ; Charset=UTF-8",
        'application/json; charset="utf-8"; x=y',
        JSON + ";",
        JSON + "; charset=utf8",
        JSON + "; charset=US-ASCII",
    ],
)
def test_content_types_are_read_as_rfc_9110_says(content_type: str) -> None:
    assert _parse(b'{"a": 1}', content_type).get("A") == 1


@pytest.mark.parametrize(
    ("content_type", "encoding", "detail"),
    [
        (None, None, "The body must be application/json or application/x-www-form-urlencoded"),
        ("application/vnd.api+json", None, "The body must be application/json or application/x-www-form-urlencoded"),
        (JSON + "; charset=latin-1", None, "Charset 'latin-1' is not supported; send utf-8"),
        (JSON, "br", "Content-Encoding 'br' is not supported"),
    ],
)
def test_other_types_are_refused_by_name(content_type: str | None, encoding: str | None, detail: str) -> None:
    with pytest.raises(UnsupportedMediaType) as failure:
        _parse(b"{}", content_type, encoding)
    assert failure.value.detail == detail


@pytest.mark.parametrize(("body", "content_type"), [(b'\xef\xbb\xbf{"a": "1"}', JSON), (b"\xef\xbb\xbfa=1", FORM)])
def test_a_byte_order_mark_is_ignored(body: bytes, content_type: str) -> None:
    assert _parse(body, content_type).get("A") == "1"


def test_null_and_empty_count_as_not_given() -> None:
    fields = _parse(b'{"A": null, "B": "", "C": 0, "D": false}')
    assert [fields.get(name) for name in "ABCD"] == [None, None, 0, False]


@pytest.mark.parametrize("form", ["Url=a&Url=b", "Url=a&url=a", "URL=a&Url=b"])
def test_a_field_given_twice_is_refused_and_an_unknown_one_is_not(form: str) -> None:
    fields = parse_query(f"{form}&x=1&x=2")
    with pytest.raises(InvalidRequest, match="Url was given 2 times") as failure:
        fields.get("Url")
    assert failure.value.pointer == "/Url"


@pytest.mark.parametrize("body", [b"Url=%FF", b"Url=\xff", b"&".join([b"a=1"] * 1001)])
def test_a_broken_form_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        _parse(body, FORM)


def test_forms_decode_plus_and_percent() -> None:
    assert _parse(b"a=b+c%20d%2Be%C3%AB", FORM).get("A") == "b c d+eë"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[1]",
        b'"x"',
        b"{} {}",
        b'{"a": Infinity}',
        b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 60000,
    ],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        _parse(body)


@given(st.dictionaries(st.text(), st.text(min_size=1)))
def test_the_members_of_a_json_body_are_its_fields(members: dict[str, str]) -> None:
    fields = _parse(json.dumps(members).encode())
    assert dict(fields.pairs) == members


@given(st.binary(), st.sampled_from([JSON, FORM]))
def test_any_bytes_are_read_or_refused(body: bytes, content_type: str) -> None:
    with suppress(InvalidRequest):
        assert all(isinstance(name, str) for name, _ in _parse(body, content_type).pairs)
