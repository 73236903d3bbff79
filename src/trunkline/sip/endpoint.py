"""The SIP endpoint: transports, screen and dialogs put together (driver).

A message goes transports -> `validate` -> `UserAgentCore` -> one event to the application; an action goes `perform` ->
`UserAgentCore` -> transports. All of it runs inside the event loop's callbacks, without tasks of its own.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from secrets import SystemRandom, token_bytes, token_hex

import structlog

from trunkline.config import SipSettings
from trunkline.sdp.values import Endpoint
from trunkline.sip.message.digest import DigestServer
from trunkline.sip.message.numbers import called_number
from trunkline.sip.message.validation import (
    ChallengeRejection,
    Discard,
    Rejection,
    SipRequest,
    SipResponse,
    parse,
    refusal,
    validate,
)
from trunkline.sip.peers.access import Access, PeerIdentity
from trunkline.sip.peers.binding_store import decode_bindings, encode_bindings
from trunkline.sip.peers.media_hosts import MediaHosts
from trunkline.sip.peers.registrar import Registrar
from trunkline.sip.peers.resolver import TargetResolver, is_literal
from trunkline.sip.peers.router import Router
from trunkline.sip.peers.trunks import Trunks
from trunkline.sip.targets import Target
from trunkline.sip.timers import Timers
from trunkline.sip.transactions import Flow
from trunkline.sip.transport.transports import Transports
from trunkline.sip.user_agent import UserAgentCore
from trunkline.sip.values import DialogId, EndDialog, InviteReceived, RejectInvite, SipAction, SipEvent, TrunkStatus

log = structlog.get_logger()

LOG_INTERVAL = 10.0
"""Seconds between two log lines about bad messages; those between are counted in the next."""
WARNINGS = ("target_down", "registration_failed")
"""Changes of trunks that somebody should look after."""
SHUTDOWN_TIME = 2.0
"""Seconds that `stop` waits for the responses to its BYEs, and for trunks to forget us."""


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
    ) -> None:
        """`directory` is where a certificate for TLS is made and kept if the settings name none; without either there
        is no listening for TLS. `on_contacts` is told each phone's name and a text of its contacts whenever it
        registers; the last texts, by phone, given as `contacts`, let the phones be called after a restart."""
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._on_event = on_event
        self._transports = Transports(settings, directory, self._message, self._log_rarely, self.counters)
        hosts = frozenset(host.lower() for host in (settings.host, settings.advertised_host) if host)
        digest_server = DigestServer(settings.realm, token_bytes(32), settings.digest_algorithms, hosts)
        self._registrar = Registrar(settings.registration_min, settings.registration_max)
        self._access = Access(settings, digest_server, self.counters, self._registrar.is_at)
        self._origin = PeerIdentity()
        """Of the INVITE that is being taken."""
        self._contacts = dict(contacts or {})
        self._on_contacts = on_contacts
        self._trunks = Trunks(settings, self._connect, lambda: token_hex(8), SystemRandom().random, self._trunk_changed)
        self._resolver = TargetResolver(settings, self._found)
        self._router: Router | None = None
        self._media_hosts = MediaHosts(self._resolver.find_address, self._tell_held, self.counters)
        self._dialogs: UserAgentCore | None = None
        self._timers: Timers | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Runs the timers that are due."""
        self._last_logged: dict[str, tuple[float, int]] = {}
        """When each kind was logged last, and how often it came since."""

    @property
    def local(self) -> Endpoint:
        """The host and port that peers are told; the port is the real one once started."""
        return self._transports.local

    @property
    def started(self) -> bool:
        """It listens, and new dialogs may begin."""
        return self._dialogs is not None

    @property
    def local_tls(self) -> Endpoint | None:
        """The same of TLS; None where we do not listen for it."""
        return self._transports.local_tls

    @property
    def sizes(self) -> dict[str, int]:
        """Entries in the internal tables: dialogs, transactions, connections."""
        tables = {} if self._dialogs is None else self._dialogs.sizes
        tables |= {
            "contacts": len(self._registrar),
            "auth_failing": self._access.failing_addresses,
            "trunk_requests": len(self._trunks),
        }
        tables |= {"held_events": len(self._media_hosts)}
        return {**tables, "connections": len(self._transports.connections.open)}

    @property
    def trunks(self) -> tuple[TrunkStatus, ...]:
        """How each trunk is now."""
        return self._trunks.status

    @property
    def gauges(self) -> dict[str, int]:
        """What there is now, for `/metrics`."""
        ups = [target.up for trunk in self.trunks for target in trunk.targets]
        registered = [trunk.registered for trunk in self.trunks if trunk.registered is not None]
        return {
            "phone_contacts": len(self._registrar),
            "trunk_targets": len(ups),
            "trunk_targets_down": ups.count(False),
            "registrations": len(registered),
            "registrations_down": registered.count(False),
        }

    async def start(self) -> None:
        """Listen. Raises StartupError with one clear line."""
        loop = asyncio.get_running_loop()
        timers = Timers(loop.time, self._wake, _timer_failed)
        self._timers = timers
        self._router = Router(self._settings, self._registrar, self._trunks, loop.time, self._resolver.find)
        self._dialogs = UserAgentCore(
            self._tell,
            lambda: token_hex(8),
            self._router,
            self._connect,
            self._admit,
            self._settings,
            self.counters,
            timers,
        )
        self._transports.connections.on_unreachable = self._dialogs.unreachable
        try:
            await self._transports.open()
        except BaseException:
            self._dialogs.transactions.close()
            self._dialogs = None
            raise
        self._restore()
        self._trunks.start(self._dialogs.transactions, self._look_up)

    async def prepare(self, settings: SipSettings) -> Callable[[], None]:
        """Make ready to go by these settings' trunks, phones and certificates; what is returned does. Raises
        StartupError. Calls that are up go on, whatever becomes of their trunk or phone."""
        commit = await self._transports.prepare(settings)

        def take() -> None:
            commit()
            before = {phone.user: phone.password for phone in self._settings.phones}
            after = {phone.user: phone.password for phone in settings.phones}
            self._settings = settings
            self._access.reconfigure(settings)
            if self._router is not None:
                self._router.reconfigure(settings)
            self._trunks.reconfigure(settings.trunks, self._look_up, self._resolver.forget)
            for user in (user for user, password in before.items() if after.get(user) != password):
                self._registrar.forget(user)
                if self._on_contacts is not None:
                    self._on_contacts(user, encode_bindings((), _epoch()))

        return take

    def new_dialog(self) -> DialogId:
        """A fresh number for an `Invite`. Only once started."""
        assert self._dialogs is not None
        return self._dialogs.new_dialog()

    def perform(self, action: SipAction) -> None:
        """Do an action. One on a dialog that is no more, or that comes too late for its state, is ignored."""
        if isinstance(action, EndDialog | RejectInvite):
            self._media_hosts.forget(action.dialog)
        if self._dialogs is not None:
            self._dialogs.perform(action)

    def begin_draining(self) -> None:
        """From now on new calls get 503 with Retry-After; calls that are up go on."""
        if self._dialogs is not None:
            self._dialogs.draining = True

    async def stop(self, grace: float = math.inf) -> None:
        """Hang up what is left, give the peers `SHUTDOWN_TIME` to answer, `grace` seconds at most, and close."""
        if self._dialogs is None:
            return
        self.begin_draining()
        await self._resolver.stop()
        self._dialogs.hang_up_all("shutting down")
        answered, forgotten = asyncio.Event(), asyncio.Event()
        self._dialogs.when_empty(answered.set)
        self._trunks.unregister(forgotten.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(SHUTDOWN_TIME, grace)):
                await answered.wait()
                await forgotten.wait()
        self._trunks.stop()
        dialogs, self._dialogs = self._dialogs, None
        self._transports.connections.on_unreachable = None
        dialogs.transactions.close()
        if self._timer is not None:
            self._timer.cancel()
        await self._transports.close()

    def _restore(self) -> None:
        for user in self._contacts.keys() & {phone.user for phone in self._settings.phones}:
            try:
                bindings = decode_bindings(
                    self._contacts[user], _epoch(), lambda transport, to: self._transports.flow_to(transport, to, "")
                )
            except (ValueError, LookupError) as error:
                log.warning("sip_contacts_not_restored", phone=user, reason=str(error))
            else:
                self._registrar.restore(user, bindings, asyncio.get_running_loop().time())
        self._contacts.clear()

    def _wake(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._run_timers)

    def _run_timers(self) -> None:
        if self._timers is not None:
            self._timers.run()

    def _connect(self, target: Target) -> Flow:
        return self._transports.flow_to(target.transport, target.endpoint, target.server_name)

    def _look_up(self, trunk: str, targets: Sequence[Target]) -> None:
        if all(is_literal(target) for target in targets):
            self._trunks.found(trunk, targets)
        else:
            self._resolver.start(trunk, targets)

    def _found(self, trunk: str, targets: Sequence[Target]) -> None:
        self._trunks.found(trunk, targets)
        self._access.learn(trunk, [target.endpoint.host for target in targets])

    def _trunk_changed(self, change: str, trunk: str, detail: str) -> None:
        self.counters[change] += 1
        (log.warning if change in WARNINGS else log.info)(f"sip_{change}", trunk=trunk, detail=detail)

    def _admit(self, request: SipRequest, source: Endpoint) -> str | None:
        self._origin = self._access.identify(request, source, asyncio.get_running_loop().time())
        if self._origin.trunk is not None:
            self._trunks.call_received(self._origin.trunk, source.host)
        return self._origin.phone

    def _tell(self, event: SipEvent) -> None:
        if isinstance(event, InviteReceived):
            event = replace(event, trunk=self._origin.trunk, phone=self._origin.phone)
            trunk = next((one for one in self._settings.trunks if one.name == event.trunk), None)
            event = event if trunk is None else replace(event, to_user=called_number(trunk, event))
        if not self._media_hosts.holds(event):
            self._on_event(event)

    def _tell_held(self, event: SipEvent) -> None:
        try:
            self._on_event(event)
        except Exception:
            self.counters["errors"] += 1
            log.exception("sip_event_failed", kind=type(event).__name__)

    def _register(self, request: SipRequest, source: Endpoint, flow: Flow) -> Rejection:
        """The answer to a REGISTER, which needs no transaction: it may be taken again, to the same effect."""
        now = asyncio.get_running_loop().time()
        user = self._access.registrant(request, source, now)
        before = {binding.key for binding in self._registrar.bindings(user, now)}
        headers = self._registrar.register(user, request, source, flow, now)
        self.counters["registrations"] += 1
        bindings = self._registrar.bindings(user, now)
        if self._dialogs is not None:
            for binding in bindings:
                self._dialogs.registered(user, binding.uri, binding.source, binding.flow)
        after = {binding.key for binding in bindings}
        if after != before:  # and not each time that it is confirmed
            change = "registered" if after - before else "unregistered"
            log.info(f"sip_phone_{change}", phone=user, source=str(source), contacts=len(after))
        if self._on_contacts is not None:
            self._on_contacts(user, encode_bindings(self._registrar.bindings(user, now)[::-1], _epoch()))
        return Rejection(200, "OK", headers)

    def _message(self, data: bytes, source: Endpoint, flow: Flow) -> None:
        if self._dialogs is None:
            return
        self.counters["messages"] += 1
        try:
            self._take(self._dialogs, data, source, flow)
        except Discard as dropped:
            self.counters["dropped"] += 1
            self._log_rarely("sip_message_dropped", source, str(dropped))
        except Exception:
            # Whatever a peer's bytes may do to us, the endpoint goes on.
            self.counters["errors"] += 1
            log.exception("sip_message_failed", source=str(source))

    def _take(self, dialogs: UserAgentCore, data: bytes, source: Endpoint, flow: Flow) -> None:
        stream = flow.transport != "udp"
        message = parse(data, stream=stream)
        try:
            validate(message, stream=stream)
            if isinstance(message, SipResponse):
                if not dialogs.transactions.receive_response(message):
                    raise Discard("response to nothing that we asked")
            elif message.method == "REGISTER":
                raise self._register(message, source, flow)
            else:
                dialogs.receive(message, source, flow)
        except Rejection as refused:
            self._refuse(message, source, flow, refused)

    def _refuse(self, message: SipRequest | SipResponse, source: Endpoint, flow: Flow, refused: Rejection) -> None:
        assert isinstance(message, SipRequest)
        if refused.status >= 300:
            self.counters[f"refused_{refused.status}"] += 1
        if refused.status >= 300 and not isinstance(refused, ChallengeRejection):
            self._log_rarely("sip_request_refused", source, str(refused))
        text, target = refusal(message, source, refused)
        flow.send(text.encode("utf-8", "backslashreplace"), target)

    def _log_rarely(self, event: str, source: Endpoint, reason: str) -> None:
        """One log line of each kind in `LOG_INTERVAL`, however many bad messages come."""
        now = asyncio.get_running_loop().time()
        last, count = self._last_logged.get(event, (float("-inf"), 0))
        if now - last < LOG_INTERVAL:
            self._last_logged[event] = last, count + 1
            return
        log.warning(event, source=str(source), reason=reason, messages=count + 1)
        self._last_logged[event] = now, 0


def _timer_failed(error: Exception) -> None:
    log.error("sip_timer_failed", exc_info=error)


def _epoch() -> float:
    """1970 by the loop's clock."""
    return asyncio.get_running_loop().time() - time.time()
