"""The application of a called number, and the route to a callee. Pure, in memory.

Patterns. In a pattern each `*` stands for any characters, none included; all else, case too, is meant as it is. Of
several patterns that match a number the one with the most characters that are no `*` wins, and of equals the first:
`+4930123456` before `+4930*` before `+49*` before `*`.

The application of a call that came in is that of the called number (`numbers`); else of the phone that calls, or of
the trunk that the call came by; else there is none. A number may have instructions of its own instead, and a call that
gets to no application those of the setting `stream`. An application that is not active is found all the same, since its
calls are refused and not taken by another.

Where a call goes. A phone is called by its name, or by a SIP URI of ours with its name as the user. Any other SIP URI
is called as it is. Everything else is a number, as it is or as a `tel:` URI, and goes out by the first trunk that has a
pattern for it, without what is only there to be read (`-`, `.` and brackets). What a document dials goes out by the
first trunk whose `dial_prefixes` have a pattern for it too, since callers and phones can make documents dial; likewise
what is placed with an API key whose scope is `calls`.

Applications come from the configuration, for the account of this server, and from the store, for any. Those of the
configuration stay as they are until it is reloaded.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import unquote

from trunkline.calls.commands import Instructions, Route
from trunkline.calls.views import Application, NumberView
from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.ids import AccountSid, matches, plain_number
from trunkline.outbound.urls import public_part
from trunkline.sdp.crypto import SrtpRule
from trunkline.setting_tables import ApplicationSettings, NumberSettings, PhoneSettings, TrunkSettings

_SIP_URI = re.compile(
    r"(?i:sips?):(?:(?P<user>[^@:;?<>\s]*)(?::[^@<>\s]*)?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?:[;?][^<>\s]*)?"
)
_TEL_URI = re.compile(r"(?i:tel):(?P<number>[^;?<>\s]+)(?:[;?][^<>\s]*)?")
# RFC 3261 section 25.1: what the user part of a SIP URI may hold.
_USER = re.compile(r"(?:[A-Za-z0-9_.!~*'()&=+$,;?/-]|%[0-9A-Fa-f]{2})+")


APPLICATION_PREFIX = "app-"
"""Before an application's name or sid, in what a browser phone calls."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a call that came in runs."""

    application: Application | None = None
    instructions: Instructions | None = None
    """None: the call is answered, and REST says what it does."""


