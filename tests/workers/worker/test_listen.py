"""Legs that are listened to: audio while it lasts, nothing before and after."""

import asyncio

import numpy as np
import pytest

from trunkline.workers.messages import LOG_BACKLOG
from trunkline.workers.reports import LegHeard
from trunkline.workers.worker.listen import LegListeners
from workers.bench import ONE, Bench

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]
LOUD = b"\x00" * 160
"""The loudest sample of PCMU."""


async def heard(bench: Bench) -> LegHeard:
    report = (await bench.report()).report
    assert isinstance(report, LegHeard)
    return report


async def test_a_leg_is_heard_on_both_tracks_until_the_last_listener_leaves(bench: Bench) -> None:
    listeners = LegListeners(bench.engine, bench.reports.put_nowait, lambda: 0)
    phone = bench.open(ONE)
    listeners.listen(ONE, True)
    listeners.listen(ONE, True)
    async with asyncio.timeout(30):
        for number in range(1000):
            bench.speak(ONE, number, LOUD)
            inbound, outbound = np.frombuffer((await heard(bench)).pcm, "<i2").reshape(-1, 2).T.astype(int)
            if abs(inbound).max() > 30_000:
                break
    assert abs(outbound).max() < 100
    listeners.listen(ONE, False)
    listeners.listen(ONE, False)
    while not bench.reports.empty():
        await heard(bench)
    for _ in range(20):
        await phone.packet()
    assert bench.reports.empty()


async def test_listening_ends_with_the_leg(bench: Bench) -> None:
    listeners = LegListeners(bench.engine, bench.reports.put_nowait, lambda: 0)
    bench.open(ONE)
    listeners.listen(ONE, True)
    await heard(bench)
    listeners.closing(ONE)
    bench.engine.close_leg(ONE)
    assert bench.reports.empty()


async def test_audio_that_does_not_fit_on_the_link_is_a_gap(bench: Bench) -> None:
    unsent = LOG_BACKLOG
    listeners = LegListeners(bench.engine, bench.reports.put_nowait, lambda: unsent)
    phone = bench.open(ONE)
    listeners.listen(ONE, True)
    for _ in range(30):
        await phone.packet()
    assert bench.reports.empty()
    unsent = 0
    first = await heard(bench)
    assert first.at_ms > 200
    listeners.closing(ONE)
