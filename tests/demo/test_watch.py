"""Waiting for a condition: met later, met already, not met."""

import asyncio

from trunkline.demo.watch import Watch


async def test_a_waiter_wakes_when_its_condition_holds() -> None:
    watch, values = Watch(), list[int]()
    waiting = asyncio.create_task(watch.until(lambda: len(values) >= 2, 5))
    await asyncio.sleep(0)
    for value in (1, 2):
        values.append(value)
        watch.changed()
        assert not waiting.done()
    assert await waiting


async def test_a_condition_that_holds_is_not_waited_for() -> None:
    assert await Watch().until(lambda: True, 0)


async def test_a_condition_that_is_not_met_is_named() -> None:
    assert not await Watch().until(lambda: False, 0.01)
