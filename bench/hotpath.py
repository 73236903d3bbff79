"""What one RTP packet costs inside a media worker, with 500 legs: from the socket to the taps, from the tick to the
socket, over a bridge. Prints microseconds of CPU per packet, the system calls' share included where sockets are used.

python bench/hotpath.py [legs] [rounds]
"""

import asyncio
import gc
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import uvloop

from trunkline.config import MediaSettings
from trunkline.ids import LegId, PayloadType, RtpTime, Seconds, Ssrc
from trunkline.media.bridge.buffer import BridgeBuffer
from trunkline.media.codecs import CODECS
from trunkline.media.engine import BATCH, Engine
from trunkline.media.leg import RANDOM_BYTES, Leg
from trunkline.media.rtp.packet import RtpPacket, build
from trunkline.media.srtp import session
from trunkline.sdp.values import Endpoint, MediaParams, SrtpKeys

KEYS = SrtpKeys("AES_CM_128_HMAC_SHA1_80", 1, bytes(30), bytes(range(30)))
PAYLOAD = bytes(range(160))
PORTS = range(40000, 44000)


class Tap:
    """Listens to both tracks and plays, as a stream does, at the least cost."""

    inbound = outbound = plays = True

    def inbound_frame(self, payload: bytes, at: int, missing: int) -> None:
        """Heard, and forgotten."""

    def outbound_frame(self, payload: bytes, at: int) -> None:
        """Heard, and forgotten."""

    def digit(self, digit: str) -> None:
        """Heard, and forgotten."""

    def held_up(self, at: int, skipped: int, late: int) -> None:
        """See `LegTap`."""

    def next_frame(self, at: int) -> bytes | None:
        """Always the same."""
        return PAYLOAD

    def leg_changed(self, codec: str, ptime: int) -> None:
        """Nothing depends on it."""

    def peer_changed(self, codec: str) -> None:
        """Nothing depends on it."""


def packet(number: int) -> bytes:
    """Packet `number` of a PCMU stream."""
    return build(RtpPacket(PayloadType(0), False, number & 0xFFFF, RtpTime(number * 160), Ssrc(7), PAYLOAD))


def show(what: str, seconds: float, packets: int) -> None:
    """One line of the result."""
    sys.stdout.write(f"{what:<48}{seconds / packets * 1e6:8.2f} us/packet\n")


def timed(work: Callable[[int], None], rounds: int) -> float:
    """CPU seconds of all rounds."""
    start = time.process_time()
    for number in range(rounds):
        work(number)
    return time.process_time() - start


def pure(count: int, rounds: int, params: MediaParams, packets: list[bytes], kind: str) -> None:
    """The legs alone: no sockets."""
    waiting: set[LegId] = set()
    legs = [
        Leg(
            LegId(n),
            params,
            MediaSettings(),
            random=bytes(RANDOM_BYTES),
            now=Seconds(0),
            wall=0,
            waiting=waiting,
            local_port=0,
            first_at=0,
        )
        for n in range(count)
    ]
    for leg in legs:
        leg.attach(Tap())

    def receive(number: int) -> None:
        datagram, now = packets[number], Seconds(number * 0.02)
        for leg in legs:
            leg.receive(datagram, now)

    def send(_: int) -> None:
        for leg in legs:
            leg.next_packet()

    show(f"receive -> taps, {kind}, without sockets", timed(receive, rounds), count * rounds)
    show(f"tick -> packet, {kind}, without sockets", timed(send, rounds), count * rounds)
    assert all(leg.report(Seconds(0)).frames_in == rounds for leg in legs)


def bridged(rounds: int) -> None:
    """A packet over a bridge: passed, and transcoded. The legs at its ends are those above."""
    for source, sink in (("PCMU", "PCMU"), ("G722", "G722"), ("OPUS", "OPUS"), ("PCMU", "PCMA"), ("PCMU", "G722")):
        playout, payload = BridgeBuffer(), CODECS[source].silence(20)
        playout.set_sink(sink, 20)
        playout.set_source(source)

        def cross(_: int, playout: BridgeBuffer = playout, payload: bytes = payload) -> None:
            playout.put(payload, 0)
            playout.take()

        show(f"bridge, {source} to {sink}, without legs", timed(cross, rounds), rounds)


async def with_sockets(count: int, rounds: int, peer: socket.socket, params: MediaParams) -> None:
    """The engine's own drain and slots, called by hand so that nothing else is in the figures."""
    engine = Engine(MediaSettings(port_rest=0), PORTS, lambda event: None, asyncio.get_running_loop())
    ports = [engine.open_leg(LegId(n), params) for n in range(count)]
    for n in range(count):
        engine.attach(LegId(n), Tap())
    spent = {"receive": 0.0, "send": 0.0}
    for number in range(rounds + 1):
        datagram = packet(number)
        for port in ports:
            peer.sendto(datagram, ("127.0.0.1", port))
        start = time.process_time()
        for _ in range(-(-count // BATCH)):
            engine._drain_batch(Seconds(time.monotonic()))
        received = time.process_time()
        for slot in range(number * 4, number * 4 + 4):
            engine._run_slot(slot + 1, Seconds(0))
        if number:  # the first round learns the sources
            spent["receive"] += received - start
            spent["send"] += time.process_time() - received
    reports = [engine.report(LegId(n)) for n in range(count)]
    assert sum(report.frames_in for report in reports) == count * (rounds + 1)
    show("socket -> taps", spent["receive"], count * rounds)
    show("tick -> socket", spent["send"], sum(report.packets_out for report in reports) * rounds // (rounds + 1))
    for n in range(count):
        engine.close_leg(LegId(n))


def main() -> None:
    """Measure all."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    gc.disable()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", peer.getsockname()[1]))
        packets = [packet(number) for number in range(rounds)]
        pure(count, rounds, params, packets, "plain")
        seal = session(KEYS.suite, KEYS.theirs, inbound=False).protect
        pure(count, rounds, replace(params, srtp=KEYS), [seal(plain) for plain in packets], "SRTP")
        bridged(100 * rounds)
        uvloop.run(with_sockets(count, rounds, peer, params))


if __name__ == "__main__":
    main()
