"""Streams on legs, and on the legs that these are bridged with: who hears the app (`BidirectionalTargetLegs`).

Bridges are made and parted while streams go on; `follow` is called whenever that may have happened.
"""

import structlog

from trunkline.ids import LegId
from trunkline.media.engine import Engine
from trunkline.media.frames import LegTap
from trunkline.media.leg import TooManyPlayers
from trunkline.streaming.stream import Stream

_log = structlog.get_logger()


class StreamTargets:
    """The attached streams of an engine's legs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._elsewhere: dict[Stream, LegId] = {}
        """The own legs of those streams that the opposite leg is to hear."""
        self._far: dict[Stream, tuple[LegId, LegTap | None]] = {}
        """Where these are heard now; no port where that leg takes no more players."""

    def attach(self, leg: LegId, stream: Stream) -> None:
        """A stream has started. Raises UnknownLeg, TooManyPlayers."""
        self._engine.attach(leg, stream)
        if stream.plays_elsewhere:
            self._elsewhere[stream] = leg
            self.follow()

    def detach(self, leg: LegId, stream: Stream) -> None:
        """It is over; nothing if it is, or if the leg is gone."""
        self._engine.detach(leg, stream)
        if self._elsewhere.pop(stream, None) is not None:
            self._part(stream)

    def follow(self) -> None:
        """Bridges may have changed."""
        for stream, leg in self._elsewhere.items():
            before = self._far.get(stream, (None, None))[0]
            now = self._engine.bridged_with(leg)
            if now == before:
                continue
            self._part(stream)
            if now is not None:
                self._join(stream, leg, now)
            self._engine.taps_changed(leg)

    def _join(self, stream: Stream, leg: LegId, opposite: LegId) -> None:
        port = stream.bridged()
        try:
            self._engine.attach(opposite, port)
        except TooManyPlayers as refused:
            stream.parted()
            self._far[stream] = opposite, None
            _log.error("opposite_leg_failed", leg=leg, reason=str(refused))
        else:
            self._far[stream] = opposite, port

    def _part(self, stream: Stream) -> None:
        opposite, port = self._far.pop(stream, (None, None))
        if opposite is not None and port is not None:
            self._engine.detach(opposite, port)
            stream.parted()

    def owner(self, port: LegTap) -> Stream | None:
        """The stream that a port plays for."""
        if isinstance(port, Stream):
            return port
        return next((stream for stream, (_, far) in self._far.items() if far is port), None)
