"""The calling side of an INVITE (RFC 3261 sections 13.2, 8.1.3 and 9.1): pure.

A `UacInvite` is one call of the application's, and makes as many INVITEs as it takes, one after the other: to the next
target where one is dead or says 503, with credentials where one challenges, to where a 3xx points. Each provisional
response with a tag of its own makes an early dialog, as a proxy may fork the INVITE. The first 2xx makes the dialog of
the call; another one is confirmed and ended with BYE, as is one that crosses our CANCEL. So a caller stays known for
64*T1 after its end (section 13.2.2.4).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any
from urllib.parse import quote

from trunkline.sdp.session import SessionDescription
from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, Hop, contact, contact_of, reason_of, reason_value
from trunkline.sip.dialog_store import DialogStore
from trunkline.sip.message.bodies import session_description
from trunkline.sip.message.digest import DigestClient
from trunkline.sip.message.headers import USER_CHARACTERS, one_line, parse_name_addr, parse_uri, quoted_string
from trunkline.sip.message.validation import Headers, Rejection, SipResponse
from trunkline.sip.refresh import start, takes_updates
from trunkline.sip.session_timer import min_se_of, negotiate_uac, request_headers
from trunkline.sip.targets import Locator, Target, Unreachable
from trunkline.sip.transactions import TRANSACTION_TIME, ClientTransaction, Flow, Outgoing
from trunkline.sip.values import Credentials, DialogId, InviteAccepted, InviteProgressed, InviteRefused, SendInvite

REDIRECT_LIMIT = 5
"""Contacts of 3xx responses that one call follows."""
RAISE_LIMIT = 3
"""Times that a call takes a longer session interval (422)."""
FORK_LIMIT = 20
"""Dialogs that one call may make; what a proxy forks to beyond that is not listened to."""

TOLERANCE = 2
"""ICMP errors for which the last target is not given up yet: it may be about to listen, and the INVITE is repeated half
a second later, and a second after that."""

CallKey = tuple[str, str]
"""Call-ID and our tag."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One target, and the INVITE to it that is under way."""

    target: Target
    flow: Flow
    local: str
    """Our From, with our tag."""
    digest_client: DigestClient | None
    sent: ClientTransaction | None = None
    credentials: Headers = ()
    """Of the INVITE, for its ACK."""
    heard: bool = False
    """There was some response."""


@dataclass(frozen=True, slots=True)
class Redirection:
    """Where a 3xx pointed; not looked up yet."""

    uri: str
    credentials: Credentials | None


