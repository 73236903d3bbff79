"""Legs that are watched: samples while it lasts, nothing before and after."""

import asyncio
from collections.abc import Iterable

import pytest

from trunkline.ids import LegId, StreamSid
from trunkline.streaming.connection import StreamConnection
from trunkline.workers.reports import LegWatched
from trunkline.workers.worker.watch import LegWatches
from workers.bench import ONE, Bench

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]
LOUD = b"\x00" * 160
"""The loudest sample of PCMU."""


class Watched:
    """A bench with watches; streams are given by `streams`."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.streams: dict[StreamSid, StreamConnection] = {}
        self.watches = LegWatches(bench.engine, self.of_leg, bench.reports.put_nowait)

    def of_leg(self, leg: LegId) -> Iterable[tuple[StreamSid, StreamConnection]]:
        return list(self.streams.items())

    async def report(self) -> LegWatched:
        report = (await self.bench.report()).report
        assert isinstance(report, LegWatched)
        return report


async def test_a_watched_leg_reports_both_tracks_until_the_watch_ends(bench: Bench) -> None:
    watched = Watched(bench)
    phone = bench.open(ONE)
    watched.watches.watch(ONE, True)
    watched.watches.watch(ONE, True)
    async with asyncio.timeout(30):
        for number in range(1000):
            bench.speak(ONE, number, LOUD)
            sample = (await watched.report()).sample
            if sample.inbound.frames and sample.outbound.frames:
                break
    assert sample.inbound.level_db > -3
    assert sample.outbound.level_db < -60
    watched.watches.watch(ONE, False)
    watched.watches.watch(ONE, False)
    while not bench.reports.empty():
        await watched.report()
    for _ in range(20):
        await phone.packet()
    assert bench.reports.empty()


async def test_a_watch_ends_with_its_leg(bench: Bench) -> None:
    watched = Watched(bench)
    bench.open(ONE)
    watched.watches.watch(ONE, True)
    watched.watches.closing(ONE)
    bench.engine.close_leg(ONE)
    await watched.report()
    assert bench.reports.empty()
