"""Streams over REST: start, stop, list, fetch (spec sections 1.1 and 1.2)."""

from collections import Counter

from starlette.requests import Request
from starlette.responses import JSONResponse

from trunkline.api import bodies, queries, resources
from trunkline.api.auth import Authenticator
from trunkline.api.fields.readers import read_field
from trunkline.api.fields.streams import STREAM_STATUS, stream_params
from trunkline.api.paths import Segment
from trunkline.api.retries import Tries, fingerprint, once
from trunkline.calls.control import CallControl
from trunkline.calls.views import StreamView
from trunkline.config import HttpSettings
from trunkline.ids import CallSid


class StreamRoutes:
    """The handlers; each admits the caller first."""

    def __init__(
        self,
        control: CallControl,
        gate: Authenticator,
        settings: HttpSettings,
        counters: Counter[str],
        tries: Tries[StreamView],
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
        key = fingerprint(caller.api_key, call_sid, body)
        view = await once(
            request,
            self._tries,
            key,
            lambda: self._control.start_stream(caller.account, CallSid(call_sid), params),
            self._counters,
        )
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
