"""HTTP/1.1 for customers' hosts (driver): requests that share no state but idle connections.

A connection that its peer kept open is used again by the same account for the same origin within `IDLE_TIMEOUT`. If it
turns out to be closed before any byte of an answer, the request is sent once more at once, on a new connection.
No redirection is followed here, no cookie kept, no proxy asked: see `follow` for the first.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import h11

from trunkline import USER_AGENT
from trunkline.outbound.connection import HttpConnection, Lost
from trunkline.outbound.content import BadContent, ContentDecoder, codings_of, decoded
from trunkline.outbound.cookies import Cookies
from trunkline.outbound.dialler import Dialler, dial_words, system_certificates
from trunkline.outbound.egress import Forbidden
from trunkline.outbound.line import Line
from trunkline.outbound.turns import Limits, TooMany
from trunkline.outbound.urls import Authority, BadUrl, moved, place_of

IDLE_TIMEOUT = 1.0
"""Seconds to keep a connection for the next request: less than any common server does."""
IDLE_LIMIT = 50
"""Connections kept for one account; with more, the oldest is closed."""
DRAIN_LIMIT = 16384
"""Bytes of a body of no interest that are read, so that the connection can be used again; beyond, it is closed."""
REDIRECT_LIMIT = 5
REDIRECTS = (301, 302, 303, 307, 308)

Header = tuple[str, str]
Sign = Callable[[str, bytes], list[Header]]
"""The headers that sign a body at a time: Unix seconds in decimal."""


class RequestFailed(Exception):
    """There is no answer; the text is the reason, for people."""

    permanent = False
    """It cannot be sent at all: a repeat would not help."""


class Unsendable(RequestFailed):
    """The URL is invalid, its host may not be dialled, or no request can be made of it."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Order:
    """A request."""

    account: str
    method: str
    url: str = field(repr=False)
    body: bytes = b""
    headers: tuple[Header, ...] = ()
    """Besides Host, User-Agent, Accept-Encoding, Content-Length and Authorization."""
    sign: Sign | None = None
    cookies: Cookies | None = field(default=None, repr=False)


class HttpResponse:
    """A status and headers; the body is to be read before the next answer is asked for."""

    def __init__(self, place: Authority, head: h11.Response, connection: HttpConnection) -> None:
        self.place = place
        self.status = head.status_code
        self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        self._connection = connection

    def all(self, name: str) -> list[str]:
        """The values of a header, of each line that has it."""
        return [value for known, value in self._headers if known == name]

    def get(self, name: str) -> str:
        """The values of a header that is a list, as one (RFC 9110 section 5.3); empty without it."""
        return ", ".join(self.all(name))

    async def pieces(self, limit: int) -> AsyncIterator[bytes]:
        """The body without its coding. Raises RequestFailed, for one of more than `limit` bytes too."""
        try:
            decoders = [ContentDecoder(coding) for coding in codings_of(self.all("content-encoding"))]
            size = 0
            async for data in self._connection.body():
                for piece in decoded(decoders, data):
                    size += len(piece)
                    if size > limit:
                        raise BadContent(f"it has more than {limit} bytes")
                    yield piece
            for decoder in decoders:
                decoder.end()
        except BadContent as problem:
            raise RequestFailed(str(problem)) from problem
        except (OSError, Lost, h11.RemoteProtocolError) as problem:
            raise RequestFailed(f"its body breaks off: {problem}") from problem

    async def body(self, limit: int) -> bytes:
        """All of it, bounded likewise."""
        return b"".join([piece async for piece in self.pieces(limit)])

    async def drain(self, limit: int, keep: int = 0) -> bytes:
        """Read what is left, so that the connection can be used again; nothing where that takes more bytes. Returns the
        first `keep` bytes as they came, coded or not."""
        kept = b""
        try:
            async for data in self._connection.body():
                kept += data[: keep - len(kept)]
                limit -= len(data)
                if limit < 0:
                    break
        except (OSError, Lost, h11.RemoteProtocolError):
            pass
        return kept


