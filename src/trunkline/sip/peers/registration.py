"""Our registration with a trunk (RFC 3261 section 10.2). Pure.

We register with the first target that accepts, and again when `REFRESH_AT` of the granted time has passed (`granted`),
or when that target goes down. If no target accepts, we try again after a growing time of up to `RETRY_MAX` seconds, at
random so that the trunks of one carrier do not try at the same moment (RFC 5626 section 4.5). At the end we remove our
contact.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from trunkline.sdp.values import Endpoint
from trunkline.sip.dialog import contact
from trunkline.sip.events import TrunkChanged, TrunkEvent
from trunkline.sip.message.digest import DigestClient
from trunkline.sip.message.headers import Uri, one_line, parse_name_addr, parse_uri
from trunkline.sip.message.validation import SipResponse
from trunkline.sip.peers.client import OutOfDialogClient, OutOfDialogRequest
from trunkline.sip.targets import DEFAULT_PORTS, Target
from trunkline.sip.timers import Timer

REFRESH_AT = 0.8
"""Part of the granted time after which we register again."""
REFRESH_MIN = 1.0
"""Seconds between two registrations at least, however short the granted time."""
EXPIRES_MAX = 86400
"""Seconds: a larger Min-Expires counts as a refusal."""
_EXPIRES = re.compile(r";\s*expires\s*=\s*\"?\s*([0-9]+)", re.IGNORECASE)
RETRY_FIRST = 5.0
"""Seconds until a failed registration is tried again; doubled each time."""
RETRY_MAX = 600.0
"""Seconds until a failed registration is tried again, at most."""


class Account(Protocol):
    """What a registration needs of its trunk."""

    @property
    def name(self) -> str:
        """The trunk's name."""

    @property
    def user(self) -> str:
        """User part of our Contact."""

    def targets_in_order(self) -> Sequence[Target]:
        """At least one; all have credentials."""

    def address_of_record(self, target: Target) -> str:
        """URI of From and To."""

    def tried(self, endpoint: Endpoint, *, answered: bool) -> None:
        """A target has responded to a request."""


@dataclass(slots=True, eq=False)
class RegisterAttempt:
    """A REGISTER to one target, with its retries."""

    registration: "Registration"
    """Whose it is."""
    target: Target
    """The registrar."""
    digest_client: DigestClient
    """Answers challenges."""
    expires: int
    """Seconds; 0 removes our contact."""
    raised: bool = False
    """The registrar has asked for a longer time already (423)."""


class Registration:
    """The registration of one trunk. `random` gives numbers from 0 up to 1; changes are added to `events`."""

    def __init__(
        self,
        account: Account,
        expires: int,
        client: OutOfDialogClient,
        random: Callable[[], float],
        events: deque[TrunkEvent],
    ) -> None:
        self.registered = False
        self.ended = False
        """Our contact has been removed, or could not be."""
        self._account = account
        self._expires = expires
        self._client = client
        self._random = random
        self._events = events
        self._call_id = client.tag()
        self._cseq = 0
        self._untried: deque[Target] = deque()
        self._attempt: RegisterAttempt | None = None
        self._registrar: Target | None = None
        """The target at which we are registered."""
        self._failures = 0
        self._timer: Timer | None = None
        self._reported: TrunkEvent | None = None
        self._ending = False

    def start(self) -> None:
        """Register with the first target that accepts."""
        self.stop()
        self._untried.clear()
        self._untried.extend(self._account.targets_in_order())
        self._next()

    def target_down(self, target: Target) -> None:
        """A target is down: register with another if we are registered there."""
        if self._registrar == target and not self._ending:
            self.start()

    def unregister(self) -> None:
        """Remove our contact; `ended` is true when that has been done or has failed."""
        self.stop()
        self._attempt, self._ending = None, True
        if self.registered and self._registrar is not None:
            self._send(self._new_attempt(self._registrar, 0))
        else:
            self.ended = True

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def response_received(self, attempt: RegisterAttempt, response: SipResponse) -> None:
        """The final response to a REGISTER."""
        if response.headers:
            self._account.tried(attempt.target.endpoint, answered=True)
        if attempt is not self._attempt:
            return
        headers = [(key, value) for key, _, value in response.headers]
        if response.status in (401, 407) and attempt.digest_client.challenged(headers):
            self._send(attempt)
        elif self._ending:
            self.registered, self.ended = False, True
        elif response.status < 300:
            self._succeeded(attempt, response)
        elif response.status == 423 and not attempt.raised and attempt.expires < _min_expires(response) <= EXPIRES_MAX:
            self._expires = attempt.expires = _min_expires(response)
            attempt.raised = True
            self._send(attempt)
        elif self._untried and (not response.headers or response.status >= 500):
            self._next()
        else:
            self._failed(attempt, f"{response.status} {one_line(response.reason)[:200]}")

    def _next(self) -> None:
        self._send(self._new_attempt(self._untried.popleft(), self._expires))

    def _new_attempt(self, target: Target, expires: int) -> RegisterAttempt:
        credentials = target.credentials
        assert credentials is not None
        flow = self._client.connect(target)
        return RegisterAttempt(self, replace(target, flow=flow), DigestClient(credentials, self._client.tag), expires)

    def _send(self, attempt: RegisterAttempt) -> None:
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
        self._client.send(OutOfDialogRequest("REGISTER", target, address, self._call_id, self._cseq, headers, attempt))

    def _succeeded(self, attempt: RegisterAttempt, response: SipResponse) -> None:
        assert attempt.target.flow is not None
        ours = parse_name_addr(contact(attempt.target.flow, self._account.user)[1]).uri
        seconds = granted(response, ours, attempt.expires)
        if not seconds:
            self._failed(attempt, "registered for 0 seconds")
            return
        self.registered, self._failures = True, 0
        endpoint = attempt.target.endpoint
        self._registrar = next(
            (target for target in self._account.targets_in_order() if target.endpoint == endpoint), attempt.target
        )
        self._report(TrunkChanged(self._account.name, "registered", str(endpoint), ""))
        self._timer = self._client.timers.after(max(seconds * REFRESH_AT, REFRESH_MIN), self.start)

    def _failed(self, attempt: RegisterAttempt, reason: str) -> None:
        self.registered, self._registrar = False, None
        self._report(TrunkChanged(self._account.name, "registration_failed", str(attempt.target.endpoint), reason))
        seconds = min(RETRY_FIRST * 2**self._failures, RETRY_MAX)
        self._failures = min(self._failures + 1, 16)
        self._timer = self._client.timers.after(seconds * (1 + self._random()) / 2, self.start)

    def _report(self, event: TrunkEvent) -> None:
        """Once for each change, not for each registration that confirms it."""
        if self._reported != event:
            self._reported = event
            self._events.append(event)


def granted(response: SipResponse, ours: str, asked: int) -> int:
    """Seconds that the registration of our contact `ours` lasts; 0: it does not (sections 10.2.4 and 10.3).

    Registrars and the proxies before them rewrite contacts: the address becomes the source of our REGISTER, parameters
    are added or removed, other contacts of the account are listed too. Ours has our user at our address, or at the
    source of our request (RFC 3581); its `expires` parameter counts, else the Expires header. If ours is not found, the
    shortest time of all counts. None is longer than what we have asked for.
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
    # A contact with 0 seconds has just been removed.
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
