"""The composition root of the control process: builds the rooms, joins them, starts and stops them in order.

Start: store, writer, callbacks, media workers, HTTP, SIP. HTTP and SIP, which bring work, come last, so that
the rooms that do the work are ready. Stop is the reverse, calls first, each within its grace and all within 3 s. A
signal comes to that by way of a drain: no new calls, and those that run have `drain.timeout` to end by themselves.
The workers import their code while the rest is built, which takes them as long.
"""

import asyncio
import gc
import os
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import structlog

from trunkline import compiled, log, operator_key, running
from trunkline.api.app import ApiApplication, create_app
from trunkline.api.server import HttpServer
from trunkline.api.tls import ServedCertificate
from trunkline.browser_phones import BrowserPhones
from trunkline.calls.accounts import AccountView
from trunkline.calls.directory import Directory
from trunkline.calls.recordings import RecordingFiles
from trunkline.cluster.keeper import Keeper
from trunkline.cluster.lease import BEAT
from trunkline.config import HttpSettings, Settings
from trunkline.control.accounts import REVOCATION_INTERVAL, USE_INTERVAL, AccountService, first_key
from trunkline.control.applications import ApplicationService
from trunkline.control.captures import Captures
from trunkline.control.destinations import Destinations
from trunkline.control.recordings import Recordings
from trunkline.control.routes import routes_of
from trunkline.control.runner import Runner, utc_now
from trunkline.control.service import CallService
from trunkline.control.sip_traces import SipTraces
from trunkline.drain import DrainLock
from trunkline.errors import StartupError
from trunkline.faces.telnyx.face import TELNYX as FACE
from trunkline.ids import AccountSid, IdsOfLife, life_name
from trunkline.live.feed import Feed
from trunkline.live.hub import Hub
from trunkline.live.ladder import Ladder
from trunkline.meter import Meter, MeteredFeed
from trunkline.metrics import Metrics, gauges
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.egress import DENIED, Egress, EgressRules
from trunkline.outbound.names import Names
from trunkline.reload import compare
from trunkline.sdp.values import Endpoint
from trunkline.signals import Signals
from trunkline.sip.endpoint import SHUTDOWN_TIME, SipEndpoint
from trunkline.store.backlog import INTERVAL as BACKLOG_INTERVAL
from trunkline.store.backlog import Backlog
from trunkline.store.fence import Fence
from trunkline.store.location import make_private
from trunkline.store.pruner import INTERVAL as PRUNE_INTERVAL
from trunkline.store.pruner import Pruner
from trunkline.store.store import STORE_ERRORS, Store
from trunkline.store.writer import Writer
from trunkline.streaming.certificates import BadCertificates, renew, tls_context
from trunkline.systemd import Systemd
from trunkline.tasks import Work, owned, repeated
from trunkline.texml.document import DocumentError, parse
from trunkline.texml.runner import TexmlRunner, Tools
from trunkline.webhooks.delivery import Delivery
from trunkline.webhooks.signing import Signer
from trunkline.workers.limits import raise_file_limit
from trunkline.workers.pool import WorkerPool

_log = structlog.get_logger()

CALL_GRACE = 1.2
"""Seconds for calls to end once the drain is over: for apps to answer our close frame, and phones our BYE."""
HTTP_GRACE = 0.3
WORKER_GRACE = 0.3
CALLBACK_GRACE = 2.0
"""Seconds to deliver what is due; the rest is stored and sent after the next start."""
SIP_END, HTTP_END, WORKER_END, CALLBACK_END = 1.4, 1.6, 1.8, 2.2
"""Seconds after the drain at which each must be over, however long the others took: 3 s for the whole are promised.
Callbacks are delivered while calls end."""
END_LIMIT = 2.7
"""Seconds for the end, after which the process ends as it is."""
OVERDUE_EXIT = 1
FENCED_EXIT = 75
"""`EX_TEMPFAIL` of sysexits.h: a supervisor starts the server again, as a new life."""
GC_THRESHOLD = 10_000
"""Objects that are made before young ones are looked through for cycles; almost all are freed without."""
NEW_ACCOUNT = """\
A first account was made. Keep these; the key is not shown again:

  TRUNKLINE_ACCOUNT_SID={sid}
  TRUNKLINE_API_KEY={key}
"""


