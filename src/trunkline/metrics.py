"""Prometheus metrics: the counters that every room keeps anyway, under one name per room with the event as label."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Numbers = Callable[[], Mapping[str, float]]


class Metrics(Collector):
    """`counters` and `gauges` map a room's name to a function that reads its numbers now."""

    def __init__(self, counters: Mapping[str, Numbers], gauges: Numbers) -> None:
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
            yield GaugeMetricFamily(f"trunkline_{name}", name.replace("_", " ") + " now.", value=value)

    def describe(self) -> Iterable[Metric]:
        """Nothing fixed: the events are known when they have happened."""
        return []

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self._registry)