class UacInvite:
    """One call that we place; see the head of this file. `on_over` is told when nothing more can come of it."""

    def __init__(
        self,
        invite: SendInvite,
        store: DialogStore,
        locator: Locator,
        connect: Callable[[Target], Flow],
        on_over: Callable[["UacInvite"], None],
    ) -> None:
        self.key: CallKey = (store.tag(), store.tag())
        self.settled = False
        """No INVITE is under way, nor will be."""
        self._invite = invite
        self._store = store
        self._locator = locator
        self._connect = connect
        self._on_over = on_over
        self._places: deque[Target | Redirection] = deque()
        self._seen: set[str] = set()
        """URIs called, for loops of redirections."""
        self._redirections = 0
        self._failure = InviteRefused(invite.dialog, 503, "Service Unavailable", "no target", responded=False)
        self._attempt: Attempt | None = None
        self._sent_as: dict[int, Attempt] = {}
        """Attempts by the sequence numbers of their INVITEs."""
        self._patience: Any = None
        self._to = ""
        self._legs: dict[str, Dialog] = {}
        self._answers: dict[str, SessionDescription] = {}
        self._reported_tag = ""
        """Tag of the dialog whose answer the application was told last."""
        self._interval = store.settings.session_expires
        self._min_se = store.settings.min_se
        self._raises = 0
        self._bye_reason: str | None = None
        self._hung_up = False

    # ── where to ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Find out where the call goes, and call."""
        self._locator.locate(self._invite, partial(self._found, self._invite.credentials))

    def hang_up(self, header: str | None) -> None:
        """The application wants no more; `header` is the Reason."""
        self._hung_up, self._bye_reason = True, header
        self._be_patient()
        if self._attempt is None or self._attempt.sent is None:
            self._settle()
        else:
            self._attempt.sent.cancel(() if header is None else (("Reason", header),))

    def _found(self, credentials: Credentials | None, found: Sequence[Target] | Unreachable) -> None:
        """Targets, and what answers challenges there instead of what they bring."""
        if self.settled:
            return
        if isinstance(found, Unreachable):
            self._failure = replace(self._failure, status=found.status, reason=found.reason, detail=found.detail)
        else:
            places = [replace(target, credentials=credentials or target.credentials) for target in found]
            self._places.extendleft(reversed(places))
        self._next()

    def _next(self) -> None:
        """Try the next place, or tell what came of the last."""
        if not self._places:
            self._settle()
            self._store.tell(self._failure)
            return
        place = self._places.popleft()
        if isinstance(place, Redirection):
            self._attempt = None
            there = replace(self._invite, route="uri", to=place.uri, credentials=None)
            self._locator.locate(there, partial(self._found, place.credentials))
            return
        credentials = place.credentials
        self._attempt = Attempt(
            place,
            place.flow or self._connect(place),
            "",
            None if credentials is None else DigestClient(credentials, self._store.tag),
        )
        self._attempt.local = self._from(self._attempt)
        self._to = self._to or f"<{place.uri}>"
        self._seen.add(place.uri)
        if self._places:
            self._patience = self._store.timers.after(self._store.settings.target_timeout, self._give_up, self._attempt)
        self._send(self._attempt)

    def _from(self, attempt: Attempt) -> str:
        host = attempt.target.from_host or attempt.flow.local.host
        user = quote(self._invite.from_user or attempt.target.from_user, safe=USER_CHARACTERS)
        uri = f"sip:{user}@{host}" if user else f"sip:{host}"
        name = f"{quoted_string(self._invite.from_name)} " if self._invite.from_name else ""
        return f"{name}<{uri}>;tag={self.key[1]}"

    def _send(self, attempt: Attempt) -> None:
        """INVITE."""
        uri = attempt.target.uri
        attempt.credentials = () if attempt.digest_client is None else attempt.digest_client.headers("INVITE", uri)
        # Above those of the early dialogs too: a fork that is challenged and then answers keeps its tag.
        cseq = max((0, *self._sent_as, *(leg.local_cseq for leg in self._legs.values()))) + 1
        self._sent_as[cseq] = attempt
        attempt.sent = self._store.transactions.send(
            Outgoing(
                method="INVITE",
                uri=uri,
                from_=attempt.local,
                to=self._to,
                call_id=self.key[0],
                cseq=cseq,
                target=attempt.target.endpoint,
                flow=attempt.flow,
                routes=attempt.target.route,
                headers=(
                    contact(attempt.flow),
                    *CAPABILITIES,
                    *request_headers(self._interval, self._min_se),
                    *self._invite.headers,
                    *attempt.credentials,
                ),
                sdp=self._invite.sdp,
            ),
            lambda response: self._received(attempt, response),
        )
        attempt.sent.tolerance = 0 if self._places else TOLERANCE

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self, attempt: Attempt) -> None:
        """No response at all: try the next; should this one come alive, it is told to CANCEL."""
        self._patience = None
        self._locator.tried(attempt.target, answered=False)
        if attempt.sent is not None:
            attempt.sent.cancel()
        self._next()

    # ── responses ───────────────────────────────────────────────────────────────────────────────────────────

    def _received(self, attempt: Attempt, response: SipResponse) -> None:
        if response.headers or (attempt is self._attempt and not attempt.heard):
            attempt.heard = bool(response.headers)
            self._locator.tried(attempt.target, answered=attempt.heard)
        if 200 <= response.status < 300:
            self.succeeded(response)
        elif attempt is not self._attempt or self.settled:
            return  # One that we gave up.
        elif response.status < 200:
            self._be_patient()
            self._progressed(attempt, response)
        else:
            self._be_patient()
            self._failed(attempt, response)

    def _progressed(self, attempt: Attempt, response: SipResponse) -> None:
        if self._hung_up:
            return
        tag = "" if response.status == 100 else response.tag("to")
        leg = self._leg(tag, attempt, response) if tag else None
        if leg is not None and not self._acknowledge(leg, response):
            return
        answer = None if response.status == 100 else self._description(response)
        if leg is not None and answer is not None:
            self._answers[tag], self._reported_tag = answer, tag
        reason_value = one_line(response.reason)
        self._store.tell(InviteProgressed(self._invite.dialog, response.status, reason_value, answer))

    def _acknowledge(self, leg: Dialog, response: SipResponse) -> bool:
        """PRACK for a reliable response (RFC 3262 section 4); False: it came before, or out of order."""
        if "100rel" not in (tag.lower() for tag in response.listed("require")):
            return True
        rseq = response.value("rseq")
        number = int(rseq) if rseq.isascii() and rseq.isdigit() and len(rseq) < 11 else 0
        if not number or leg.rseq not in (0, number - 1):
            return False
        leg.rseq = number
        rack = f"{number} {response.cseq[0]} INVITE"
        self._store.request(leg, "PRACK", lambda _response: None, (("RAck", rack),))
        return True

    def _failed(self, attempt: Attempt, response: SipResponse) -> None:
        if self._hung_up:
            self._settle()
            return
        digest_client = attempt.digest_client if response.status in (401, 407) else None
        if digest_client is not None and digest_client.challenged([(key, value) for key, _, value in response.headers]):
            self._send(attempt)
            return
        if response.status == 422 and self._raises < RAISE_LIMIT and min_se_of(response) > self._interval:
            # RFC 4028 section 7.3.
            self._raises += 1
            self._interval = self._min_se = min_se_of(response)
            self._send(attempt)
            return
        self._failure = _failure(self._invite.dialog, attempt, response)
        unanswered = response.status == 408 and not response.headers
        if not (self._follow(attempt.target, response) or unanswered or response.status == 503):
            self._places.clear()
        self._next()

    def _follow(self, target: Target, response: SipResponse) -> bool:
        """Take the contacts of a 3xx as the next places (section 8.1.3.4), the most wanted first. Who sent it may see
        our credentials at work again, others may not."""
        if not 300 <= response.status < 400:
            return False
        found = []
        for uri in _contacts(response):
            if uri not in self._seen and self._redirections < REDIRECT_LIMIT:
                self._redirections += 1
                self._seen.add(uri)
                same = parse_uri(uri).host == parse_uri(target.uri).host
                found.append(Redirection(uri, target.credentials if same else None))
        self._places.extendleft(reversed(found))
        return bool(found)

    def succeeded(self, response: SipResponse) -> bool:
        """A 2xx to an INVITE of ours, in whatever state; False: to none that we know."""
        cseq, tag = response.cseq[0], response.tag("to")
        leg, attempt = self._legs.get(tag), self._sent_as.get(cseq)
        if leg is not None and leg.resend_ack is not None:
            if leg.ack_cseq == cseq:
                leg.resend_ack()
            return leg.ack_cseq == cseq
        if attempt is None:
            return False
        leg = self._leg(tag, attempt, response)
        if leg is None:
            return False
        # Section 13.2.2.4: what the 2xx says of route and target counts.
        leg.route_set = _route_set(response)
        leg.remote_target = contact_of(response) or leg.remote_target
        leg.local_cseq = max(leg.local_cseq, cseq)
        leg.choose_next_hop(symmetric=attempt.target.flow is not None)
        self._store.acknowledge(leg, cseq, attempt.credentials)
        wanted = not self.settled and not self._hung_up
        self._settle(leg)
        if wanted:
            self._win(leg, tag, response)
        else:
            self._store.by_key[leg.key] = leg
            self._store.send_bye(leg, self._bye_reason or reason_value(200, "answered elsewhere"))
        return True

    def _win(self, leg: Dialog, tag: str, response: SipResponse) -> None:
        leg.state = DialogState.CONFIRMED
        leg.takes_updates = takes_updates(response)
        leg.min_se = self._min_se
        start(self._store, leg, negotiate_uac(response, self._store.settings.min_se))
        self._store.by_id[leg.id] = leg
        answer = self._description(response)
        if answer is None and self._reported_tag != tag:
            answer = self._answers.get(tag)
        self._store.tell(InviteAccepted(leg.id, answer))

    def _settle(self, winner: Dialog | None = None) -> None:
        """No more INVITEs: what is under way is cancelled, and early dialogs are forgotten."""
        if self.settled:
            return
        self.settled = True
        self._be_patient()
        self._store.outgoing.pop(self._invite.dialog, None)
        for attempt in self._sent_as.values():
            if attempt.sent is not None:
                attempt.sent.cancel()
        for leg in self._legs.values():
            if leg is not winner:
                self._store.forget(leg)
        self._store.timers.after(TRANSACTION_TIME, self._on_over, self)

    def _leg(self, tag: str, attempt: Attempt, response: SipResponse) -> Dialog | None:
        """The dialog that a response belongs to, or makes."""
        leg = self._legs.get(tag)
        if leg is not None or len(self._legs) >= FORK_LIMIT:
            return leg
        target = attempt.target
        uri = parse_uri(target.uri)
        leg = Dialog(
            id=self._invite.dialog,
            call_id=self.key[0],
            local_tag=self.key[1],
            remote_tag=tag,
            local=attempt.local,
            remote=response.value("to"),
            remote_target=contact_of(response) or target.uri,
            route_set=_route_set(response),
            flow=attempt.flow,
            source=target.endpoint,
            state=DialogState.EARLY,
            remote_cseq=0,
            local_cseq=response.cseq[0],
            is_uac=True,
            sdp=self._invite.sdp,
            hop=Hop(uri.host, uri.port, target.endpoint),
            credentials=target.credentials,
            phone=self._invite.name if self._invite.route == "phone" else None,
        )
        # A phone is called where it registered from, which opened its NAT for us.
        leg.choose_next_hop(symmetric=target.flow is not None)
        self._legs[tag] = self._store.by_key[leg.key] = leg
        return leg

    def _description(self, response: SipResponse) -> SessionDescription | None:
        try:
            return session_description(response)
        except Rejection:
            self._store.counters["bad_answers"] += 1
            return None


def _route_set(response: SipResponse) -> tuple[str, ...]:
    return tuple(reversed(response.listed("record-route")))


def _contacts(response: SipResponse) -> list[str]:
    """URIs of the contacts that can be called, by their q."""
    found = []
    for value in response.listed("contact"):
        try:
            address = parse_name_addr(value)
            if parse_uri(address.uri).host:
                found.append((-float(address.params.get("q") or 1), address.uri))
        except (ValueError, LookupError):
            continue
    return [uri for _, uri in sorted(found, key=itemgetter(0))]


def _failure(dialog: DialogId, attempt: Attempt, response: SipResponse) -> InviteRefused:
    status, text, there = response.status, one_line(response.reason)[:200], attempt.target.endpoint
    if response.headers:
        told = reason_of(response) or one_line(response.value("warning"))[:200]
        return InviteRefused(dialog, status, text, f"{there}: {told}" if told else f"{there}")
    reason_value, text = ("Request Timeout", "no response") if status == 408 else ("Service Unavailable", text)
    if attempt.heard:
        return InviteRefused(dialog, status, reason_value, f"no final response from {there}", responded=False)
    return InviteRefused(
        dialog, status, reason_value, f"{there} is unreachable: {text}", responded=False, unreachable=True
    )
