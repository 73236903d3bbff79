"""Streams over REST: start, stop, list, fetch (spec sections 1.1 and 1.2).

A start has no idempotency key, and the official SDKs repeat it when its answer is lost; so the answers of the last
minute are kept, and a repeat that says it is one gets the stream that the first try made (spec section 1.3).
"""

import hashlib
from collections import Counter
from collections.abc import Awaitable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse

from trunkline.api import bodies, queries, resources
from trunkline.api.auth import Gate
from trunkline.api.fields.readers import read_field
from trunkline.api.fields.streams import STREAM_STATUS, stream_params
from trunkline.api.paths import Segment
from trunkline.calls.control import CallControl
from trunkline.calls.views import StreamView
from trunkline.config import HttpSettings
from trunkline.ids import CallSid

RETRY_COUNTS = ("1", "2")
"""`x-stainless-retry-count` of a repeat; the SDKs send 0 with a first try."""


class Tries(Protocol):
    """The streams that starts made lately. A key stands for one start: API key, call and body."""

    async def recall(self, key: bytes) -> StreamView | None:
        """What the first try made, waiting for it if need be; None when there was none or it failed."""

    async def first(self, key: bytes, start: Awaitable[StreamView]) -> StreamView:
        """Try, and keep the answer. Raises what `start` raises."""


class StreamRoutes:
    """The handlers; each admits the caller first."""

    def __init__(
        self, control: CallControl, gate: Gate, settings: HttpSettings, counters: Counter[str], tries: Tries
    ) -> None:
        self._control = control
        self._gate = gate
        self._body_limit = settings.body_limit
        self._counters = counters
        self._tries = tries

    async def start(self, request: Request, account_sid: Segment, call_sid: Segment) -> JSONResponse:
        """Start streaming media from a call."""
        caller = await self._gate.admit(request, account_sid)
        body, fields = await bodies.fields_of(request, self._body_limit)
        params = stream_params(fields)
        key = _fingerprint(caller.api_key, call_sid, body)
        view = None
        if request.headers.get("x-stainless-retry-count") in RETRY_COUNTS:
            view = await self._tries.recall(key)
            self._counters["starts_recalled"] += view is not None
        if view is None:
            start = self._control.start_stream(caller.account, CallSid(call_sid), params)
            view = await self._tries.first(key, start)
        return JSONResponse(resources.started_stream(view))

    async def update(
        self, request: Request, account_sid: Segment, call_sid: Segment, streaming_sid: Segment
    ) -> JSONResponse:
        """Stop, pause or resume a stream, by sid or name."""
        caller = await self._gate.admit(request, account_sid)
        _, fields = await bodies.fields_of(request, self._body_limit)
        status = read_field(STREAM_STATUS, fields) or "stopped"
        call = CallSid(call_sid)
        if status == "stopped":
            view = await self._control.stop_stream(caller.account, call, streaming_sid)
        else:
            paused = status == "paused"
            view = await self._control.pause_stream(caller.account, call, streaming_sid, paused=paused)
        return JSONResponse(resources.updated_stream(view, str(status)))

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


def _fingerprint(api_key: str, call_sid: str, body: bytes) -> bytes:
    """Of a start request; hashed so that neither keys nor bodies are kept. NUL occurs in neither key nor sid."""
    return hashlib.sha256(b"\0".join((api_key.encode(), call_sid.encode(), body))).digest()
