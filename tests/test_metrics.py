"""The text that Prometheus reads."""

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from trunkline.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, str | None], float]:
    """By name and event."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {(one.name, one.labels.get("event")): one.value for family in families for one in family.samples}


def test_each_room_has_a_counter_with_its_events_and_each_gauge_a_value() -> None:
    calls: Counter[str] = Counter(answered=2, ended=1)
    gauges = {"calls_active": 1.0}
    metrics = Metrics({"control": lambda: calls, "sip": Counter[str]}, lambda: gauges)
    assert samples(metrics) == {
        ("trunkline_control_total", "answered"): 2,
        ("trunkline_control_total", "ended"): 1,
        ("trunkline_calls_active", None): 1,
    }
    calls["answered"] += 1
    gauges["calls_active"] = 0
    assert samples(metrics)["trunkline_control_total", "answered"] == 3, "read again each time"
    assert samples(metrics)["trunkline_calls_active", None] == 0


def test_help_says_what_is_counted_and_events_are_in_order() -> None:
    metrics = Metrics({"api": lambda: {"b": 1, "a": 2}}, lambda: {"trunk_targets": 7})
    lines = metrics.render().decode().splitlines()
    assert "# HELP trunkline_api_total Events in api, by kind." in lines
    assert "# TYPE trunkline_api_total counter" in lines
    assert "# HELP trunkline_trunk_targets Targets of trunks." in lines
    assert "# TYPE trunkline_trunk_targets gauge" in lines
    events = [line for line in lines if line.startswith("trunkline_api_total")]
    assert events == ['trunkline_api_total{event="a"} 2.0', 'trunkline_api_total{event="b"} 1.0']


def test_a_gauge_may_have_a_value_for_each_worker() -> None:
    lines = Metrics({}, lambda: {"worker_lag_seconds": {"0": 0.5, "1": 0}}).render().decode().splitlines()
    assert [line for line in lines if line.startswith("trunkline_worker_lag_seconds")] == [
        'trunkline_worker_lag_seconds{worker="0"} 0.5',
        'trunkline_worker_lag_seconds{worker="1"} 0.0',
    ]


def test_two_servers_in_one_process_keep_their_metrics_apart() -> None:
    one, other = (Metrics({"calls": lambda: {"answered": 1}}, dict) for _ in range(2))
    assert samples(one) == samples(other) == {("trunkline_calls_total", "answered"): 1}
    assert list(one.describe()) == []
