"""What a URL comes to on the wire."""

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import USER_AGENT
from trunkline.streaming.target import BadTarget, target


@pytest.mark.parametrize(
    ("url", "host", "port", "secure"),
    [
        ("ws://app.example/media", "app.example", 80, False),
        ("wss://app.example/media", "app.example", 443, True),
        ("wss://app.example:8443", "app.example", 8443, True),
        ("ws://[::1]:9000/x", "::1", 9000, False),
        ("ws://b\u00fccher.example/", "xn--bcher-kva.example", 80, False),
    ],
)
def test_where_a_url_leads(url: str, host: str, port: int, secure: bool) -> None:
    where = target(url, None)
    assert (where.host, where.port, where.secure) == (host, port, secure)


@pytest.mark.parametrize(
    "url",
    [
        "ws://app.example/a;b=c/%20?x=%2F&y=a+b&z=%3f&=&&q",
        "ws://app.example/?token=a/b?c=d&e[]=1",
        "ws://[::1]:9000/x?y=:@!$'()*,",
        "wss://app.example:8443/%7Euser/?a=%",
    ],
)
def test_path_and_query_are_kept_byte_for_byte(url: str) -> None:
    assert target(url, None).url == url


def test_what_no_request_line_can_carry_is_percent_encoded() -> None:
    assert target("ws://app/\u00e9 %C3?a=b c", None).url == "ws://app/%C3%A9%20%C3?a=b%20c"


def test_user_info_becomes_basic_auth_and_leaves_the_url() -> None:
    where = target("wss://us%40er:p%3Aw@app.example/x", None)
    assert where.url == "wss://app.example/x"
    scheme, credentials = where.headers["Authorization"].split()
    assert (scheme, b64decode(credentials)) == ("Basic", b"us@er:p:w")


def test_headers_name_us_and_carry_the_token() -> None:
    assert target("ws://app", None).headers == {"User-Agent": USER_AGENT}
    assert target("ws://app", "t0ken").headers["x-telnyx-streaming-auth-token"] == "t0ken"


@pytest.mark.parametrize("url", ["http://app", "ws://", "ws:///x", "ws://app:99999", "ws://[::1", "", "ws://\u2100:1"])
def test_what_cannot_be_dialled_is_said(url: str) -> None:
    with pytest.raises(BadTarget, match="URL"):
        target(url, None)


def test_a_token_cannot_add_headers() -> None:
    with pytest.raises(BadTarget, match="token"):
        target("ws://app", "x\r\nHost: evil")


@given(st.text(max_size=60))
def test_any_url_is_a_clean_request_line_or_a_clear_refusal(rest: str) -> None:
    try:
        where = target("ws://app/" + rest, None)
    except BadTarget:
        return
    assert where.url.isascii()
    assert where.url.isprintable()
    assert " " not in where.url


def test_secrets_do_not_show_in_the_values_text() -> None:
    assert "t0ken" not in repr(target("ws://app", "t0ken"))
