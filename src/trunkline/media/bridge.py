"""What one leg hears, played to another: an `Ear` on the one, a `Mouth` on the other, and the `Playout` between them.

Packets come by the peer's clock and by the moods of the network, and leave by ours, so something must wait between.
How much is learned: playback begins with the first packet; when it runs dry, the moment is concealed, which makes
everything behind it later by as much; and audio that has waited all through the last `TRIM_EVERY` packets without need
is shortened by one packet, faded into the next. A clock that is off is followed the same way, so neither a fast peer
nor a burst leaves a delay that grows. What was lost for good is concealed in its place, less what was played in its
stead already.

All is 16-bit PCM at the rate of the listening leg's codec. None of the three refers back to another: no cycle is left
behind when a bridge goes.
"""

from collections.abc import Callable

import numpy as np

from trunkline.media.codecs import CODECS, Undecodable, transcoder
from trunkline.media.plc import LONGEST_MS, Concealer

TRIM_EVERY = 100
"""Packets: two seconds."""

SPARE_MS = 10
"""Waiting audio that is left alone when the rest is trimmed."""

LIMIT_MS = 500
"""Audio that may wait at most, as after a stall; more is dropped, the oldest first."""


class Playout:
    """Audio on its way between two legs."""

    __slots__ = ("_bytes_per_ms", "_concealer", "_convert", "_encode", "_least", "_packet", "_playing", "_queue",
                 "_sink", "_source", "_stood_in", "_turns", "concealed_ms", "dropped_ms", "trimmed_ms")  # fmt: skip

    def __init__(self) -> None:
        self._source = self._sink = "PCMU"
        self._queue = b""
        self._playing = False
        self._stood_in = 0  # bytes played in place of audio that had not come, since some came
        self._least = 0
        self._turns = 0
        self.concealed_ms = self.dropped_ms = self.trimmed_ms = 0
        self.set_sink("PCMU", 20)

    def set_source(self, codec: str) -> None:
        """The speaking leg's codec from here on."""
        self._source = codec
        self._convert = transcoder(codec, f"L16/{CODECS[self._sink].sample_rate}").convert

    def set_sink(self, codec: str, ptime: int) -> None:
        """The listening leg's codec and packet time in ms from here on. What waits is dropped."""
        self._sink = codec
        row = CODECS[codec]
        self._bytes_per_ms = 2 * row.sample_rate // 1000
        self._packet = ptime * self._bytes_per_ms
        self._encode = row.encoder()
        self._concealer = Concealer(row.sample_rate)
        self._queue = b""
        self.set_source(self._source)

    @property
    def queued_ms(self) -> int:
        """Audio that waits."""
        return len(self._queue) // self._bytes_per_ms

    def put(self, payload: bytes, missing: int) -> None:
        """A payload of the speaking leg's, `missing` ones before it being lost."""
        try:
            pcm = self._convert(payload)
        except Undecodable:
            return  # as if it had not come: playback runs dry
        gap = min(missing * len(pcm) - self._stood_in, LONGEST_MS * self._bytes_per_ms)
        if gap > 0 and self._playing:
            self._queue += self._conceal(gap)
        self._stood_in = 0
        self._queue += self._concealer.heard(pcm)
        over = len(self._queue) - LIMIT_MS * self._bytes_per_ms
        if over > 0:
            self._queue = self._queue[over:]
            self.dropped_ms += over // self._bytes_per_ms

    def take(self) -> bytes | None:
        """One packet for the listening leg; None when there is nothing to say."""
        queue, packet = self._queue, self._packet
        if len(queue) >= packet:
            self._playing = True
            frame = self._trim() if self._is_too_late() else self._cut()
        elif self._playing and self._stood_in < LONGEST_MS * self._bytes_per_ms:
            gap = packet - len(queue)
            self._stood_in += gap
            self._queue, self._least = b"", 0
            frame = queue + self._conceal(gap)
        else:
            self._playing = False
            return None
        return self._encode(frame)

    def _is_too_late(self) -> bool:
        """Count, and tell once in a while whether a packet's time of audio has waited in vain."""
        self._least = min(self._least, len(self._queue) - self._packet)
        self._turns += 1
        if self._turns < TRIM_EVERY:
            return False
        least, self._turns, self._least = self._least, 0, len(self._queue)
        return least >= self._packet + SPARE_MS * self._bytes_per_ms

    def _cut(self) -> bytes:
        frame, self._queue = self._queue[: self._packet], self._queue[self._packet :]
        return frame

    def _trim(self) -> bytes:
        """Two packets' time of audio in one."""
        first, second = (np.frombuffer(self._cut(), "<i2") for _ in range(2))
        self.trimmed_ms += self._packet // self._bytes_per_ms
        rise = np.linspace(0, 1, len(first))
        return np.rint(first * (1 - rise) + second * rise).astype("<i2").tobytes()

    def _conceal(self, size: int) -> bytes:
        self.concealed_ms += size // self._bytes_per_ms
        return self._concealer.conceal(size // 2)


class _Port:
    """What a `LegPort` may ignore."""

    inbound = outbound = plays = False

    def __init__(self, playout: Playout) -> None:
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


class Ear(_Port):
    """Attached to the leg that speaks. Its peer's keys go to `press`."""

    inbound = True

    def __init__(self, playout: Playout, press: Callable[[str], None]) -> None:
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


class Mouth(_Port):
    """Attached to the leg that listens."""

    plays = True

    def next_frame(self, at: int) -> bytes | None:
        """See `LegPort`."""
        return self._playout.take()

    def leg_changed(self, codec: str, ptime: int) -> None:
        """See `LegPort`."""
        self._playout.set_sink(codec, ptime)
