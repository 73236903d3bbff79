"""Faults of the network, made before a packet is sent: loss, jitter and reordering. Pure.

A packet that is lost is not sent at all. `random` gives numbers of [0, 1); the same numbers give the same faults.
"""

from collections.abc import Callable

from trunkline.phone.values import Impairments, LineCounts, OutgoingDatagram

HELD_FOR = 0.1
"""Seconds after which a packet that is held back leaves though no other has come."""


class ImpairedLine:
    """Packets go in by `put`, and come out of `due` when they are to be sent. It holds those of the last
    `Impairments.jitter` and `HELD_FOR` seconds."""

    def __init__(self, impairments: Impairments, random: Callable[[], float]) -> None:
        self.counts = LineCounts()
        self._impairments = impairments
        self._random = random
        self._queue: list[tuple[float, OutgoingDatagram]] = []
        """In the order of sending."""
        self._held: tuple[float, OutgoingDatagram] | None = None
        """Held back, and until when at most."""
        self._last_at = 0.0
        """When the last one of the queue leaves."""

    @property
    def deadline(self) -> float | None:
        """When `due` has a packet; None: none is on the line."""
        times = [self._queue[0][0]] if self._queue else []
        if self._held is not None:
            times.append(self._held[0])
        return min(times, default=None)

    def put(self, packet: OutgoingDatagram, now: float) -> None:
        """Send a packet, or what the faults make of it."""
        faults = self._impairments
        if faults.loss and self._random() < faults.loss:
            self.counts.dropped += 1
            return
        if faults.reorder and self._held is None and self._random() < faults.reorder:
            self._held = (now + HELD_FOR + faults.jitter, packet)
            return
        at = max(self._last_at, now + (self._random() * faults.jitter if faults.jitter else 0.0))
        self._queue.append((at, packet))
        if self._held is not None:
            self._queue.append((at, self._held[1]))
            self._held = None
            self.counts.reordered += 1
        self._last_at = at

    def due(self, now: float) -> list[OutgoingDatagram]:
        """The packets to send by now, in order."""
        if self._held is not None and self._held[0] <= now:
            self._queue.append((now, self._held[1]))
            self._held = None
        count = next((index for index, (at, _) in enumerate(self._queue) if at > now), len(self._queue))
        packets = [packet for _, packet in self._queue[:count]]
        del self._queue[:count]
        self.counts.sent += count
        return packets
