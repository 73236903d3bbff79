"""The contacts of phones (RFC 3261 section 10). Pure.

Each contact of an authenticated phone is kept until it expires, with the flow of its REGISTER, so that calls pass the
phone's NAT the way that the REGISTER has opened; `binding_store.py` keeps some over a restart. `sip.registration_min`
and `registration_max` bound the time that phones may ask for.

A phone has at most `CONTACT_LIMIT` contacts; one more drops the oldest, since phones that restart leave contacts that
are never removed. Contacts of the same `+sip.instance` and `reg-id` replace each other (RFC 5626 section 4.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trunkline.sdp.values import Endpoint
from trunkline.sip.message.headers import NameAddr, parse_name_addr, parse_uri
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.message.validation import ChallengeRejection, Headers, Rejection, SipRequest
from trunkline.sip.targets import TRANSPORTS, Target, next_hop, request_address

CONTACT_LIMIT = 10
"""Contacts of one phone."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of a phone."""

    uri: str
    key: tuple[str, str]
    """Identifies the contact: instance and reg-id, or the URI."""
    flow: Flow
    source: Endpoint
    """Over UDP without Path: where the phone receives requests; else the source of its REGISTER."""
    path: tuple[str, ...]
    """Values of Path, the Route of calls (RFC 3327)."""
    call_id: str
    cseq: int
    expires_at: float

    def target(self) -> Target:
        """Target of a call: by the flow of the contact; over UDP to its source."""
        transport = TRANSPORTS[self.flow.transport]
        endpoint = next_hop(self.uri, self.path, transport)
        if transport == "udp" and (not self.path or endpoint.host != self.source.host):
            endpoint = self.source
        return Target(self.uri, endpoint, transport, self.flow, self.path)


class Registrar:
    """The contacts of all phones. Times are seconds of a monotonic clock; `shortest` and `longest` bound the time that
    phones may ask for."""

    def __init__(self, shortest: int, longest: int) -> None:
        self._shortest, self._longest = shortest, longest
        self._bindings: dict[str, list[Binding]] = {}

    def __len__(self) -> int:
        """Contacts held."""
        return sum(map(len, self._bindings.values()))

    def bindings(self, user: str, now: float) -> Sequence[Binding]:
        """The contacts of a phone, the newest first."""
        self._expire(user, now)
        return self._bindings.get(user, [])[::-1]

    def is_at(self, source: Endpoint, now: float) -> bool:
        """Whether a phone is registered from that address and port."""
        held = (binding for bindings in self._bindings.values() for binding in bindings)
        return any(binding.source == source and binding.expires_at > now for binding in held)

    def uses(self, flow: Flow, now: float) -> bool:
        """Whether a phone is registered by that flow."""
        held = (binding for bindings in self._bindings.values() for binding in bindings)
        return any(binding.flow is flow and binding.expires_at > now for binding in held)

    def restore(self, user: str, bindings: Sequence[Binding], now: float) -> None:
        """Take the contacts of a phone from before a restart, the oldest first, except expired ones."""
        self._bindings[user] = list(bindings)
        self._expire(user, now)

    def forget(self, user: str) -> None:
        """Drop the contacts of a phone."""
        self._bindings.pop(user, None)

    def register(self, user: str, request: SipRequest, source: Endpoint, flow: Flow, now: float) -> Headers:
        """Apply a REGISTER of `user`. Returns the headers of the 200. Raises Rejection."""
        self._expire(user, now)
        path = tuple(request.listed("path"))
        wanted = self._wanted(request)
        _check_path(path)
        held = {binding.key: binding for binding in self._bindings.get(user, [])}
        call_id, cseq = request.value("call-id"), request.cseq[0]
        keys = [_key(address) for address, _ in wanted] if wanted is not None else list(held)
        # Section 10.3 step 7. The same number is a retransmission.
        if any(held[key].call_id == call_id and held[key].cseq > cseq for key in keys if key in held):
            raise Rejection(500, "CSeq Out Of Order")
        for key in keys:
            held.pop(key, None)
        for address, seconds in wanted or ():
            if seconds:
                key = _key(address)
                there = source
                if flow.transport == "udp" and not path:
                    symmetric = "rport" in request.via.params
                    there = request_address(next_hop(address.uri, (), "udp"), source, symmetric=symmetric)
                held[key] = Binding(address.uri, key, flow, there, path, call_id, cseq, now + seconds)
        self._bindings[user] = list(held.values())[-CONTACT_LIMIT:]
        if not held:
            del self._bindings[user]
        contacts = tuple(
            ("Contact", f"<{binding.uri}>;expires={round(binding.expires_at - now)}")
            for binding in self.bindings(user, now)
        )
        return (*contacts, *(("Path", value) for value in path))

    def _wanted(self, request: SipRequest) -> Sequence[tuple[NameAddr, int]] | None:
        """Contacts of a request and their seconds, 0 to remove them; None: `*`, all are to be removed."""
        contacts = request.listed("contact")
        general = request.value("expires")
        if "*" in contacts:
            if len(contacts) > 1 or not general or int(general):
                raise Rejection(400, "Contact * needs Expires: 0, and no other contact")
            return None
        if len(contacts) > CONTACT_LIMIT:
            raise Rejection(403, "Too Many Contacts")
        wanted = []
        for value in contacts:
            address = parse_name_addr(value)
            # Section 10.2.1.1: a malformed value counts as absent.
            asked = address.params.get("expires", general)
            seconds = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else self._longest
            if 0 < seconds < self._shortest:
                raise ChallengeRejection(423, "Interval Too Brief", (("Min-Expires", str(self._shortest)),))
            wanted.append((address, min(seconds, self._longest)))
        return wanted

    def _expire(self, user: str, now: float) -> None:
        kept = [binding for binding in self._bindings.get(user, []) if binding.expires_at > now]
        if kept:
            self._bindings[user] = kept
        else:
            self._bindings.pop(user, None)


def _key(address: NameAddr) -> tuple[str, str]:
    instance = address.params.get("+sip.instance", "")
    return (instance, address.params.get("reg-id", "")) if instance else ("", address.uri)


def _check_path(path: Sequence[str]) -> None:
    try:
        if all(parse_uri(parse_name_addr(value).uri).host for value in path):
            return
    except (ValueError, LookupError):
        pass
    raise Rejection(400, "Malformed Path")
