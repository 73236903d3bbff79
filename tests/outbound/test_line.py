"""Waiting for one's turn, on a loop."""

import asyncio

import pytest

from trunkline.outbound.line import Line
from trunkline.outbound.turns import Limits, TooMany

LIMITS = Limits(total=4, account=4, host=2, silent=1, waiting=2)


class Visitor:
    """Keeps its turn until `leave`."""

    def __init__(self, line: Line, host: str = "h", *, answered: bool | None = None) -> None:
        self.there = asyncio.Event()
        self._go = asyncio.Event()
        self._line, self._host, self._answered = line, host, answered
        self.task = asyncio.create_task(self._visit())

    async def _visit(self) -> None:
        async with self._line.turn("account", self._host) as turn:
            self.there.set()
            await self._go.wait()
            if self._answered:
                self._line.answers(turn)
            turn.outcome = self._answered

    async def leave(self) -> None:
        self._go.set()
        await self.task


async def settled() -> None:
    """All tasks have run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_up_to_the_limit_requests_start_at_once_and_then_one_by_one() -> None:
    line = Line(LIMITS)
    first = Visitor(line)
    await first.there.wait()
    second = Visitor(line)
    await second.there.wait()
    third = Visitor(line)
    await settled()
    assert not third.there.is_set(), "two at once to one host"
    other = Visitor(line, "other")
    await other.there.wait()
    await first.leave()
    await third.there.wait()
    for one in (second, third, other):
        await one.leave()


async def test_a_full_line_refuses_requests_and_a_cancelled_one_frees_its_place() -> None:
    line = Line(LIMITS)
    visitors = [Visitor(line), Visitor(line)]
    waiting, last = Visitor(line), Visitor(line)
    await settled()
    with pytest.raises(TooMany):
        async with line.turn("account", "h"):
            pytest.fail("there was no room")
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    again = Visitor(line)
    await settled()
    assert not again.there.is_set()
    for one in (*visitors, last, again):
        await one.leave()


async def test_a_turn_that_fails_is_given_back() -> None:
    line = Line(LIMITS)
    for _ in range(5):
        with pytest.raises(ConnectionError):
            async with line.turn("account"):
                raise ConnectionError


async def test_a_host_that_does_not_answer_gets_fewer_at_once_until_it_does() -> None:
    line = Line(LIMITS)
    await Visitor(line, answered=False).leave()
    first, second = Visitor(line), Visitor(line)
    await settled()
    assert [one.there.is_set() for one in (first, second)] == [True, False], "silent: one at once"
    await first.leave()
    await second.there.wait()
    await second.leave()
    good = Visitor(line, answered=True)
    await good.there.wait()
    await good.leave()
    first, second = Visitor(line), Visitor(line)
    await settled()
    assert [one.there.is_set() for one in (first, second)] == [True, True]
    for one in (first, second):
        await one.leave()
