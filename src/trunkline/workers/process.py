"""The media worker process: legs, streams and nothing else. Started by `pool.py` with one end of a socket pair.

It has a heap of its own that stays small, no cyclic collector (nothing cyclic is made per packet), no database and no
HTTP. It ends with the control process (`parent.py`): when its end of the link closes, or when it dies.
"""

import asyncio
import gc
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import structlog
import uvloop

from trunkline import log
from trunkline.config import LogSettings, MediaSettings, StreamSettings
from trunkline.ids import LegId, StreamSid
from trunkline.media.audio.level import LevelProbe
from trunkline.media.codecs import transcoder
from trunkline.media.engine import Engine, UnknownLeg
from trunkline.media.events import MediaEvent, SilenceDetected
from trunkline.media.leg import TooManyPlayers
from trunkline.media.report import LiveLegReport
from trunkline.media.rtp.dtmf import NoTelephoneEvent, TooManyDigits
from trunkline.media.rtp.ports import NoPorts
from trunkline.outbound.dialler import Dialler
from trunkline.outbound.egress import Egress
from trunkline.outbound.names import Names
from trunkline.sdp.values import Endpoint
from trunkline.streaming.budget import Budgets
from trunkline.streaming.capture import StreamCapture, is_wanted
from trunkline.streaming.certificates import renew, tls_context
from trunkline.streaming.connection import StreamConnection
from trunkline.streaming.messages import Problem, Refusal
from trunkline.streaming.socket import Sender
from trunkline.streaming.stream import StreamClosed, StreamOpened
from trunkline.workers import messages, orders, reports
from trunkline.workers.limits import raise_file_limit
from trunkline.workers.link import Link
from trunkline.workers.parent import Parent
from trunkline.workers.worker.capture_writer import CaptureWriter
from trunkline.workers.worker.decoder_client import AccountDecoder, DecoderClient
from trunkline.workers.worker.leg_services import LegServices
from trunkline.workers.worker.listen import LegListeners
from trunkline.workers.worker.stream_targets import StreamTargets
from trunkline.workers.worker.watch import LegWatches

_log = structlog.get_logger()

DECODER_START_TIMEOUT = 5.0
"""Seconds that a worker waits for its decoder before it takes calls without one."""


_LEG_COMPLAINTS = (
    "malformed",
    "rtcp_malformed",
    "wrong_source",
    "kept_dropped",
    "unknown_payload_type",
    "srtp_auth_failed",
    "lost",
)
_STREAM_COMPLAINTS = ("frames_dropped", "frames_lost", "underruns", "overruns")


