"""Paths: many spellings in, one out, and segments that survive it."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.api.paths import canonical, decode
from trunkline.errors import ResourceNotFound


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (b"/v2/calls", "/v2/calls"),
        (b"/v2/calls/", "/v2/calls"),
        (b"/v2/calls.json", "/v2/calls"),
        (b"/v2/calls.json/", "/v2/calls"),
        (b"/v2/%63alls", "/v2/calls"),
        (b"/v2/v3:a_b-c", "/v2/v3%3Aa_b-c"),
        (b"/v2/v3%3aa_b-c", "/v2/v3%3Aa_b-c"),
        (b"/v2/a%2Fb", "/v2/a%2Fb"),
        (b"/v2//calls", "/v2//calls"),
        (b"/openapi.json", "/openapi.json"),
        (b"/", "/"),
        (b"//", "/"),
        (b"*", "%2A"),
        (b"http://192.0.2.1:8080/v2/calls.json", "/v2/calls"),
        (b"HTTPS://Host/v2/v3:a/", "/v2/v3%3Aa"),
        (b"http://host", "/"),
        (b"/http://host/v2", "/http%3A//host/v2"),
        (b"ftp://host/v2", "ftp%3A//host/v2"),
        (b"", ""),
    ],
)
def test_a_path_has_one_canonical_form(sent: bytes, seen: str) -> None:
    assert canonical(sent, "/v2") == seen


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_name_survives_the_path(name: str) -> None:
    path = canonical(f"/v2/streams/{quote(name, safe='')}.json".encode(), "/v2")
    assert decode(path.removeprefix("/v2/streams/")) == name


@pytest.mark.parametrize("segment", ["%00", "a%00b", "%FF", "%C3%28"])
def test_what_names_nothing_is_not_found(segment: str) -> None:
    with pytest.raises(ResourceNotFound):
        decode(segment)


@given(st.binary())
def test_any_path_has_one_spelling(path: bytes) -> None:
    spelling = canonical(path, "/v2")
    assert spelling.isascii()
    everything_quoted = "".join(c if c == "/" else f"%{ord(c):02x}" for c in path.decode("latin-1"))
    assert canonical(everything_quoted.encode(), "/v2") == spelling or b"%" in path