class Client:
    """The requests of one loop."""

    def __init__(self, dialler: Dialler, limits: Limits | None) -> None:
        """None: the caller limits the requests."""
        self._dialler = dialler
        self._line = None if limits is None else Line(limits)
        self._idle: dict[str, dict[HttpConnection, asyncio.TimerHandle]] = {}
        """By account, the oldest first."""
        self.counters: Counter[str] = Counter()
        """connections, and `renewed`: requests sent once more because a kept connection was closed."""

    async def stop(self) -> None:
        """Close what is idle."""
        for held in self._idle.values():
            for connection, timer in held.items():
                timer.cancel()
                connection.close()
        self._idle.clear()

    @asynccontextmanager
    async def ask(self, order: Order) -> AsyncIterator[HttpResponse]:
        """One request in its account's turn. Raises RequestFailed. Time-outs are the caller's."""
        try:
            place = place_of(order.url, "http", "https")
        except BadUrl as problem:
            raise Unsendable(str(problem)) from problem
        async with self._turn(order.account, place) as answered:
            connection, head = await self._exchange(order, place)
            answered()
            answer = HttpResponse(place, head, connection)
            if order.cookies is not None:
                order.cookies.keep(place.url, answer.all("set-cookie"))
            try:
                yield answer
            finally:
                self._release(order.account, connection)

    @asynccontextmanager
    async def follow(self, order: Order, warn: Callable[[str], None]) -> AsyncIterator[HttpResponse]:
        """As `ask`, and follows redirections (RFC 9110 section 15.4); each request is signed again. An untrusted
        origin gets neither signature nor credentials; `warn` is called."""
        for _ in range(REDIRECT_LIMIT + 1):
            async with self.ask(order) as answer:
                location = answer.get("location")
                if answer.status not in REDIRECTS or not location:
                    yield answer
                    return
                order = _moved(order, answer, location, warn)
                await answer.drain(DRAIN_LIMIT)
        raise RequestFailed(f"more than {REDIRECT_LIMIT} redirections")

    # ── one exchange ────────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _turn(self, account: str, place: Authority) -> AsyncIterator[Callable[[], None]]:
        """Wait for the turn; yields the function to call when the host answers."""
        line = self._line
        if line is None:
            yield lambda: None
            return
        try:
            async with line.turn(account, f"{place.host}:{place.port}") as turn:
                started = asyncio.get_running_loop().time()
                try:
                    yield lambda: line.answers(turn)
                except BaseException:
                    # A caller that gave up at once shows nothing about the host.
                    if turn.outcome is None and asyncio.get_running_loop().time() - started > IDLE_TIMEOUT:
                        turn.outcome = False
                    raise
        except TooMany:
            raise RequestFailed("too many requests of this account wait already") from None

    async def _exchange(self, order: Order, place: Authority) -> tuple[HttpConnection, h11.Response]:
        request = _request(order, place)
        kept = self._kept(order.account, place)
        if kept is not None:
            try:
                return kept, await kept.exchange(request, order.body)
            except Lost as problem:
                if problem.answered:
                    raise RequestFailed(f"{place.authority}: {problem}") from problem
                self.counters["renewed"] += 1
            except h11.RemoteProtocolError as problem:
                raise RequestFailed(f"{place.authority} does not speak HTTP: {problem}") from problem
        try:
            connection = await self._connect(order.account, place)
            return connection, await connection.exchange(request, order.body)
        except Lost as problem:
            raise RequestFailed(f"{place.authority}: {problem}") from problem
        except h11.RemoteProtocolError as problem:
            raise RequestFailed(f"{place.authority} does not speak HTTP: {problem}") from problem
        except Forbidden as problem:
            raise Unsendable(str(problem)) from problem
        except OSError as problem:
            raise RequestFailed(dial_words(problem, place.host, place.port)) from problem

    async def _connect(self, account: str, place: Authority) -> HttpConnection:
        sock = await self._dialler.dial(place.host, place.port, account=account)
        self.counters["connections"] += 1
        # The certificate and SNI, which knows no addresses (RFC 6066 section 3), are the name's.
        return await HttpConnection.open(
            sock, system_certificates() if place.secure else None, place.host, place.origin
        )

    def _kept(self, account: str, place: Authority) -> HttpConnection | None:
        """The newest idle connection that seems to be alive."""
        for connection in reversed(list(self._idle.get(account, ()))):
            if connection.origin == place.origin:
                self._take(account, connection)
                if connection.alive:
                    return connection
                connection.close()
        return None

    def _release(self, account: str, connection: HttpConnection) -> None:
        if not connection.reusable():
            connection.close()
            return
        if len(self._idle.get(account, ())) >= IDLE_LIMIT:
            self._expire(account, next(iter(self._idle[account])))
        held = self._idle.setdefault(account, {})
        timer = asyncio.get_running_loop().call_later(IDLE_TIMEOUT, self._expire, account, connection)
        held[connection] = timer

    def _expire(self, account: str, connection: HttpConnection) -> None:
        self._take(account, connection)
        connection.close()

    def _take(self, account: str, connection: HttpConnection) -> None:
        held = self._idle[account]
        held.pop(connection).cancel()
        if not held:
            del self._idle[account]


def _request(order: Order, place: Authority) -> h11.Request:
    """Raises Unsendable."""
    headers = [("Host", place.authority), ("User-Agent", USER_AGENT), *order.headers]
    # A compressed body could be a thousand times what its bound allows.
    headers.append(("Accept-Encoding", "identity"))
    if order.sign is not None:
        headers += order.sign(str(int(time.time())), order.body)
    if order.body or order.method == "POST":
        headers.append(("Content-Length", str(len(order.body))))
    if place.basic is not None:
        headers.append(("Authorization", place.basic))
    cookie = order.cookies.header(place.url) if order.cookies is not None else None
    if cookie is not None:
        headers.append(("Cookie", cookie))
    try:
        return h11.Request(method=order.method, target=place.target, headers=headers)
    except (h11.LocalProtocolError, UnicodeError) as problem:
        raise Unsendable(f"no HTTP request can be made: {problem}") from problem


def _moved(order: Order, answer: HttpResponse, location: str, warn: Callable[[str], None]) -> Order:
    """The request that a redirection asks for."""
    try:
        url = moved(answer.place.url, location)
        to = place_of(url, "http", "https")
    except BadUrl as problem:
        raise RequestFailed(f"it redirects to an invalid URL: {problem}") from problem
    get = answer.status == 303 or (answer.status in (301, 302) and order.method == "POST")
    if get:
        dropped = {"content-type"}
        headers = tuple(header for header in order.headers if header[0].lower() not in dropped)
        order = replace(order, method="GET", body=b"", headers=headers)
    if answer.place.trusts(to):
        own = place_of(order.url, "http", "https")
        if own.basic is not None and to.basic is None:
            url = _with_user_info(url, order.url)
        return replace(order, url=url)
    if order.sign is not None:
        warn(f"{answer.place.authority} redirects to {to.authority}, which was asked without our signature")
    return replace(order, url=url, sign=None)


def _with_user_info(url: str, original: str) -> str:
    user_info = original.partition("://")[2].partition("/")[0].rpartition("@")[0]
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user_info}@{rest}"
