"""What an answer's headers let us do with its file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.texml.caching import Known, directives, known_of


def known(*headers: tuple[str, str], before: Known | None = None) -> Known:
    return known_of(lambda name: [value for key, value in headers if key == name], 100, before)


@pytest.mark.parametrize(
    ("values", "kept", "fresh"),
    [
        (["max-age=60"], True, 60),
        (["Public, MAX-AGE=60"], True, 60),
        (['max-age="60"'], True, 60),
        (["public", "max-age=60"], True, 60),
        (["max-age=60", "no-store"], False, 60),
        (["max-age=60, no-store"], False, 60),
        (["no-cache, max-age=60"], True, 0),
        (['no-cache="set-cookie", max-age=60'], True, 0),
        (['private="no-store", max-age=60'], True, 60),
        (["s-maxage=60"], True, 0),
        (["x-max-age=60"], True, 0),
        (["max-age=-60"], True, 0),
        (["max-age=1e400"], True, 0),
        (["max-age=" + "9" * 5000], True, 365 * 86400),
        (["max-age=60, max-age=90"], True, 60),
        ([',,max-age=60,"'], True, 60),
        ([], True, 0),
    ],
)
def test_cache_control(values: list[str], kept: bool, fresh: float) -> None:
    found = known(*(("cache-control", value) for value in values))
    assert (found.kept, found.fresh_until - 100) == (kept, fresh)


def test_what_else_shortens_its_life() -> None:
    age = ("cache-control", "max-age=60")
    assert known(age, ("age", "50")).fresh_until == 110
    assert known(age, ("age", "70")).fresh_until == 100
    assert known(age, ("age", "soon")).fresh_until == 160
    assert known(age, ("vary", "accept, *")).fresh_until == 100
    assert known(("pragma", "no-cache")).fresh_until == 100
    assert known(age, ("pragma", "no-cache")).fresh_until == 160, "Cache-Control counts (RFC 9111 section 5.4)"


def test_validators_that_a_response_omits_are_kept() -> None:
    first = known(("etag", '"1"'), ("last-modified", "yesterday"))
    assert first.questions() == [("If-None-Match", '"1"'), ("If-Modified-Since", "yesterday")]
    assert known(("cache-control", "max-age=60"), before=first) == Known(True, 160, '"1"', "yesterday")
    assert known(("etag", '"2"'), before=first).tag == '"2"'
    assert known(("etag", '"\xe9"')).questions() == []


@given(st.lists(st.text(max_size=40)))
def test_any_headers_are_read(values: list[str]) -> None:
    assert all(name == name.lower() for name in directives(values))
    assert (
        known(*(("cache-control", value) for value in values), *(("age", value) for value in values)).fresh_until >= 100
    )


def test_directives_have_their_values_and_flags_have_none() -> None:
    assert directives(['no-store, Max-Age=60, private="a, b"', "max-age=7"]) == {
        "no-store": "",
        "max-age": "60",
        "private": "a, b",
    }
    assert directives([]) == {}
