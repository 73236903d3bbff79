"""One direction of a bridge: a `BridgeSource` on the leg whose peer speaks, a `BridgeSink` on the leg whose peer
listens, and the `BridgeBuffer` between them. References go one way, so a bridge that ends leaves no cycle behind.
"""

from collections.abc import Callable
from math import inf

from trunkline.media.bridge.buffer import BridgeBuffer
from trunkline.media.frames import BaseTap


class BridgeSource(BaseTap):
    """On the leg whose peer speaks. That peer's key presses go to `relay_dtmf`."""

    inbound = True

    def __init__(self, buffer: BridgeBuffer, relay_dtmf: Callable[[str], None]) -> None:
        self._buffer = buffer
        self._relay_dtmf = relay_dtmf

    def digit(self, digit: str) -> None:
        """See `LegTap`."""
        self._relay_dtmf(digit)

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """See `LegTap`."""
        self._buffer.put(payload, missing)

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._buffer.set_source(codec)

    def peer_changed(self, codec: str) -> None:
        """See `LegTap`."""
        self._buffer.set_source(codec)


class BridgeSink(BaseTap):
    """On the leg whose peer listens."""

    plays = True

    def __init__(self, buffer: BridgeBuffer) -> None:
        self._buffer = buffer
        self._ptime = 20
        self._due = inf

    def next_frame(self, at: int) -> bytes | None:
        """See `LegTap`."""
        if at > self._due:
            self._buffer.skip(round(at - self._due))
        self._due = at + self._ptime
        return self._buffer.take()

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegTap`."""
        self._ptime = ptime
        self._buffer.set_sink(codec, ptime)
