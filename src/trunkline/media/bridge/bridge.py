"""What one leg hears, played to another: an `BridgeSource` on the one, a `BridgeSink` on the other, and the
`BridgeBuffer` between them.

None of the three refers back to another: no cycle is left behind when a bridge goes.
"""

from collections.abc import Callable
from math import inf

from trunkline.media.bridge.buffer import BridgeBuffer


class _BridgeTap:
    """What a `LegPort` may ignore."""

    inbound = outbound = plays = False

    def __init__(self, playout: BridgeBuffer) -> None:
        self._playout = playout

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegPort`."""

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """See `LegPort`."""

    def digit(self, digit: str) -> None:
        """See `LegPort`."""

    def next_frame(self, at: int) -> bytes | None:
        """See `LegPort`."""
        return None

    def peer_changed(self, codec: str) -> None:
        """See `LegPort`."""

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegPort`. What is skipped shows in the times that are asked for."""


class BridgeSource(_BridgeTap):
    """Attached to the leg that speaks. Its peer's keys go to `press`."""

    inbound = True

    def __init__(self, playout: BridgeBuffer, press: Callable[[str], None]) -> None:
        super().__init__(playout)
        self._press = press

    def digit(self, digit: str) -> None:
        """See `LegPort`."""
        self._press(digit)

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegPort`."""
        self._playout.put(payload, missing)

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegPort`."""
        self._playout.set_source(codec)

    def peer_changed(self, codec: str) -> None:
        """See `LegPort`."""
        self._playout.set_source(codec)


class BridgeSink(_BridgeTap):
    """Attached to the leg that listens."""

    plays = True

    def __init__(self, playout: BridgeBuffer) -> None:
        super().__init__(playout)
        self._ptime = 20
        self._due = inf

    def next_frame(self, at: int) -> bytes | None:
        """See `LegPort`."""
        if at > self._due:
            self._playout.skip(round(at - self._due))
        self._due = at + self._ptime
        return self._playout.take()

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegPort`."""
        self._ptime = ptime
        self._playout.set_sink(codec, ptime)
