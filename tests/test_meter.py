"""What is measured, and that promtool finds nothing to say against a scrape."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from test_server import serving, settings
from trunkline.media.report import LegReport
from trunkline.meter import Meter
from trunkline.streaming.params import StreamReport

LABELS = {"event", "direction", "outcome", "mode", "reason", "trunk", "state", "worker", "age", "le"} | {
    "version",
    "packet_path",
}
"""None of them has a value for each call, number, account or URL."""


def test_the_last_report_of_a_leg_counts_and_an_unknown_score_does_not() -> None:
    registry = CollectorRegistry()
    meter = Meter(registry)
    meter.leg_closed(LegReport(packets_in=50, lost=3, jitter_ms=4.0, mos=4.1))
    meter.leg_closed(LegReport(lost=2))
    assert registry.get_sample_value("trunkline_rtp_packets_lost_total") == 5
    assert registry.get_sample_value("trunkline_rtp_jitter_seconds_sum") == pytest.approx(0.004)
    assert registry.get_sample_value("trunkline_mos_count") == 1


def test_frames_that_no_app_got_count_by_their_reason() -> None:
    registry = CollectorRegistry()
    Meter(registry).stream_ended(StreamReport(frames_dropped=7, frames_lost=2, underruns=1))
    dropped = "trunkline_frames_dropped_total"
    assert registry.get_sample_value(dropped, {"reason": "slow_app"}) == 7
    assert registry.get_sample_value(dropped, {"reason": "no_socket"}) == 2
    assert registry.get_sample_value("trunkline_playback_underruns_total") == 1


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing")
async def test_promtool_and_a_bound_on_labels_agree_with_a_scrape(tmp_path: Path) -> None:
    trunk = {"name": "acme", "targets": ["sip:127.0.0.9"], "keep_alive": 0}
    async with serving(settings(tmp_path, sip={"port": 0, "tls_port": "off", "trunks": [trunk]})) as (_, client, _):
        text = (await client.get("/metrics")).text
    assert 'trunkline_trunk_up{trunk="acme"} 1.0' in text
    assert "process_cpu_seconds_total " in text
    ours = [line for line in text.splitlines() if line.startswith("trunkline_")]
    assert {label for line in ours for label in re.findall(r"(\w+)=\"", line)} <= LABELS
    checked = await asyncio.to_thread(promtool, text)
    assert (checked.returncode, checked.stdout) == (0, "")


def promtool(text: str) -> subprocess.CompletedProcess[str]:
    command = ["promtool", "check", "metrics"]
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
