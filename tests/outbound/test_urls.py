"""What a URL comes to on the wire, and which other URLs may receive its credentials."""

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.outbound.urls import Authority, BadUrl, WebSocketUrl, moved, place_of, public_part


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


# ── WebSocketUrl ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "secure", "host", "port", "authority", "target"),
    [
        ("ws://app.example/media", False, "app.example", 80, "app.example", "/media"),
        ("wss://app.example", True, "app.example", 443, "app.example", "/"),
        ("WSS://App.example:8443?a", True, "app.example", 8443, "app.example:8443", "/?a"),
        ("ws://[::1]:9000/x?y=:@!$'()*,", False, "::1", 9000, "[::1]:9000", "/x?y=:@!$'()*,"),
        ("ws://u:p@a_b.example-1.com/a;b=c/%20?x=%2F&y=a+b&z=%3f&=&&q", False, "a_b.example-1.com", 80,
         "a_b.example-1.com", "/a;b=c/%20?x=%2F&y=a+b&z=%3f&=&&q"),
    ],
)  # fmt: skip
def test_a_websocket_url_is_parsed_once(
    text: str, secure: bool, host: str, port: int, authority: str, target: str
) -> None:
    url = WebSocketUrl.parse(text)
    assert (url.secure, url.host, url.port) == (secure, host, port)
    assert (url.authority, url.request_target) == (authority, target)
    assert (url.text, str(url)) == (text, text)


def test_user_info_of_a_websocket_url_becomes_basic_auth_and_is_not_displayed() -> None:
    url = WebSocketUrl.parse("wss://us%40er:p%3Aw@App.example:8443/x?token=t0ken")
    scheme, credentials = (url.authorization or "").split()
    assert (scheme, b64decode(credentials)) == ("Basic", b"us@er:p:w")
    assert url.display() == "wss://app.example:8443/x"
    assert not any(secret in repr(url) for secret in ("t0ken", "p%3Aw", credentials))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has no scheme"),
        ("//app", "it has no scheme"),
        ("http://app", "it has another scheme"),
        ("ws:///x", "its host or port is malformed"),
        ("ws://app:99999", "its host or port is malformed"),
        ("ws://[::g]/", "its host or port is malformed"),
        ("ws://[v1.a:b]/", "its host or port is malformed"),
        ("ws://[::1", "its host or port is malformed"),
        ("ws://app/\u00e9", "it holds a space, a control character or a character outside ASCII"),
        ("ws://app/#a", "it has a fragment"),
        ("ws://app/" + "a" * 1992, "it is longer than 2000 characters"),
    ],
)
def test_what_is_no_websocket_url_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(BadUrl, match=f"^{reason}$"):
        WebSocketUrl.parse(text)


@given(st.text(max_size=60))
def test_a_websocket_url_is_a_clean_request_line_or_refused(rest: str) -> None:
    try:
        url = WebSocketUrl.parse("ws://app/" + rest)
    except BadUrl:
        return
    assert url.request_target == "/" + rest
    assert url.request_target.isascii()
    assert url.request_target.isprintable()
    assert " " not in url.request_target


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("a.example/v", ""),
        ("https://me:pw@a.example:8443/v/?x=1#y", "https://a.example:8443/v/"),
        ("http://a%40b@[::1]?x", "http://[::1]"),
        ("wss://a.example", "wss://a.example"),
        ("http://[", ""),
    ],
)
def test_the_public_part_of_a_url_has_no_secret(url: str, shown: str) -> None:
    assert public_part(url) == shown
