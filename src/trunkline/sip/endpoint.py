"""The SIP endpoint: joins transports, validation, the user agent core, trunks, phones and DNS (driver).

Each input (message, action, look-up, timer) goes to the core with the loop's time. Then `_drain` takes the events of
the core and of the trunks, until there are none, and sets one timer of the loop to the next deadline. All of it runs
in callbacks of the event loop.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import SystemRandom, token_bytes, token_hex

import structlog

from trunkline.config import SipSettings
from trunkline.outbound.egress import Egress, Forbidden
from trunkline.sdp.values import Endpoint
from trunkline.shares import Rate, origin_of
from trunkline.sip.events import (
    CoreEvent,
    OutOfDialogResponse,
    TargetsRequired,
    TargetTried,
    TrunkChanged,
    TrunkEvent,
    TrunkLookupRequired,
)
from trunkline.sip.message.digest import DigestServer
from trunkline.sip.message.headers import parse_uri
from trunkline.sip.message.numbers import called_number
from trunkline.sip.message.outgoing import Flow
from trunkline.sip.message.validation import (
    ChallengeRejection,
    Discard,
    Rejection,
    SipMessage,
    SipRequest,
    SipResponse,
    parse,
    refusal,
    validate,
)
from trunkline.sip.peers.access import Access
from trunkline.sip.peers.binding_store import decode_bindings, encode_bindings
from trunkline.sip.peers.media_hosts import HostLookup, MediaHosts
from trunkline.sip.peers.registrar import Registrar
from trunkline.sip.peers.resolver import TargetResolver, is_literal
from trunkline.sip.peers.router import Router
from trunkline.sip.peers.trunks import Trunks, credentials_of
from trunkline.sip.targets import Target, Unreachable
from trunkline.sip.timers import Timers
from trunkline.sip.transport.transports import Transports
from trunkline.sip.user_agent import UserAgentCore
from trunkline.sip.values import (
    Credentials,
    DialogId,
    EndDialog,
    InviteReceived,
    RejectInvite,
    SendInvite,
    SipAction,
    SipEvent,
    TrunkStatus,
)

log = structlog.get_logger()

LOG_INTERVAL = 10.0
"""Seconds between two log lines of one kind about bad messages; the next line counts those between."""
WARNINGS = ("target_down", "registration_failed")
"""Changes of trunks that are logged as warnings."""
Observer = Callable[[str, bytes, str, str, str], None]
"""Gets `received` or `sent`, the message, our address, the peer's, and the transport."""
SHUTDOWN_TIME = 2.0
"""Seconds that `stop` waits for the responses to BYE, and for the removal of registrations."""


class _Core:
    """What exists while the endpoint is started."""

    def __init__(self, user_agent: UserAgentCore, trunks: Trunks, router: Router, timers: Timers) -> None:
        self.user_agent = user_agent
        self.trunks = trunks
        self.router = router
        self.timers = timers


