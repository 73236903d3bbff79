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


SEVERITIES = {
    "error": "no_rtp rtp_stopped source_moved wrong_payload_type malformed_rtp srtp_refused refused_by_network "
    "nothing_sent",
    "warning": "some_wrong_payload_type unexpected_source on_hold server_stalled peer_reports_loss loss no_stream",
    "info": "source_differs caller_silent",
}


def test_each_row_has_its_severity() -> None:
    assert {row.code: row.severity for row in LEG_ROWS} == {
        code: severity for severity, codes in SEVERITIES.items() for code in codes.split()
    }


@pytest.mark.parametrize(
    ("code", "before", "beyond"),
    [
        ("no_rtp", NO_RTP | {"duration_ms": 2000.0}, {"duration_ms": 2000.1}),
        ("no_rtp", NO_RTP | {"malformed": 1}, {"malformed": 0}),
        ("no_rtp", NO_RTP | {"unknown_payload_type": 1}, {"unknown_payload_type": 0}),
        ("no_rtp", NO_RTP | {"srtp_auth_failed": 1}, {"srtp_auth_failed": 0}),
        ("no_rtp", NO_RTP | {"wrong_source": 1}, {"wrong_source": 0}),
        ("no_rtp", NO_RTP | {"on_hold": True}, {"on_hold": False}),
        ("rtp_stopped", {"last_packet_ms": 2000.0}, {"last_packet_ms": 2000.1}),
        ("rtp_stopped", {"last_packet_ms": 9000.0, "on_hold": True}, {"on_hold": False}),
        (
            "source_moved",
            {"last_packet_ms": 2000.1, "wrong_source": 1, "unexpected_source_ms": 2000.0},
            {"unexpected_source_ms": 1999.9},
        ),
        ("source_moved", {"last_packet_ms": 2000.0, "wrong_source": 1}, {"last_packet_ms": 2000.1}),
        ("source_moved", {"last_packet_ms": 2000.1, "wrong_source": 0}, {"wrong_source": 1}),
        ("source_moved", {"last_packet_ms": 2000.1, "wrong_source": 1, "on_hold": True}, {"on_hold": False}),
        ("malformed_rtp", {"malformed": 9}, {"frames_in": 0}),
        ("srtp_refused", {"srtp_auth_failed": 50}, {"srtp_auth_failed": 51}),
        ("unexpected_source", {"wrong_source": 0}, {"wrong_source": 1}),
        ("source_differs", {"remote": "203.0.113.5:9", "remote_learned": False}, {"remote_learned": True}),
        ("source_differs", {"remote": "203.0.113.5:9", "expected": ""}, {"expected": "192.0.2.7:4000"}),
        ("refused_by_network", {"send_errors": 20, "receive_errors": 30}, {"receive_errors": 31}),
        ("nothing_sent", {"packets_out": 0, "duration_ms": 2000.0}, {"duration_ms": 2000.1}),
        ("nothing_sent", {"packets_out": 0, "on_hold": True}, {"on_hold": False}),
        ("server_stalled", {"skipped_ms": 200, "duration_ms": 9000.0}, {"skipped_ms": 201}),
        ("server_stalled", {"skipped_ms": 400, "duration_ms": 20_000.0}, {"skipped_ms": 401}),
        ("peer_reports_loss", {"peer_lost": 5, "packets_out": 100}, {"peer_lost": 6}),
        ("peer_reports_loss", {"peer_lost": 10}, {"peer_lost": 11}),
        ("loss", {"lost": 5, "frames_in": 100}, {"lost": 6}),
        ("loss", {"lost": 10}, {"lost": 11}),
        ("caller_silent", {"heard_level_db": -60}, {"heard_level_db": -61}),
        ("caller_silent", {"heard_level_db": -96, "heard_frames": 0}, {"heard_frames": 1}),
    ],
)
def test_where_a_finding_of_a_leg_begins(code: str, before: dict[str, Any], beyond: dict[str, Any]) -> None:
    assert code not in found(**before)
    assert code in found(**before | beyond)


@pytest.mark.parametrize(
    ("direction", "words"),
    [
        ("recvonly", "the peer has put the call on hold: it sends audio but wants none (our side is recvonly)"),
        ("sendonly", "the peer sends no audio but takes ours (our side is sendonly)"),
        ("inactive", "the call is on hold, no audio flows either way (inactive)"),
        ("other", "the peer's SDP stops the audio"),
    ],
)
def test_a_hold_has_words_for_its_direction(direction: str, words: str) -> None:
    assert found(on_hold=True, direction=direction)["on_hold"].text == f"On hold: {words}."


def test_a_leg_without_an_address_in_its_sdp_says_so() -> None:
    assert (
        "in 10 s. It was expected from no address that its SDP gave at our"
        in found(**NO_RTP | {"expected": "", "duration_ms": 10_400.0})["no_rtp"].text
    )
    assert "stopped 2.0 s ago" in found(last_packet_ms=2049.0)["rtp_stopped"].text
    assert "refused 120 packets" in found(send_errors=50, receive_errors=70)["refused_by_network"].text
