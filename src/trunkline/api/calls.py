"""Calls over REST: initiate, list, fetch, update, and the Call Control hang-up (spec section 1.4)."""

from collections import Counter

import structlog
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse

from trunkline.api import bodies, queries, resources
from trunkline.api.auth import Authenticator, Principal
from trunkline.api.fields.calls import call_request, call_update, without_effect
from trunkline.api.paths import Segment
from trunkline.api.retries import Tries, fingerprint, once
from trunkline.calls.control import CallControl
from trunkline.calls.views import CallView
from trunkline.config import HttpSettings
from trunkline.errors import InvalidRequest, ResourceNotFound, UnknownApplication
from trunkline.ids import CallSid

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class CallRoutes:
    """The handlers; each admits the caller first."""

    def __init__(
        self,
        control: CallControl,
        gate: Authenticator,
        settings: HttpSettings,
        counters: Counter[str],
        tries: Tries[CallView],
    ) -> None:
        self._control = control
        self._gate = gate
        self._body_limit = settings.body_limit
        self._counters = counters
        self._tries = tries

    async def initiate(self, request: Request, account_sid: Segment) -> JSONResponse:
        """Call somebody."""
        return await self._place(request, await self._gate.admit(request, account_sid))

    async def create(self, request: Request, application_id: Segment) -> JSONResponse:
        """Call somebody, by an application's id in the path."""
        caller = await self._gate.admit(request)
        try:
            return await self._place(request, caller, application_id)
        except UnknownApplication:
            raise ResourceNotFound() from None

    async def _place(self, request: Request, caller: Principal, application_id: str | None = None) -> JSONResponse:
        body, fields = await bodies.fields_of(request, self._body_limit)
        wanted = call_request(fields if application_id is None else fields.having("ApplicationSid", application_id))
        key = fingerprint(caller.api_key, f"applications/{application_id}" if application_id is not None else "", body)
        view = await once(
            request, self._tries, key, lambda: self._control.place(caller.account, wanted), self._counters
        )
        missed = without_effect(fields)
        if missed:
            log.warning("fields of a call have no effect here", call_sid=view.sid, fields=missed)
        return JSONResponse(resources.placed_call(view))

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
        """End a call, give it other instructions, tell of it elsewhere."""
        caller = await self._gate.admit(request, account_sid)
        _, fields = await bodies.fields_of(request, self._body_limit)
        wanted = call_update(fields)
        account, call = caller.account, CallSid(call_sid)
        if wanted.unanswered and (await self._control.call(account, call)).status == "in-progress":
            raise InvalidRequest("A call that was answered is not canceled; completed ends it", pointer="/Status")
        view = None
        if wanted.status_callback is not None:
            method = wanted.status_callback_method
            view = await self._control.set_status_callback(account, call, wanted.status_callback, method)
        if wanted.instructions is not None:
            view = await self._control.redirect(account, call, wanted.instructions)
        if view is None or wanted.ended:
            view = await self._control.hang_up(account, call)
        return JSONResponse(resources.call(view))

    async def recording(self, request: Request, account_sid: Segment, recording_sid: Segment) -> FileResponse:
        """The audio of a recording, whole or in ranges (RFC 9110 section 14)."""
        caller = await self._gate.admit(request, account_sid)
        path = await self._control.recording(caller.account, recording_sid)
        return FileResponse(path, media_type=bodies.WAV)

    async def hang_up(self, request: Request, call_control_id: Segment) -> JSONResponse:
        """End a call, once this is answered."""
        caller = await self._gate.admit(request)
        await bodies.fields_of(request, self._body_limit)
        end = await self._control.end_after(caller.account, CallSid(call_control_id))

        async def afterwards() -> None:
            end()

        return JSONResponse({"data": {"result": "ok"}}, background=BackgroundTask(afterwards))
