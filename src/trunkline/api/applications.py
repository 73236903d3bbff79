"""TeXML applications over REST: create, list, fetch, update, delete."""

from collections import Counter

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from trunkline.api import bodies, queries, resources
from trunkline.api.auth import Authenticator
from trunkline.api.fields.applications import application_changes
from trunkline.api.paths import Segment
from trunkline.api.retries import Tries, fingerprint, once
from trunkline.calls.control import Applications
from trunkline.calls.views import Application
from trunkline.config import HttpSettings


class ApplicationRoutes:
    """The handlers; each admits the caller first. An application belongs to the API key's account."""

    def __init__(
        self,
        applications: Applications,
        gate: Authenticator,
        settings: HttpSettings,
        counters: Counter[str],
        tries: Tries[Application],
    ) -> None:
        self._applications = applications
        self._gate = gate
        self._body_limit = settings.body_limit
        self._counters = counters
        self._tries = tries

    async def create(self, request: Request) -> Response:
        """Add an application."""
        caller = await self._gate.admit(request)
        body, fields = await bodies.fields_of(request, self._body_limit)
        changes = application_changes(fields, create=True)
        key = fingerprint(caller.api_key, "texml_applications", body)
        view = await once(
            request, self._tries, key, lambda: self._applications.create(caller.account, changes), self._counters
        )
        return _one(view, 201)

    async def list(self, request: Request) -> Response:
        """The account's applications."""
        caller = await self._gate.admit(request)
        query = queries.application_query(bodies.parse_query(request.url.query))
        return JSONResponse(resources.applications(await self._applications.applications(caller.account), query))

    async def fetch(self, request: Request, application_id: Segment) -> Response:
        """One application."""
        caller = await self._gate.admit(request)
        return _one(await self._applications.application(caller.account, application_id))

    async def update(self, request: Request, application_id: Segment) -> Response:
        """Change what was given."""
        caller = await self._gate.admit(request)
        _, fields = await bodies.fields_of(request, self._body_limit)
        changes = application_changes(fields, create=False)
        return _one(await self._applications.update(caller.account, application_id, changes))

    async def delete(self, request: Request, application_id: Segment) -> Response:
        """Remove an application, and show what it was."""
        caller = await self._gate.admit(request)
        return _one(await self._applications.delete(caller.account, application_id))


def _one(view: Application, status: int = 200) -> Response:
    return JSONResponse({"data": resources.application(view)}, status)
