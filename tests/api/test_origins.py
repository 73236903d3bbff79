"""Which pages may open a socket."""

import pytest

from trunkline.api.origins import check
from trunkline.errors import PermissionDenied

PUBLIC = "https://voice.example"


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "whatever"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://localhost:8080", "localhost:8080"),
        ("http://dev.localhost:8080", "dev.localhost:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://192.0.2.7", "192.0.2.7"),
        ("https://voice.example", "voice.example"),
        ("https://voice.example", "127.0.0.1:8080"),
    ],
)
def test_our_own_pages_and_what_is_no_browser_may(origin: str | None, host: str) -> None:
    check(origin, host, PUBLIC)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "127.0.0.1:8080"),
        ("http://127.0.0.1:9000", "127.0.0.1:8080"),
        ("http://evil.example:8080", "evil.example:8080"),
        ("http://localhost.evil.example", "localhost.evil.example"),
        ("null", "127.0.0.1:8080"),
        ("", "127.0.0.1:8080"),
        ("ftp://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://127.0.0.1:8080", None),
        ("http://[", "127.0.0.1"),
        ("http://host:port", "host:port"),
    ],
)
def test_pages_of_others_and_names_pointed_here_may_not(origin: str, host: str | None) -> None:
    with pytest.raises(PermissionDenied):
        check(origin, host, PUBLIC)


def test_without_a_public_url_names_are_not_known() -> None:
    with pytest.raises(PermissionDenied, match=r"http\.public_url"):
        check("https://voice.example", "voice.example", None)
