"""Waiting for one's turn (driver of `turns`)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trunkline.outbound.turns import Limits, Turn, Turns


class Line:
    """The queues of one kind of request, on one loop."""

    def __init__(self, limits: Limits) -> None:
        self._turns = Turns(limits)

    @asynccontextmanager
    async def turn(self, account: str, host: str = "") -> AsyncIterator[Turn]:
        """Wait for it, and have it until the end of the block. Raises TooMany."""
        ready = asyncio.Event()
        turn = self._turns.ask(account, host, ready.set)
        try:
            await ready.wait()
            yield turn
        finally:
            self._turns.leave(turn, answered=turn.outcome)

    def answers(self, turn: Turn) -> None:
        """The host of a turn answers."""
        turn.outcome = True
        self._turns.answers(turn)
