"""What calls, streams, callbacks and documents measured, as histograms and counters (docs/operations/metrics.md).

Facts of media come with the last report of a leg or stream: nothing is measured per packet.
"""

from collections.abc import Callable
from datetime import datetime
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, disable_created_metrics

from trunkline import __version__, compiled
from trunkline.calls.commands import Command
from trunkline.calls.effects import Persist
from trunkline.calls.events import Fact
from trunkline.calls.views import CallView
from trunkline.live.feed import EventFace, Feed, LiveControl
from trunkline.live.hub import Hub
from trunkline.media.report import LegReport
from trunkline.sip.trace import SipTrace
from trunkline.store.records import CallbackRecord
from trunkline.streaming.params import StreamReport
from trunkline.webhooks.outbox import AttemptDecision, AttemptResult
from trunkline.workers.reports import LegClosed, StreamEnded

SETUP = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
ANSWER = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
DELIVERY = (0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 1800, 7200)
JITTER = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
MOS = (1, 1.5, 2, 2.5, 3, 3.5, 3.8, 4, 4.2, 4.5)


class Meter:
    """One server's measurements, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, words: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
            return Histogram(f"trunkline_{name}", words, labels, buckets=buckets, registry=registry)

        def counter(name: str, words: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"trunkline_{name}", words, labels, registry=registry)

        self._calls = counter("calls", "Calls that have ended.", ("direction", "outcome"))
        self._setup = histogram("call_setup_seconds", "From a call's INVITE to its answer.", SETUP)
        self._connect = histogram("stream_connect_seconds", "From a stream's request to its `start`.", ANSWER)
        self._underruns = counter("playback_underruns", "Gaps in the audio of apps.")
        self._dropped = counter("frames_dropped", "Media messages that no app got.", ("reason",))
        self._lost = counter("rtp_packets_lost", "RTP packets of peers that never came, or too late.")
        self._jitter = histogram("rtp_jitter_seconds", "Jitter of a leg's RTP at its end.", JITTER)
        self._mos = histogram("mos", "Estimated opinion score of a leg's audio from the peer.", MOS)
        self._delivery = histogram("callback_delivery_seconds", "From an event to its delivered callback.", DELIVERY)
        self._fetch = histogram("texml_fetch_seconds", "From the request for a document on.", ANSWER, ("outcome",))
        packets = "python" if compiled.FALLBACK_REASON else "compiled"
        Info("trunkline_build", "What runs.", registry=registry).info({"version": __version__, "packet_path": packets})
        ProcessCollector(registry=registry)
        cast(Callable[[], None], disable_created_metrics)()  # a second sample for each
        for reason in ("slow_app", "no_socket"):
            self._dropped.labels(reason)

    def recorded(self, change: Persist) -> None:
        """Calls and streams as they are to be stored."""
        for event in change.call_events:
            if event.kind == "answered":
                self._setup.observe(_seconds(event.call.created_at, event.at))
            elif event.kind == "completed":
                self._calls.labels(event.call.direction, event.call.status).inc()
        for one in change.events:
            if one.kind == "stream-started":
                self._connect.observe(_seconds(one.stream.created_at, one.at))

    def leg_closed(self, report: LegReport) -> None:
        """The last counters of a leg."""
        self._lost.inc(report.lost)
        if report.packets_in:
            self._jitter.observe(report.jitter_ms / 1000)
        if report.mos >= 0:
            self._mos.observe(report.mos)

    def stream_ended(self, report: StreamReport) -> None:
        """The last counters of a stream."""
        self._underruns.inc(report.underruns)
        self._dropped.labels("slow_app").inc(report.frames_dropped)
        self._dropped.labels("no_socket").inc(report.frames_lost)

    def tried(self, record: CallbackRecord, decision: AttemptDecision, at: datetime) -> None:
        """A callback was tried."""
        if decision.state == "delivered":
            self._delivery.observe(_seconds(record.created_at, at))

    def fetched(self, outcome: str, seconds: float) -> None:
        """A document came (`fetched`), or did not (`failed`)."""
        self._fetch.labels(outcome).observe(seconds)


class MeteredFeed(Feed):
    """Measures what it feeds to the hub."""

    def __init__(
        self, meter: Meter, hub: Hub, face: EventFace, trace: SipTrace, control: Callable[[], LiveControl]
    ) -> None:
        super().__init__(hub, face, trace, control)
        self._meter = meter

    def happened(self, call: CallView, what: Fact | Command, at: datetime) -> None:
        """See `CallObserver`."""
        super().happened(call, what, at)
        if isinstance(what, LegClosed):
            self._meter.leg_closed(what.report)
        elif isinstance(what, StreamEnded) and what.report is not None:
            self._meter.stream_ended(what.report)

    def recorded(self, change: Persist, at: datetime) -> None:
        """See `CallObserver`."""
        super().recorded(change, at)
        self._meter.recorded(change)

    def tried(self, record: CallbackRecord, decision: AttemptDecision, result: AttemptResult, at: datetime) -> None:
        """See `CallbackObserver`."""
        super().tried(record, decision, result, at)
        self._meter.tried(record, decision, at)


def _seconds(begin: datetime, end: datetime) -> float:
    """0 where the wall clock was set back meanwhile."""
    return max(0.0, (end - begin).total_seconds())
