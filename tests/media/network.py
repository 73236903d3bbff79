"""A deterministic network in memory with loss, delay and reordering, and legs on a clock driven by hand."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trunkline.ids import LegId, Seconds
from trunkline.media.leg import Leg
from trunkline.media.rtp.packet import RtpPacket
from trunkline.media.rtp.presses import EventPacket

Arrivals = list[tuple[float, bytes]]
"""Seconds and datagrams, in order of arrival."""


@dataclass(frozen=True)
class Network:
    """What `tc netem` does to packets, by the same names; the fractions are of packets, the times in seconds."""

    seed: int
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """Packets that overtake: they are not delayed."""
    delay: float = 0.03
    jitter: float = 0.0
    """Each packet is delayed by this much more or less, at random, so that packets overtake each other."""

    def carry(self, sent: Iterable[tuple[float, bytes]]) -> Arrivals:
        """When what was sent arrives, if it does."""
        chance = random.Random(self.seed)
        arrivals: Arrivals = []
        for at, datagram in sent:
            if chance.random() < self.loss:
                continue
            for _ in range(2 if chance.random() < self.duplicate else 1):
                delay = 0.0 if chance.random() < self.reorder else self.delay
                arrivals.append((at + max(0.0, delay + chance.uniform(-self.jitter, self.jitter)), datagram))
        return sorted(arrivals, key=lambda arrival: arrival[0])


def drive(leg: Leg, waiting: set[LegId], arrivals: Arrivals, start: float, end: float) -> Iterator[float]:
    """Run a leg as the engine does from `start` to `end`; yields the time after each step."""
    pending = iter([*arrivals, (float("inf"), b"")])
    at, datagram = next(pending)
    for slot in range(round((end - start) / 0.005)):
        now = start + slot * 0.005
        while at <= now:
            leg.inbound.receive(datagram, Seconds(at))
            yield at
            at, datagram = next(pending)
        if waiting:
            leg.inbound.handle_waiting(Seconds(now))
            yield now
        if slot % 4 == 0:
            leg.outbound.next_packet()
            yield now


def event_of(packet: RtpPacket, at: float) -> EventPacket:
    """A packet of telephone events that comes at `at`."""
    return EventPacket(packet.payload, packet.timestamp, packet.sequence, packet.ssrc, packet.marker, Seconds(at))
