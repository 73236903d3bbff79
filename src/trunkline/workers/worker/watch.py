"""Legs that are watched: a sample of each ten times a second, while a client watches the call.

A tap measures the leg, and each stream's reader and sink note its messages. Both are taken off again when the watch
ends: what is not watched does no work.
"""

import asyncio
from collections.abc import Callable, Iterable

from trunkline.ids import LegId, StreamSid
from trunkline.media.audio.watch import LegWatch
from trunkline.media.engine import Engine
from trunkline.streaming.connection import StreamConnection
from trunkline.streaming.watch import StreamWatch
from trunkline.workers.messages import FromLeg
from trunkline.workers.reports import LegWatched, StreamWatched

INTERVAL = 0.1
"""Seconds between two samples."""

Streams = Callable[[LegId], Iterable[tuple[StreamSid, StreamConnection]]]


class _Watched:
    """One leg."""

    def __init__(self, tap: LegWatch) -> None:
        self.tap = tap
        self.timer: asyncio.TimerHandle | None = None
        self.streams: dict[StreamSid, StreamWatch] = {}


class LegWatches:
    """All watched legs of a worker. `streams` gives those of a leg."""

    def __init__(self, engine: Engine, streams: Streams, send: Callable[[FromLeg], object]) -> None:
        self._engine = engine
        self._streams = streams
        self._send = send
        self._legs: dict[LegId, _Watched] = {}

    def watch(self, leg: LegId, on: bool) -> None:
        """Begin or end; nothing if it is so already. The leg must be open."""
        if not on:
            self.closing(leg)
        elif leg not in self._legs:
            watched = self._legs[leg] = _Watched(LegWatch(asyncio.get_running_loop().time))
            self._engine.attach(leg, watched.tap)
            self._engine.unlatch(leg)
            for sid, connection in self._streams(leg):
                self._join(watched, sid, connection)
            self._later(leg, watched)

    def closing(self, leg: LegId) -> None:
        """The watch ends, at the latest with the leg: what came since the last sample is reported."""
        watched = self._legs.pop(leg, None)
        if watched is None:
            return
        if watched.timer is not None:
            watched.timer.cancel()
        self._report(leg, watched)
        self._engine.detach(leg, watched.tap)
        for _, connection in self._streams(leg):
            connection.watch(None)

    def started(self, leg: LegId, sid: StreamSid, connection: StreamConnection) -> None:
        """A stream's `start` was sent."""
        watched = self._legs.get(leg)
        if watched is not None:
            watched.tap.started(sid)
            self._join(watched, sid, connection)

    def _join(self, watched: _Watched, sid: StreamSid, connection: StreamConnection) -> None:
        watch = watched.streams.setdefault(sid, StreamWatch(asyncio.get_running_loop().time))
        connection.watch(watch)

    def _later(self, leg: LegId, watched: _Watched) -> None:
        watched.timer = asyncio.get_running_loop().call_later(INTERVAL, self._sample, leg, watched)

    def _sample(self, leg: LegId, watched: _Watched) -> None:
        self._report(leg, watched)
        self._later(leg, watched)

    def _report(self, leg: LegId, watched: _Watched) -> None:
        streams, clears = [], []
        for sid, connection in self._streams(leg):
            if sid not in watched.streams:  # not open yet
                continue
            watch = watched.streams[sid]
            # A socket that came in the place of a lost one is watched from here on.
            connection.watch(watch)
            report = connection.stream.report()
            seen, cleared, dropped = watch.take()
            clears += cleared
            counted = report.queued_ms, report.played_ms, report.marks, watch.media_sent, watch.media_received
            streams.append(StreamWatched(sid, connection.stream.state, *counted, seen, dropped))
        now = asyncio.get_running_loop().time()
        self._send(FromLeg(leg, LegWatched(now, watched.tap.sample(clears), streams)))