class Directory:
    """Applications, numbers, trunks and phones of one node."""

    def __init__(
        self,
        settings: Settings,
        account: AccountSid,
        stored: Iterable[Application],
        started: datetime,
        own_phone: str | None = None,
    ) -> None:
        """`account` is the one whose applications the configuration has, `stored` are those made by REST, of all
        accounts. `own_phone` is the user of browser phones, who may call an application as `app-` and its name or sid.
        Raises StartupError for a reference to an application that there is not."""
        self._account = account
        self._own_phone = own_phone
        self._applications = {one.sid: one for one in stored}
        self._configured: frozenset[str] = frozenset()
        self.take(settings, started)

    def take(self, settings: Settings, now: datetime) -> None:
        """Go by these settings from now on. Raises StartupError, and then nothing has changed."""
        applications = {sid: one for sid, one in self._applications.items() if sid not in self._configured}
        configured = [self._application(one, now) for one in settings.applications]
        for one in configured:
            if one.sid in applications:
                raise StartupError(f"application {one.friendly_name!r}: the sid {one.sid} is taken by one made by REST")
            applications[one.sid] = one
        named = {one.friendly_name: one.sid for one in configured}
        users: dict[str, list[str]] = {}
        for user, name in settings.application_references():
            sid = named.get(name, name)
            if sid not in applications or applications[sid].account_sid != self._account:
                raise StartupError(f"{user} has the application {name!r}, which is neither configured nor stored")
            users.setdefault(sid, []).append(user)
        self._applications, self._named, self._users = applications, named, users
        self._configured = frozenset(one.sid for one in configured)
        self._numbers = sorted(settings.numbers, key=lambda number: -_weight(number.pattern))
        self._otherwise = None if settings.stream is None else Instructions(settings.document)
        self._srtp: SrtpRule = settings.media.srtp
        self._trunks = settings.sip.trunks
        self._phones = {phone.user: phone for phone in settings.sip.phones}
        self._hosts = {host.lower() for host in (settings.sip.host, settings.sip.advertised_host) if host}
        self._ports = {None, str(settings.sip.port), str(settings.sip.tls_port)}

    def _application(self, given: ApplicationSettings, now: datetime) -> Application:
        """As it was, where nothing of it has changed."""
        fresh = _application(given, self._account, now)
        before = self._applications.get(given.sid) if given.sid in self._configured else None
        if before is None:
            return fresh
        fresh = replace(fresh, created_at=before.created_at)
        return before if replace(fresh, updated_at=before.updated_at) == before else fresh

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    def service_for(self, to_user: str, *, trunk: str | None, phone: str | None) -> Service:
        """What a call to that number or SIP user runs; `trunk` and `phone` name where it came from, if it did."""
        if phone is not None and phone == self._own_phone and to_user.startswith(APPLICATION_PREFIX):
            return _service(self._of(to_user.removeprefix(APPLICATION_PREFIX)))
        for number in self._numbers:
            if matches(number.pattern, to_user):
                if number.application is None:
                    return Service(None, Instructions(number.document, number.voice_url))
                return _service(self._of(number.application))
        peer = self._peer(trunk, phone)
        if peer is not None and peer.application:
            return _service(self._of(peer.application))
        return Service(None, self._otherwise)

    def route(self, to: str) -> Route | None:
        """The way to a number, a phone's name or a SIP URI; None when there is none."""
        return self._route(to)

    def dial(self, to: str) -> Route | str:
        """The same for what a document dials, or a key of the scope `calls`; when there is none, why."""
        route = self._route(to, dialled=True)
        if route is not None:
            return route
        by = self._route(to)
        if by is None:
            return "no trunk or phone takes the call"
        return f"the dial_prefixes of trunk {by.name} do not allow documents to call this number"

    def _route(self, to: str, *, dialled: bool = False) -> Route | None:
        uri = _SIP_URI.fullmatch(to)
        if uri is not None:
            user = unquote(uri["user"] or "")
            ours = uri["host"].strip("[]").lower() in self._hosts and uri["port"] in self._ports
            return Route("phone", user, user) if ours and user in self._phones else Route("uri", "", to, dialled)
        if to in self._phones:
            return Route("phone", to, to)
        tel = _TEL_URI.fullmatch(to)
        number = plain_number(unquote(tel["number"]) if tel else to, marked=tel is not None)
        if not _USER.fullmatch(number if tel else to):
            return None
        for trunk in self._trunks:
            allowed = (trunk.dial_prefixes or ()) if dialled else ("*",)
            if all(any(matches(one, number) for one in patterns) for patterns in (trunk.prefixes, allowed)):
                return Route("trunk", trunk.name, number)
        return None

    def caller_id(self, from_: str, route: Route) -> str:
        """The caller ID to present on this route: on a trunk, the number of a phone that has one."""
        phone = self._phones.get(from_) if route.kind == "trunk" else None
        return (phone and phone.caller_id) or from_

    def srtp(self, *, trunk: str | None, phone: str | None) -> SrtpRule:
        """Whether calls to or from that trunk or phone, or any other peer, are encrypted."""
        peer = self._peer(trunk, phone)
        return self._srtp if peer is None or peer.srtp is None else peer.srtp

    def _peer(self, trunk: str | None, phone: str | None) -> TrunkSettings | PhoneSettings | None:
        if phone is not None:
            return self._phones.get(phone)
        return next((one for one in self._trunks if one.name == trunk), None)

    def _of(self, name: str) -> Application | None:
        return self._applications.get(self._named.get(name, name))

    # ── applications ────────────────────────────────────────────────────────────────────────────────────────────

    def is_of(self, account: AccountSid) -> bool:
        """Whether the settings are that account's."""
        return account == self._account

    @property
    def numbers(self) -> tuple[NumberView, ...]:
        """The numbers of the settings, the most exact pattern first."""
        return tuple(NumberView(one.pattern, _runs(one)) for one in self._numbers)

    @property
    def phones(self) -> tuple[str, ...]:
        """Users of the phones of the settings, without the server's own."""
        return tuple(user for user in self._phones if user != self._own_phone)

    def application(self, account: AccountSid, sid: str) -> Application | None:
        """One application of an account."""
        found = self._applications.get(sid)
        return found if found is not None and found.account_sid == account else None

    def applications(self, account: AccountSid) -> list[Application]:
        """All applications of an account."""
        return [one for one in self._applications.values() if one.account_sid == account]

    def is_configured(self, sid: str) -> bool:
        """Whether it comes from the configuration, and so cannot be changed."""
        return sid in self._configured

    def is_taken(self, sid: str) -> bool:
        """Whether any account has an application of that sid."""
        return sid in self._applications

    def users(self, sid: str) -> list[str]:
        """What of the configuration names an application, in words."""
        return self._users.get(sid, [])

    def put(self, application: Application) -> None:
        """Add an application, or replace what it was."""
        self._applications[application.sid] = application

    def remove(self, sid: str) -> None:
        """Forget an application."""
        del self._applications[sid]


def _runs(number: NumberSettings) -> str:
    if number.application is not None:
        return f"application {number.application}"
    if number.stream is not None:
        return f"stream {public_part(number.stream)}"
    return "texml" if number.voice_url is None else f"voice_url {public_part(number.voice_url)}"


def _service(application: Application | None) -> Service:
    if application is None:
        return Service()
    return Service(
        application,
        Instructions(
            application.texml,
            application.voice_url or None,
            application.voice_method,
            application.voice_fallback_url,
        ),
    )


def _weight(pattern: str) -> int:
    return len(pattern) - pattern.count("*")


def _application(given: ApplicationSettings, account: AccountSid, started: datetime) -> Application:
    return Application(
        sid=given.sid,
        account_sid=account,
        friendly_name=given.name,
        voice_url=given.voice_url or "",
        voice_method=given.voice_method,
        voice_fallback_url=given.voice_fallback_url,
        status_callback=given.status_callback,
        status_callback_method=given.status_callback_method,
        active=True,
        created_at=started,
        updated_at=started,
        texml=given.document,
    )
