"""Legs that are listened to: their audio ten times a second, while a client listens in.

A tap takes both tracks and is taken off again when the last listener leaves: other legs do no work.
What does not fit on the link to the control process is dropped: reports of calls come first.
"""

import asyncio
from collections.abc import Callable

from trunkline.ids import LegId
from trunkline.media.audio.listen import LegEar
from trunkline.media.engine import Engine
from trunkline.workers.messages import LOG_BACKLOG, FromLeg
from trunkline.workers.reports import LegHeard

INTERVAL = 0.1
"""Seconds between two pieces."""


class _Listened:
    """One leg."""

    def __init__(self) -> None:
        self.ear = LegEar()
        self.timer: asyncio.TimerHandle | None = None


class LegListeners:
    """All legs of a worker that are listened to. `unsent` are the bytes that wait on the link."""

    def __init__(self, engine: Engine, send: Callable[[FromLeg], object], unsent: Callable[[], int]) -> None:
        self._engine = engine
        self._send = send
        self._unsent = unsent
        self._legs: dict[LegId, _Listened] = {}

    def listen(self, leg: LegId, on: bool) -> None:
        """Begin or end; nothing if it is so already. The leg must be open."""
        if not on:
            self.closing(leg)
        elif leg not in self._legs:
            listened = self._legs[leg] = _Listened()
            self._engine.attach(leg, listened.ear)
            self._later(leg, listened)

    def closing(self, leg: LegId) -> None:
        """It ends, at the latest with the leg."""
        listened = self._legs.pop(leg, None)
        if listened is not None:
            if listened.timer is not None:
                listened.timer.cancel()
            self._engine.detach(leg, listened.ear)

    def _later(self, leg: LegId, listened: _Listened) -> None:
        listened.timer = asyncio.get_running_loop().call_later(INTERVAL, self._report, leg, listened)

    def _report(self, leg: LegId, listened: _Listened) -> None:
        self._later(leg, listened)
        at, pcm = listened.ear.take()
        if pcm and self._unsent() < LOG_BACKLOG:
            self._send(FromLeg(leg, LegHeard(at, pcm)))
