"""Our registration with a trunk (RFC 3261 section 10.2): pure.

We register with the first target that answers, and again when `REFRESH_AT` of the time that was granted has passed
(`granted`), or when that target is down. Where no target takes us we try again, later each time, up to `RETRY_MAX`
seconds, and not all trunks of a carrier's at the same moment (RFC 5626 section 4.5). At the end we take our contact
back.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from trunkline.sip.dialog import contact
from trunkline.sip.message.digest import DigestClient
from trunkline.sip.message.headers import Uri, one_line, parse_name_addr, parse_uri
from trunkline.sip.message.validation import SipResponse
from trunkline.sip.peers.client import OutOfDialogClient, OutOfDialogRequest
from trunkline.sip.targets import DEFAULT_PORTS, Target

REFRESH_AT = 0.8
REFRESH_MIN = 1.0
"""Seconds between two registrations, however little the registrar grants."""
EXPIRES_MAX = 86400
"""Seconds: a Min-Expires over it is a refusal."""
_EXPIRES = re.compile(r";\s*expires\s*=\s*\"?\s*([0-9]+)", re.IGNORECASE)
RETRY_FIRST = 5.0
"""Seconds until a registration that failed is tried again; doubled each time."""
RETRY_MAX = 600.0


class Account(Protocol):
    """What a registration needs to know of its trunk."""

    @property
    def user(self) -> str:
        """User part of our contact."""

    def targets_in_order(self) -> Sequence[Target]:
        """With whom to register, in order; at least one. They have credentials."""

    def address_of_record(self, target: Target) -> str:
        """The address of record: a URI."""

    def answered(self, target: Target) -> None:
        """A target has answered a REGISTER."""

    def tell(self, change: str, detail: str) -> None:
        """`registered` or `registration_failed`."""


@dataclass(slots=True, eq=False)
class _Attempt:
    target: Target
    digest_client: DigestClient
    expires: int
    """0: to take our contact back."""
    raised: bool = False
    """The registrar has asked for a longer time already."""


class Registration:
    """One trunk's. `random` gives numbers from 0 up to 1."""

    def __init__(self, account: Account, expires: int, client: OutOfDialogClient, random: Callable[[], float]) -> None:
        self.registered = False
        self._account = account
        self._expires = expires
        self._client = client
        self._random = random
        self._call_id = client.tag()
        self._cseq = 0
        self._left: deque[Target] = deque()
        """Targets to try yet."""
        self._attempt: _Attempt | None = None
        self._at: Target | None = None
        """Where we are registered."""
        self._failures = 0
        self._timer: Any = None
        self._reported = ("", "")
        self._on_unregistered: Callable[[], None] | None = None

    def start(self) -> None:
        """Register with the first target that takes us."""
        self.stop()
        self._left.clear()
        self._left.extend(self._account.targets_in_order())
        self._next()

    def lost(self, target: Target) -> None:
        """A target is down."""
        if self._at == target and self._on_unregistered is None:
            self.start()

    def unregister(self, on_unregistered: Callable[[], None]) -> None:
        """Take our contact back; `on_unregistered` is called when that is done or has failed."""
        self.stop()
        self._attempt, self._on_unregistered = None, on_unregistered
        if self.registered and self._at is not None:
            self._send(self._new(self._at, 0))
        else:
            on_unregistered()

    def stop(self) -> None:
        """Do nothing more by ourselves."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _next(self) -> None:
        self._send(self._new(self._left.popleft(), self._expires))

    def _new(self, target: Target, expires: int) -> _Attempt:
        credentials = target.credentials
        assert credentials is not None
        flow = self._client.connect(target)
        return _Attempt(replace(target, flow=flow), DigestClient(credentials, self._client.tag), expires)

    def _send(self, attempt: _Attempt) -> None:
        self._attempt = attempt
        target = attempt.target
        assert target.flow is not None
        self._cseq += 1
        headers = (
            contact(target.flow, self._account.user),
            ("Expires", str(attempt.expires)),
            *attempt.digest_client.headers("REGISTER", target.uri),
        )
        address = self._account.address_of_record(target)
        request = OutOfDialogRequest("REGISTER", target, address, self._call_id, self._cseq, headers)
        self._client.send(request, partial(self._answered, attempt))

    def _answered(self, attempt: _Attempt, response: SipResponse) -> None:
        if response.headers:
            self._account.answered(attempt.target)
        if attempt is not self._attempt:
            return
        headers = [(key, value) for key, _, value in response.headers]
        if response.status in (401, 407) and attempt.digest_client.challenged(headers):
            self._send(attempt)
        elif self._on_unregistered is not None:
            self.registered = False
            self._on_unregistered()
        elif response.status < 300:
            self._succeeded(attempt, response)
        elif response.status == 423 and not attempt.raised and attempt.expires < _min_expires(response) <= EXPIRES_MAX:
            self._expires = attempt.expires = _min_expires(response)
            attempt.raised = True
            self._send(attempt)
        elif self._left and (not response.headers or response.status >= 500):
            self._next()
        else:
            self._failed(f"{attempt.target.endpoint}: {response.status} {one_line(response.reason)[:200]}")

    def _succeeded(self, attempt: _Attempt, response: SipResponse) -> None:
        assert attempt.target.flow is not None
        ours = parse_name_addr(contact(attempt.target.flow, self._account.user)[1]).uri
        seconds = granted(response, ours, attempt.expires)
        if not seconds:
            self._failed(f"{attempt.target.endpoint}: registered for 0 seconds")
            return
        self.registered, self._failures = True, 0
        self._at = next(
            (one for one in self._account.targets_in_order() if one.endpoint == attempt.target.endpoint), attempt.target
        )
        self._tell("registered", str(attempt.target.endpoint))
        self._timer = self._client.timers.after(max(seconds * REFRESH_AT, REFRESH_MIN), self.start)

    def _failed(self, detail: str) -> None:
        self.registered, self._at = False, None
        self._tell("registration_failed", detail)
        seconds = min(RETRY_FIRST * 2**self._failures, RETRY_MAX)
        self._failures = min(self._failures + 1, 16)
        self._timer = self._client.timers.after(seconds * (1 + self._random()) / 2, self.start)

    def _tell(self, change: str, detail: str) -> None:
        """Once for each state, not for each time that it is confirmed."""
        if self._reported != (change, detail):
            self._reported = (change, detail)
            self._account.tell(change, detail)


def granted(response: SipResponse, ours: str, asked: int) -> int:
    """Seconds that the registration of our contact `ours` lasts; 0: it does not (sections 10.2.4 and 10.3).

    Registrars, and what is before them, rewrite contacts: the address becomes the one that our REGISTER came from,
    parameters come and go, other contacts of the account stand beside it. Ours is the one with our user at our address,
    or at the one that our request was seen from (RFC 3581); it says how long it lasts, else the Expires header does.
    Where that leaves a doubt the shortest time of all counts, and none is longer than what we asked for.
    """
    own = parse_uri(ours)
    places = {_place(own), *_seen_from(response)}
    said: dict[bool, list[int]] = {True: [], False: []}
    found = False
    for value in response.listed("contact"):
        uri = _uri(value)
        is_ours = uri is not None and uri.user == own.user and _place(uri) in places
        found |= is_ours
        said[is_ours] += [_seconds(text) for text in _EXPIRES.findall(value)]
    general = [_seconds(text) for text in re.findall(r"^\s*([0-9]+)", response.value("expires"))]
    if said[True] or (found and general):
        return min(*(said[True] or general), asked)
    # Of the others one that has no time left has just been removed.
    doubtful = [*filter(None, said[False]), *general] or said[False]
    return min([*doubtful, asked])


def _place(uri: Uri) -> tuple[str, int]:
    tls = uri.scheme == "sips" or "transport=tls" in uri.params
    return uri.host.lower(), uri.port or DEFAULT_PORTS["tls" if tls else "udp"]


def _uri(contact: str) -> Uri | None:
    try:
        return parse_uri(parse_name_addr(contact).uri)
    except (ValueError, LookupError):
        return None


def _seen_from(response: SipResponse) -> Iterator[tuple[str, int]]:
    params = response.via.params
    if params.get("received") and params.get("rport", "").isdecimal():
        yield params["received"].strip("[]").lower(), int(params["rport"])


def _min_expires(response: SipResponse) -> int:
    text = response.value("min-expires")
    return _seconds(text) if text.isascii() and text.isdigit() else 0


def _seconds(digits: str) -> int:
    """Delta-seconds may have any length; beyond `EXPIRES_MAX` all are the same."""
    return min(int(digits.lstrip("0")[:12] or 0), EXPIRES_MAX + 1)
