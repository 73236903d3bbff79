"""`Applications` for the API: changes go into the store and then into the directory, one after the other."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from trunkline.calls.directory import Directory
from trunkline.calls.views import Application
from trunkline.control.destinations import Destinations
from trunkline.control.waits import answered
from trunkline.errors import InvalidRequest, ResourceNotFound
from trunkline.ids import AccountSid

APPLICATION_LIMIT = 1000
"""Of one account: all are in memory."""


class ApplicationStore(Protocol):
    """What is asked of the store; durable when it returns. Raises STORE_ERRORS."""

    async def put_application(self, application: Application) -> None:
        """Add an application, or replace what it was."""

    async def delete_application(self, sid: str) -> None:
        """Forget an application."""


class ApplicationService:
    """The one `Applications`."""

    def __init__(self, directory: Directory, store: ApplicationStore, destinations: Destinations) -> None:
        self._directory = directory
        self._store = store
        self._destinations = destinations
        # What is changed is read before it is written, and other requests come in between.
        self._changing = asyncio.Lock()

    async def create(self, account: AccountSid, changes: Mapping[str, Any]) -> Application:
        """See `Applications`."""
        self._check(account, changes)
        async with self._changing:
            if len(self._directory.applications(account)) >= APPLICATION_LIMIT:
                raise InvalidRequest(f"An account may have {APPLICATION_LIMIT} applications.")
            now = datetime.now(UTC)
            blank = Application(
                sid=self._new_sid(),
                account_sid=account,
                friendly_name="",
                voice_url="",
                voice_method="POST",
                voice_fallback_url=None,
                status_callback=None,
                status_callback_method="POST",
                active=True,
                created_at=now,
                updated_at=now,
            )
            return await self._put(_changed(blank, changes))

    async def update(self, account: AccountSid, sid: str, changes: Mapping[str, Any]) -> Application:
        """See `Applications`."""
        async with self._changing:
            application = await self._changeable(account, sid)
            self._check(account, changes)
            return await self._put(replace(_changed(application, changes), updated_at=datetime.now(UTC)))

    async def delete(self, account: AccountSid, sid: str) -> Application:
        """See `Applications`."""
        async with self._changing:
            application = await self._changeable(account, sid)
            users = self._directory.users(sid)
            if users:
                raise InvalidRequest(f"The configuration still has this application for {', '.join(users)}.")
            await answered(self._store.delete_application(sid))
            self._directory.remove(sid)
            return application

    async def application(self, account: AccountSid, sid: str) -> Application:
        """See `Applications`."""
        application = self._directory.application(account, sid)
        if application is None:
            raise ResourceNotFound
        return application

    async def applications(self, account: AccountSid) -> list[Application]:
        """See `Applications`."""
        return self._directory.applications(account)

    async def _changeable(self, account: AccountSid, sid: str) -> Application:
        application = await self.application(account, sid)
        if self._directory.is_configured(sid):
            raise InvalidRequest("The application comes from the configuration of the server: change it there.")
        return application

    async def _put(self, application: Application) -> Application:
        await answered(self._store.put_application(application))
        self._directory.put(application)
        return application

    def _check(self, account: AccountSid, changes: Mapping[str, Any]) -> None:
        names = ("voice_url", "voice_fallback_url", "status_callback")
        self._destinations.check_urls(account, {name: changes.get(name) for name in names})

    def _new_sid(self) -> str:
        """19 digits, as Telnyx's."""
        while True:
            sid = str(10**18 + secrets.randbelow(8 * 10**18))
            if not self._directory.is_taken(sid):
                return sid


def _changed(application: Application, changes: Mapping[str, Any]) -> Application:
    other = dict(application.other)
    for name, value in changes.get("other", {}).items():
        other[name] = {**other.get(name, {}), **value} if isinstance(value, dict) else value
    return replace(application, **{**changes, "other": other})
