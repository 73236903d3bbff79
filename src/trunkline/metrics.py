"""Prometheus metrics (docs/operations/metrics.md): the event counters of each room, and gauges."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Numbers = Callable[[], Mapping[str, float]]
Gauge = float | Mapping[str, float]
"""A number, or one for each value of the gauge's label."""
GAUGES = {
    "calls_active": "Calls that have not ended.",
    "streams_active": "Streams that have not ended.",
    "phone_contacts": "Contacts that phones have registered.",
    "trunk_targets": "Targets of trunks.",
    "trunk_targets_down": "Targets of trunks that are down.",
    "registrations": "Registrations at trunks that are configured.",
    "registrations_down": "Registrations at trunks that are not in force.",
    "store_queue": "Changes that wait to be written to the database.",
    "callbacks_pending": "Callbacks that wait to be delivered, by their age.",
    "worker_lag_seconds": "By how much packets of a media worker leave late.",
}
"""Names without `trunkline_`, and their help texts."""
LABELS = {"worker_lag_seconds": "worker", "callbacks_pending": "age"}
"""Of gauges that have one number for each of something."""


class Metrics(Collector):
    """`counters` maps a room's name to a function that reads its event counters now; `gauges` reads the gauges, by the
    names of `GAUGES`."""

    def __init__(self, counters: Mapping[str, Numbers], gauges: Callable[[], Mapping[str, Gauge]]) -> None:
        self._counters = counters
        self._gauges = gauges
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """prometheus-client's call."""
        for room, read in self._counters.items():
            family = CounterMetricFamily(f"trunkline_{room}", f"Events in {room}, by kind.", labels=["event"])
            for event, count in sorted(read().items()):
                family.add_metric([event], count)
            yield family
        for name, value in self._gauges().items():
            if isinstance(value, Mapping):
                family_of = GaugeMetricFamily(f"trunkline_{name}", GAUGES[name], labels=[LABELS[name]])
                for label, number in value.items():
                    family_of.add_metric([label], number)
                yield family_of
            else:
                yield GaugeMetricFamily(f"trunkline_{name}", GAUGES[name], value=value)

    def describe(self) -> Iterable[Metric]:
        """prometheus-client's call: no fixed list, since rooms are added after the registration."""
        return []

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self._registry)
