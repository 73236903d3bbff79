"""What a URL comes to on the wire, and who may be told what is meant for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.outbound.urls import Authority, BadUrl, moved, place_of


def place(url: str) -> Authority:
    return place_of(url, "http", "https")


@pytest.mark.parametrize(
    ("url", "origin", "authority", "target"),
    [
        ("http://App.example", ("http", "app.example", 80), "app.example", "/"),
        ("https://app.example?x=1#y", ("https", "app.example", 443), "app.example", "/?x=1"),
        ("https://app.example:443/", ("https", "app.example", 443), "app.example:443", "/"),
        ("http://[::1]:9000//a//b?c=//d", ("http", "::1", 9000), "[::1]:9000", "//a//b?c=//d"),
        ("http://b\u00fccher.example/\u00e9 %C3?a=b c", ("http", "xn--bcher-kva.example", 80), "xn--bcher-kva.example",
         "/%C3%A9%20%C3?a=b%20c"),
    ],
)  # fmt: skip
def test_where_a_url_leads(url: str, origin: tuple[str, str, int], authority: str, target: str) -> None:
    found = place(url)
    assert (found.origin, found.authority, found.target) == (origin, authority, target)
    assert place(found.url) == found


@pytest.mark.parametrize(
    ("one", "other", "trusted"),
    [
        ("http://a/x", "http://A:80/y", True),
        ("http://a/x", "https://a/y", True),
        ("http://a:8080/x", "https://a:8443/y", True),
        ("https://a/x", "http://a/y", False),
        ("http://a/x", "http://a:8080/y", False),
        ("https://a/x", "https://a:8443/y", False),
        ("http://a/x", "https://b.a/y", False),
        ("https://a/x", "https://a.evil/y", False),
    ],
)
def test_the_same_origin_is_trusted_and_the_same_host_by_tls(one: str, other: str, trusted: bool) -> None:
    assert place(one).trusts(place(other)) is trusted


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("next", "http://a/b/next"),
        ("/next?x=1", "http://a/next?x=1"),
        ("//other/next", "http://other/next"),
        (" https://other/ ", "https://other/"),
        ("?x=1", "http://a/b/c?x=1"),
        ("", "http://a/b/c"),
    ],
)
def test_a_location_may_be_relative(location: str, url: str) -> None:
    assert moved("http://a/b/c", location) == url


def test_user_info_becomes_a_header_and_shows_nowhere_else() -> None:
    found = place("http://us%40er:p%3Aw@app.example/x")
    assert found.basic == "Basic dXNAZXI6cDp3"
    assert "dXN" not in repr(found)
    assert found.url == "http://app.example/x"


@given(st.text(max_size=60))
def test_any_url_is_a_clean_request_line_or_a_clear_refusal(rest: str) -> None:
    for url in (rest, "http://" + rest, "http://app/" + rest):
        try:
            found = place(url)
        except BadUrl:
            continue
        assert found.url.isascii()
        assert " " not in found.target
        assert found.url.isprintable()
