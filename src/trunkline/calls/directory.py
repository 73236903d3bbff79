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
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import unquote

from trunkline.calls.commands import Instructions, Route
from trunkline.calls.views import Application, NumberView
from trunkline.config import Settings
from trunkline.errors import StartupError
from trunkline.ids import AccountSid, matches, plain_number
from trunkline.outbound.urls import public_part
from trunkline.sdp.crypto import SrtpRule
from trunkline.setting_tables import (
    ApplicationSettings,
    InstructionSettings,
    PhoneSettings,
    TrunkSettings,
)

_SIP_URI = re.compile(
    r"(?i:sips?):(?:(?P<user>[^@:;?<>\s]*)(?::[^@<>\s]*)?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?:[;?][^<>\s]*)?"
)
_TEL_URI = re.compile(r"(?i:tel):(?P<number>[^;?<>\s]+)(?:[;?][^<>\s]*)?")
# RFC 3261 section 25.1: what the user part of a SIP URI may hold.
_USER = re.compile(r"(?:[A-Za-z0-9_.!~*'()&=+$,;?/-]|%[0-9A-Fa-f]{2})+")


APPLICATION_PREFIX = "app-"
"""Before an application's name or sid, in what a browser phone calls."""
_NO_WAY = "no trunk or phone takes the call"
_OTHERWISE = "no number matches, and the caller has no application: the setting stream is for all others"
_NOTHING = "no number matches, the caller has no application, and the setting stream is not set"


@dataclass(frozen=True, slots=True)
class Service:
    """What a call that came in runs."""

    application: Application | None = None
    instructions: Instructions | None = None
    """None: the call is answered, and REST says what it does."""
    number: str | None = field(default=None, compare=False)
    """The pattern that matched."""
    runs: str | None = field(default=None, compare=False)
    """The instructions in words, `stream URL`, `voice_url URL` or `texml`; URLs without user-info and query."""
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a placed call goes."""

    route: Route | None
    """None: nowhere."""
    why: str


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
        self._runs = {one.sid: _runs(one) for one in settings.applications}
        self._numbers = sorted(settings.numbers, key=lambda number: -_weight(number.pattern))
        self._otherwise = Service(why=_NOTHING)
        if settings.stream is not None:
            runs = f"stream {public_part(settings.stream)}"
            self._otherwise = Service(None, Instructions(settings.document), runs=runs, why=_OTHERWISE)
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
            return self._service(to_user.removeprefix(APPLICATION_PREFIX), "a browser phone calls the application")
        for number in self._numbers:
            if matches(number.pattern, to_user):
                why = f"of the numbers, {number.pattern} is the most exact that matches"
                if number.application is not None:
                    return replace(self._service(number.application, why), number=number.pattern)
                instructions = Instructions(number.document, number.voice_url)
                return Service(None, instructions, number.pattern, _runs(number), why)
        peer = self._peer(trunk, phone)
        if peer is not None and peer.application:
            who = f"phone {phone}" if phone is not None else f"trunk {trunk}"
            return self._service(peer.application, f"no number matches, and {who} has this application")
        return self._otherwise

    def route(self, to: str) -> Route | None:
        """The way to a number, a phone's name or a SIP URI; None when there is none."""
        return self.way(to).route

    def dial(self, to: str) -> Route | str:
        """The same for what a document dials, or a key of the scope `calls`; when there is none, why."""
        way = self.way(to, dialled=True)
        return way.route or way.why

    def way(self, to: str, *, dialled: bool = False) -> Way:
        """The same with its reason; `dialled`: by a document."""
        uri = _SIP_URI.fullmatch(to)
        if uri is not None:
            user = unquote(uri["user"] or "")
            ours = uri["host"].strip("[]").lower() in self._hosts and uri["port"] in self._ports
            if ours and user in self._phones:
                return Way(Route("phone", user, user), "the SIP URI is that of a phone of this server")
            return Way(Route("uri", "", to, dialled), "a SIP URI that is not of a phone here is called as it is")
        if to in self._phones:
            return Way(Route("phone", to, to), "a phone has this name")
        tel = _TEL_URI.fullmatch(to)
        number = plain_number(unquote(tel["number"]) if tel else to, marked=tel is not None)
        if not _USER.fullmatch(number if tel else to):
            return Way(None, _NO_WAY)
        closed = None
        for trunk in self._trunks:
            found = [_first(trunk.prefixes, number)]
            if found[0] is None:
                continue
            if dialled:
                found.append(_first(trunk.dial_prefixes or (), number))
            if found[-1] is not None:
                names = "prefixes and dial_prefixes" if dialled else "prefixes"
                why = f"trunk {trunk.name} is the first whose {names} match it ({', '.join(map(str, found))})"
                return Way(Route("trunk", trunk.name, number), why)
            closed = closed or trunk.name
        if closed is None:
            return Way(None, _NO_WAY)
        return Way(None, f"the dial_prefixes of trunk {closed} do not allow documents to call this number")

    def knows(self, *, trunk: str | None, phone: str | None) -> bool:
        """Whether there is that trunk or phone."""
        return self._peer(trunk, phone) is not None

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

    def _service(self, name: str, why: str) -> Service:
        application = self._of(name)
        if application is None:
            return Service(why=f"there is no application {name}")
        instructions = Instructions(
            application.texml,
            application.voice_url or None,
            application.voice_method,
            application.voice_fallback_url,
        )
        runs = self._runs.get(application.sid) or f"voice_url {public_part(application.voice_url)}"
        return Service(application, instructions, None, runs, why)

    # ── applications ────────────────────────────────────────────────────────────────────────────────────────────

    def is_of(self, account: AccountSid) -> bool:
        """Whether the settings are that account's."""
        return account == self._account

    @property
    def numbers(self) -> tuple[NumberView, ...]:
        """The numbers of the settings, the most exact pattern first."""
        return tuple(
            NumberView(one.pattern, _runs(one) if one.application is None else f"application {one.application}")
            for one in self._numbers
        )

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


def _runs(given: InstructionSettings) -> str:
    if given.stream is not None:
        return f"stream {public_part(given.stream)}"
    return "texml" if given.voice_url is None else f"voice_url {public_part(given.voice_url)}"


def _first(patterns: Iterable[str], number: str) -> str | None:
    return next((one for one in patterns if matches(one, number)), None)


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