class Worker:
    """Carries orders out and reports."""

    def __init__(self, sock: socket.socket, parent: Parent) -> None:
        self._sock = sock
        self._parent = parent
        self._link: Link[messages.ToWorker] = Link(messages.ToWorker, self._on_message, self._on_lost)
        self._lost = asyncio.Event()
        self._engine: Engine | None = None
        self._services: LegServices | None = None
        self._targets: StreamTargets | None = None
        self._decoder = DecoderClient()
        self._starting: asyncio.Task[None] | None = None
        self._egress = Egress()
        self._sender = Sender(Dialler(Names(), self._egress))
        self._stream_settings = StreamSettings()
        self._budgets = Budgets()
        self._captures: CaptureWriter | None = None
        """Only if `streams.capture` is set."""
        self._streams: dict[StreamSid, StreamConnection] = {}
        self._reconnects = 0
        """Of the streams that are over."""
        self._closed_totals: Counter[str] = Counter()
        """What the legs and streams that are over had to complain of."""
        self._leg_streams: dict[LegId, list[StreamSid]] = {}
        self._listening: dict[LegId, list[int]] = {}
        self._watches: LegWatches | None = None
        self._listeners: LegListeners | None = None
        self._local_host = ""
        self._handlers: dict[type, Callable[[Any], None]] = {
            messages.Configure: self._configure,
            messages.SetLog: self._set_log,
            messages.SetEgress: self._set_egress,
            messages.Trust: self._trust,
            messages.ToLeg: self._order,
            messages.GetReport: self._get_report,
        }
        self._orders: dict[type, Callable[[LegId, Any], None]] = {
            orders.OpenLeg: self._open_leg,
            orders.ConfirmLeg: self._confirm_leg,
            orders.UpdateLeg: self._update_leg,
            orders.CloseLeg: self._close_leg,
            orders.Bridge: self._bridge,
            orders.Unbridge: self._unbridge,
            orders.OpenStream: self._open_stream,
            orders.CloseStream: self._close_stream,
            orders.PauseStream: self._pause_stream,
            orders.WatchLeg: self._watch_leg,
            orders.ListenLeg: self._listen_leg,
        }
        """The rest is added by `_configure`."""

    async def run(self) -> None:
        """Until the control process is gone; then every app gets its `stop`."""
        loop = asyncio.get_running_loop()
        self._log = log.Relay(self._say, loop.call_soon_threadsafe)
        log.configure(LogSettings(format="json"), self._log)
        self._parent.when_gone(self._lost.set)
        await loop.create_unix_connection(lambda: self._link, sock=self._sock)
        status = loop.create_task(self._report_status())
        await self._lost.wait()
        status.cancel()
        if self._starting is not None:
            self._starting.cancel()
        connections = list(self._streams.values())
        for connection in connections:
            connection.close("the server is shutting down")
        await asyncio.gather(*(connection.wait_closed() for connection in connections))
        if self._engine is not None:
            self._engine.stop()
        if self._captures is not None:
            await loop.run_in_executor(None, self._captures.close)
        await self._sender.dialler.stop()
        await self._decoder.stop()

    def _on_lost(self) -> None:
        self._lost.set()
        self._parent.gone()

    def _say(self, line: str, dropped: int) -> bool:
        return self._link.unsent < messages.LOG_BACKLOG and self._link.send(messages.Said(line, dropped))

    def _set_log(self, order: messages.SetLog) -> None:
        settings = LogSettings.model_validate_json(order.log)
        # The control process makes of it what its own readers want.
        log.configure(settings.model_copy(update={"format": "json"}), self._log)
        log.take_over()
        self._decoder.set_log(order.log)

    def _set_egress(self, order: messages.SetEgress) -> None:
        self._egress.take(order.rules)

    def _on_message(self, message: messages.ToWorker) -> None:
        self._handlers[type(message)](message)

    def _order(self, message: messages.ToLeg) -> None:
        self._orders[type(message.order)](message.leg, message.order)

    async def _report_status(self) -> None:
        now, cpu = time.monotonic(), time.process_time()
        while True:
            await asyncio.sleep(messages.STATUS_INTERVAL)
            before, (now, cpu) = (now, cpu), (time.monotonic(), time.process_time())
            load = (cpu - before[1]) / (now - before[0])
            try:
                counters = self._counters()
            except Exception:
                _log.exception("worker_count_failed")
                counters = {}  # the sign of life counts more
            lag = 0.0 if self._engine is None else self._engine.lag.take(now)
            self._link.send(messages.Status(len(self._leg_streams), len(self._streams), counters, load, lag))

    def _counters(self) -> dict[str, int]:
        counters = self._decoder.counters | (self._engine.counters if self._engine else {})
        counters |= self._services.counters | self._services.recordings.counters if self._services else {}
        counters |= self._closed_totals | self._egress.counters | self._budgets.counters
        counters |= self._captures.counters if self._captures else {}
        live = (connection.stream.reconnects for connection in self._streams.values())
        counters["stream_reconnects"] = self._reconnects + sum(live)
        return counters

    def _trust(self, order: messages.Trust) -> None:
        ca_file = None if order.ca_file is None else Path(order.ca_file)

        def renewed(reading: asyncio.Future[ssl.SSLContext]) -> None:
            if reading.exception() is not None:
                _log.error("certificates_not_reloaded", reason=str(reading.exception()))
            else:
                self._stream_settings = self._stream_settings.model_copy(update={"ca_file": ca_file})

        # It takes tens of ms, and packets do not wait.
        asyncio.get_running_loop().run_in_executor(None, renew, ca_file).add_done_callback(renewed)

    def _configure(self, order: messages.Configure) -> None:
        self._set_log(messages.SetLog(order.log))
        self._set_egress(messages.SetEgress(order.egress))
        self._stream_settings = StreamSettings.model_validate_json(order.streams)
        if self._stream_settings.capture is not None:
            loop = asyncio.get_running_loop()
            self._captures = CaptureWriter(self._stream_settings, loop.time, loop.call_soon_threadsafe)
        # Loading certificates takes tens of ms: now, not in the first wss:// stream's dialling. It is cached.
        tls_context(self._stream_settings.ca_file)
        transcoder("PCMU", "OPUS").convert(bytes(160))  # the first use of its library takes some 10 ms
        media = MediaSettings.model_validate_json(order.media)
        self._local_host = media.advertised_host or media.host
        ports = range(order.port_min, order.port_max + 1)
        self._engine = Engine(media, ports, self._on_media, asyncio.get_running_loop())
        self._targets = StreamTargets(self._engine)
        self._watches = LegWatches(self._engine, self._streams_of, self._link.send)
        self._listeners = LegListeners(self._engine, self._link.send, lambda: self._link.unsent)
        soon = asyncio.get_running_loop().call_soon
        self._services = LegServices(self._engine, self._decoder, self._link.send, soon, media.recording_silence)
        self._orders |= {
            orders.NotifyDtmf: self._services.notify_dtmf,
            orders.StartPlayback: self._services.play,
            orders.StopPlayback: self._services.stop_playback,
            orders.StartRecording: self._services.record,
            orders.StopRecording: self._services.recordings.stop,
            orders.PauseRecording: self._services.recordings.pause,
            orders.SendDigits: self._services.send_digits,
        }
        self._engine.start()
        self._decoder.start()
        gc.collect()
        gc.freeze()
        gc.disable()
        self._starting = asyncio.get_running_loop().create_task(self._tell_ready())

    async def _tell_ready(self) -> None:
        """As soon as the first call may play a file, and not much later when it may not."""
        try:
            await asyncio.wait_for(self._decoder.ready.wait(), DECODER_START_TIMEOUT)
        except TimeoutError:
            _log.error("decoder_not_ready")
        self._link.send(messages.Ready())

    def _report(self, leg: LegId, report: reports.Report) -> None:
        self._link.send(messages.FromLeg(leg, report))

    # ── legs ────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def engine(self) -> Engine:
        """There from `Configure` on, which is the first order."""
        assert self._engine is not None
        return self._engine

    @property
    def services(self) -> LegServices:
        """There likewise."""
        assert self._services is not None
        return self._services

    @property
    def targets(self) -> StreamTargets:
        """There likewise."""
        assert self._targets is not None
        return self._targets

    @property
    def watches(self) -> LegWatches:
        """There likewise."""
        assert self._watches is not None
        return self._watches

    def _streams_of(self, leg: LegId) -> Iterator[tuple[StreamSid, StreamConnection]]:
        return ((sid, self._streams[sid]) for sid in self._leg_streams.get(leg, ()))

    def _watch_leg(self, leg: LegId, order: orders.WatchLeg) -> None:
        if leg in self._leg_streams:
            self.watches.watch(leg, order.on)

    def _listen_leg(self, leg: LegId, order: orders.ListenLeg) -> None:
        assert self._listeners is not None
        if leg in self._leg_streams:
            self._listeners.listen(leg, order.on)

    def _open_leg(self, leg: LegId, order: orders.OpenLeg) -> None:
        try:
            port = self.engine.open_leg(leg, order.params, confirmed=order.confirmed)
        except NoPorts as error:
            _log.error("leg_failed", call_sid=order.call_sid, reason=str(error))
            self._report(leg, reports.LegFailed(str(error)))
            return
        self._leg_streams[leg] = []
        self.services.opened(leg, order.call_sid, order.account)
        self._report(leg, reports.LegOpened(Endpoint(self._local_host, port)))

    def _confirm_leg(self, leg: LegId, _order: orders.ConfirmLeg) -> None:
        if leg in self._leg_streams:
            self.engine.confirm_leg(leg)

    def _update_leg(self, leg: LegId, order: orders.UpdateLeg) -> None:
        if leg in self._leg_streams:
            self.engine.update_leg(leg, order.params, early=order.early)
            self._report(leg, reports.LegUpdated(order.number))

    def _close_leg(self, leg: LegId, order: orders.CloseLeg) -> None:
        if leg not in self._leg_streams:
            return
        self.watches.closing(leg)
        if self._listeners is not None:
            self._listeners.closing(leg)
        for sid in self._leg_streams.pop(leg):
            self.targets.detach(leg, self._streams[sid].stream)
            self._streams[sid].close(order.reason)
        self.services.closing(leg)
        report = self.engine.close_leg(leg)
        self.targets.follow()
        self._closed_totals.update({name: getattr(report, name) for name in _LEG_COMPLAINTS})
        self._report(leg, reports.LegClosed(report))

    def _bridge(self, leg: LegId, order: orders.Bridge) -> None:
        self.services.bridge(leg, order)
        self.targets.follow()

    def _unbridge(self, leg: LegId, order: orders.Unbridge) -> None:
        self.services.unbridge(leg, order)
        self.targets.follow()

    def _get_report(self, order: messages.GetReport) -> None:
        """Listen for a moment, off the packet path but for one more port; who asks meanwhile gets the same answer."""
        if order.leg not in self._leg_streams:
            self._link.send(messages.Reported(order.request, None, []))
        elif order.leg in self._listening:
            self._listening[order.leg].append(order.request)
        else:
            self._listening[order.leg] = [order.request]
            ear = LevelProbe()
            self.engine.attach(order.leg, ear)
            self.engine.unlatch(order.leg)
            asyncio.get_running_loop().call_later(messages.LISTENING, self._send_report, order.leg, ear)

    def _send_report(self, leg: LegId, ear: LevelProbe) -> None:
        counters: LiveLegReport | None = None
        streams: list[messages.StreamState] = []
        if leg in self._leg_streams:
            self.engine.detach(leg, ear)
            counters = ear.measure(self.engine.report(leg))
            for sid in self._leg_streams[leg]:
                stream = self._streams[sid].stream
                streams.append(messages.StreamState(sid, stream.state, stream.report()))
        for request in self._listening.pop(leg):
            self._link.send(messages.Reported(request, counters, streams))

    def _on_media(self, event: MediaEvent) -> None:
        if isinstance(event, SilenceDetected):
            self._report(event.leg, reports.LegSilent(event.seconds))
        elif (stream := self.targets.owner(event.tap)) is not None:
            owner = next(connection for connection in self._streams.values() if connection.stream is stream)
            owner.fail("internal error on the packet path")
        else:
            self.services.failed(event.leg, event.tap)

    # ── streams ─────────────────────────────────────────────────────────────────────────────────────────────

    def _open_stream(self, leg: LegId, order: orders.OpenStream) -> None:
        sid = order.identity.stream_sid
        if leg not in self._leg_streams:
            self._report(leg, reports.StreamEnded(sid, None, "the call ended", None))
            return

        def on_fact(fact: StreamOpened | StreamClosed) -> None:
            if isinstance(fact, StreamOpened):
                self._stream_started(leg, sid)
            else:
                self._stream_ended(leg, sid, fact)

        def press(digits: str) -> Refusal | None:
            return self._send_digits(leg, digits)

        connection = StreamConnection(
            order.params,
            order.identity,
            order.encoding,
            self._stream_settings,
            on_fact,
            AccountDecoder(self._decoder, order.identity.account_sid),
            press,
            self._sender,
            self._budgets.of(order.identity.account_sid, self._stream_settings.account_memory),
            self._capture(order),
        )
        self._streams[sid] = connection
        self._leg_streams[leg].append(sid)
        connection.start()

    def _capture(self, order: orders.OpenStream) -> StreamCapture | None:
        if self._captures is None or not is_wanted(order.params, self._stream_settings):
            return None
        return self._captures.begin(order.identity, order.params, order.encoding)

    def _close_stream(self, leg: LegId, order: orders.CloseStream) -> None:
        connection = self._streams.get(order.sid)
        if connection is None:
            return
        # Off the leg at once: the app may take seconds to answer our close, and another stream may want to speak.
        if leg in self._leg_streams:
            self.targets.detach(leg, connection.stream)
        connection.close(order.reason)

    def _pause_stream(self, leg: LegId, order: orders.PauseStream) -> None:
        connection = self._streams.get(order.sid)
        if connection is not None and leg in self._leg_streams:
            connection.stream.listen(not order.paused)
            self.engine.taps_changed(leg)

    def _send_digits(self, leg: LegId, digits: str) -> Refusal | None:
        try:
            self.engine.send_digits(leg, digits)
        except TooManyDigits as refused:
            return Refusal(Problem.RATE_LIMIT, f"{refused}; this message is dropped")
        except (NoTelephoneEvent, UnknownLeg) as refused:
            return Refusal(Problem.UNKNOWN, str(refused))
        return None

    def _stream_started(self, leg: LegId, sid: StreamSid) -> None:
        self._report(leg, reports.StreamStarted(sid))
        self.watches.started(leg, sid, self._streams[sid])
        if leg in self._leg_streams:
            try:
                self.targets.attach(leg, self._streams[sid].stream)
            except TooManyPlayers as refused:
                self._streams[sid].fail(str(refused))

    def _stream_ended(self, leg: LegId, sid: StreamSid, ended: StreamClosed) -> None:
        connection = self._streams.pop(sid)
        stream = connection.stream
        if self._captures is not None and connection.capture is not None:
            self._captures.end(connection.capture)
        self._reconnects += stream.reconnects
        if leg in self._leg_streams:
            self._leg_streams[leg].remove(sid)
            self.targets.detach(leg, stream)
        report = stream.report()
        self._closed_totals.update({f"stream_{name}": getattr(report, name) for name in _STREAM_COMPLAINTS})
        self._closed_totals.update({f"stream_error_{title}": count for title, count in report.errors.items()})
        self._report(leg, reports.StreamEnded(sid, ended.error, ended.reason, report))


def main(fd: int, parent_pid: int) -> None:
    """Until the control process is gone. `fd`: our end of the link."""
    parent = Parent(parent_pid)
    raise_file_limit()
    # Host names are resolved on libuv's threads: one dead DNS server must not hold the others' names up.
    os.environ.setdefault("UV_THREADPOOL_SIZE", "16")
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)  # else the link would end with the decoder only

    async def run() -> None:
        await Worker(sock, parent).run()

    uvloop.run(run())
