"""Admission of calls and registrations. Pure.

An INVITE outside any dialog is checked in this order. Does it come from a trunk's `networks`? Is its From user a phone,
or has it credentials for us? Then the credentials must be right (RFC 3261 section 22.2). Does it come from the address
of a trunk's target? Is it anonymous (RFC 3323), and comes from the address of a registered phone, or from a caller that
would not be admitted? Then it may be of a phone, and is challenged. Otherwise `sip.unknown_callers` decides. A REGISTER
needs a phone's credentials.

A caller with a phone's credentials calls in that phone's name or anonymously: From is then `anonymous`, never another
name or number.

Against guessed passwords an address with `sip.auth_failures` wrong ones gets 403, unchecked, until `sip.auth_ban`
seconds after the last. A refused request takes no memory except one count for each of at most `SOURCE_LIMIT` addresses.
Credentials that are valid for one request only are remembered until their nonce expires, `SPENT_LIMIT` of them; beyond
that the request is challenged again.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from trunkline.config import SipSettings, TrunkSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.digest import NONCE_LIFETIME, DigestServer, parse_digest
from trunkline.sip.message.headers import Uri, parse_name_addr, parse_uri
from trunkline.sip.message.validation import ChallengeRejection, Headers, Rejection, SipRequest
from trunkline.sip.values import PeerIdentity

SOURCE_LIMIT = 10000
"""Addresses with failures that are remembered; beyond it the one with the oldest failure is forgotten."""
SPENT_LIMIT = 10000
"""Credentials for one request that are remembered as used."""
ANONYMOUS = "anonymous"
"""User of an anonymous From (RFC 3323 section 4.1.1.3)."""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Access:
    """The rules of one endpoint. Times are seconds of a monotonic clock."""

    def __init__(
        self,
        settings: SipSettings,
        digest_server: DigestServer,
        counters: Counter[str],
        is_phone_at: Callable[[Endpoint, float], bool] = lambda _source, _now: False,
    ) -> None:
        """`is_phone_at` says whether a phone is registered from an address at that time."""
        self._is_phone_at = is_phone_at
        self._digest_server = digest_server
        self._counters = counters
        self._trunks: dict[str, TrunkSettings] = {}
        self._targets: dict[str, frozenset[str]] = {}
        self._failures: dict[str, _Failures] = {}
        self._spent: dict[str, float] = {}
        """Credentials for one request, and the time of their use; the oldest first."""
        self.reconfigure(settings)

    def reconfigure(self, settings: SipSettings) -> None:
        """Use these settings from now on. Addresses of trunks stay if their targets do."""
        self._settings = settings
        self._passwords = {phone.user: phone.password for phone in settings.phones}
        before, self._trunks = self._trunks, {trunk.name: trunk for trunk in settings.trunks}
        self._targets = {
            name: self._targets[name]
            if name in before and before[name].targets == trunk.targets
            else frozenset(_literals(trunk.targets))
            for name, trunk in self._trunks.items()
        }

    def learn(self, trunk: str, addresses: Iterable[str]) -> None:
        """The addresses of a trunk's targets: calls may come from there."""
        if trunk in self._trunks:
            self._targets[trunk] = frozenset(addresses) | frozenset(_literals(self._trunks[trunk].targets))

    def identify(self, request: SipRequest, source: Endpoint, now: float) -> PeerIdentity:
        """The origin of an INVITE outside any dialog. Raises Rejection: 401 with challenges, or 403."""
        address = _address(source.host)
        for trunk in self._settings.trunks:
            if any(address in network for network in trunk.networks):
                return PeerIdentity(trunk=trunk.name)
        sender = _uri(request, "from")
        user, anonymous = sender.user if sender else "", _is_anonymous(sender)
        if user in self._passwords or self._credentials(request):
            phone = self._authenticated(request, source, now)
            if phone != user and (not anonymous or user in self._passwords):
                raise Rejection(403, "From Is Not The Authenticated User")
            return PeerIdentity(phone=phone)
        for name, known in self._targets.items():
            if str(address) in known:
                return PeerIdentity(trunk=name)
        policy = self._settings.unknown_callers
        welcome = policy == "all" or (policy == "loopback" and address.is_loopback)
        if anonymous and self._passwords and not (welcome and not self._is_phone_at(source, now)):
            return PeerIdentity(phone=self._authenticated(request, source, now))
        if welcome:
            return PeerIdentity()
        self._counters["unknown_callers"] += 1
        raise Rejection(403, "Unknown Caller")

    def registrant(self, request: SipRequest, source: Endpoint, now: float) -> str:
        """The phone whose contacts a REGISTER changes. Raises Rejection: 401 with challenges, or 403."""
        if not self._passwords:
            raise Rejection(403, "No Phones Here")
        user = self._authenticated(request, source, now)
        registered = _uri(request, "to")
        if registered is None or user != registered.user:
            raise Rejection(403, "To Is Not The Authenticated User")
        return user

    @property
    def failing_addresses(self) -> int:
        """Addresses with failures that are remembered."""
        return len(self._failures)

    def _authenticated(self, request: SipRequest, source: Endpoint, now: float) -> str:
        failures = self._failures.get(source.host)
        if failures is not None and now - failures.last >= self._settings.auth_ban:
            failures = None
        if failures is not None and failures.count >= self._settings.auth_failures:
            self._counters["auth_banned"] += 1
            raise Rejection(403, "Too Many Failures")
        authorization = self._credentials(request)
        if not authorization:
            raise ChallengeRejection(401, "Unauthorized", self._challenges(now))
        result = self._digest_server.check(authorization, request.method, request.uri, now, self._passwords.get)
        outcome = result.outcome
        if result.once and not self._is_first_use(result.once, now):
            outcome = "stale"
        if outcome == "good":
            return result.username
        if outcome == "stale":
            raise ChallengeRejection(401, "Unauthorized", self._challenges(now, stale=True))
        self._count_failure(source, failures, now)
        raise Rejection(401, "Unauthorized", self._challenges(now))

    def _is_first_use(self, credentials: str, now: float) -> bool:
        while self._spent and now - next(iter(self._spent.values())) > NONCE_LIFETIME:
            del self._spent[next(iter(self._spent))]
        if credentials in self._spent or len(self._spent) >= SPENT_LIMIT:
            return False
        self._spent[credentials] = now
        return True

    def _count_failure(self, source: Endpoint, failures: _Failures | None, now: float) -> None:
        self._counters["auth_failures"] += 1
        self._failures.pop(source.host, None)
        self._failures[source.host] = _Failures(1 if failures is None else failures.count + 1, now)
        if len(self._failures) > SOURCE_LIMIT:
            del self._failures[next(iter(self._failures))]

    def _challenges(self, now: float, *, stale: bool = False) -> Headers:
        return tuple(("WWW-Authenticate", value) for value in self._digest_server.challenges(now, stale=stale))

    def _credentials(self, request: SipRequest) -> str:
        """The Authorization for our realm; empty when there is none."""
        for value in request.values("authorization"):
            try:
                if parse_digest(value).get("realm") == self._digest_server.realm:
                    return value
            except ValueError:
                continue
        return ""


def _address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _literals(targets: Iterable[str]) -> Iterable[str]:
    for target in targets:
        try:
            yield str(ip_address(parse_uri(target).host))
        except ValueError:
            continue  # A name.


def _uri(request: SipRequest, header: str) -> Uri | None:
    """URI of From or To; None if its scheme is not supported."""
    try:
        return parse_uri(parse_name_addr(request.value(header)).uri)
    except LookupError:
        return None


def _is_anonymous(sender: Uri | None) -> bool:
    """Whether a From is anonymous: it has no name or number of the caller's choice, whatever its host."""
    if sender is None:
        return False
    return sender.user.lower() == ANONYMOUS or (not sender.user and sender.host.lower().endswith(".invalid"))
