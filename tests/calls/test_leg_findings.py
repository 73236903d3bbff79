"""Each row of the table gives its finding under its condition, and only then."""

from dataclasses import fields
from typing import Any

import pytest

from calls.diagnosed import NO_RTP, found
from trunkline.calls.leg_findings import LEG_ROWS
from trunkline.media.report import LiveLegReport

LEG_CASES: list[tuple[str, dict[str, Any], str]] = [
    ("no_rtp", NO_RTP, "expected from 192.0.2.7:4000 at our UDP port 20000"),
    ("rtp_stopped", {"last_packet_ms": 4200.0}, "stopped 4.2 s ago"),
    (
        "source_moved",
        {
            "last_packet_ms": 4200.0,
            "wrong_source": 9,
            "unexpected_source_ms": 8.0,
            "unexpected_source": "192.0.2.7:4002",
        },
        "stopped 4.2 s ago, and now comes from 192.0.2.7:4002",
    ),
    (
        "wrong_payload_type",
        NO_RTP | {"unknown_payload_type": 80, "seen_payload_type": 18},
        "80 RTP packets came with payload type 18, and none with 0",
    ),
    (
        "some_wrong_payload_type",
        {"unknown_payload_type": 3, "seen_payload_type": 96},
        "the last of 96, while PCMU is 0",
    ),
    ("malformed_rtp", NO_RTP | {"malformed": 9}, "9 datagrams came, but no RTP"),
    ("srtp_refused", NO_RTP | {"srtp_auth_failed": 70}, "another key than that in the peer's SDP"),
    ("unexpected_source", {"wrong_source": 7, "unexpected_source": "198.51.100.1:9"}, "the last from 198.51.100.1:9"),
    ("source_differs", {"remote": "203.0.113.5:1234"}, "from 203.0.113.5:1234, not from 192.0.2.7:4000"),
    ("on_hold", {"on_hold": True, "direction": "recvonly"}, "it sends audio but wants none"),
    ("on_hold", {"on_hold": True, "direction": "inactive"}, "no audio flows either way"),
    ("refused_by_network", {"receive_errors": 200}, "refused 200 packets of ours (ICMP): nothing listens at 192.0.2.7"),
    ("nothing_sent", {"packets_out": 0}, "We have sent the peer nothing"),
    ("server_stalled", {"skipped_ms": 400}, "400 ms of audio to the peer were left out"),
    ("peer_reports_loss", {"peer_lost": 50}, "50 of our 500 packets"),
    ("loss", {"lost": 60}, "We miss 60 packets"),
    ("caller_silent", {"heard_level_db": -96}, "held silence (-96 dB)"),
]


@pytest.mark.parametrize(("code", "changes", "words"), LEG_CASES, ids=[case[0] for case in LEG_CASES])
def test_what_is_wrong_with_a_leg(code: str, changes: dict[str, Any], words: str) -> None:
    findings = found(**changes)
    assert words in findings[code].text
    assert set(findings) <= {code, "audio_flows"}, "nothing else is said"


def test_a_source_of_long_ago_is_not_where_a_silent_peer_went() -> None:
    findings = found(
        last_packet_ms=4200.0, wrong_source=9, unexpected_source_ms=60_000.0, unexpected_source="192.0.2.7:4002"
    )
    assert list(findings) == ["rtp_stopped", "unexpected_source"]


def test_counters_that_rows_show_are_counters() -> None:
    for row in LEG_ROWS:
        assert set(row.numbers) <= {field.name for field in fields(LiveLegReport)}


def test_every_row_has_a_case() -> None:
    assert {row.code for row in LEG_ROWS} == {case[0] for case in LEG_CASES} | {"no_stream"}
