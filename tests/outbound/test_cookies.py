"""A jar of one call."""

import pytest

from trunkline.outbound.cookies import Cookies

COOKIE_LIMIT = 50
SIZE_LIMIT = 4096

URL = "http://app.example/voice/start"


def test_a_cookie_comes_back_where_it_belongs() -> None:
    cookies = Cookies()
    assert cookies.header(URL) is None
    cookies.keep(URL, ["a=1; Path=/", "b=2", "c=3; Path=/other"])
    assert cookies.header(URL) == "b=2; a=1"
    assert cookies.header("http://app.example/") == "a=1"
    assert cookies.header("http://app.example/other/x") == "c=3; a=1"
    assert cookies.header("http://else.example/voice/start") is None
    cookies.keep(URL, [])
    assert cookies.header("http://app.example/") == "a=1"


def test_a_cookie_is_replaced_and_taken_back() -> None:
    cookies = Cookies()
    cookies.keep(URL, ["a=1; Path=/"])
    cookies.keep(URL, ["a=2; Path=/"])
    assert cookies.header(URL) == "a=2"
    cookies.keep(URL, ["a=; Path=/; Max-Age=0"])
    assert cookies.header(URL) is None


def test_a_secure_cookie_is_sent_over_tls_only() -> None:
    cookies = Cookies()
    cookies.keep("https://app.example/", ["a=1; Path=/; Secure"])
    assert cookies.header("http://app.example/") is None
    assert cookies.header("https://app.example/") == "a=1"


def test_a_host_sets_none_for_another() -> None:
    cookies = Cookies()
    cookies.keep(URL, ["a=1; Domain=else.example; Path=/", "b=1; Domain=.app.example; Path=/"])
    assert cookies.header("http://else.example/") is None


@pytest.mark.parametrize(("size", "kept"), [(SIZE_LIMIT, True), (SIZE_LIMIT + 1, False)])
def test_a_long_one_is_left_out(size: int, kept: bool) -> None:
    cookies, rest = Cookies(), "; Path=/"
    cookies.keep(URL, ["a=" + "x" * (size - len("a=" + rest)) + rest, "b=1; Path=/"])
    header = cookies.header(URL) or ""
    assert header.startswith("a=") is kept
    assert header.endswith("b=1")


def test_with_too_many_the_jar_is_emptied() -> None:
    cookies = Cookies()
    cookies.keep(URL, [f"c{number}=1; Path=/" for number in range(COOKIE_LIMIT)])
    assert (cookies.header(URL) or "").count("=") == 50
    cookies.keep(URL, ["more=1; Path=/"])
    assert cookies.header(URL) is None


def test_two_jars_know_nothing_of_each_other() -> None:
    one, other = Cookies(), Cookies()
    one.keep(URL, ["a=1; Path=/"])
    assert (one.header(URL), other.header(URL)) == ("a=1", None)
