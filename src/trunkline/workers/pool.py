"""The control side of the media workers: starts them, places legs on them, notices their death, starts others.

A worker is dead when its end of the link closes, when it says nothing for `SIGN_OF_LIFE`, or when it does not read
its orders. Everything that lived in it is reported as lost, once; a new process takes its place and its ports. That is
the spare, if there is one: a process that has its code loaded and waits, so that calls are taken again at once.

A worker lags when it reports so twice in a row, or is late with its reports: it gets no new call while another does not
lag, and when all do new calls are refused (`refusal`), so that those that run get what there is.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from trunkline import log
from trunkline.config import MediaSettings, Settings
from trunkline.confinement import environment
from trunkline.errors import StartupError
from trunkline.ids import LegId
from trunkline.outbound.egress import EgressRules
from trunkline.workers import messages
from trunkline.workers.link import Link
from trunkline.workers.orders import Order
from trunkline.workers.reports import WorkerLost
from trunkline.workers.silence import Silence

_log = structlog.get_logger()

START_TIMEOUT = 60.0
"""Seconds for a worker to import its code and say Ready, on a machine that has far too much to do."""
LEG_LOAD = 0.003
"""Of a core: what a new leg counts for until its worker's next status; about what one with a stream both ways takes."""
LAST_WORDS = 0.3
"""Seconds for what a process that was killed has written."""
RESTART_DELAY = 1.0
"""Seconds before a worker is replaced that has died twice in `SHORT_LIFE`, so that one that dies at once does not eat a
core."""
SHORT_LIFE = 10.0
"""Seconds."""
LAG_LIMIT = 0.02
"""Seconds by which packets leave late on average, above which a worker lags: one packet time."""
LATE_STATUS = 3.0
"""Seconds without a word after which it lags, too."""


class _Child:
    """A media worker's process and our end of its link. A spare has no worker yet."""

    def __init__(self) -> None:
        self.index: int | None = None
        """The worker's; None: a spare."""
        self.gone = asyncio.Event()
        self.changed = asyncio.Event()
        """It is gone, or a spare no longer."""
        self.on_report: Callable[[messages.ToControl], None] = lambda _: None
        self.link: Link[messages.ToControl] = Link(messages.ToControl, self._report, self._lost)
        self.process: asyncio.subprocess.Process | None = None

    def _report(self, report: messages.ToControl) -> None:
        self.on_report(report)

    def _lost(self) -> None:
        self.gone.set()
        self.changed.set()