class SipEndpoint:
    """One listening SIP user agent.

    `on_event` is called for each `SipEvent`, in the loop's thread; it must not block, and may call `perform`.
    """

    def __init__(
        self,
        settings: SipSettings,
        on_event: Callable[[SipEvent], None],
        directory: Path | None = None,
        contacts: Mapping[str, str] | None = None,
        on_contacts: Callable[[str, str], None] | None = None,
        call_sid_of: Callable[[DialogId], str | None] = lambda _: None,
        egress: Egress | None = None,
    ) -> None:
        """`directory` is where a certificate for TLS is made and kept if the settings name none; without both there is
        no TLS. `on_contacts` gets a phone's user and a text of its contacts whenever it registers; the last texts, by
        user, are given as `contacts` so that phones can be called after a restart. `call_sid_of` names the call of a
        dialog in the log. `egress` says which addresses a call may go to."""
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._on_event = on_event
        self._transports = Transports(settings, directory, self._message, self._log_rarely, self.counters)
        hosts = frozenset(host.lower() for host in (settings.host, settings.advertised_host) if host)
        digest_server = DigestServer(settings.realm, token_bytes(32), settings.digest_algorithms, hosts, token_hex(4))
        self._registrar = Registrar(settings.registration_min, settings.registration_max)
        self._access = Access(settings, digest_server, self.counters, self._registrar.is_at)
        self._contacts = dict(contacts or {})
        self._on_contacts = on_contacts
        self._call_sid_of = call_sid_of
        self._egress = egress or Egress()
        self._resolver = TargetResolver(settings, self._trunk_found)
        self._media_hosts = MediaHosts(self.counters)
        self._traced: Observer | None = None
        self._answers = Rate()
        """Responses to requests that brought no password."""
        self._core: _Core | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Runs the timers that are due."""
        self._timer_at = 0.0
        """When `_timer` fires; uvloop's handle of what is due at once does not say."""
        self._draining = False
        """`_drain` is running."""
        self._drained = asyncio.Event()
        """Set after each `_drain`, for `stop`."""
        self._last_logged: dict[str, tuple[float, int]] = {}
        """For each kind of log line about bad messages: time of the last, and messages since."""

    def trace(self, observer: Observer) -> None:
        """Show each message to an observer."""
        self._traced = observer
        self._transports.connections.on_sent = lambda data, to, flow: observer(
            "sent", data, str(flow.local), str(to), flow.transport
        )

    def call_id_of(self, dialog: DialogId) -> str | None:
        """The Call-ID of a dialog, once it has one."""
        return None if self._core is None else self._core.user_agent.call_id_of(dialog)

    @property
    def local(self) -> Endpoint:
        """Host and port in Via and Contact; the port is the real one once started."""
        return self._transports.local

    @property
    def started(self) -> bool:
        """It listens, and new dialogs may begin."""
        return self._core is not None

    @property
    def local_tls(self) -> Endpoint | None:
        """Host and port of TLS; None without TLS."""
        return self._transports.local_tls

    @property
    def sizes(self) -> dict[str, int]:
        """Entries in the internal tables."""
        tables = {} if self._core is None else self._core.user_agent.sizes
        return {
            **tables,
            "contacts": len(self._registrar),
            "auth_failing": len(self._access.bans),
            "trunk_requests": 0 if self._core is None else len(self._core.trunks),
            "held_events": len(self._media_hosts),
            "connections": len(self._transports.connections.open),
        }

    @property
    def trunks(self) -> tuple[TrunkStatus, ...]:
        """Registration and targets of each trunk."""
        return () if self._core is None else self._core.trunks.status

    def contacts_of(self, user: str) -> list[str]:
        """Addresses at which a phone is registered now."""
        return [str(binding.source) for binding in self._registrar.bindings(user, _now())]

    @property
    def gauges(self) -> dict[str, int]:
        """Present numbers, for `/metrics`."""
        ups = [target.up for trunk in self.trunks for target in trunk.targets]
        return {
            "phone_contacts": len(self._registrar),
            "trunk_targets": len(ups),
            "trunk_targets_down": ups.count(False),
        }

    async def start(self) -> None:
        """Listen. Raises StartupError with one clear line."""
        timers = Timers(_now())
        user_agent = UserAgentCore(_token, self._connect, self._access, self._settings, self.counters, timers)
        trunks = Trunks(self._settings, user_agent.transactions, self._connect, _token, SystemRandom().random)
        self._core = _Core(user_agent, trunks, Router(self._settings, self._registrar, trunks), timers)
        connections = self._transports.connections
        connections.on_unreachable, connections.is_in_use = self._flow_failed, self._is_in_use
        connections.is_exempt = self._access.is_trunk
        try:
            await self._transports.open()
        except BaseException:
            self._core = None
            raise
        self._restore_contacts()
        trunks.start()
        self._drain()

    async def prepare(self, settings: SipSettings) -> Callable[[], None]:
        """Prepare the trunks, phones and certificates of these settings; the function that is returned applies them.
        Raises StartupError. Calls that are up go on, even if their trunk or phone is removed."""
        commit = await self._transports.prepare(settings)

        def apply() -> None:
            commit()
            before = {phone.user: phone.password for phone in self._settings.phones}
            after = {phone.user: phone.password for phone in settings.phones}
            self._settings = settings
            self._access.reconfigure(settings)
            for user in (user for user, password in before.items() if after.get(user) != password):
                self._registrar.forget(user)
                if self._on_contacts is not None:
                    self._on_contacts(user, encode_bindings((), _epoch()))
            if self._core is not None:
                self._core.router.reconfigure(settings)
                self._core.trunks.reconfigure(settings.trunks, _now())
                self._drain()

        return apply

    def new_dialog(self) -> DialogId:
        """An id for a `SendInvite`. Only once started."""
        assert self._core is not None
        return self._core.user_agent.new_dialog()

    def perform(self, action: SipAction) -> None:
        """Do an action. It has no effect if it is too late, or if its dialog has ended."""
        if isinstance(action, EndDialog | RejectInvite):
            self._media_hosts.forget(action.dialog)
        if self._core is not None:
            self._core.user_agent.perform(action, _now())
            self._drain()

    def saved_dialog(self, dialog: DialogId) -> str | None:
        """A dialog as a text that outlives this process, for `end_saved_dialog`."""
        return None if self._core is None else self._core.user_agent.saved(dialog)

    def end_saved_dialog(self, text: str, reason: str, **ids: str) -> None:
        """Send BYE in a dialog that an earlier process has left; `ids` are for the log."""
        assert self._core is not None
        try:
            self._core.user_agent.end_saved(text, self._flow_to, self._credentials, reason, _now())
        except (ValueError, LookupError) as error:
            log.warning("sip_dialog_restore_failed", reason=str(error), **ids)
        self._drain()

    def _credentials(self, trunk: str) -> Credentials | None:
        return next((credentials_of(one) for one in self._settings.trunks if one.name == trunk), None)

    def _flow_to(self, transport: str, to: Endpoint) -> Flow:
        return self._transports.flow_to(transport, to, to.host)

    def begin_draining(self) -> None:
        """Answer new calls and OPTIONS with 503 and Retry-After from now on; calls that are up go on, and may place
        others."""
        if self._core is not None:
            self._core.user_agent.draining = True

    async def stop(self, grace: float = math.inf) -> None:
        """End all calls, wait `SHUTDOWN_TIME` for the responses, `grace` seconds at most, and close."""
        core = self._core
        if core is None:
            return
        self.begin_draining()
        await self._resolver.stop()
        core.user_agent.end_all("shutting down", _now())
        core.trunks.unregister(_now())
        self._drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(SHUTDOWN_TIME, grace)):
                while not (core.user_agent.empty and core.trunks.unregistered):
                    self._drained.clear()
                    await self._drained.wait()
        self._core = None
        core.trunks.stop()
        core.user_agent.transactions.close()
        self._transports.connections.on_unreachable = None
        if self._timer is not None:
            self._timer.cancel()
        await self._transports.close()

    def _restore_contacts(self) -> None:
        for user in self._contacts.keys() & {phone.user for phone in self._settings.phones}:
            try:
                bindings = decode_bindings(
                    self._contacts[user], _epoch(), lambda transport, to: self._transports.flow_to(transport, to, "")
                )
            except (ValueError, LookupError) as error:
                log.warning("sip_contacts_restore_failed", phone=user, reason=str(error))
            else:
                self._registrar.restore(user, bindings, _now())
                for binding in bindings:
                    self._access.bans.proved(user, origin_of(binding.source.host))
        self._contacts.clear()

    def _connect(self, target: Target) -> Flow:
        return self._transports.flow_to(target.transport, target.endpoint, target.server_name)

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────

    def _message(self, data: bytes, source: Endpoint, flow: Flow) -> None:
        if self._core is None:
            return
        self.counters["messages"] += 1
        if self._traced is not None:
            self._traced("received", data, str(flow.local), str(source), flow.transport)
        message: SipRequest | SipResponse | None = None
        stream = flow.transport != "udp"
        try:
            message = parse(data, stream=stream)
            validate(message, stream=stream)
            self._receive(self._core.user_agent, message, source, flow)
        except Discard as discarded:
            self.counters["dropped"] += 1
            self._log_rarely("sip_message_discarded", source, str(discarded), message)
        except Rejection as rejection:
            assert isinstance(message, SipRequest)
            self._reject(message, source, flow, rejection)
        except Exception:
            # No message of a peer may stop the endpoint.
            self.counters["errors"] += 1
            log.exception("sip_message_failed", source=str(source), **self._ids_of(message))
        self._drain()

    def _receive(
        self, user_agent: UserAgentCore, message: SipRequest | SipResponse, source: Endpoint, flow: Flow
    ) -> None:
        if isinstance(message, SipResponse):
            user_agent.receive_response(message, _now())
        elif message.method == "REGISTER":
            raise self._register(user_agent, message, source, flow)
        elif message.method == "OPTIONS" and not message.tag("to") and self._access.is_ignored(message, source, _now()):
            raise Rejection(403, "Unknown Caller")
        else:
            user_agent.receive_request(message, source, flow, _now())

    def _register(self, user_agent: UserAgentCore, request: SipRequest, source: Endpoint, flow: Flow) -> Rejection:
        """The response to a REGISTER, without a transaction: a retransmission has the same effect."""
        now = _now()
        user = self._access.registrant(request, source, now)
        before = {binding.key for binding in self._registrar.bindings(user, now)}
        headers = self._registrar.register(user, request, source, flow, now)
        flow.admitted(identified=True)
        self.counters["registrations"] += 1
        bindings = self._registrar.bindings(user, now)
        for binding in bindings:
            user_agent.contact_registered(user, binding.uri, binding.source, binding.flow)
        after = {binding.key for binding in bindings}
        if after != before:  # Not logged for each refresh.
            log.info(
                "sip_phone_registered" if after - before else "sip_phone_unregistered",
                phone=user,
                source=str(source),
                contacts=len(after),
                **self._ids_of(request),
            )
        if self._on_contacts is not None:
            self._on_contacts(user, encode_bindings(bindings[::-1], _epoch()))
        return Rejection(200, "OK", headers)

    def _reject(self, request: SipRequest, source: Endpoint, flow: Flow, rejection: Rejection) -> None:
        if rejection.status >= 300 and self._access.is_ignored(request, source, _now()):
            self.counters["unanswered"] += 1
            self._log_rarely("sip_request_rejected", source, f"{rejection}; not answered (sip.silent)", request)
            return
        if rejection.status >= 300:
            self.counters[f"refused_{rejection.status}"] += 1
        if isinstance(rejection, ChallengeRejection):
            log.debug("sip_request_challenged", source=str(source), **self._ids_of(request))
        elif rejection.status >= 300:
            self._log_rarely("sip_request_rejected", source, str(rejection), request)
        if not self._may_answer(request, source, rejection):
            self.counters["unanswered"] += 1
            return
        text, target = refusal(request, source, rejection)
        flow.send(text.encode("utf-8", "backslashreplace"), target)

    def _may_answer(self, request: SipRequest, source: Endpoint, rejection: Rejection) -> bool:
        """Whether there is a place this second for a response to a request that brought no password."""
        if (rejection.status < 300 and request.method == "REGISTER") or self._access.is_trunk(source.host):
            return True
        return self._answers.take(origin_of(source.host), self._settings.refusal_rate, _now())

    def _is_in_use(self, flow: Flow) -> bool:
        return self._registrar.uses(flow, _now()) or (self._core is not None and self._core.user_agent.uses(flow))

    def _flow_failed(self, flow: Flow, reason: str, to: Endpoint | None) -> None:
        if self._core is not None:
            self._core.user_agent.flow_failed(flow, reason, to, _now())
            self._drain()

    def _targets_found(self, required: TargetsRequired, found: Sequence[Target] | Unreachable) -> None:
        if self._core is not None:
            permitted = self._access.permitted(required.invite, self._may_dial(required.invite, found))
            self._core.user_agent.targets_found(required.call, permitted, _now())
            self._drain()

    def _may_dial(self, invite: SendInvite, found: Sequence[Target] | Unreachable) -> Sequence[Target] | Unreachable:
        """The targets of a call without those whose addresses may not be dialled."""
        if isinstance(found, Unreachable):
            return found
        addresses = [target.endpoint.host for target in found if is_literal(target)]
        try:
            host = parse_uri(found[0].uri).host if found else ""
            addresses = self._egress.allowed(host, addresses, configured=invite.route != "uri")
        except Forbidden as error:
            if len(addresses) == len(found):
                return Unreachable(403, "Forbidden", str(error))
            addresses = []
        return [target for target in found if not is_literal(target) or target.endpoint.host in addresses]

    def _trunk_found(self, trunk: str, targets: Sequence[Target]) -> None:
        if self._core is not None:
            self._core.trunks.found(trunk, targets, _now())
            self._access.learn(trunk, [target.endpoint.host for target in targets])
            self._drain()

    def _media_host_found(self, lookup: HostLookup, address: str) -> None:
        self._media_hosts.found(lookup, address)
        self._drain()

    def _run_timers(self) -> None:
        self._timer = None
        if self._core is None:
            return
        timers = self._core.timers
        timers.now = _now()
        while (timer := timers.pop_due()) is not None:
            try:
                timer.run()
            except Exception:
                self.counters["errors"] += 1
                log.exception("sip_timer_failed")
            self._handle_events()
        self._drain()

    # ── events ──────────────────────────────────────────────────────────────────────────────────────────────

    def _drain(self) -> None:
        """Handle all events, and set the timer to the next deadline. An input of the application's from within an event
        is drained by the call that handles this event."""
        if self._draining:
            return
        self._handle_events()
        if self._core is None:
            return
        deadline = self._core.timers.next_deadline
        if deadline is not None and (self._timer is None or deadline < self._timer_at):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(deadline, self._run_timers)
            self._timer_at = deadline
        self._drained.set()

    def _handle_events(self) -> None:
        self._draining = True
        try:
            while self._handle_next_event():
                pass
        finally:
            self._draining = False

    def _handle_next_event(self) -> bool:
        core = self._core
        event: CoreEvent | TrunkEvent | HostLookup | None = None
        try:
            if core is not None:
                event = core.user_agent.next_event()
                if event is not None:
                    self._core_event(core, event)
                    return True
                event = core.trunks.next_event()
                if event is not None:
                    self._trunk_event(event)
                    return True
            event = self._media_hosts.next_event()
            if isinstance(event, HostLookup):
                ids = self._ids_of(event.event)
                self._resolver.find_address(event.host, partial(self._media_host_found, event), ids)
            elif event is not None:
                self._on_event(event)
        except Exception:
            self.counters["errors"] += 1
            log.exception("sip_event_failed", kind=type(event).__name__, **self._ids_of(event))
            return True
        return event is not None

    def _core_event(self, core: _Core, event: CoreEvent) -> None:
        if isinstance(event, TargetTried):
            core.trunks.tried(event.target, answered=event.answered)
        elif isinstance(event, OutOfDialogResponse):
            core.trunks.response_received(event.transaction, event.response, _now())
        elif isinstance(event, TargetsRequired):
            found = core.router.targets(event.invite, _now())
            if event.invite.route == "uri" and not isinstance(found, Unreachable) and not is_literal(found[0]):
                ids = self._dialog_ids(event.invite.dialog)
                self._resolver.find(found[0], partial(self._targets_found, event), ids)
            else:
                self._targets_found(event, found)
        elif isinstance(event, InviteReceived) and event.trunk is not None:
            core.trunks.call_received(event.trunk, event.source.host)
            trunk = next((one for one in self._settings.trunks if one.name == event.trunk), None)
            self._media_hosts.put(event if trunk is None else replace(event, to_user=called_number(trunk, event)))
        else:
            self._media_hosts.put(event)

    def _trunk_event(self, event: TrunkEvent) -> None:
        if isinstance(event, TrunkChanged):
            self.counters[event.change] += 1
            write = log.warning if event.change in WARNINGS else log.info
            reason = {"reason": event.reason} if event.reason else {}
            write(f"sip_trunk_{event.change}", trunk=event.trunk, target=event.target, **reason)
        elif not isinstance(event, TrunkLookupRequired):
            self._resolver.forget(event.trunk)
        elif all(is_literal(target) for target in event.targets):
            self._trunk_found(event.trunk, event.targets)
        else:
            self._resolver.start(event.trunk, event.targets)

    def _ids_of(self, subject: object) -> dict[str, str]:
        """The ids of the call that a message or an event belongs to, as far as they are known, for the log."""
        if not isinstance(subject, SipRequest | SipResponse):
            return self._dialog_ids(getattr(subject, "dialog", None))
        call_id = subject.value("call-id")[:200]
        dialog = None
        if self._core is not None:
            with contextlib.suppress(ValueError):
                dialog = self._core.user_agent.dialog_of(subject)
        return self._dialog_ids(dialog) | ({"sip_call_id": call_id} if call_id else {})

    def _dialog_ids(self, dialog: DialogId | None) -> dict[str, str]:
        if dialog is None or self._core is None:
            return {}
        ids = {"call_sid": self._call_sid_of(dialog), "sip_call_id": self._core.user_agent.call_id_of(dialog)}
        return {name: value for name, value in ids.items() if value}

    def _log_rarely(self, event: str, source: Endpoint, reason: str, message: SipMessage | None = None) -> None:
        """At most one log line of each kind in `LOG_INTERVAL`, however many bad messages come."""
        now = _now()
        last, count = self._last_logged.get(event, (-math.inf, 0))
        if now - last < LOG_INTERVAL:
            self._last_logged[event] = last, count + 1
            return
        log.warning(event, source=str(source), reason=reason, messages=count + 1, **self._ids_of(message))
        self._last_logged[event] = now, 0


def _token() -> str:
    return token_hex(8)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _epoch() -> float:
    """1970 by the loop's clock."""
    return _now() - time.time()
