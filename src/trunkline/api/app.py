"""The API as one ASGI application: a face's operations, what operators ask, and the boundary that no error crosses.

The router is Starlette's. FastAPI, which served before, was used as a router only: its validation, its documents and
its errors are replaced by the face's tables, and it read the signature of each handler for every request. The clock is
read here, and here a repeated start waits for its first try, so this file is a driver.
"""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import structlog
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route, Router, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from trunkline.api import (
    audit,
    console_pages,
    docs_page,
    event_socket,
    listen_socket,
    openapi,
    paths,
    phone_socket,
    problems,
)
from trunkline.api.auth import OPERATOR, Authenticator, Principal, permit
from trunkline.api.event_socket import EventSockets
from trunkline.api.limits import Recent, TokenBuckets
from trunkline.api.listen_socket import ListenSockets
from trunkline.api.logins import Logins
from trunkline.api.operation import ApiRequest, Operation, RestFace, Services
from trunkline.api.phone_socket import PhoneLine, PhoneSockets
from trunkline.calls.accounts import Accounts
from trunkline.calls.control import Applications, CallControl, SigningKeys
from trunkline.config import HttpSettings
from trunkline.errors import ApiError, AuthenticationFailed, MethodNotAllowed, ResourceNotFound, Unavailable
from trunkline.ids import Seconds
from trunkline.live.hub import Hub
from trunkline.live.tickets import Tickets

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The Prometheus text format."""

RETRY_MEMORY = Seconds(60.0)
"""How long the answer to a request that makes something is kept for its repeats."""

GUESSES = 5.0
"""Requests without a valid key per second and address that are answered at once, with a burst of two seconds' worth."""
GUESS_DELAY = 1.0
"""Seconds that further ones wait for their answer."""
GUESS_LOG = Seconds(60.0)
"""Between two log lines about one address."""

REQUEST_TIME = 9.0
"""Seconds that any request may take, its body included."""

T = TypeVar("T")
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def create_app(
    face: RestFace,
    control: CallControl,
    applications: Applications,
    accounts: Accounts,
    settings: HttpSettings,
    *,
    ready: Callable[[], str | None],
    api_ready: Callable[[], str | None],
    signing: SigningKeys,
    metrics: Callable[[], bytes],
    clock: Callable[[], float] = time.monotonic,
    hub: Hub | None = None,
    line: PhoneLine | None = None,
) -> "ApiApplication":
    """Build the application.

    Its `operators` is another, if the settings have a port for that.

    `ready` returns None or the reason why this node takes no calls, `api_ready` why it answers no requests;
    `signing` has the keys that sign callbacks; `metrics` returns the Prometheus text; `clock` is
    monotonic, in seconds; `hub` has the events, without it there are none, and no console; `line` is that of browser
    phones. What was refused is counted in `counters`, under names as `problems.counter` makes them.
    """
    counters: Counter[str] = Counter()
    tries: IdempotencyCache[Any] = IdempotencyCache(clock)
    tickets: Tickets[Principal] = Tickets(_secret)
    logins = Logins(_secret, clock, lambda: datetime.now(UTC))

    def ticket(sender: Principal) -> str:
        return tickets.issue(sender, sender.key_sid, Seconds(clock()))

    limit = settings.body_limit
    services = Services(control, applications, accounts, signing, limit, counters, tries, ticket, logins)
    gate = Gate(Authenticator(accounts, TokenBuckets(settings.rate_limit), clock), counters, clock)

    def route(operation: Operation) -> Route:
        path = operation.path.removesuffix(".json")
        return Route(path, _endpoint(operation, gate, services), methods=[operation.method])

    customers = [route(operation) for operation in face.operations if operation.rights != OPERATOR]
    operators = [route(operation) for operation in face.operations if operation.rights == OPERATOR]
    operators += _operators_routes(face, metrics, gate if settings.operators_need_key else None)
    health = _health_routes(ready, api_ready)
    sockets: list[BaseRoute] = []
    stops: list[Callable[[], Awaitable[None]]] = []
    if hub is not None:
        health += console_pages.routes()
        events = EventSockets(face, hub, tickets, accounts, control, settings.public_url, clock)
        listeners = ListenSockets(face, events, hub.listening, accounts, control)
        sockets, stops = _sockets(face, events, listeners, line, gate)
    if settings.operators_port is None:
        return ApiApplication(face, [*customers, *operators, *health], counters, sockets=sockets, stops=stops)
    for_operators = ApiApplication(face, [*operators, *health], counters)
    return ApiApplication(face, [*customers, *health], counters, for_operators, sockets, stops)


