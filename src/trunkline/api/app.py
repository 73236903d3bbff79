"""The API as one ASGI application: routes from the table in `openapi.py`, refusals through `problems.py`, and around
both `ErrorBoundary`, the outermost loop, past which nothing unexpected gets to a peer. Also a driver: the clock is read
here, and here a repeated start waits for its first try."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trunkline.api import docs_page, openapi, paths, problems
from trunkline.api.applications import ApplicationRoutes
from trunkline.api.auth import Accounts, Authenticator
from trunkline.api.calls import CallRoutes
from trunkline.api.limits import Recent, TokenBuckets
from trunkline.api.streams import StreamRoutes
from trunkline.calls.control import Applications, CallControl
from trunkline.config import HttpSettings
from trunkline.errors import ApiError, MethodNotAllowed, ResourceNotFound
from trunkline.ids import Seconds

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The Prometheus text format."""

RETRY_MEMORY = Seconds(60.0)
"""How long what a start made is kept (spec section 1.3)."""

T = TypeVar("T")
Handler = Callable[..., Coroutine[Any, Any, Response]]


def create_app(
    control: CallControl,
    applications: Applications,
    accounts: Accounts,
    settings: HttpSettings,
    *,
    ready: Callable[[], str | None],
    public_key: str,
    metrics: Callable[[], bytes],
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Build the application.

    `ready` returns None or the reason why this node takes no work; `public_key` is the base64 of the key that signs
    callbacks; `metrics` returns the Prometheus text; `clock` is monotonic, in seconds. What was refused is counted in
    `app.state.counters`, a `Counter[str]` of names as `problems.counter` makes them.
    """
    counters: Counter[str] = Counter()
    app = FastAPI(title="Trunkline", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.counters = counters
    gate = Authenticator(accounts, TokenBuckets(settings.rate_limit), clock)
    calls = CallRoutes(control, gate, settings, counters, IdempotencyCache(clock))
    streams = StreamRoutes(control, gate, settings, counters, IdempotencyCache(clock))
    texml = ApplicationRoutes(applications, gate, settings, counters, IdempotencyCache(clock))

    async def fetch_public_key() -> JSONResponse:
        return JSONResponse({"data": {"public": public_key}})

    handlers = _handlers(streams, calls, texml) | {"GetPublicKey": fetch_public_key}
    for operation in openapi.OPERATIONS:
        path = operation.path.removesuffix(".json")
        app.add_api_route(path, handlers[operation.id], methods=[operation.method], response_model=None)
    _add_operators_routes(app, ready, metrics)

    async def refuse(request: Request, error: Exception) -> Response:
        refusal = _refusal(request, error)
        counters[problems.counter(refusal)] += 1
        log.debug("request refused", method=request.method, path=request.url.path, detail=refusal.detail)
        return problems.response(refusal, request.method, allow=_methods(app, request.scope))

    app.add_exception_handler(ApiError, refuse)
    app.add_exception_handler(HTTPException, refuse)
    app.add_middleware(ErrorBoundary, counters=counters)
    return app


def _handlers(streams: StreamRoutes, calls: CallRoutes, texml: ApplicationRoutes) -> dict[str, Handler]:
    """What serves each operation, by its id."""
    return {
        "StartTeXMLCallStreaming": streams.start,
        "ListTeXMLCallStreams": streams.list,
        "UpdateTeXMLCallStreaming": streams.update,
        "GetTeXMLCallStream": streams.fetch,
        "InitiateTexmlCall": calls.initiate,
        "CreateTexmlCall": calls.create,
        "GetTexmlCalls": calls.list,
        "GetTexmlCall": calls.fetch,
        "GetTexmlCallMedia": calls.media,
        "UpdateTexmlCall": calls.update,
        "HangupCall": calls.hang_up,
        "FetchRecordingAudio": calls.recording,
        "CreateTexmlApplication": texml.create,
        "FindTexmlApplications": texml.list,
        "GetTexmlApplication": texml.fetch,
        "UpdateTexmlApplication": texml.update,
        "DeleteTexmlApplication": texml.delete,
    }


def _add_operators_routes(app: FastAPI, ready: Callable[[], str | None], metrics: Callable[[], bytes]) -> None:
    """What the people who run the server ask: outside `/v2`, without a key."""
    document = openapi.document()
    page = docs_page.render(openapi.OPERATIONS)

    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def readyz() -> JSONResponse:
        reason = ready()
        return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)

    async def prometheus() -> Response:
        return Response(metrics(), headers={"content-type": METRICS_TYPE})

    async def description() -> JSONResponse:
        return JSONResponse(document)

    async def docs() -> HTMLResponse:
        return HTMLResponse(page)

    routes: dict[str, Handler] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/metrics": prometheus,
        "/openapi.json": description,
        "/docs": docs,
    }
    for path, handler in routes.items():
        app.add_api_route(path, handler, methods=["GET"], response_model=None)


def _refusal(request: Request, error: Exception) -> ApiError:
    """Our error for one of the router's, which knows only 404 and 405."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(f"{request.method} is not allowed here")
    return ResourceNotFound()


def _methods(app: FastAPI, scope: Scope) -> set[str]:
    """The methods of all routes that have the request's path; HEAD goes wherever GET goes."""
    methods: set[str] = set()
    for route in app.router.routes:
        if route.matches(scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", set())
    return methods | ({"HEAD"} if "GET" in methods else set())


class ErrorBoundary:
    """ASGI middleware around everything: one spelling per path, HEAD as GET, and no exception beyond it."""

    def __init__(self, app: ASGIApp, counters: Counter[str]) -> None:
        self._app = app
        self._counters = counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._counters["requests"] += 1
        # The server leaves out the body of an answer to HEAD by itself (RFC 9110 section 9.3.2).
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        inner = {**scope, "method": method, "path": paths.canonical(scope["raw_path"])}
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(inner, receive, watch)
        except ClientDisconnect:
            self._counters["disconnected"] += 1
        except Exception as error:
            self._counters["failed"] += 1
            log.error("request failed", method=method, path=inner["path"], error=repr(error), at=_origin(error))
            # Once the answer has begun, the server can only close the connection, and does.
            if not started:
                await problems.response(problems.unexpected(), method)(inner, receive, send)


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
