"""Prometheus metrics (docs/operations/metrics.md): event counters of rooms, gauges, and what `meter` measures."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trunkline.control.runner import Runner
from trunkline.sip.endpoint import SipEndpoint
from trunkline.store.backlog import Backlog
from trunkline.store.writer import Writer
from trunkline.workers.pool import WorkerPool

Numbers = Callable[[], Mapping[str, float]]
Gauge = float | Mapping[str, float] | Mapping[tuple[str, str], float]
"""A number, or one for each value of the gauge's label or labels."""
GAUGES = {
    "calls_active": "Calls that have not ended.",
    "streams_active": "Streams that have not ended.",
    "rtp_ports": "Ports for RTP: as many legs are possible at once.",
    "rtp_ports_in_use": "Ports for RTP that legs have.",
    "trunk_up": "Whether a target of the trunk is up.",
    "phone_contacts": "Contacts that phones have registered.",
    "trunk_targets": "Targets of trunks.",
    "trunk_targets_down": "Targets of trunks that are down.",
    "registrations": "Whether the configured registration at a trunk is in this state.",
    "store_queue": "Changes that wait to be written to the database.",
    "callbacks_pending": "Callbacks that wait to be delivered, by their age.",
    "worker_lag_seconds": "By how much packets of a media worker leave late.",
}
"""Names without `trunkline_`, and their help texts."""
LABELS = {
    "calls_active": ("direction",),
    "streams_active": ("mode",),
    "worker_lag_seconds": ("worker",),
    "callbacks_pending": ("age",),
    "trunk_up": ("trunk",),
    "registrations": ("trunk", "state"),
}
"""Of gauges that have one number for each of something."""


class Metrics(Collector):
    """`counters` maps a room's name to a function that reads its event counters now; `gauges` reads the gauges, by the
    names of `GAUGES`."""

    def __init__(self, counters: Mapping[str, Numbers], gauges: Callable[[], Mapping[str, Gauge]]) -> None:
        self._counters = counters
        self._gauges = gauges
        self.registry = CollectorRegistry()
        """Of this server alone."""
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """prometheus-client's call."""
        for room, read in self._counters.items():
            family = CounterMetricFamily(f"trunkline_{room}", f"Events in {room}, by kind.", labels=["event"])
            for event, count in sorted(read().items()):
                family.add_metric([event], count)
            yield family
        for name, value in self._gauges().items():
            if isinstance(value, Mapping):
                family_of = GaugeMetricFamily(f"trunkline_{name}", GAUGES[name], labels=LABELS[name])
                for label, number in value.items():
                    family_of.add_metric([label] if isinstance(label, str) else label, number)
                yield family_of
            else:
                yield GaugeMetricFamily(f"trunkline_{name}", GAUGES[name], value=value)

    def describe(self) -> Iterable[Metric]:
        """prometheus-client's call: no fixed list, since rooms are added after the registration."""
        return []

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)


def gauges(runner: Runner, pool: WorkerPool, sip: SipEndpoint, writer: Writer, backlog: Backlog) -> dict[str, Gauge]:
    """All gauges now."""
    calls, streams = Counter(inbound=0, outbound=0), Counter(rtp=0, mp3=0)
    for entry in runner.registry:
        calls[entry.call.view.direction] += 1
        streams.update(stream.mode or "mp3" for stream in entry.call.live_streams)
    joined = {trunk.name: trunk.registered for trunk in sip.trunks if trunk.registered is not None}
    states = (("registered", True), ("unregistered", False))
    return {
        "calls_active": calls,
        "streams_active": streams,
        "rtp_ports": pool.rtp_ports,
        "rtp_ports_in_use": pool.legs,
        "worker_lag_seconds": pool.lags,
        "store_queue": writer.pending,
        "callbacks_pending": backlog.pending,
        "trunk_up": {trunk.name: any(target.up for target in trunk.targets) for trunk in sip.trunks},
        "registrations": {(name, word): now is state for name, now in joined.items() for word, state in states},
        **sip.gauges,
    }