def _secret() -> str:
    return secrets.token_urlsafe(24)  # 32 characters: a link with one fits a line of 80


def _sockets(
    face: RestFace, events: EventSockets, listeners: ListenSockets, line: PhoneLine | None, gate: "Gate"
) -> tuple[list[BaseRoute], list[Callable[[], Awaitable[None]]]]:
    """The WebSockets, and what ends those of browser phones."""
    routes: list[BaseRoute] = [
        _socket_route(event_socket.PATH, events.serve, gate),
        _socket_route(listen_socket.PATH, listeners.serve, gate),
    ]
    if line is None:
        return routes, []
    phones = PhoneSockets(face, events, line)
    return [*routes, _socket_route(phone_socket.PATH, phones.serve, gate)], [phones.stop]


def _socket_route(
    path: str, serve: Callable[[WebSocket, event_socket.Admit], Awaitable[None]], gate: "Gate"
) -> WebSocketRoute:
    async def served(socket: WebSocket) -> None:
        await serve(socket, lambda socket: gate.admit(socket, None))

    return WebSocketRoute(path, served)


def _endpoint(operation: Operation, gate: "Gate", services: Services) -> Endpoint:
    """Admit who asks, then let the operation answer."""

    async def serve(request: Request) -> Response:
        path = {name: paths.decode(value) for name, value in request.path_params.items()}
        try:
            async with asyncio.timeout(REQUEST_TIME):
                account = path.get("account_sid")
                sender = None if operation.public else await gate.admit(request, account)
                return await audit.answered(operation, ApiRequest(request, path, sender, services))
        except TimeoutError:
            raise Unavailable("The request took too long.", retry_after=2) from None

    return serve


class Gate:
    """Admits requests, and slows down an address that guesses keys."""

    def __init__(self, authenticator: Authenticator, counters: Counter[str], clock: Callable[[], float]) -> None:
        self._authenticator = authenticator
        self._counters = counters
        self._clock = clock
        self._guesses = TokenBuckets(GUESSES)
        self._logged: Recent[bool] = Recent(GUESS_LOG)

    async def admit(self, request: HTTPConnection, account_sid: str | None) -> Principal:
        """See `Authenticator.admit`."""
        try:
            return self._authenticator.admit(request, account_sid)
        except AuthenticationFailed:
            await self._slow_down(getattr(request.state, "origin", ""))
            raise

    async def _slow_down(self, origin: str) -> None:
        now = Seconds(self._clock())
        if not self._guesses.take(origin, now):
            return
        self._counters["slowed_guesses"] += 1
        key = origin.encode()
        if self._logged.get(key, now) is None:
            self._logged.put(key, True, now)
            _log.warning("api_keys_guessed", source=origin, reason="many requests without a valid key")
        await asyncio.sleep(GUESS_DELAY)


def _health_routes(ready: Callable[[], str | None], api_ready: Callable[[], str | None]) -> list[Route]:
    """What balancers and supervisors ask: outside the face's prefix, without a key."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def readiness(why_not: Callable[[], str | None]) -> Endpoint:
        async def readyz(_request: Request) -> Response:
            reason = why_not()
            return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)

        return readyz

    return _gets({"/healthz": healthz, "/readyz": readiness(ready), "/readyz/api": readiness(api_ready)})


def _operators_routes(face: RestFace, metrics: Callable[[], bytes], gate: "Gate | None") -> list[Route]:
    """What the people who run the server look at: outside the face's prefix. With a `gate`, by the operator's key."""
    document = openapi.document(face)
    page = docs_page.render(face)

    def guarded(serve: Endpoint) -> Endpoint:
        async def admitted(request: Request) -> Response:
            if gate is not None:
                permit(await gate.admit(request, None), OPERATOR)
            return await serve(request)

        return admitted

    async def prometheus(_request: Request) -> Response:
        return Response(metrics(), headers={"content-type": METRICS_TYPE})

    async def description(_request: Request) -> Response:
        return JSONResponse(document)

    async def docs(_request: Request) -> Response:
        return HTMLResponse(page, headers=console_pages.HEADERS)

    async def websocket(_request: Request) -> Response:
        return JSONResponse(face.asyncapi)

    served = {"/metrics": prometheus, "/openapi.json": description, "/asyncapi.json": websocket, "/docs": docs}
    return _gets({path: guarded(serve) for path, serve in served.items()})


def _gets(served: dict[str, Endpoint]) -> list[Route]:
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in served.items()]


def _refusal(request: Request, error: Exception) -> ApiError:
    """Our error for one of the router's, which knows only 404 and 405."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(f"{request.method} is not allowed here")
    return ResourceNotFound()


