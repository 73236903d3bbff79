"""A way for RTP on which packets are lost, delayed and doubled as a list says, and which remembers each. No chance, no
flakes: what is delayed leaves right behind the packet that overtakes it, so that no clock decides whether it comes in
time.
"""

import asyncio
import random
import socket
from collections.abc import Iterable, Sequence
from typing import Literal, Self

from trunkline.demo.caller import parse_rtp

Fate = Literal["pass", "drop", "delay", "double"]


def fates(seed: int, count: int, *, drop: float, delay: float, double: float) -> list[Fate]:
    """What becomes of `count` packets, the same for the same seed; the rest are fractions."""
    kinds: tuple[Fate, ...] = ("drop", "delay", "double", "pass")
    return random.Random(seed).choices(kinds, (drop, delay, double, 1 - drop - delay - double), k=count)


class LossyRelay:
    """Relays what comes to `near` on each of the ports to the same port of `target`, and answers to the last sender.
    Use as an async context manager. Numbers are of the packets from the phone, from their first on."""

    def __init__(self, near: str, target: str, ports: Iterable[int]) -> None:
        self.passed: list[int] = []
        """In the order in which they were relayed, doubled ones twice."""
        self.dropped: list[int] = []
        self.delayed: list[int] = []
        self.doubled: list[int] = []
        self.numbers: dict[bytes, int] = {}
        """By payload: those of a test differ."""
        self.recovered: int | None = None
        """The first packet behind the list of fates."""
        self._fates: list[Fate] | None = None
        self._held: list[tuple[int, bytes]] = []
        self._first: int | None = None
        self._pairs = [(self._bind(near, port), self._bind(target, 0)) for port in ports]
        for here, there in self._pairs:
            there.connect((target, here.getsockname()[1]))

    def begin(self, fates: Sequence[Fate]) -> None:
        """The fates of the next packets from the phone; those behind pass, as those before did."""
        self._fates = list(reversed(fates))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for near, target in self._pairs:
            callers: list[tuple[str, int]] = []
            self._loop.add_reader(near, self._there, near, target, callers)
            self._loop.add_reader(target, self._back, near, target, callers)
        return self

    async def __aexit__(self, *_: object) -> None:
        for side in (side for pair in self._pairs for side in pair):
            self._loop.remove_reader(side)
            side.close()

    @staticmethod
    def _bind(host: str, port: int) -> socket.socket:
        side = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        side.setblocking(False)
        side.bind((host, port))
        return side

    def _there(self, near: socket.socket, target: socket.socket, callers: list[tuple[str, int]]) -> None:
        datagram, caller = near.recvfrom(65536)
        callers[:] = [caller]
        packet = parse_rtp(datagram, 0)
        assert packet is not None
        self._first = packet.sequence if self._first is None else self._first
        number = packet.sequence - self._first & 0xFFFF
        assert packet.payload not in self.numbers, "every payload is different"
        self.numbers[packet.payload] = number
        for fated, out in self._meets(number, datagram):
            self.passed.append(fated)
            target.send(out)

    def _meets(self, number: int, datagram: bytes) -> list[tuple[int, bytes]]:
        """What is relayed now that this packet has come."""
        fate = self._next_fate(number)
        if fate == "drop":
            self.dropped.append(number)
            return []
        if fate == "delay":
            self.delayed.append(number)
            self._held.append((number, datagram))
            return []
        if fate == "double":
            self.doubled.append(number)
        overtaken, self._held = self._held[::-1], []
        return [(number, datagram)] * (2 if fate == "double" else 1) + overtaken

    def _next_fate(self, number: int) -> Fate:
        if self._fates:
            return self._fates.pop()
        if self._fates is not None and self.recovered is None:
            self.recovered = number
        return "pass"

    def _back(self, near: socket.socket, target: socket.socket, callers: list[tuple[str, int]]) -> None:
        datagram = target.recv(65536)
        if callers:
            near.sendto(datagram, callers[0])
