"""The cookies of one call over its documents (RFC 6265), as hosted services keep them; no other call gets them."""

from collections.abc import Iterable
from email.message import Message
from http.client import HTTPResponse
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast
from urllib.request import Request

COOKIE_LIMIT = 50
"""Cookies, as many as browsers keep for a site at least (RFC 6265 section 6.1); with more, the jar is emptied."""
SIZE_LIMIT = 4096
"""Bytes of one `Set-Cookie`; a longer one is left out."""


class Cookies:
    """A jar."""

    def __init__(self) -> None:
        self._jar = CookieJar(DefaultCookiePolicy(rfc2965=False, netscape=True))

    def header(self, url: str) -> str | None:
        """`Cookie` for a request."""
        request = Request(url)
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie")

    def keep(self, url: str, set_cookies: Iterable[str]) -> None:
        """The cookies that an answer from that URL sets."""
        message = Message()
        for value in set_cookies:
            if len(value) <= SIZE_LIMIT:
                message["Set-Cookie"] = value
        if "Set-Cookie" in message:
            self._jar.extract_cookies(cast(HTTPResponse, _Answer(message)), Request(url))
        if len(self._jar) > COOKIE_LIMIT:
            self._jar.clear()


class _Answer:
    """What the jar asks of one."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def info(self) -> Message:
        """The headers."""
        return self._message
