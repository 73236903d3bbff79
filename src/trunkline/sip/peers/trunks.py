"""Trunks: whether their targets are there, in which order calls try them, and what they know us by. Pure.

Each target is asked by OPTIONS every `keep_alive` seconds (RFC 3261 section 11). Any response shows that somebody is
there, to a call or a REGISTER too, and so does a call that comes from the target's host; after `FAILURES` requests in a
row without one the target is down, and calls pass it over until it answers again. Some carriers answer calls and no
OPTIONS: where a call was the last sign of life, an OPTIONS without an answer counts for nothing until a call has none.
Where all targets of a trunk are down, calls try them all, in order: a wrong guess of ours must not be what keeps
a call from going out.

A target's From is at the target's host where the trunk has an account, since carriers look there for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from trunkline.config import SipSettings, TrunkSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.dialog import CAPABILITIES, contact
from trunkline.sip.message.headers import USER_CHARACTERS
from trunkline.sip.message.validation import SipResponse
from trunkline.sip.peers.client import OutOfDialogClient, OutOfDialogRequest
from trunkline.sip.peers.registration import Registration
from trunkline.sip.targets import Target, Unreachable, uri_target
from trunkline.sip.transactions import Flow, Transactions
from trunkline.sip.values import Credentials, TargetStatus, TrunkStatus

FAILURES = 2
"""Questions in a row without an answer, after which a target is down."""

_WIRE = ("targets", "username", "password", "realm", "registers", "expires", "keep_alive")
"""What of a trunk's settings its targets see."""

Tell = Callable[[str, str, str], None]
"""Is told a change of state (`target_up`, `target_down`, `registered`, `registration_failed`), the trunk's name, and
what it is about."""


@dataclass(slots=True, eq=False)
class TargetState:
    """One target of a trunk."""

    target: Target
    up: bool = True
    """Until it is known otherwise."""
    failures: int = 0
    seen_by_call: bool = False
    """Its last sign of life was no answer to an OPTIONS."""
    timer: Any = None
    """Of the next request."""


class Trunk:
    """One trunk."""

    def __init__(self, settings: TrunkSettings, tell: Tell) -> None:
        self.settings = settings
        self.user = settings.username or ""
        self._tell = tell
        credentials = _credentials(settings)
        self._targets = [TargetState(replace(_target(text), credentials=credentials)) for text in settings.targets]
        self._registration: Registration | None = None
        self._started = False

    @property
    def status(self) -> TrunkStatus:
        """How it is now."""
        targets = tuple(TargetStatus(state.target.uri, state.target.endpoint, state.up) for state in self._targets)
        registered = None if self._registration is None else self._registration.registered
        return TrunkStatus(self.settings.name, registered, targets)

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
        """Ours, as the trunk knows us."""
        return f"sip:{quote(self.user, safe=USER_CHARACTERS)}@{_host(target)}"

    def tell(self, change: str, detail: str) -> None:
        """A change of state."""
        self._tell(change, self.settings.name, detail)

    def answered(self, target: Target) -> None:
        """See `Account`."""
        self.tried(target.endpoint, answered=True)

    def tried(self, endpoint: Endpoint, *, answered: bool) -> None:
        """A target has answered a call, or not in time."""
        for state in self._targets:
            if state.target.endpoint == endpoint:
                self._update_state(state, answered=answered, reason="no answer to a call", seen_by_call=True)

    def call_received(self, host: str) -> None:
        """A call came from this host."""
        for state in self._targets:
            if state.target.endpoint.host == host:
                self._update_state(state, answered=True, seen_by_call=True)

    def _update_state(
        self, state: TargetState, *, answered: bool, reason: str = "", seen_by_call: bool = False
    ) -> None:
        if answered:
            state.failures, state.seen_by_call, up = 0, seen_by_call, True
        elif not self.settings.keep_alive or (state.seen_by_call and not seen_by_call):
            return
        else:
            state.failures, state.seen_by_call = state.failures + 1, False
            up = state.up and state.failures < FAILURES
        if up != state.up:
            state.up = up
            detail = "" if up else f": {reason}"
            self.tell("target_up" if up else "target_down", f"{state.target.endpoint}{detail}")
            if not up and self._registration is not None:
                self._registration.lost(state.target)

    def found(self, client: OutOfDialogClient, random: Callable[[], float], targets: Sequence[Target]) -> None:
        """Where the targets are now; those that were there already stay as they are. Where nothing was found, what was
        known stays. The first time is the start."""
        if not self._started:
            self._started = True
            self._set(targets)
            self._start(client, random)
        elif targets:
            for state in self._set(targets):
                if self.settings.keep_alive:
                    self._send_options(client, state)

    def _set(self, targets: Sequence[Target]) -> Sequence[TargetState]:
        """Those that are new."""
        known = {state.target: state for state in self._targets}
        before = self._targets
        if targets:
            self._targets = [known.get(target) or TargetState(target) for target in targets]
        for state in before:
            if state not in self._targets and state.timer is not None:
                state.timer.cancel()
        return [state for state in self._targets if state not in before]

    def _start(self, client: OutOfDialogClient, random: Callable[[], float]) -> None:
        if self.settings.registers:
            self._registration = Registration(self, self.settings.expires, client, random)
            self._registration.start()
        if self.settings.keep_alive:
            for state in self._targets:
                self._send_options(client, state)

    def reconfigure(self, settings: TrunkSettings) -> bool:
        """Go by these settings from now on, if that changes nothing that others know of us: then what is known of
        targets stays, and so does our registration."""
        if any(getattr(settings, name) != getattr(self.settings, name) for name in _WIRE):
            return False
        self.settings = settings
        return True

    def retire(self, on_unregistered: Callable[[], None]) -> None:
        """It is no trunk of ours any more: register no more, and ask no more."""
        self.stop()
        self._targets = []
        self.unregister(on_unregistered)

    def unregister(self, on_unregistered: Callable[[], None]) -> None:
        """Register no more."""
        if self._registration is None:
            on_unregistered()
        else:
            self._registration.unregister(on_unregistered)

    def stop(self) -> None:
        """Ask no more."""
        for state in self._targets:
            if state.timer is not None:
                state.timer.cancel()
        if self._registration is not None:
            self._registration.stop()

    def _send_options(self, client: OutOfDialogClient, state: TargetState) -> None:
        state.timer = None
        flow = client.connect(state.target)
        address = self.address_of_record(state.target) if self.user else f"sip:{flow.local}"
        headers = (contact(flow), *CAPABILITIES)
        request = OutOfDialogRequest("OPTIONS", replace(state.target, flow=flow), address, client.tag(), 1, headers)
        client.send(request, partial(self._answered, client, state))

    def _answered(self, client: OutOfDialogClient, state: TargetState, response: SipResponse) -> None:
        if state not in self._targets:
            return
        state.timer = client.timers.after(self.settings.keep_alive, self._send_options, client, state)
        self._update_state(state, answered=bool(response.headers), reason=response.reason)