class Server:
    """One node. `start`, then `stop`; `run` does both around a signal."""

    def __init__(
        self,
        settings: Settings,
        make_key: Callable[[], str],
        announce: Callable[[str], None],
        load: Callable[[], Settings] | None = None,
        secrets_in_flags: Sequence[str] = (),
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`make_key` makes a new API key; `announce` shows a new account to the operator; `load` reads the settings
        again, for SIGHUP, and raises StartupError; `secrets_in_flags` are names of settings to warn of; `on_ready` is
        called once everything listens."""
        self._on_ready = on_ready
        self._secrets_in_flags = secrets_in_flags
        self._settings = settings
        self._load = load or (lambda: self._settings)
        self._reloading: asyncio.Task[None] | None = None
        self._reloads_due = 0
        self._take: Callable[[Settings], Awaitable[None]] | None = None
        """Give the rooms other settings."""
        self._make_key = make_key
        self._announce = announce
        self._drain: Callable[[asyncio.Event], Awaitable[None]] | None = None
        """Take no more calls, and wait until those that run are over, or until the event."""
        self._stack = AsyncExitStack()
        self._started = False
        self._fence: Fence | None = None
        self._stopping_since = 0.0

    async def run(self) -> int:
        """Serve until a signal, which may also come while it starts, then drain and stop (`signals.py`). Returns the
        exit code: `FENCED_EXIT` if another server has taken the database over. Raises StartupError."""
        starting = asyncio.get_running_loop().create_task(self.start(), name="start")
        signals = Signals(starting.cancel, self._reload_soon)
        signals.install()
        try:
            await starting
        except asyncio.CancelledError:
            if not signals.stop.is_set():
                raise
            _log.info("server_start_cancelled")
            return 0
        # What is loaded stays until the end. Collections that visit it all took 4 % of the CPU of a call.
        gc.freeze()
        gc.enable()
        gc.set_threshold(GC_THRESHOLD)
        return await self._serve(signals)

    async def _serve(self, signals: Signals) -> int:
        """Until it is asked to stop, or may not go on."""
        assert self._fence is not None
        lost = self._fence.lost
        ends = [asyncio.create_task(event.wait()) for event in (signals.stop, lost)]
        ends[1].add_done_callback(lambda _: signals.hurry.set())
        systemd = Systemd(os.environ)
        systemd.ready()
        await self._stack.enter_async_context(systemd.watchdog())
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            systemd.stopping()
            if self._drain is not None and not lost.is_set():
                await self._drain(signals.hurry)
        finally:
            for end in ends:
                end.cancel()
            if lost.is_set():
                _log.error("server_fenced", reason="another server has taken the database over", life=self._fence.life)
            await self._stop_in_time()
        return FENCED_EXIT if lost.is_set() else 0

    async def start(self) -> None:
        """Bring everything up. Raises StartupError with one line; then nothing is left running."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def stop(self) -> None:
        """Without a drain: BYE to calls, `stop` to streams, callbacks flushed."""
        _log.info("server_stopping")
        await self._close()
        _log.info("server_stopped")

    async def _stop_in_time(self) -> None:
        """Stop, or end the process: a thread that waits for the database would hold it up as long as that likes."""
        stopping = asyncio.create_task(self.stop(), name="stop")
        done, _ = await asyncio.wait({stopping}, timeout=END_LIMIT)
        if done:
            stopping.result()
            return
        _log.error("server_end_overdue", reason="the database does not answer; the next start reports calls as failed")
        log.close()
        os._exit(OVERDUE_EXIT)

    def _reload_soon(self) -> None:
        self._reloads_due += 1
        if self._reloads_due == 1:
            self._reloading = asyncio.get_running_loop().create_task(self._reload_while_due(), name="reload")

    async def _reload_while_due(self) -> None:
        while self._reloads_due:
            due = self._reloads_due
            try:
                await self.reload()
            finally:
                self._reloads_due -= due

    async def reload(self) -> None:
        """Read the settings again and apply those that can change now. After a mistake, which is logged, the settings
        stay as they are."""
        if self._take is None:
            _log.warning("settings_reload_skipped", reason="the server starts or stops")
            return
        try:
            found = compare(self._settings, self._load())
            await self._take(found.settings)
        except Exception as error:
            expected = isinstance(error, StartupError)
            _log.error("settings_reload_failed", reason=str(error) if expected else repr(error), exc_info=not expected)
            return
        self._settings = found.settings
        _log.info("settings_reloaded", changed=list(found.changed), certificates="read again")
        if found.restart:
            _log.warning("settings_need_restart", settings=list(found.restart))

    async def _close(self) -> None:
        self._take = None
        if self._reloading is not None:
            self._reloading.cancel()
        self._stopping_since = asyncio.get_running_loop().time()
        await self._stack.aclose()

    def _at_stop(self, stop: Callable[[float], Awaitable[None]], grace: float, end: float) -> None:
        """Stop a room with what is left of its grace, and of the time until its `end`."""

        async def in_time() -> None:
            left = self._stopping_since + end - asyncio.get_running_loop().time()
            await stop(max(0.0, min(grace, left)))

        self._stack.push_async_callback(in_time)

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        _prepare(settings)
        store, lives = await self._open_store()
        ids = IdsOfLife(FACE.ids, store.life)
        account, new_key = await self._account(store)
        phone = BrowserPhones.of(settings)
        directory = Directory(phone.added_to(settings), account, await store.applications(), utc_now(), phone.user)
        signer = FACE.signer.load(settings.store.directory)
        egress = Egress(rules := EgressRules.of(settings, account))
        rooms: dict[str, Callable[[], Counter[str]]] = {}
        metrics = Metrics(rooms, lambda: gauges(runner, pool, sip, writer, backlog))
        hub, traces, feed = _events(settings, life_name(store.life), lambda: runner, meter := Meter(metrics.registry))
        delivery = Delivery(settings.callbacks, store, signer, dialler := self._dialler(egress), lives, feed)
        writer = Writer(store, settings.store, delivery.deliver)
        await delivery.start()
        self._at_stop(delivery.stop, CALLBACK_GRACE, CALLBACK_END)
        writer.start()
        stack.push_async_callback(writer.stop)
        recordings, captures = await self._files(store, writer, traces, ids, lambda: _public_url(settings, http))
        pool = WorkerPool(settings, lambda event: runner.on_pool(event), egress=rules)
        runner = Runner(settings, account, directory, pool, writer, FACE.callbacks, ids, recordings, feed)
        tools = _tools(settings, signer, dialler, recordings, ids, meter)
        texml = TexmlRunner(runner, directory.dial, tools)
        stack.push_async_callback(texml.stop)
        self._at_stop(pool.stop, WORKER_GRACE, WORKER_END)
        pool.launch()
        left = await store.open_calls(), await store.open_streams(), await store.open_recordings()
        sip = _endpoint(phone.added_to(settings), runner, await store.contacts(), egress, traces)
        runner.connect(sip, texml)
        destinations = Destinations(egress)
        lists = (lambda account: routes_of(directory, account, sip.contacts_of, sip.trunks), pool.states)
        own = recordings, destinations, captures, tools.beep, traces
        service = CallService(runner, directory, store, writer, *own, *lists)
        backlog = await self._backlog(store)
        app = create_app(
            FACE.rest,
            service,
            ApplicationService(directory, store, destinations),
            await self._accounts(store, directory, account, runner),
            settings.http,
            ready=lambda: self._starting() or _not_ready(runner, pool, writer, settings.sip.call_limit),
            api_ready=self._starting,
            signing=signer,
            metrics=metrics.render,
            hub=hub,
            line=phone.line(account, settings.sip.host, sip),
        )
        rooms |= _counters(pool, delivery, writer) | _counters_of_calls(runner, sip, texml)
        rooms["outbound"] = lambda: egress.counters + _denials(sip.counters) + _denials(_media_counters(pool))
        rooms["api"] = lambda: Counter(app.counters)
        tls = ServedCertificate(settings.http)
        http = HttpServer(app, settings.http, tls=tls.context)
        await self._serve_http(http, _operators_server(app, settings.http, tls))
        await pool.start()
        await self._take_calls(runner, sip, app)
        await self._keep_account(store, account, new_key)
        await stack.enter_async_context(owned(partial(runner.settle, *left), "settlement"))
        self._take = partial(_take, account, directory, runner, sip, pool, egress, tls, phone)
        self._say_ready(http, sip, pool)

    def _say_ready(self, http: HttpServer, sip: SipEndpoint, pool: WorkerPool) -> None:
        self._started = True
        if self._lock.held:
            running.write(self._settings, {"http.port": http.port, "sip.port": sip.local.port})
        _log_ready(self._settings, http, sip, pool)
        if self._secrets_in_flags:
            reason = "every user of this machine can read them: use files, credentials or variables"
            _log.warning("passwords_in_flags", settings=list(self._secrets_in_flags), reason=reason)
        self._on_ready()

    async def _take_calls(self, runner: Runner, sip: SipEndpoint, app: ApiApplication) -> None:
        await sip.start()
        self._at_stop(sip.stop, SHUTDOWN_TIME, SIP_END)
        self._stack.push_async_callback(runner.end_all, CALL_GRACE)
        self._stack.push_async_callback(app.stop)
        self._stack.callback(sip.begin_draining)
        self._drain = partial(_drain, runner, sip, self._settings.drain.timeout)

    async def _open_store(self) -> tuple[Store, Callable[[], bool]]:
        """The store, and whether this life certainly lives."""
        store = await Store.open(self._settings.store)
        self._stack.push_async_callback(store.close)
        self._lock = DrainLock(self._settings.store.directory)
        self._stack.callback(self._lock.release)
        self._fence = fence = store.fence
        keeper = Keeper(store.lives.beat, STORE_ERRORS, locked=store.lives.locked)
        await keeper.beat()
        await self._repeat(keeper.beat, BEAT, "lease keeper")
        return store, lambda: keeper.holds and not fence.lost.is_set()

    async def _backlog(self, store: Store) -> Backlog:
        backlog = Backlog(store)
        await self._repeat(backlog.look, BACKLOG_INTERVAL, "callback backlog")
        return backlog

    async def _repeat(self, work: Work, seconds: float, name: str) -> None:
        await self._stack.enter_async_context(repeated(work, seconds, name))

    async def _serve_http(self, *servers: HttpServer | None) -> None:
        for server in servers:
            if server is not None:
                await server.start()
                self._at_stop(server.stop, HTTP_GRACE, HTTP_END)

    async def _files(
        self, store: Store, writer: Writer, traces: SipTraces, ids: IdsOfLife, public_url: Callable[[], str]
    ) -> tuple[Recordings, Captures]:
        """With what deletes those that are too old, and what stores traces."""
        self._stack.enter_context(traces.storing(writer))
        settings = self._settings
        directory = settings.texml.recordings or settings.store.directory / "recordings"
        files = RecordingFiles(directory.expanduser(), public_url)
        try:
            files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            make_private(files.directory)
        except OSError as error:
            raise StartupError(f"cannot use {error.filename}: {error.strerror}") from error
        recordings = Recordings(
            files, ids, writer, store, settings.store, await store.recordings_used(), FACE.callbacks
        )
        captures = Captures(settings.streams)
        pruner = Pruner(store, settings.store, recordings.delete, captures.prune)
        await self._repeat(pruner.run, PRUNE_INTERVAL, "store pruner")
        return recordings, captures

    async def _accounts(self, store: Store, directory: Directory, own: AccountSid, runner: Runner) -> AccountService:
        key = operator_key.read_or_make(self._settings, self._make_key)

        def live_calls(account: AccountSid) -> int:
            return sum(entry.call.view.account_sid == account for entry in runner.registry)

        service = AccountService(store.accounts, directory, own, key, live_calls)
        await self._repeat(service.store_uses, USE_INTERVAL.total_seconds(), "uses of keys")
        await self._repeat(service.store_revocations, REVOCATION_INTERVAL, "revocations of keys")
        self._stack.push_async_callback(service.store_last_changes)
        return service

    def _starting(self) -> str | None:
        return None if self._started else "starting"

    def _dialler(self, egress: Egress) -> Dialler:
        dialler = Dialler(Names(), egress)
        self._stack.push_async_callback(dialler.stop)
        return dialler

    async def _account(self, store: Store) -> tuple[AccountSid, str | None]:
        """The account of inbound calls: the predefined one, else the first, else a new one, which the store does not
        have yet, with its key."""
        sid, key = self._settings.account_sid, self._settings.api_key
        if (sid is None) != (key is None):
            raise StartupError("account_sid and api_key go together: set both or neither")
        if sid is not None and key is not None:
            try:
                account = AccountSid(str(uuid.UUID(sid)))
            except ValueError:
                raise StartupError(f"bad setting account_sid: {sid!r} is not a UUID") from None
            await _add_account(store, account, key)
            return account, None
        if store.accounts.accounts:
            return store.accounts.accounts[0].sid, None
        return AccountSid(str(uuid.uuid4())), self._make_key()

    async def _keep_account(self, store: Store, account: AccountSid, new_key: str | None) -> None:
        """Last: a start that fails must not print a key that is not kept."""
        if new_key is not None:
            self._announce(NEW_ACCOUNT.format(sid=account, key=new_key))
            await _add_account(store, account, new_key)


async def _add_account(store: Store, sid: AccountSid, secret: str) -> None:
    await store.accounts.add_account(AccountView(sid, "", utc_now()), first_key(sid), secret)


def _endpoint(
    settings: Settings, runner: Runner, contacts: Mapping[str, str], egress: Egress, traces: SipTraces
) -> SipEndpoint:
    directory, sid_of = settings.store.directory, runner.call_sid_of
    sip = SipEndpoint(settings.sip, runner.on_sip, directory, contacts, runner.keep_contacts, sid_of, egress)
    traces.observe(sip)
    return sip


def _tools(
    settings: Settings, signer: Signer, dialler: Dialler, recordings: Recordings, ids: IdsOfLife, meter: Meter
) -> Tools:
    tools = Tools.of(settings, signer, dialler, recordings.files, ids, FACE.document)
    tools.fetcher.on_done = meter.fetched
    return tools


def _events(settings: Settings, life: str, runner: Callable[[], Runner], meter: Meter) -> tuple[Hub, SipTraces, Feed]:
    hub = Hub(life, lambda call, on: runner().watch(call, on), lambda call, on: runner().listen(call, on))
    traces = SipTraces(settings.sip)
    traces.trace.on_message = Ladder(hub, traces.mask).publish
    feed = MeteredFeed(meter, hub, FACE.events, traces.trace, runner)
    feed.on_forgotten = traces.ended
    return hub, traces, feed


async def _take(
    account: AccountSid,
    directory: Directory,
    runner: Runner,
    sip: SipEndpoint,
    pool: WorkerPool,
    egress: Egress,
    tls: ServedCertificate,
    phone: BrowserPhones,
    settings: Settings,
) -> None:
    """All or nothing: what may be wrong comes first. Raises StartupError."""
    with_phone = phone.added_to(settings)
    commit = await sip.prepare(with_phone.sip)
    try:
        await asyncio.to_thread(renew, settings.streams.ca_file)
        await asyncio.to_thread(tls.renew)
    except BadCertificates as error:
        raise StartupError(f"streams.ca_file: {error}") from None
    directory.take(with_phone, utc_now())
    runner.quotas.take(settings.sip)
    commit()
    _warn_of_trunks(settings)
    _warn_of_documents(settings)
    rules = EgressRules.of(settings, account)
    egress.take(rules)
    pool.take(settings, rules)
    log.change(settings.log)


async def _drain(runner: Runner, sip: SipEndpoint, seconds: float, hurry: asyncio.Event) -> None:
    """Take no more calls; wait until those that run are over, for some seconds, or until the operator hurries."""
    sip.begin_draining()
    runner.begin_draining()
    _log.info("server_draining", calls=len(runner.registry), seconds=seconds)
    waits = {asyncio.ensure_future(runner.wait_empty()), asyncio.ensure_future(hurry.wait())}
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()


def _operators_server(app: ApiApplication, settings: HttpSettings, tls: ServedCertificate) -> HttpServer | None:
    """On the operators' port, if they have one."""
    if app.operators is None:
        return None
    own = settings.model_copy(update={"host": settings.operators_host, "port": settings.operators_port})
    return HttpServer(app.operators, own, prefix="operators_", tls=tls.context)


def _public_url(settings: Settings, http: HttpServer) -> str:
    return (settings.http.public_url or _own_url(settings, http)).rstrip("/")


def _own_url(settings: Settings, http: HttpServer) -> str:
    scheme = "http" if settings.http.tls_certificate_file is None else "https"
    return f"{scheme}://{Endpoint(settings.http.host, http.port)}"


def _log_ready(settings: Settings, http: HttpServer, sip: SipEndpoint, pool: WorkerPool) -> None:
    _log.info(
        "server_ready",
        http=_own_url(settings, http),
        sip=f"sip:{sip.local}",
        rtp=f"{Endpoint(settings.media.host, settings.media.port_min)}-{settings.media.port_max}",
        workers=len(pool.statuses),
        packet_path="as Python" if compiled.FALLBACK_REASON else "compiled",
    )
    if compiled.FALLBACK_REASON:
        reason = f"streams take up to twice the CPU: {compiled.FALLBACK_REASON}"
        _log.warning("packet_path_not_compiled", reason=reason)
    _warn_of_trunks(settings)
    _warn_of_documents(settings)
    if settings.http.public_url is None and settings.http.host in ("0.0.0.0", "::"):
        _log.warning(
            "public_url_not_set",
            reason="http.host is no address that customers can reach",
            url=_public_url(settings, http),
        )


def _warn_of_documents(settings: Settings) -> None:
    for name, text in settings.documents:
        with suppress(DocumentError):  # each of its calls says so
            for reason in parse(text).warnings:
                _log.warning("texml_warning", setting=name, reason=reason)


def _warn_of_trunks(settings: Settings) -> None:
    closed = [trunk.name for trunk in settings.sip.trunks if trunk.dial_prefixes is None]
    if closed:
        reason = "documents and phones may call no number by these trunks: set their dial_prefixes"
        _log.warning("trunks_closed_to_documents", trunks=closed, reason=reason)


def _prepare(settings: Settings) -> None:
    _check_certificates(settings.streams.ca_file)
    raise_file_limit()


def _check_certificates(ca_file: Path | None) -> None:
    try:
        tls_context(ca_file)
    except BadCertificates as error:
        raise StartupError(f"streams.ca_file: {error}") from None


def _not_ready(runner: Runner, pool: WorkerPool, writer: Writer, call_limit: int) -> str | None:
    if runner.draining:
        return "draining"
    if reason := pool.refusal:
        return reason
    if writer.full or writer.late:
        return "the store is behind"
    if len(runner.registry) >= call_limit:
        return "the call limit is reached"
    return None


def _counters(pool: WorkerPool, delivery: Delivery, writer: Writer) -> dict[str, Callable[[], Counter[str]]]:
    return {
        "log": log.counters,
        "webhooks": lambda: Counter(delivery.counters),
        "store": lambda: writer.counters,
        "media": lambda: _without_denials(_media_counters(pool)),
        "workers": lambda: Counter(restarts=pool.restarts),
    }


def _media_counters(pool: WorkerPool) -> Counter[str]:
    return sum((Counter(status.counters) for status in pool.statuses), Counter())


def _denials(counters: Counter[str]) -> Counter[str]:
    """Of a room that dials, what belongs to `outbound`."""
    return Counter({event: count for event, count in counters.items() if event.startswith(DENIED)})


def _without_denials(counters: Counter[str]) -> Counter[str]:
    return Counter({event: count for event, count in counters.items() if not event.startswith(DENIED)})


def _counters_of_calls(runner: Runner, sip: SipEndpoint, texml: TexmlRunner) -> dict[str, Callable[[], Counter[str]]]:
    return {
        "control": lambda: runner.counters,
        "sip": lambda: _without_denials(sip.counters),
        "texml": lambda: texml.counters,
    }
