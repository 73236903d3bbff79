"""A call that we place: the UAC of an INVITE (RFC 3261 sections 13.2, 8.1.3 and 9.1). Pure.

A `UacInvite` is one call of the application. It sends as many INVITEs as it takes, one after the other: to the next
target if one does not respond or says 503, with credentials after a challenge, to the contacts of a 3xx. Each
provisional response with a To tag of its own makes an early dialog, since a proxy may fork the INVITE. The first 2xx
makes the dialog of the call; the dialogs of other 2xx, and of one that crosses our CANCEL, get ACK and BYE. So a call
is kept for 64*T1 after its end (section 13.2.2.4).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from urllib.parse import quote

from trunkline.sdp.session import SessionDescription
from trunkline.sip.client_transaction import ClientTransaction
from trunkline.sip.dialog import CAPABILITIES, Dialog, DialogState, Hop, contact, contact_of, reason_of, reason_value
from trunkline.sip.dialog_store import DialogRequest, DialogStore, Purpose
from trunkline.sip.events import CallKey, TargetsRequired, TargetTried
from trunkline.sip.message.bodies import session_description
from trunkline.sip.message.digest import DigestClient
from trunkline.sip.message.headers import USER_CHARACTERS, one_line, parse_name_addr, parse_uri, quoted_string
from trunkline.sip.message.outgoing import Flow, Outgoing
from trunkline.sip.message.validation import Headers, Rejection, SipResponse
from trunkline.sip.refresh import allows_update, start
from trunkline.sip.session_timer import min_se_of, negotiate_uac, request_headers
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.timers import Timer
from trunkline.sip.transaction_states import TRANSACTION_TIME
from trunkline.sip.values import Credentials, DialogId, InviteAccepted, InviteProgressed, InviteRefused, SendInvite

REDIRECT_LIMIT = 5
"""Contacts of 3xx responses that one call follows."""
RAISE_LIMIT = 3
"""Times that a call accepts a longer session interval (422)."""
FORK_LIMIT = 20
"""Dialogs that one call may make; responses of further forks are ignored."""
ICMP_TOLERANCE = 2
"""ICMP errors after which the last target is still tried: it may be about to listen, and the INVITE is repeated half a
second later, and a second after that."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One target, and the last INVITE to it."""

    call: "UacInvite"
    """The call."""
    target: Target
    """Where the INVITE goes."""
    flow: Flow
    """By which it goes."""
    local: str
    """Our From, with our tag."""
    digest_client: DigestClient | None
    """Answers challenges; None: without credentials."""
    transaction: ClientTransaction | None = None
    """Of the last INVITE."""
    credentials: Headers = ()
    """Of the INVITE, for its ACK."""
    responded: bool = False
    """There was a response."""


@dataclass(frozen=True, slots=True)
class Redirection:
    """A Contact of a 3xx, not looked up yet."""

    uri: str
    """The URI of the Contact."""
    credentials: Credentials | None
    """Answer challenges there."""