@dataclass(slots=True)
class _Worker:
    index: int
    ports: tuple[int, int]
    link: Link[messages.ToControl] | None = None
    process: asyncio.subprocess.Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    legs: set[LegId] = field(default_factory=set)
    asked: dict[int, asyncio.Future[messages.Reported | None]] = field(default_factory=dict)
    silence: Silence = field(default_factory=lambda: Silence(messages.STATUS_INTERVAL))
    status: messages.Status = field(default_factory=lambda: messages.Status(0, 0, {}))
    lag_before: float = 0.0
    """Of the status before that: a machine that stalls once is not short of time."""
    fresh: int = 0
    """Legs placed since the status."""
    lagged: bool = False
    """As logged."""

    @property
    def lag(self) -> float:
        """Seconds by which its packets, or its reports, are late."""
        return max(self.status.lag, self.silence.seconds - 2 * messages.STATUS_INTERVAL, 0.0)

    @property
    def lags(self) -> bool:
        return min(self.lag_before, self.status.lag) > LAG_LIMIT or self.silence.seconds > LATE_STATUS

    @property
    def usable(self) -> bool:
        return self.link is not None and self.ready.is_set() and not self.gone.is_set()

    @property
    def pid(self) -> int | None:
        """Of its process, if that takes legs."""
        return self.process.pid if self.usable and self.process is not None else None

    @property
    def load(self) -> float:
        """Of a core, by estimate."""
        return self.status.load + self.fresh * LEG_LOAD


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What is known of a worker now."""

    index: int
    pid: int | None
    """None: no process of it takes legs."""
    lags: bool
    lag: float
    """Seconds by which its packets, or its reports, are late."""
    status: messages.Status


class WorkerPool:
    """All media workers of the node."""

    def __init__(
        self,
        settings: Settings,
        on_event: Callable[[messages.FromLeg], None],
        sign_of_life: float = messages.SIGN_OF_LIFE,
        egress: EgressRules | None = None,
    ) -> None:
        self._settings = settings
        self._egress = egress or EgressRules()
        self._sign_of_life = sign_of_life
        self._on_event = on_event
        media = settings.media
        count = media.workers or min(max(1, (os.cpu_count() or 2) - 1), media.port_pairs)
        self._workers = [_Worker(i, _share(media, i, count)) for i in range(count)]
        self._by_leg: dict[LegId, _Worker] = {}
        self._spare: _Child | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._hearing: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._requests = 0
        self.restarts = 0

    def launch(self) -> None:
        """Start every worker's process. Raises StartupError when media could not be received."""
        _check_bindable(self._settings.media.host)
        loop = asyncio.get_running_loop()
        self._keepers = [
            loop.create_task(self._keep(worker), name=f"worker {worker.index}") for worker in self._workers
        ]
        if self._settings.media.spare_worker:
            self._keepers.append(loop.create_task(self._keep_spare(), name="spare worker"))

    async def start(self) -> None:
        """Until every worker takes legs, launched now if not before. Raises StartupError when one cannot."""
        if not self._keepers:
            self.launch()
        try:
            await asyncio.wait_for(self.all_ready(), START_TIMEOUT)
        except TimeoutError:
            await self.stop(0)
            raise StartupError("a media worker did not start; its own message is above") from None

    async def all_ready(self) -> None:
        """Until every worker takes legs."""
        for worker in self._workers:
            await worker.ready.wait()

    async def stop(self, grace: float) -> None:
        """Close the links, wait up to `grace` seconds for the workers to say good-bye to their apps, and end those
        that do not."""
        self._stopping = True
        spare = self._take_spare()
        if spare is not None:
            spare.link.close()
        for worker in self._workers:
            if worker.link is not None:
                worker.link.close()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=grace)
        for one in (*self._workers, *(() if spare is None else (spare,))):
            _kill(one.process)
        if self._hearing:  # Each ends with its pipe, which a decoder may hold for a moment longer.
            await asyncio.wait(self._hearing, timeout=LAST_WORDS)
        tasks = [*self._keepers, *self._hearing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def take(self, settings: Settings, egress: EgressRules) -> None:
        """Go by these settings from now on, as far as workers that run can: log, certificates, egress."""
        self._settings, self._egress = settings, egress
        ca_file = None if settings.streams.ca_file is None else str(settings.streams.ca_file)
        for worker in self._workers:
            if worker.link is not None:
                worker.link.send(messages.SetLog(settings.log.model_dump_json()))
                worker.link.send(messages.Trust(ca_file))
                worker.link.send(messages.SetEgress(egress))

    @property
    def refusal(self) -> str | None:
        """Why no worker takes a new call; None: one does."""
        usable = [worker for worker in self._workers if worker.usable]
        if not usable:
            return "no media worker is running"
        return "all media workers lag" if all(worker.lags for worker in usable) else None

    @property
    def lags(self) -> dict[str, float]:
        """Seconds by which packets or reports of each worker are late, by its number."""
        return {str(worker.index): worker.lag for worker in self._workers}

    @property
    def legs(self) -> int:
        """How many legs there are, each with a port for RTP."""
        return len(self._by_leg)

    @property
    def rtp_ports(self) -> int:
        """How many there can be."""
        return self._settings.media.port_pairs

    @property
    def pids(self) -> list[int]:
        """The processes that take legs now."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def states(self) -> list[WorkerState]:
        """Each worker as it is now."""
        return [WorkerState(one.index, one.pid, one.lags, one.lag, one.status) for one in self._workers]

    @property
    def statuses(self) -> list[messages.Status]:
        """The last status of each worker."""
        return [worker.status for worker in self._workers]

    def place(self, leg: LegId, same_worker_as: LegId | None = None) -> bool:
        """Choose the worker with the least load for a new leg, if possible one that does not lag, or the one of another
        leg; False when there is none."""
        usable = [worker for worker in self._workers if worker.usable]
        if same_worker_as is not None:
            usable = [worker for worker in usable if same_worker_as in worker.legs]
        if not usable:
            return False
        worker = _lightest([worker for worker in usable if not worker.lags] or usable)
        worker.legs.add(leg)
        worker.fresh += 1
        self._by_leg[leg] = worker
        return True

    def release(self, leg: LegId) -> None:
        """The leg is over."""
        worker = self._by_leg.pop(leg, None)
        if worker is not None:
            worker.legs.discard(leg)

    def send(self, leg: LegId, order: Order) -> None:
        """Send an order to the worker of a leg. A leg whose worker died has been reported as lost already."""
        worker = self._by_leg.get(leg)
        if worker is not None and worker.link is not None:
            worker.link.send(messages.ToLeg(leg, order))

    async def report(self, leg: LegId) -> messages.Reported | None:
        """A leg as it is now; None when its worker is gone or does not answer within `REPORT_TIMEOUT`."""
        worker = self._by_leg.get(leg)
        if worker is None or worker.link is None:
            return None
        self._requests += 1
        request = self._requests
        answer = worker.asked[request] = asyncio.get_running_loop().create_future()
        try:
            if not worker.link.send(messages.GetReport(leg, request)):
                return None
            return await asyncio.wait_for(answer, messages.REPORT_TIMEOUT)
        except TimeoutError:
            return None
        finally:
            worker.asked.pop(request, None)

    # ── one worker's life ───────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, worker: _Worker) -> None:
        loop, delay = asyncio.get_running_loop(), 0.0
        while not self._stopping:
            begun = loop.time()
            try:
                await self._run_once(worker)
            except OSError as problem:
                _log.error("worker_start_failed", worker=worker.index, reason=str(problem))
            except Exception:
                # This task owns every process of this worker that is to come.
                _log.exception("worker_supervision_failed", worker=worker.index)
            if not self._stopping:
                self.restarts += 1
                await asyncio.sleep(delay if loop.time() - begun < SHORT_LIFE else 0)
                delay = RESTART_DELAY

    async def _run_once(self, worker: _Worker) -> None:
        """One process's life. Raises OSError when there is none to be had."""
        worker.ready.clear()
        worker.silence.heard()
        worker.process = None
        child = self._take_spare() or await self._spawn()
        child.index, child.on_report = worker.index, lambda report: self._on_report(worker, report)
        worker.gone, worker.process, worker.link = child.gone, child.process, child.link
        try:
            child.link.send(self._configure(worker))
            await self._watch(worker)
        finally:
            worker.link = None
            child.link.close()
            self._lost(worker)
            if not self._stopping:
                _kill(child.process)
        if child.process is not None:
            await child.process.wait()

    async def _spawn(self) -> _Child:
        """Start a process. Raises OSError."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        child = _Child()
        try:
            with theirs:
                await loop.create_unix_connection(lambda: child.link, sock=ours)
                child.process = await _start_process(theirs)
        except BaseException:
            child.link.close()
            raise
        hearing = loop.create_task(_overhear(child, child.process), name=f"words of {child.process.pid}")
        self._hearing.add(hearing)
        hearing.add_done_callback(self._hearing.discard)
        return child

    async def _keep_spare(self) -> None:
        """Have a process ready for the next worker that dies."""
        while not self._stopping:
            try:
                self._spare = child = await self._spawn()
            except Exception as problem:
                expected = isinstance(problem, OSError)
                _log.error("worker_start_failed", worker="spare", reason=str(problem), exc_info=not expected)
                await asyncio.sleep(RESTART_DELAY)
                continue
            await child.changed.wait()
            if child.index is None and child.process is not None:  # no worker has it
                if not self._stopping:
                    self._spare = None
                    _log.error("spare_worker_died")
                    child.link.close()
                    _kill(child.process)
                await child.process.wait()
                await asyncio.sleep(0 if self._stopping else RESTART_DELAY)

    def _take_spare(self) -> _Child | None:
        child, self._spare = self._spare, None
        if child is None or child.gone.is_set():
            return None
        child.changed.set()
        return child

    async def _watch(self, worker: _Worker) -> None:
        """Until the worker is gone or has said nothing for too long."""
        loop = asyncio.get_running_loop()
        while not worker.gone.is_set():
            if worker.silence.seconds >= (self._sign_of_life if worker.ready.is_set() else START_TIMEOUT):
                _log.error("worker_frozen", worker=worker.index)
                return
            before = loop.time()
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.gone.wait(), messages.STATUS_INTERVAL)
            worker.silence.passed(loop.time() - before)

    def _configure(self, worker: _Worker) -> messages.Configure:
        settings = self._settings
        return messages.Configure(
            media=settings.media.model_dump_json(),
            streams=settings.streams.model_dump_json(),
            log=settings.log.model_dump_json(),
            egress=self._egress,
            port_min=worker.ports[0],
            port_max=worker.ports[1],
        )

    def _on_report(self, worker: _Worker, report: messages.ToControl) -> None:
        worker.silence.heard()
        if isinstance(report, messages.Ready):
            worker.ready.set()
        elif isinstance(report, messages.Said):
            log.relay(report.line, report.dropped)
        elif isinstance(report, messages.Status):
            worker.lag_before, worker.status, worker.fresh = worker.status.lag, report, 0
            self._log_lag(worker)
        elif isinstance(report, messages.Reported):
            answer = worker.asked.get(report.request)
            if answer is not None and not answer.done():
                answer.set_result(report)
        else:
            self._on_event(report)

    def _log_lag(self, worker: _Worker) -> None:
        if worker.lags and not worker.lagged:
            _log.warning("worker_lagging", worker=worker.index, seconds=round(worker.lag, 3))
        elif worker.lagged and not worker.lags:
            _log.warning("worker_caught_up", worker=worker.index)
        worker.lagged = worker.lags

    def _lost(self, worker: _Worker) -> None:
        worker.gone.set()
        worker.ready.clear()
        worker.status, worker.lag_before, worker.fresh, worker.lagged = messages.Status(0, 0, {}), 0.0, 0, False
        for answer in worker.asked.values():
            if not answer.done():
                answer.set_result(None)
        if self._stopping or worker.process is None:
            return
        _log.error("worker_died", worker=worker.index, legs=len(worker.legs))
        for leg in list(worker.legs):
            self.release(leg)
            try:
                self._on_event(messages.FromLeg(leg, WorkerLost("the media worker died")))
            except Exception:
                # The other calls of this worker must end too.
                _log.exception("leg_loss_failed", leg=leg)


async def _start_process(theirs: socket.socket) -> asyncio.subprocess.Process:
    numbers = str(theirs.fileno()), str(os.getpid())
    arguments = (sys.executable, "-m", "trunkline.workers", "trunkline.workers.process", *numbers)
    return await asyncio.create_subprocess_exec(
        *arguments,
        pass_fds=[theirs.fileno()],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(),
        start_new_session=True,  # a Ctrl-C is for us, even before the worker has come to ignore it
    )


async def _overhear(child: _Child, process: asyncio.subprocess.Process) -> None:
    """What a worker, or its decoder, says past its log: before that is set up, or from C."""
    assert process.stdout is not None
    while said := await process.stdout.read(log.LINE_LIMIT):
        _log.warning("worker_wrote", worker=child.index, text=said.decode(errors="replace").rstrip())


def _kill(process: asyncio.subprocess.Process | None) -> None:
    if process is not None and process.returncode is None:
        process.kill()


def _lightest(workers: list[_Worker]) -> _Worker:
    """The one with the least load; where a tenth of a core is not between them, with the fewest legs."""
    return min(workers, key=lambda worker: (round(worker.load, 1), len(worker.legs)))


def _check_bindable(host: str) -> None:
    """A media address that this machine does not have is the operator's mistake, not each call's."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise StartupError(f"cannot receive RTP on media.host {host}: {error.strerror}") from None


def _share(media: MediaSettings, index: int, count: int) -> tuple[int, int]:
    """One worker's part of the port range, starting on an even port (RFC 3550 section 11)."""
    start = media.port_min + media.port_min % 2
    low, high = (media.port_pairs * part // count for part in (index, index + 1))
    return start + 2 * low, start + 2 * high - 1
