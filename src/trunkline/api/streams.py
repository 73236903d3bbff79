"""Streams over REST: start, stop, list, fetch (spec sections 1.1 and 1.2).

A start has no idempotency key, and the official SDKs repeat it when its answer is lost. So the answers of the last
minute are kept, under a hash of key, call and body: a repeat that says it is one (`x-stainless-retry-count`) gets
the stream that the first try made, or waits for it while the first try is still under way.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse

from trunkline.api import bodies, queries, resources
from trunkline.api.auth import Caller, Gate
from trunkline.api.fields import STOP_STATUS, read_field, stream_params
from trunkline.api.limits import Recent
from trunkline.api.paths import Segment
from trunkline.calls.control import CallControl
from trunkline.calls.views import StreamView
from trunkline.config import HttpSettings
from trunkline.ids import CallSid, Seconds
from trunkline.streaming.params import StreamParams

RETRY_MEMORY = Seconds(60.0)
"""How long a start's answer is kept (spec section 1.3)."""


class StreamRoutes:
    """The handlers; each admits the caller first."""

    def __init__(
        self,
        control: CallControl,
        gate: Gate,
        settings: HttpSettings,
        counters: Counter[str],
        clock: Callable[[], float],
    ) -> None:
        self._control = control
        self._gate = gate
        self._body_limit = settings.body_limit
        self._counters = counters
        self._clock = clock
        # None: the first try failed, and a repeat must try for itself.
        self._starts: Recent[asyncio.Future[StreamView | None]] = Recent(RETRY_MEMORY)

    async def start(self, request: Request, account_sid: Segment, call_sid: Segment) -> JSONResponse:
        """Start streaming media from a call."""
        caller = await self._gate.admit(request, account_sid)
        body, fields = await bodies.fields_of(request, self._body_limit)
        params = stream_params(fields)
        key = _fingerprint(caller.api_key, call_sid, body)
        view = None
        if request.headers.get("x-stainless-retry-count") in ("1", "2"):
            view = await self._first_try(key)
        if view is None:
            view = await self._start(key, caller, CallSid(call_sid), params)
        return JSONResponse(resources.started_stream(view))

    async def stop(
        self, request: Request, account_sid: Segment, call_sid: Segment, streaming_sid: Segment
    ) -> JSONResponse:
        """Stop a stream, by sid or name."""
        caller = await self._gate.admit(request, account_sid)
        _, fields = await bodies.fields_of(request, self._body_limit)
        read_field(STOP_STATUS, fields)
        view = await self._control.stop_stream(caller.account, CallSid(call_sid), streaming_sid)
        return JSONResponse(resources.stopped_stream(view))

    async def fetch(
        self, request: Request, account_sid: Segment, call_sid: Segment, streaming_sid: Segment
    ) -> JSONResponse:
        """One stream, by sid or name."""
        caller = await self._gate.admit(request, account_sid)
        view = await self._control.stream(caller.account, CallSid(call_sid), streaming_sid)
        return JSONResponse(resources.stream(view))

    async def list(self, request: Request, account_sid: Segment, call_sid: Segment) -> JSONResponse:
        """All streams of a call, oldest first."""
        caller = await self._gate.admit(request, account_sid)
        page = queries.page(bodies.parse_query(request.url.query))
        views = await self._control.streams(caller.account, CallSid(call_sid))
        rest = views[page.offset :]
        members = [resources.stream(view) for view in rest[: page.size]]
        path = f"{resources.BASE}/{caller.account}/Calls/{call_sid}/Streams.json"
        return JSONResponse(resources.listing("streams", path, page, members, len(rest) > page.size))

    async def _first_try(self, key: bytes) -> StreamView | None:
        first = self._starts.get(key, Seconds(self._clock()))
        if first is None:
            return None
        # Shielded: the first try's answer is not this request's to cancel.
        view = await asyncio.shield(first)
        if view is not None:
            self._counters["starts_recalled"] += 1
        return view

    async def _start(self, key: bytes, caller: Caller, call: CallSid, params: StreamParams) -> StreamView:
        answer: asyncio.Future[StreamView | None] = asyncio.get_running_loop().create_future()
        self._starts.put(key, answer, Seconds(self._clock()))
        try:
            view = await self._control.start_stream(caller.account, call, params)
            answer.set_result(view)
        finally:
            if not answer.done():
                self._starts.drop(key, answer)
                answer.set_result(None)
        return view


def _fingerprint(api_key: str, call_sid: str, body: bytes) -> bytes:
    """Of a start request; hashed so that neither keys nor bodies are kept. NUL occurs in neither key nor sid."""
    return hashlib.sha256(b"\0".join((api_key.encode(), call_sid.encode(), body))).digest()
