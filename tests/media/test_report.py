"""What a leg's report says while nothing has happened."""

from dataclasses import fields

import pytest

from trunkline.media.report import LegReport

UNKNOWN = {
    *("payload_type", "unexpected_source_ms", "seen_payload_type", "round_trip_ms", "loss_percent"),
    *("peer_loss_percent", "mos", "peer_mos", "last_packet_ms"),
}
"""-1 until they are known."""


@pytest.mark.parametrize("name", [field.name for field in fields(LegReport)])
def test_a_counter_begins_at_zero_and_a_measure_unknown(name: str) -> None:
    value = getattr(LegReport(), name)
    if name == "direction":
        assert value == "sendrecv"
    elif isinstance(value, str):
        assert value == ""
    else:
        assert value == (-1 if name in UNKNOWN else 0)