class UacInvite:
    """One call that we place; see the head of this file. `connect` gives the flow to a target."""

    def __init__(self, invite: SendInvite, store: DialogStore, connect: Callable[[Target], Flow]) -> None:
        self.key: CallKey = (store.tag(), store.tag())
        self.settled = False
        """No INVITE is pending, and none will be sent."""
        self._invite = invite
        self._store = store
        self._connect = connect
        self._untried: deque[Target | Redirection] = deque()
        self._seen: set[str] = set()
        """URIs called, against loops of redirections."""
        self._redirections = 0
        self._lookup_credentials = invite.credentials
        """Answer challenges of the targets that are being looked up, instead of their own."""
        self._failure = InviteRefused(invite.dialog, 503, "Service Unavailable", "no target", responded=False)
        self._attempt: Attempt | None = None
        self._attempts: dict[int, Attempt] = {}
        """By the CSeq numbers of their INVITEs."""
        self._response_timer: Timer | None = None
        self._to = ""
        self._legs: dict[str, Dialog] = {}
        """Dialogs, by the peer's tag."""
        self._answers: dict[str, SessionDescription] = {}
        """Answers in provisional responses, by the peer's tag."""
        self._reported_tag = ""
        """Tag of the dialog whose answer the application was given last."""
        self._interval = store.settings.session_expires
        self._min_se = store.settings.min_se
        self._raises = 0
        self._bye_reason: str | None = None
        self._hung_up = False

    # ── targets ─────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Ask for targets, and call them."""
        self._store.uac_invites[self.key] = self._store.outgoing[self._invite.dialog] = self
        self._store.events.append(TargetsRequired(self.key, self._invite))

    def hang_up(self, header: str | None) -> None:
        """CANCEL; `header` is the Reason."""
        self._hung_up, self._bye_reason = True, header
        self._stop_response_timer()
        if self._attempt is None or self._attempt.transaction is None:
            self._settle()
        else:
            self._attempt.transaction.cancel(() if header is None else (("Reason", header),))

    def targets_found(self, found: Sequence[Target] | Unreachable) -> None:
        """The targets that `TargetsRequired` asked for."""
        if self.settled:
            return
        if isinstance(found, Unreachable):
            self._failure = replace(self._failure, status=found.status, reason=found.reason, detail=found.detail)
        else:
            targets = [replace(one, credentials=self._lookup_credentials or one.credentials) for one in found]
            self._untried.extendleft(reversed(targets))
        self._next()

    def _next(self) -> None:
        """Try the next target, or report the failure of the last."""
        if not self._untried:
            self._settle()
            self._store.events.append(self._failure)
            return
        target = self._untried.popleft()
        if isinstance(target, Redirection):
            self._attempt = None
            self._lookup_credentials = target.credentials
            redirected = self._redirected(target.uri)
            self._store.events.append(TargetsRequired(self.key, redirected))
            return
        client = None if target.credentials is None else DigestClient(target.credentials, self._store.tag)
        flow = target.flow or self._connect(target)
        self._attempt = Attempt(self, target, flow, self._from(target, flow), client)
        self._to = self._to or f"<{target.uri}>"
        self._seen.add(target.uri)
        if self._untried:
            seconds = self._store.settings.target_timeout
            self._response_timer = self._store.timers.after(seconds, self._target_timed_out, self._attempt)
        self._send(self._attempt)

    def _redirected(self, uri: str) -> SendInvite:
        """The peer's choice, not ours: by no trunk unless it is the one that redirects."""
        trunk = self._invite.name if self._invite.route == "trunk" else ""
        return replace(self._invite, route="uri", name=trunk, to=uri, credentials=None, restricted=True)

    def _from(self, target: Target, flow: Flow) -> str:
        host = target.from_host or flow.local.host
        user = quote(self._invite.from_user or target.from_user, safe=USER_CHARACTERS)
        uri = f"sip:{user}@{host}" if user else f"sip:{host}"
        name = f"{quoted_string(self._invite.from_name)} " if self._invite.from_name else ""
        return f"{name}<{uri}>;tag={self.key[1]}"

    def _send(self, attempt: Attempt) -> None:
        """INVITE."""
        uri = attempt.target.uri
        attempt.credentials = () if attempt.digest_client is None else attempt.digest_client.headers("INVITE", uri)
        # Above the CSeq of all early dialogs: a fork that challenges and then answers keeps its tag.
        cseq = max((0, *self._attempts, *(leg.local_cseq for leg in self._legs.values()))) + 1
        self._attempts[cseq] = attempt
        attempt.transaction = self._store.transactions.send(
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
            attempt,
        )
        attempt.transaction.icmp_tolerance = 0 if self._untried else ICMP_TOLERANCE

    def _stop_response_timer(self) -> None:
        if self._response_timer is not None:
            self._response_timer.cancel()
            self._response_timer = None

    def _target_timed_out(self, attempt: Attempt) -> None:
        """No response in `target_timeout`: try the next target. CANCEL follows if this one responds later."""
        self._response_timer = None
        self._store.events.append(TargetTried(attempt.target, False))
        if attempt.transaction is not None:
            attempt.transaction.cancel()
        self._next()

    # ── responses ───────────────────────────────────────────────────────────────────────────────────────────

    def response_received(self, attempt: Attempt, response: SipResponse) -> None:
        """A response to an INVITE."""
        if response.headers or (attempt is self._attempt and not attempt.responded):
            attempt.responded = bool(response.headers)
            self._store.events.append(TargetTried(attempt.target, attempt.responded))
        if 200 <= response.status < 300:
            self.success_received(response)
        elif attempt is not self._attempt or self.settled:
            return  # Of a target that has timed out.
        elif response.status < 200:
            self._stop_response_timer()
            self._progressed(attempt, response)
        else:
            self._stop_response_timer()
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
        self._store.events.append(InviteProgressed(self._invite.dialog, response.status, reason_value, answer))

    def _acknowledge(self, leg: Dialog, response: SipResponse) -> bool:
        """PRACK for a reliable response (RFC 3262 section 4). False: a retransmission, or out of order."""
        if "100rel" not in (tag.lower() for tag in response.listed("require")):
            return True
        rseq = response.value("rseq")
        number = int(rseq) if rseq.isascii() and rseq.isdigit() and len(rseq) < 11 else 0
        if not number or leg.rseq not in (0, number - 1):
            return False
        leg.rseq = number
        rack = f"{number} {response.cseq[0]} INVITE"
        self._store.send(DialogRequest(leg, "PRACK", Purpose.PRACK, (("RAck", rack),)))
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
            self._untried.clear()
        self._next()

    def _follow(self, target: Target, response: SipResponse) -> bool:
        """Try the contacts of a 3xx next (section 8.1.3.4), by their q. Only contacts at the host that redirects get
        our credentials."""
        if not 300 <= response.status < 400:
            return False
        found = []
        for uri in _contacts(response):
            if uri not in self._seen and self._redirections < REDIRECT_LIMIT:
                self._redirections += 1
                self._seen.add(uri)
                same = parse_uri(uri).host == parse_uri(target.uri).host
                found.append(Redirection(uri, target.credentials if same else None))
        self._untried.extendleft(reversed(found))
        return bool(found)

    def success_received(self, response: SipResponse) -> bool:
        """A 2xx to an INVITE of this call, at any time. False: to none of its INVITEs."""
        cseq, tag = response.cseq[0], response.tag("to")
        leg, attempt = self._legs.get(tag), self._attempts.get(cseq)
        if leg is not None and leg.resend_ack is not None:
            if leg.ack_cseq == cseq:
                leg.resend_ack()
            return leg.ack_cseq == cseq
        if attempt is None:
            return False
        leg = self._leg(tag, attempt, response)
        if leg is None:
            return False
        # Section 13.2.2.4: the 2xx sets the route set and the remote target.
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
        leg.allows_update = allows_update(response)
        leg.min_se = self._min_se
        start(self._store, leg, negotiate_uac(response, self._store.settings.min_se))
        self._store.by_id[leg.id] = leg
        answer = self._description(response)
        if answer is None and self._reported_tag != tag:
            answer = self._answers.get(tag)
        self._store.events.append(InviteAccepted(leg.id, answer))

    def _settle(self, winner: Dialog | None = None) -> None:
        """Send no more INVITEs, cancel those that are pending, and forget early dialogs."""
        if self.settled:
            return
        self.settled = True
        self._stop_response_timer()
        self._store.outgoing.pop(self._invite.dialog, None)
        for attempt in self._attempts.values():
            if attempt.transaction is not None:
                attempt.transaction.cancel()
        for leg in self._legs.values():
            if leg is not winner:
                self._store.forget(leg)
        self._store.timers.after(TRANSACTION_TIME, self._store.uac_invites.pop, self.key)

    def _leg(self, tag: str, attempt: Attempt, response: SipResponse) -> Dialog | None:
        """The dialog of a response, made if it is new; None beyond `FORK_LIMIT`."""
        leg = self._legs.get(tag)
        if leg is not None or len(self._legs) >= FORK_LIMIT:
            return leg
        target = attempt.target
        uri = parse_uri(target.uri)
        trunks = self._invite.route == "trunk" and self._invite.credentials is None and target.credentials is not None
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
            trunk=self._invite.name if trunks else "",
            phone=self._invite.name if self._invite.route == "phone" else None,
        )
        # A phone receives at the source of its REGISTER, which has opened its NAT.
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
    """URIs of the usable contacts, by their q (section 8.1.3.4)."""
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
    status, text, endpoint = response.status, one_line(response.reason)[:200], attempt.target.endpoint
    if response.headers:
        reason = reason_of(response) or one_line(response.value("warning"))[:200]
        return InviteRefused(dialog, status, text, f"{endpoint}: {reason}" if reason else f"{endpoint}")
    phrase, text = ("Request Timeout", "no response") if status == 408 else ("Service Unavailable", text)
    if attempt.responded:
        return InviteRefused(dialog, status, phrase, f"no final response from {endpoint}", responded=False)
    detail = f"{endpoint} is unreachable: {text}"
    return InviteRefused(dialog, status, phrase, detail, responded=False, unreachable=True)
