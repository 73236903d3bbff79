"""Admission of calls and registrations. Pure.

An INVITE outside any dialog is checked in this order. Does it come from a trunk's `networks`? Is its From user a phone,
or has it credentials for us? Then the credentials must be right (RFC 3261 section 22.2). Does it come from the address
of a trunk's target? Does `sip.unknown_callers` admit it, and it is not anonymous (RFC 3323) from the address of a
registered phone? Otherwise it is challenged as a phone's, whether there is a phone of that name or not. A REGISTER
needs a phone's credentials.

A caller with a phone's credentials calls in that phone's name or anonymously: From is then `anonymous`, never another
name or number.

A banned address or name (`bans.py`) gets 403, unchecked. A refused request takes no memory except counts of wrong
passwords, which take a nonce that the address has got from us.

A SIP URI at a trunk's address is a call by that trunk, also without its credentials. If a document dials it, or a peer
redirects to it, the trunk's `dial_prefixes` must allow the number.

With `sip.silent` a request that we would refuse gets no response if neither its address nor its names are known.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address

from trunkline.config import SipSettings
from trunkline.ids import matches
from trunkline.sdp.values import Endpoint
from trunkline.setting_tables import TrunkSettings
from trunkline.shares import address_of, origin_of
from trunkline.sip.message.digest import DigestServer, parse_digest
from trunkline.sip.message.headers import Uri, parse_name_addr, parse_uri
from trunkline.sip.message.numbers import number_of
from trunkline.sip.message.validation import ChallengeRejection, Headers, Rejection, SipRequest
from trunkline.sip.peers.bans import Bans
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.values import PeerIdentity, SendInvite

ANONYMOUS = "anonymous"
"""User of an anonymous From (RFC 3323 section 4.1.1.3)."""


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
        self.bans = Bans(settings)
        self.reconfigure(settings)

    def reconfigure(self, settings: SipSettings) -> None:
        """Use these settings from now on. Addresses of trunks stay if their targets do."""
        self._settings = settings
        self.bans.reconfigure(settings)
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
        trunk = self._trunk_with_network(source.host)
        if trunk is not None:
            return PeerIdentity(trunk=trunk)
        sender = _uri(request, "from")
        user, anonymous = sender.user if sender else "", _is_anonymous(sender)
        if user in self._passwords or self._credentials(request):
            phone = self._authenticated(request, source, now)
            if phone != user and (not anonymous or user in self._passwords):
                raise Rejection(403, "From Is Not The Authenticated User")
            return PeerIdentity(phone=phone)
        trunk = self._trunk_with_target(source.host)
        if trunk is not None:
            return PeerIdentity(trunk=trunk)
        if self._is_welcome(source) and not (anonymous and self._passwords and self._is_phone_at(source, now)):
            return PeerIdentity()
        if anonymous and self._passwords:
            self._authenticated(request, source, now)
        self._counters["unknown_callers"] += 1
        detail = (
            f"neither a trunk nor a phone calls, and sip.unknown_callers={self._settings.unknown_callers} does not "
            "admit this address"
        )
        if self._passwords:
            self._check_ban(request, source, now)
            raise Rejection(401, "Unauthorized", self._challenges(source, now), detail=detail)
        raise Rejection(403, "Unknown Caller", detail=detail)

    def registrant(self, request: SipRequest, source: Endpoint, now: float) -> str:
        """The phone whose contacts a REGISTER changes. Raises Rejection: 401 with challenges, or 403."""
        if not self._passwords:
            raise Rejection(403, "No Phones Here")
        user = self._authenticated(request, source, now)
        registered = _uri(request, "to")
        if registered is None or user != registered.user:
            raise Rejection(403, "To Is Not The Authenticated User")
        return user

    def is_ignored(self, request: SipRequest, source: Endpoint, now: float) -> bool:
        """Whether a request that we refuse gets no response: neither its address nor its names are known. It may be
        malformed."""
        if not self._settings.silent or self._is_welcome(source) or self._is_phone_at(source, now):
            return False
        if self.is_trunk(source.host):
            return False
        try:
            sender = _uri(request, "from")
        except ValueError:
            return True
        names = {sender.user if sender else "", self._credentials(request).get("username", "")}
        return names.isdisjoint(self._passwords)

    def permitted(self, invite: SendInvite, found: Sequence[Target] | Unreachable) -> Sequence[Target] | Unreachable:
        """The targets of a call without those at a trunk that must not be called by it; Unreachable if none is left."""
        if not invite.restricted or isinstance(found, Unreachable):
            return found
        kept = [target for target in found if self._may_dial(invite, target)]
        if kept or not found:
            return kept
        detail = f"{found[0].endpoint.host} is a trunk's address, and its dial_prefixes do not allow this number"
        return Unreachable(403, "Forbidden", detail)

    def _may_dial(self, invite: SendInvite, target: Target) -> bool:
        address = address_of(target.endpoint.host)
        names = {name for name, known in self._targets.items() if str(address) in known}
        names |= {one.name for one in self._settings.trunks if any(address in network for network in one.networks)}
        if not names or invite.name in names:
            return True
        number = number_of(parse_uri(target.uri)) or ""
        return any(matches(one, number) for name in names for one in self._trunks[name].dial_prefixes or ())

    def is_trunk(self, host: str) -> bool:
        """Whether an address is a trunk's."""
        return self._trunk_with_network(host) is not None or self._trunk_with_target(host) is not None

    def _trunk_with_network(self, host: str) -> str | None:
        address = address_of(host)
        for trunk in self._settings.trunks:
            if any(address in network for network in trunk.networks):
                return trunk.name
        return None

    def _trunk_with_target(self, host: str) -> str | None:
        address = str(address_of(host))
        return next((name for name, known in self._targets.items() if address in known), None)

    def _is_welcome(self, source: Endpoint) -> bool:
        """Whether callers that are neither a trunk nor a phone are admitted from there."""
        policy = self._settings.unknown_callers
        return policy == "all" or (policy == "loopback" and address_of(source.host).is_loopback)

    def _authenticated(self, request: SipRequest, source: Endpoint, now: float) -> str:
        name, address = self._check_ban(request, source, now), origin_of(source.host)
        credentials = self._credentials(request)
        if not credentials:
            raise ChallengeRejection(401, "Unauthorized", self._challenges(source, now))
        result = self._digest_server.check(credentials, request, address, now, self._passwords.get)
        if result.outcome == "good":
            self.bans.proved(name, address)
            return name
        if result.outcome == "stale":
            raise ChallengeRejection(401, "Unauthorized", self._challenges(source, now, stale=True))
        if result.outcome == "wrong":
            self._counters["auth_failures"] += 1
            self.bans.failed(name, address, now)
        raise Rejection(401, "Unauthorized", self._challenges(source, now), detail=result.detail)

    def _check_ban(self, request: SipRequest, source: Endpoint, now: float) -> str:
        """The name that a request is to be authenticated as. Raises Rejection if it is banned, or its address."""
        name = self._credentials(request).get("username")
        if name is None:
            sender = _uri(request, "from")
            name = sender.user if sender else ""
        if self.bans.is_banned(name, origin_of(source.host), now):
            self._counters["auth_banned"] += 1
            raise Rejection(403, "Too Many Failures")
        return name

    def _challenges(self, source: Endpoint, now: float, *, stale: bool = False) -> Headers:
        values = self._digest_server.challenges(origin_of(source.host), now, stale=stale)
        return tuple(("WWW-Authenticate", value) for value in values)

    def _credentials(self, request: SipRequest) -> dict[str, str]:
        """The parameters of the Authorization for our realm; empty when there is none."""
        for value in request.values("authorization"):
            try:
                params = parse_digest(value)
            except ValueError:
                continue
            if params.get("realm") == self._digest_server.realm:
                return params
        return {}


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
