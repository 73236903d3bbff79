"""HTTP to the application: gets documents.

Requests carry their parameters as a form, in the body of a POST or the query of a GET, and are signed like status
callbacks (spec section 3). Redirections are followed, bodies bounded, and what is no TeXML is as good as no answer, so
that the fallback gets its chance. An answer that is itself audio is played, as if the document said so.

Any URL that a customer gives is called, private addresses too, as for status callbacks.
"""

import asyncio
import ssl
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from functools import cache
from urllib.parse import urlencode

import httpx
import structlog

from trunkline import USER_AGENT
from trunkline.config import TexmlSettings
from trunkline.texml import values as to
from trunkline.texml.document import SIZE_LIMIT, DocumentError, parse
from trunkline.texml.verbs import Document, Play
from trunkline.webhooks.payloads import FORM_TYPE, masked
from trunkline.webhooks.signing import Signer

_log = structlog.get_logger()

Parameters = tuple[tuple[str, str], ...]

REDIRECT_LIMIT = 5
CONNECTION_LIMIT = 200
"""Requests under way at once; more wait, within their time-out."""
ACCEPT = "application/xml, text/xml, text/plain;q=0.5, */*;q=0.1"
UNSENDABLE = (httpx.HTTPError, httpx.InvalidURL, ValueError)
"""What httpx raises for requests that fail, or that nobody can make (UnicodeError is a ValueError)."""


class FetchError(Exception):
    """No document; the text says why, for people."""


@cache
def _trusted() -> ssl.SSLContext:
    """The system's certificates, which take a tenth of a second to read."""
    return ssl.create_default_context()


def http_client(*, connections: int = CONNECTION_LIMIT) -> httpx.AsyncClient:
    """A client that trusts the system's certificates, goes where the URL says, and leaves time-outs to its user."""
    return httpx.AsyncClient(
        verify=_trusted(),
        trust_env=False,
        follow_redirects=True,
        max_redirects=REDIRECT_LIMIT,
        timeout=None,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=1.0),
        # A compressed body could be a thousand times what its bound allows.
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """The body. Raises FetchError for one that is longer."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > limit:
            raise FetchError(f"the answer has more than {limit} bytes")
    return bytes(body)


class Fetcher:
    """Makes the interpreter's requests."""

    def __init__(self, settings: TexmlSettings, signer: Signer) -> None:
        self._settings = settings
        self._signer = signer
        self._client = http_client()
        self.counters: Counter[str] = Counter()
        """fetched, failed, fallbacks."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def document(self, order: to.Fetch, common: Parameters) -> tuple[Document, str]:
        """The document of an order, and the URL that it came from. Raises FetchError."""
        try:
            return await self._document(order.request, common)
        except FetchError as error:
            if order.fallback is None:
                raise
            self.counters["fallbacks"] += 1
            _log.warning("the fallback is asked for a document", call_sid=dict(common)["CallSid"], error=str(error))
            first = error
        try:
            return await self._document(order.fallback, common)
        except FetchError as error:
            raise FetchError(f"{first}; the fallback: {error}") from error

    async def _document(self, request: to.Request, common: Parameters) -> tuple[Document, str]:
        try:
            kind, body, url = await self._request(request, common)
            found = Document((Play(url),)) if kind.startswith("audio/") else parse(body)
        except (FetchError, DocumentError) as error:
            self.counters["failed"] += 1
            raise FetchError(f"{masked(request.url)}: {error}") from error
        self.counters["fetched"] += 1
        return found, url

    async def _request(self, request: to.Request, common: Parameters) -> tuple[str, bytes, str]:
        """Content type, body and last URL; the body of audio is not read."""
        form = urlencode(common + request.parameters, errors="replace")
        timeout = self._settings.fetch_timeout
        try:
            async with asyncio.timeout(timeout), self._send(request, form) as response:
                if response.is_error:
                    raise FetchError(f"HTTP status {response.status_code}")
                kind = response.headers.get("content-type", "").lower()
                body = b"" if kind.startswith("audio/") else await read_body(response, SIZE_LIMIT)
                return kind, body, str(response.url)
        except TimeoutError:
            raise FetchError(f"no answer within {timeout:g} s") from None
        except UNSENDABLE as error:
            raise FetchError(str(error) or type(error).__name__) from error

    def _send(self, request: to.Request, form: str) -> AbstractAsyncContextManager[httpx.Response]:
        url, body = request.url.partition("#")[0], b""
        if request.method == "POST":
            body = form.encode()
        else:
            url += ("&" if "?" in url else "?") + form
        stamp = str(int(time.time()))
        headers = {
            "Accept": ACCEPT,
            "telnyx-timestamp": stamp,
            "telnyx-signature-ed25519": self._signer.sign(stamp, body),
        }
        if body:
            headers["Content-Type"] = FORM_TYPE
        return self._client.stream(request.method, url, headers=headers, content=body or None)
