"""Repeats of a start. A start has no idempotency key, and the official SDKs repeat it when its answer is lost; so the
answers of the last minute are kept, and a repeat that says it is one gets the stream that the first try made
(spec section 1.3). It waits for it while the first try is still under way: that is why this file knows asyncio.
"""

import asyncio
from collections.abc import Awaitable, Callable

from trunkline.api.limits import Recent
from trunkline.calls.views import StreamView
from trunkline.ids import Seconds

MEMORY = Seconds(60.0)
"""How long a start's answer is kept."""


class FirstTries:
    """The streams that starts made lately. A key stands for one start: API key, call and body."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # None: the first try failed, and a repeat must try for itself.
        self._answers: Recent[asyncio.Future[StreamView | None]] = Recent(MEMORY)

    async def recall(self, key: bytes) -> StreamView | None:
        """What the first try made, waiting for it if need be; None when there was none or it failed."""
        answer = self._answers.get(key, Seconds(self._clock()))
        # Shielded: the first try's answer is not this request's to cancel.
        return None if answer is None else await asyncio.shield(answer)

    async def first(self, key: bytes, start: Awaitable[StreamView]) -> StreamView:
        """Try, and keep the answer. Raises what `start` raises."""
        answer: asyncio.Future[StreamView | None] = asyncio.get_running_loop().create_future()
        self._answers.put(key, answer, Seconds(self._clock()))
        try:
            view = await start
            answer.set_result(view)
        finally:
            if not answer.done():
                self._answers.drop(key, answer)
                answer.set_result(None)
        return view