class Trunks:
    """All trunks of one endpoint. `tag` makes tags, `random` numbers from 0 up to 1; `connect` gives the flow to a
    target."""

    def __init__(
        self,
        settings: SipSettings,
        connect: Callable[[Target], Flow],
        tag: Callable[[], str],
        random: Callable[[], float],
        tell: Tell,
    ) -> None:
        self._tell = tell
        self._timeout = settings.target_timeout
        self._connect = connect
        self._tag = tag
        self._random = random
        self._trunks = {trunk.name: Trunk(trunk, tell) for trunk in settings.trunks}
        self._client: OutOfDialogClient | None = None

    def __len__(self) -> int:
        """Requests that wait for their answers."""
        return 0 if self._client is None else len(self._client)

    @property
    def status(self) -> tuple[TrunkStatus, ...]:
        """How each is now."""
        return tuple(trunk.status for trunk in self._trunks.values())

    def targets(self, name: str, user: str) -> Sequence[Target] | Unreachable:
        """Where to call `user` by the trunk of that name, in order."""
        trunk = self._trunks.get(name)
        return Unreachable(404, "Not Found", "no such trunk") if trunk is None else trunk.targets(user)

    def tried(self, target: Target, *, answered: bool) -> None:
        """A call to a target, of a trunk or not, had some response, or none in time."""
        for trunk in self._trunks.values():
            trunk.tried(target.endpoint, answered=answered)

    def call_received(self, name: str, host: str) -> None:
        """A call came by this trunk from this host."""
        if name in self._trunks:
            self._trunks[name].call_received(host)

    def start(self, transactions: Transactions, look_up: Callable[[str, Sequence[Target]], None]) -> None:
        """Ask after targets, and register, from now on. `look_up` is called with each trunk's name and its targets as
        they are written; `found` is to be called with what comes of it."""
        self._client = OutOfDialogClient(transactions, self._connect, self._tag, self._timeout)
        for name, trunk in self._trunks.items():
            look_up(name, trunk.targets_in_order())

    def reconfigure(
        self,
        settings: Sequence[TrunkSettings],
        look_up: Callable[[str, Sequence[Target]], None],
        forget: Callable[[str], None],
    ) -> None:
        """Have these trunks from now on. One whose registration changes is taken back before it is made anew, since the
        registrar knows both by the same contact. `look_up` as in `start`; `forget` is called with the name of each
        trunk whose targets are of no use any more."""
        before, self._trunks = self._trunks, {}
        for one in settings:
            old = before.pop(one.name, None)
            if old is not None and old.reconfigure(one):
                self._trunks[one.name] = old
                continue
            trunk = self._trunks[one.name] = Trunk(one, self._tell)
            start = partial(self._look_up, one.name, trunk, look_up)
            if old is None:
                start()
            else:
                forget(one.name)
                old.retire(start)
        for name, old in before.items():
            forget(name)
            old.retire(lambda: None)

    def _look_up(self, name: str, trunk: Trunk, look_up: Callable[[str, Sequence[Target]], None]) -> None:
        if self._trunks.get(name) is trunk:  # else it has been replaced meanwhile
            look_up(name, trunk.targets_in_order())

    def found(self, name: str, targets: Sequence[Target]) -> None:
        """Where a trunk's targets are; none: nothing could be found."""
        assert self._client is not None
        if name in self._trunks:
            self._trunks[name].found(self._client, self._random, targets)

    def unregister(self, on_unregistered: Callable[[], None]) -> None:
        """Take our registrations back; `on_unregistered` is called when none is left."""
        staying = set(self._trunks)

        def gone(name: str) -> None:
            staying.discard(name)
            if not staying:
                on_unregistered()

        if not staying:
            on_unregistered()
        for name, trunk in self._trunks.items():
            trunk.unregister(partial(gone, name))

    def stop(self) -> None:
        """Ask no more."""
        for trunk in self._trunks.values():
            trunk.stop()
        if self._client is not None:
            self._client.stop()


def _target(text: str) -> Target:
    found = uri_target(text)
    assert isinstance(found, tuple), "the settings have checked it"
    return found[0]


def _credentials(settings: TrunkSettings) -> Credentials | None:
    if settings.username is None:
        return None
    return Credentials(settings.username, settings.password or "", settings.realm)


def _host(target: Target) -> str:
    host = target.server_name
    return f"[{host}]" if ":" in host else host
