"""`trunkline top`: the numbers of a server that runs, with a call."""

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peers.harness import new_server, running
from trunkline.cli import app
from trunkline.cli_top import ROWS, Scrape, screen
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller

SETTINGS = """
[[sip.trunks]]
name = "carrier"
targets = ["sip:192.0.2.1"]
"""


@pytest.mark.process
async def test_the_screen_has_the_call_that_is_up(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text(SETTINGS)
    async with running(new_server(tmp_path)) as server, DemoCaller(server.sip_address, speech(20)) as caller:
        await caller.call()
        flags = ["--http.port", str(server.http_port), "--store.directory", str(tmp_path)]
        own = ["--account_sid", server.account_sid, "--api_key", server.api_key]
        done = await asyncio.to_thread(CliRunner().invoke, app, ["top", *flags, *own])
    assert done.exit_code == 0, (done.output, done.exception)
    rows, workers = (part.splitlines() for part in done.stdout.split("\n\n"))
    said = {name: line.removeprefix(name).split() for name, line in zip(ROWS, rows, strict=True)}
    assert said["calls"] == ["1", "1", "inbound"]
    assert said["streams"] == ["0"]
    assert said["RTP ports in use"][0] == "1"
    assert said["phones registered"] == ["0", "0", "of", "1", "targets", "down"]
    assert [line.split()[0] for line in workers] == ["worker", "0"]


def scrape(at: float, calls: int, failed: int) -> Scrape:
    text = f"""\
# TYPE trunkline_calls_total counter
trunkline_calls_total{{direction="inbound",outcome="completed"}} {calls}
trunkline_calls_total{{direction="inbound",outcome="failed"}} {failed}
# TYPE trunkline_calls_active gauge
trunkline_calls_active{{direction="inbound"}} 8
trunkline_calls_active{{direction="outbound"}} 0
# TYPE trunkline_registrations gauge
trunkline_registrations{{trunk="a",state="registered"}} 1
trunkline_registrations{{trunk="a",state="unregistered"}} 0
"""
    return Scrape.of(text, at)


def test_rates_are_of_the_time_between_two_looks() -> None:
    lines = list(screen(scrape(10, 4, 0), scrape(12, 8, 1)))
    assert lines[0].split("  ", 1)[1].strip() == "8  8 inbound; 2.5/s ended; 0.5/s failed"
    assert [line.split("  ")[-1] for line in lines if line.startswith("phones")] == ["trunks: 1 registered"]


@pytest.mark.parametrize("before", [None, scrape(11, 9, 9), scrape(12, 0, 0)])
def test_without_an_earlier_look_at_this_life_there_are_no_rates(before: Scrape | None) -> None:
    assert "/s ended" not in next(screen(before, scrape(12, 1, 0)))
