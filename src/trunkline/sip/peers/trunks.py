"""Trunks: whether their targets are up, the order in which calls try them, and our registrations with them. Pure.

Each target gets OPTIONS every `keep_alive` seconds (RFC 3261 section 11). Any response means up, also one to a call or
a REGISTER, and so does a call from the target's host. After `FAILURES` requests in a row without a response the target
is down, and calls skip it until it responds again. Some carriers respond to calls but not to OPTIONS: if a call was
the last sign of life, an OPTIONS without a response does not count until a call has none. If all targets of a trunk
are down, calls try them all in order, so that a wrong state does not prevent calls.

The From URI has the target's host if the trunk has an account, since carriers look there for the account.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.setting_tables import TrunkSettings
from trunkline.sip.client_transaction import ClientTransaction
from trunkline.sip.dialog import CAPABILITIES, contact
from trunkline.sip.events import TrunkChanged, TrunkEvent, TrunkLookupObsolete, TrunkLookupRequired
from trunkline.sip.message.headers import USER_CHARACTERS
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.message.validation import SipResponse
from trunkline.sip.peers.client import OutOfDialogClient, OutOfDialogRequest
from trunkline.sip.peers.registration import RegisterAttempt, Registration
from trunkline.sip.targets import Target, Unreachable, uri_target
from trunkline.sip.timers import Timer
from trunkline.sip.transactions import Transactions
from trunkline.sip.values import Credentials, TargetStatus, TrunkStatus

FAILURES = 2
"""Requests in a row without a response, after which a target is down."""

_WIRE_SETTINGS = ("targets", "username", "password", "realm", "registers", "expires", "keep_alive")
"""Settings of a trunk that its targets can see."""


@dataclass(slots=True, eq=False)
class TargetState:
    """One target of a trunk."""

    trunk: "Trunk"
    """The trunk."""
    target: Target
    """The target."""
    up: bool = True
    """It is not known to be down."""
    failures: int = 0
    """Requests in a row without a response."""
    seen_by_call: bool = False
    """The last sign of life was not a response to OPTIONS."""
    timer: Timer | None = None
    """Of the next OPTIONS."""


class Trunk:
    """One trunk. `random` gives numbers from 0 up to 1; changes are added to `events`."""

    def __init__(self, settings: TrunkSettings, random: Callable[[], float], events: deque[TrunkEvent]) -> None:
        self.settings = settings
        self.name = settings.name
        self.user = settings.username or ""
        self._random = random
        self._events = events
        credentials = credentials_of(settings)
        self._targets = [
            TargetState(self, replace(_target(text), credentials=credentials)) for text in settings.targets
        ]
        self._registration: Registration | None = None
        self._started = False

    @property
    def status(self) -> TrunkStatus:
        """Registration and targets."""
        targets = tuple(TargetStatus(state.target.uri, state.target.endpoint, state.up) for state in self._targets)
        registered = None if self._registration is None else self._registration.registered
        return TrunkStatus(self.name, registered, targets)

    @property
    def unregistered(self) -> bool:
        """Our contact has been removed, or could not be, or there was none."""
        return self._registration is None or self._registration.ended

    def targets(self, user: str) -> Sequence[Target]:
        """Where to call `user`, in order."""
        found = []
        for target in self.targets_in_order():
            scheme, _, rest = target.uri.partition(":")
            found.append(
                replace(
                    target,
                    uri=f"{scheme}:{quote(user, safe=USER_CHARACTERS)}@{rest}",
                    from_user=self.settings.caller_id or "",
                    from_host="" if target.credentials is None else _host(target),
                )
            )
        return found

    def targets_in_order(self) -> Sequence[Target]:
        """The targets that are up, else all."""
        return [state.target for state in [state for state in self._targets if state.up] or self._targets]

    def address_of_record(self, target: Target) -> str:
        """Our URI at the trunk."""
        return f"sip:{quote(self.user, safe=USER_CHARACTERS)}@{_host(target)}"

    def tried(self, endpoint: Endpoint, *, answered: bool) -> None:
        """A target has responded to a request, or not to a call in time."""
        for state in self._targets:
            if state.target.endpoint == endpoint:
                self._update_state(state, answered=answered, reason="no answer to a call", by_call=True)

    def call_received(self, host: str) -> None:
        """A call came from this host."""
        for state in self._targets:
            if state.target.endpoint.host == host:
                self._update_state(state, answered=True, by_call=True)

    def found(self, client: OutOfDialogClient, targets: Sequence[Target]) -> None:
        """The addresses of the targets. Those that are known keep their state; none means that the look-up has failed,
        and all are kept. The first call starts the trunk."""
        if not self._started:
            self._started = True
            self._set_targets(targets)
            self._start(client)
        elif targets:
            for state in self._set_targets(targets):
                if self.settings.keep_alive:
                    self._send_options(client, state)

    def try_reconfigure(self, settings: TrunkSettings) -> bool:
        """Use these settings if no target can see a difference; states and registration stay. False: it cannot be."""
        if any(getattr(settings, name) != getattr(self.settings, name) for name in _WIRE_SETTINGS):
            return False
        self.settings = settings
        return True

    def retire(self) -> None:
        """The trunk is no longer configured: remove our registration and send no more OPTIONS."""
        self.stop()
        self._targets = []
        self.unregister()

    def unregister(self) -> None:
        """Remove our registration; see `unregistered`."""
        if self._registration is not None:
            self._registration.unregister()

    def stop(self) -> None:
        """Cancel all timers."""
        for state in self._targets:
            if state.timer is not None:
                state.timer.cancel()
        if self._registration is not None:
            self._registration.stop()

    def options_answered(self, client: OutOfDialogClient, state: TargetState, response: SipResponse) -> None:
        """The final response to OPTIONS."""
        if state not in self._targets:
            return
        state.timer = client.timers.after(self.settings.keep_alive, self._send_options, client, state)
        self._update_state(state, answered=bool(response.headers), reason=response.reason)

    def _update_state(self, state: TargetState, *, answered: bool, reason: str = "", by_call: bool = False) -> None:
        if answered:
            state.failures, state.seen_by_call, up = 0, by_call, True
        elif not self.settings.keep_alive or (state.seen_by_call and not by_call):
            return
        else:
            state.failures, state.seen_by_call = state.failures + 1, False
            up = state.up and state.failures < FAILURES
        if up != state.up:
            state.up = up
            change, why = ("target_up", "") if up else ("target_down", reason)
            self._events.append(TrunkChanged(self.name, change, str(state.target.endpoint), why))
            if not up and self._registration is not None:
                self._registration.target_down(state.target)

    def _set_targets(self, targets: Sequence[Target]) -> Sequence[TargetState]:
        """Take these targets; returns those that are new."""
        before = self._targets
        known = {state.target: state for state in before}
        if targets:
            self._targets = [known.get(target) or TargetState(self, target) for target in targets]
        for state in before:
            if state not in self._targets and state.timer is not None:
                state.timer.cancel()
        return [state for state in self._targets if state not in before]

    def _start(self, client: OutOfDialogClient) -> None:
        if self.settings.registers:
            self._registration = Registration(self, self.settings.expires, client, self._random, self._events)
            self._registration.start()
        if self.settings.keep_alive:
            for state in self._targets:
                self._send_options(client, state)

    def _send_options(self, client: OutOfDialogClient, state: TargetState) -> None:
        state.timer = None
        flow = client.connect(state.target)
        address = self.address_of_record(state.target) if self.user else f"sip:{flow.local}"
        target = replace(state.target, flow=flow)
        headers = (contact(flow), *CAPABILITIES)
        client.send(OutOfDialogRequest("OPTIONS", target, address, client.tag(), 1, headers, state))


class Trunks:
    """All trunks of one endpoint. `tag` makes tags, `random` numbers from 0 up to 1; `connect` gives the flow to a
    target. The driver takes the events with `next_event` after each input and each timer."""

    def __init__(
        self,
        settings: SipSettings,
        transactions: Transactions,
        connect: Callable[[Target], Flow],
        tag: Callable[[], str],
        random: Callable[[], float],
    ) -> None:
        self._timers = transactions.timers
        self._random = random
        self._events: deque[TrunkEvent] = deque()
        self._client = OutOfDialogClient(transactions, connect, tag, settings.target_timeout)
        self._trunks = {trunk.name: Trunk(trunk, random, self._events) for trunk in settings.trunks}
        self._retiring: dict[Trunk, Trunk | None] = {}
        """Trunks whose registrations are being removed, and their successors."""

    def __len__(self) -> int:
        """OPTIONS and REGISTER requests without a final response."""
        return len(self._client)

    @property
    def status(self) -> tuple[TrunkStatus, ...]:
        """Registration and targets of each trunk."""
        return tuple(trunk.status for trunk in self._trunks.values())

    @property
    def unregistered(self) -> bool:
        """After `unregister`: no registration is left."""
        return all(trunk.unregistered for trunk in self._trunks.values())

    def next_event(self) -> TrunkEvent | None:
        """The oldest event; None if there is none."""
        while self._client.responses and not self._events:
            final = self._client.responses.popleft()
            if isinstance(final.context, TargetState):
                final.context.trunk.options_answered(self._client, final.context, final.response)
            elif isinstance(final.context, RegisterAttempt):
                self._register_answered(final.context, final.response)
        return self._events.popleft() if self._events else None

    def targets(self, name: str, user: str) -> Sequence[Target] | Unreachable:
        """Where to call `user` by the trunk of that name, in order."""
        trunk = self._trunks.get(name)
        return Unreachable(404, "Not Found", "no such trunk") if trunk is None else trunk.targets(user)

    def tried(self, target: Target, *, answered: bool) -> None:
        """A target, of a trunk or not, has responded to a call, or not in time."""
        for trunk in self._trunks.values():
            trunk.tried(target.endpoint, answered=answered)

    def call_received(self, name: str, host: str) -> None:
        """A call came by this trunk from this host."""
        if name in self._trunks:
            self._trunks[name].call_received(host)

    def response_received(self, transaction: ClientTransaction, response: SipResponse, now: float) -> None:
        """A response to OPTIONS or REGISTER."""
        self._timers.now = now
        self._client.response_received(transaction, response)

    def start(self) -> None:
        """Have all targets looked up; `found` starts the trunks."""
        for trunk in self._trunks.values():
            self._look_up(trunk)

    def reconfigure(self, settings: Sequence[TrunkSettings], now: float) -> None:
        """Use these trunks. One whose registration changes starts again after the old registration was removed, since
        the registrar knows both by the same contact."""
        self._timers.now = now
        before, self._trunks = self._trunks, {}
        for one in settings:
            old = before.pop(one.name, None)
            if old is not None and old.try_reconfigure(one):
                self._trunks[one.name] = old
                continue
            trunk = self._trunks[one.name] = Trunk(one, self._random, self._events)
            if old is None:
                self._look_up(trunk)
            else:
                self._retire(old, trunk)
        for old in before.values():
            self._retire(old, None)

    def found(self, name: str, targets: Sequence[Target], now: float) -> None:
        """The addresses of a trunk's targets; none: the look-up has failed."""
        self._timers.now = now
        if name in self._trunks:
            self._trunks[name].found(self._client, targets)

    def unregister(self, now: float) -> None:
        """Remove our registrations; see `unregistered`."""
        self._timers.now = now
        for trunk in self._trunks.values():
            trunk.unregister()

    def stop(self) -> None:
        """Cancel all requests and timers."""
        for trunk in self._trunks.values():
            trunk.stop()
        self._client.stop()

    def _look_up(self, trunk: Trunk) -> None:
        self._events.append(TrunkLookupRequired(trunk.name, trunk.targets_in_order()))

    def _retire(self, old: Trunk, successor: Trunk | None) -> None:
        self._events.append(TrunkLookupObsolete(old.name))
        old.retire()
        self._retiring[old] = successor
        self._finish_retired()

    def _register_answered(self, attempt: RegisterAttempt, response: SipResponse) -> None:
        attempt.registration.response_received(attempt, response)
        self._finish_retired()

    def _finish_retired(self) -> None:
        for old in [trunk for trunk in self._retiring if trunk.unregistered]:
            successor = self._retiring.pop(old)
            if successor is not None and self._trunks.get(successor.name) is successor:
                self._look_up(successor)


def _target(text: str) -> Target:
    found = uri_target(text)
    assert isinstance(found, tuple), "the settings are validated"
    return found[0]


def credentials_of(settings: TrunkSettings) -> Credentials | None:
    """What answers the challenges of a trunk."""
    if settings.username is None:
        return None
    return Credentials(settings.username, settings.password or "", settings.realm)


def _host(target: Target) -> str:
    host = target.server_name
    return f"[{host}]" if ":" in host else host
