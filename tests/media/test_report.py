"""A leg's counters as a value, by name, and read back."""

import json
from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from trunkline.ids import Seconds
from trunkline.media.leg import Leg
from trunkline.media.report import UNKNOWN_BELOW_0, LegReport, LiveLegReport

KEPT = LegReport(codec="PCMA", packets_in=7, mos=4.2, on_hold=True)


def test_counters_have_each_field_in_order() -> None:
    assert list(KEPT.counters()) == [field.name for field in fields(LegReport)]
    assert KEPT.counters() | {"codec": "PCMA", "packets_in": 7, "mos": 4.2, "on_hold": True} == KEPT.counters()
    live = LiveLegReport(**KEPT.counters(), heard_frames=3)
    assert list(live.counters()) == [*KEPT.counters(), "heard_frames", "heard_level_db", "said_frames", "said_level_db"]
    assert live.counters()["heard_frames"] == 3


def test_without_counters_all_is_zero_or_not_known() -> None:
    counters = LiveLegReport().counters()
    assert counters.pop("direction") == "sendrecv"
    assert {name for name, value in counters.items() if value == -1} == {
        *("payload_type", "seen_payload_type", "unexpected_source_ms", "last_packet_ms", "round_trip_ms"),
        *("loss_percent", "peer_loss_percent", "mos", "peer_mos"),
    }
    assert all(value in (0, "", False, -1) for value in counters.values())


def test_counters_are_read_back() -> None:
    assert LegReport.read(json.loads(json.dumps(KEPT.counters()))) == KEPT
    assert LegReport.read({"packets_in": 7, "of_another_version": 1}) == LegReport(packets_in=7)
    assert LegReport.read({}) is None


def test_values_have_the_types_of_their_fields(make_leg: Callable[..., Leg]) -> None:
    report = make_leg().report(Seconds(1.0))
    for kind in (LegReport(), report):
        wrong = [field.name for field in fields(LegReport) if type(getattr(kind, field.name)) is not field.type]
        assert wrong == []


@pytest.mark.parametrize("name", sorted(UNKNOWN_BELOW_0))
def test_a_value_that_is_not_known_is_minus_one(name: str) -> None:
    assert getattr(LegReport(), name) == -1
    assert getattr(replace(LegReport(), packets_in=1), name) == -1


def test_a_level_may_be_minus_one() -> None:
    assert {"mos", "last_packet_ms", "payload_type", "round_trip_ms"} <= UNKNOWN_BELOW_0
    assert not {"heard_level_db", "packets_in"} & UNKNOWN_BELOW_0


@pytest.mark.parametrize("name", [field.name for field in fields(LegReport)])
def test_a_counter_begins_at_zero_and_a_measure_unknown(name: str) -> None:
    value = getattr(LegReport(), name)
    if name == "direction":
        assert value == "sendrecv"
    elif isinstance(value, str):
        assert value == ""
    else:
        assert value == (-1 if name in UNKNOWN_BELOW_0 else 0)
