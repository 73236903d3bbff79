"""HTTP to the application: gets documents.

Requests carry their parameters as a form, in the body of a POST or the query of a GET, and are signed like status
callbacks, for what is really sent. Redirections are followed, bodies bounded, and what is no TeXML is as good as no
answer, so that the fallback gets its chance. An answer that is itself audio is played, as if the document said so. A
call keeps the cookies that it gets with its documents.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

import structlog

from trunkline.config import TexmlSettings
from trunkline.outbound.client import Client, Header, Order, RequestFailed
from trunkline.outbound.cookies import Cookies
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.turns import Limits
from trunkline.texml import effects
from trunkline.texml.charset import text_of
from trunkline.texml.document import SIZE_LIMIT, DocumentError
from trunkline.texml.verbs import Document, Play, Read
from trunkline.webhooks.payloads import FORM_TYPE, masked
from trunkline.webhooks.signing import Signer

_log = structlog.get_logger()

Parameters = tuple[tuple[str, str], ...]

LIMITS = Limits(total=2000, account=1000, host=200, silent=2)
"""A call asks for one document at a time, so that in all there are as many requests as calls at most."""
ACCEPT = "application/xml, text/xml, text/plain;q=0.5, */*;q=0.1"


class FetchError(Exception):
    """No document; the text says why, for people."""


class Fetcher:
    """Makes the interpreter's requests."""

    def __init__(self, settings: TexmlSettings, signer: Signer, dialler: Dialler, read: Read) -> None:
        self._settings = settings
        self._signer = signer
        self._read = read
        self._client = Client(dialler, LIMITS)
        self.counters: Counter[str] = Counter()
        """fetched, failed, fallbacks, unsigned: asked for without our signature."""
        self.on_done: Callable[[str, float], None] = lambda _outcome, _seconds: None
        """Called for each request with `fetched` or `failed`, and its seconds."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.stop()

    async def document(self, order: effects.Fetch, common: Parameters, cookies: Cookies) -> tuple[Document, str]:
        """The document of an order, and the URL that it came from. `common` is what every request says of the call,
        whose cookies these are. Raises FetchError."""
        try:
            return await self._document(order.request, common, cookies)
        except FetchError as error:
            if order.fallback is None:
                raise
            self.counters["fallbacks"] += 1
            first = error
        try:
            return await self._document(order.fallback, common, cookies)
        except FetchError as error:
            raise FetchError(f"{first}; the fallback: {error}") from error

    async def _document(
        self, request: effects.DocumentRequest, common: Parameters, cookies: Cookies
    ) -> tuple[Document, str]:
        warnings: list[str] = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            found, url = await self._request(request, common, cookies, warnings.append)
        except (FetchError, DocumentError) as error:
            self.counters["failed"] += 1
            self.on_done("failed", took := loop.time() - began)
            why = "; ".join((str(error), *warnings))
            _log.warning("texml_fetch_failed", reason=why, **_about(request, common, took))
            raise FetchError(f"{masked(request.url)}: {why}") from error
        self.counters["fetched"] += 1
        self.on_done("fetched", took := loop.time() - began)
        _log.info("texml_fetched", **_about(request, common, took))
        if warnings:
            self.counters["unsigned"] += 1
        return replace(found, warnings=(*warnings, *found.warnings)), url

    async def _request(
        self, request: effects.DocumentRequest, common: Parameters, cookies: Cookies, warn: Callable[[str], None]
    ) -> tuple[Document, str]:
        """The document and the last URL; the body of audio is not read."""
        order = self._order(request, dict(common).get("AccountSid", ""), common + request.parameters, cookies)
        timeout = self._settings.fetch_timeout
        try:
            async with asyncio.timeout(timeout), self._client.follow(order, warn) as answer:
                if answer.status >= 400:
                    raise FetchError(f"HTTP status {answer.status}")
                kind = answer.get("content-type")
                if kind.lower().startswith("audio/"):
                    return Document((Play(answer.place.url),)), answer.place.url
                url = answer.place.url
                return self._read(text_of(await answer.body(SIZE_LIMIT), kind), url), url
        except TimeoutError:
            raise FetchError(f"no answer within {timeout:g} s") from None
        except RequestFailed as error:
            raise FetchError(str(error)) from error

    def _order(self, request: effects.DocumentRequest, account: str, form: Parameters, cookies: Cookies) -> Order:
        url, body = request.url.partition("#")[0], b""
        text = urlencode(form, errors="replace")
        headers: tuple[Header, ...] = (("Accept", ACCEPT),)
        if request.method == "POST":
            body = text.encode()
            headers += (("Content-Type", FORM_TYPE),)
        else:
            url += ("&" if "?" in url else "?") + text
        return Order(account, request.method, url, body, headers, self._signer.headers, cookies)


def _about(request: effects.DocumentRequest, common: Parameters, took: float) -> dict[str, object]:
    """The keys of a log line about a request that took so many seconds."""
    return {"call_sid": dict(common).get("CallSid"), "url": masked(request.url), "seconds": round(took, 3)}