class ApiApplication:
    """The ASGI application: one spelling per path, HEAD as GET, and no exception beyond it."""

    def __init__(
        self,
        face: RestFace,
        routes: list[Route],
        counters: Counter[str],
        operators: "ApiApplication | None" = None,
        sockets: Sequence[BaseRoute] = (),
        stops: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        self.face = face
        self._stops = stops
        self.socket_paths = frozenset(route.path for route in sockets if isinstance(route, WebSocketRoute))
        """Where an upgrade to a WebSocket is taken; elsewhere it is not looked at (RFC 9110 section 7.8)."""
        self.operators = operators
        """The application of the operators' port, if there is one."""
        self.counters = counters
        """Requests, and refusals by kind."""
        self._routes = routes
        handlers = {ApiError: self._refuse, HTTPException: self._refuse}
        self._app = ExceptionMiddleware(Router([*routes, *sockets], redirect_slashes=False), handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._serve_socket(scope, receive, send)
            return
        self.counters["requests"] += 1
        # The server leaves out the body of an answer to HEAD by itself (RFC 9110 section 9.3.2).
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inner = {**scope, "app": self, "method": method, "path": paths.canonical(scope["raw_path"], self.face.prefix)}
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(inner, receive, watch)
        except ClientDisconnect:
            self.counters["disconnected"] += 1
        except Exception as error:
            self.counters["failed"] += 1
            _log.error("request_failed", method=method, path=inner["path"], reason=repr(error), at=_origin(error))
            # Once the answer has begun, the server can only close the connection, and does.
            if not started:
                await self.face.error_response(problems.unexpected(), method, ())(inner, receive, send)

    async def stop(self) -> None:
        """End what the application runs by itself: the calls of browser phones."""
        for stop in self._stops:
            await stop()

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.counters["sockets"] += 1
        try:
            await self._app({**scope, "app": self}, receive, send)
        except Exception as error:
            self.counters["failed"] += 1
            _log.error("request_failed", method="GET", path=scope["path"], reason=repr(error), at=_origin(error))
            with contextlib.suppress(Exception):
                await send({"type": "websocket.close", "code": 1011})

    async def _refuse(self, request: Request, error: Exception) -> Response:
        refusal = _refusal(request, error)
        self.counters[problems.counter(refusal)] += 1
        _log.debug("request_refused", method=request.method, path=request.url.path, reason=refusal.detail)
        return self.face.error_response(refusal, request.method, self._methods(request.scope))

    def _methods(self, scope: Scope) -> set[str]:
        """The methods of all routes that have the request's path; HEAD goes wherever GET goes."""
        methods: set[str] = set()
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                methods |= route.methods or set()
        return methods | ({"HEAD"} if "GET" in methods else set())


def _origin(error: Exception) -> str:
    """Where an error was raised, `file:line`: what one log line can hold of a traceback."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}" if traceback else "unknown"


class IdempotencyCache(Generic[T]):
    """What starts made lately (`retries.Tries`). A repeat waits while the first try is under way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # None: the first try failed, and a repeat must try for itself.
        self._answers: Recent[asyncio.Future[T | None]] = Recent(RETRY_MEMORY)

    async def recall(self, key: bytes) -> T | None:
        """What the first try made, waiting for it if need be; None when there was none or it failed."""
        answer = self._answers.get(key, Seconds(self._clock()))
        # Shielded: the first try's answer is not this request's to cancel.
        return None if answer is None else await asyncio.shield(answer)

    async def first(self, key: bytes, make: Awaitable[T]) -> T:
        """Try, and keep the answer. Raises what `make` raises."""
        answer: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._answers.put(key, answer, Seconds(self._clock()))
        try:
            made = await make
            answer.set_result(made)
        finally:
            if not answer.done():
                self._answers.drop(key, answer)
                answer.set_result(None)
        return made
