"""Calls over REST: list, fetch, update, and the Call Control hang-up (spec section 1.4)."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from trunkline.api import bodies, queries, resources
from trunkline.api.auth import Gate
from trunkline.api.fields.calls import UPDATE_LATER, UPDATE_STATUS
from trunkline.api.fields.readers import read_field
from trunkline.api.paths import Segment
from trunkline.calls.control import CallControl
from trunkline.config import HttpSettings
from trunkline.errors import InvalidRequest
from trunkline.ids import CallSid


class CallRoutes:
    """The handlers; each admits the caller first."""

    def __init__(self, control: CallControl, gate: Gate, settings: HttpSettings) -> None:
        self._control = control
        self._gate = gate
        self._body_limit = settings.body_limit

    async def list(self, request: Request, account_sid: Segment) -> JSONResponse:
        """The account's calls, newest first."""
        caller = await self._gate.admit(request, account_sid)
        fields = bodies.parse_query(request.url.query)
        page = queries.page(fields)
        where = queries.call_filter(fields)
        views, more = await self._control.calls(caller.account, where, offset=page.offset, limit=page.size)
        path = f"{resources.BASE}/{caller.account}/Calls.json"
        return JSONResponse(resources.listing("calls", path, page, [resources.call(view) for view in views], more))

    async def fetch(self, request: Request, account_sid: Segment, call_sid: Segment) -> JSONResponse:
        """One call, live or ended."""
        caller = await self._gate.admit(request, account_sid)
        return JSONResponse(resources.call(await self._control.call(caller.account, CallSid(call_sid))))

    async def media(self, request: Request, account_sid: Segment, call_sid: Segment) -> JSONResponse:
        """Why there is no audio."""
        caller = await self._gate.admit(request, account_sid)
        return JSONResponse(resources.media(await self._control.media(caller.account, CallSid(call_sid))))

    async def update(self, request: Request, account_sid: Segment, call_sid: Segment) -> JSONResponse:
        """End a call with `Status=completed`."""
        caller = await self._gate.admit(request, account_sid)
        _, fields = await bodies.fields_of(request, self._body_limit)
        for name in UPDATE_LATER:
            if fields.get(name) is not None:
                raise InvalidRequest(f"{name} is not supported yet", pointer=f"/{name}")
        read_field(UPDATE_STATUS, fields)
        return JSONResponse(resources.call(await self._control.hang_up(caller.account, CallSid(call_sid))))

    async def hang_up(self, request: Request, call_control_id: Segment) -> JSONResponse:
        """End a call."""
        caller = await self._gate.admit(request)
        await bodies.fields_of(request, self._body_limit)
        await self._control.hang_up(caller.account, CallSid(call_control_id))
        return JSONResponse({"data": {"result": "ok"}})
