"""How much work one packet is, counted and not timed: calls, bytecodes and memory blocks of the packet path.

    python bench/work.py [--one-way]                    # counts, as JSON
    python bench/work.py --rounds 1000 --plain          # only does it, for a counter around the process
    valgrind --tool=callgrind --instr-atstart=no python bench/work.py --callgrind  # instructions of the rounds alone
    python bench/work.py --memory [--both-tracks]       # bytes of a leg with its stream, as JSON

The path is the worker's own, with sockets: datagrams to an engine, streams to a WebSocket sink in another process that
returns each message, which is played to the legs. Only the clock is replaced: the script calls the engine to read and
to send, so that each run does the same work. One round is one packet of each leg, one way or both ways.

Two runs that differ in their rounds only, under `strace -c -f`, give system calls per packet, the start-up cancelling
out. `tests/test_work.py` holds the counts to their bounds.

Bytes are those that Python and its extensions have allocated (`tracemalloc`) once the replay is full; what the process
grows by (`bench.py`) is some more, as allocators keep what they were given back.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from types import FrameType
from typing import Any

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from trunkline import log
from trunkline.config import LogSettings, MediaSettings, StreamSettings
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId, PayloadType, RtpTime, Seconds, Ssrc, StreamSid
from trunkline.media.engine import BATCH, Engine
from trunkline.media.rtp.packet import RtpPacket, build
from trunkline.outbound.urls import WebSocketUrl
from trunkline.sdp.values import Endpoint, MediaParams
from trunkline.streaming.connection import StreamConnection
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, Track
from trunkline.streaming.socket import Sender
from trunkline.streaming.stream import StreamClosed, StreamOpened
from trunkline.workers.worker.decoder_client import DecoderClient

PAYLOAD = bytes(range(160))
SLOTS = 4
"""Of the engine's clock in one packet time."""
CYCLE = 51
"""Rounds after which the replay holds as many frames as before: it lets the oldest go so many at a time."""
WARM_UP = 7 * CYCLE
"""Rounds before the count: more than the replay holds (2 s), so that it is full, and than the first looks at the app's
audio take (7 s, `media/audio/content.py`)."""


class Count:
    """Counts what is executed, but for this file and the event loop's."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def __enter__(self) -> "Count":
        self._blocks = sys.getallocatedblocks()
        sys.setprofile(self._profile)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        sys.setprofile(None)
        self.of["blocks"] = sys.getallocatedblocks() - self._blocks

    def _counts(self, frame: FrameType) -> bool:
        name = frame.f_code.co_filename
        return name != __file__ and "/asyncio/" not in name and "/uvloop/" not in name

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_call") and self._counts(frame):
            self.of["calls"] += 1

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not self._counts(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.of["bytecodes"] += 1
        return self._trace


class Sink(WSListener):
    """The app's side of a stream: returns the audio of each media message, or only reads."""

    def __init__(self, echo: bool) -> None:
        self._echo = echo

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Only text frames come, but for the close."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        if not self._echo:
            return
        message = json.loads(frame.get_payload_as_bytes())
        if message["event"] == "media":
            answer = {"event": "media", "media": {"payload": message["media"]["payload"]}}
            transport.send(WSMsgType.TEXT, json.dumps(answer).encode())


async def sink(*, echo: bool) -> None:
    """Serve until standard input closes; the port is the first line of output."""

    def listener(_: WSUpgradeRequest) -> WSListener:
        return Sink(echo)

    server = await ws_create_server(listener, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - for the parent
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


class Path:
    """Some legs, a stream of each."""

    def __init__(
        self, legs: int, peer: socket.socket, sender: Sender, *, echo: bool, track: Track = Track.INBOUND
    ) -> None:
        self._peer = peer
        self._sender = sender
        self._echo = echo
        self._track = track
        settings = MediaSettings(port_rest=0, silence_timeout=0, send_silence=False, rtcp_interval=3600)
        loop = asyncio.get_running_loop()
        self._engine = Engine(settings, range(41000, 42000), lambda event: None, loop)
        params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", peer.getsockname()[1]))
        self._legs = [LegId(number) for number in range(legs)]
        self._ports = [self._engine.open_leg(leg, params) for leg in self._legs]
        self._streams: list[StreamConnection] = []
        self._opened = time.monotonic()
        self._slot = self._sent = 0

    async def open(self, sink_port: int) -> None:
        """A stream of each leg, one after the other."""
        settings, decoder = StreamSettings(close_timeout=1), DecoderClient()
        params = StreamParams(
            WebSocketUrl.parse(f"ws://127.0.0.1:{sink_port}/"), track=self._track, mode=BidirectionalMode.RTP
        )
        for leg in self._legs:
            started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def on_fact(fact: StreamOpened | StreamClosed, started: asyncio.Future[None] = started) -> None:
                if not started.done():
                    started.set_result(None)

            identity = StreamIdentity(
                StreamSid(str(leg)), AccountSid("a"), CallSid("c"), CallSessionId("s"), "+1", "+2"
            )
            stream = StreamConnection(
                params, identity, "PCMU", settings, on_fact, decoder, lambda digits: None, self._sender
            )
            stream.start()
            await started
            self._engine.attach(leg, stream.stream)
            self._streams.append(stream)

    async def round(self) -> None:
        """A packet of each leg to the sink, and one of what came back to each leg's peer."""
        timestamp = RtpTime(self._sent * 160)
        packet = build(RtpPacket(PayloadType(0), False, self._sent & 0xFFFF, timestamp, Ssrc(7), PAYLOAD))
        self._sent += 1
        for port in self._ports:
            self._peer.sendto(packet, ("127.0.0.1", port))
        for _ in range(-(-len(self._ports) // BATCH)):
            self._engine._drain_batch(Seconds(self._opened + self._sent * 0.02))
        # What comes back sets no event, and must not pay for one.
        await asyncio.sleep(0)
        while self._echo and any(stream.stream._handler.messages < self._sent for stream in self._streams):  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(SLOTS):
            self._engine._run_slot(self._slot, Seconds(0))
            self._slot += 1

    @property
    def packets(self) -> tuple[int, int]:
        """Received and sent, of all legs."""
        reports = [self._engine.report(leg) for leg in self._legs]
        return sum(report.frames_in for report in reports), sum(report.packets_out for report in reports)

    async def close(self) -> None:
        """Goodbye to all."""
        for stream in self._streams:
            stream.close("done")
        await asyncio.gather(*(stream.wait_closed() for stream in self._streams))
        for leg in self._legs:
            self._engine.close_leg(leg)


async def measure(
    sink_port: int, legs: int, rounds: int, warm_up: int, *, echo: bool, plain: bool, callgrind: bool
) -> dict[str, float]:
    """Do it; what it took."""
    gc.disable()
    log.configure(LogSettings(level="error"), log.Outlet(2))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        path = Path(legs, peer, Sender(), echo=echo)
        await path.open(sink_port)
        for _ in range(warm_up):
            await path.round()
        if callgrind:
            control = ("callgrind_control", "--instr=on", str(os.getpid()))
            switched = await asyncio.create_subprocess_exec(*control, stdout=subprocess.DEVNULL)
            assert await switched.wait() == 0
        before, count = path.packets, Count()
        with contextlib.nullcontext() if plain else count:
            for _ in range(rounds):
                await path.round()
        there, back = (after - earlier for after, earlier in zip(path.packets, before, strict=True))
        await path.close()
    return {"packets_in": there, "packets_out": back} | {name: n / there for name, n in count.of.items()}


async def weigh(sink_port: int, legs: int, *, echo: bool, track: Track) -> dict[str, float]:
    """What a leg with its stream takes; what only the first one takes is left out."""
    gc.disable()
    log.configure(LogSettings(level="error"), log.Outlet(2))
    tracemalloc.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        paths: list[Path] = []
        sender = Sender()  # a worker has one
        for count in (1, legs):
            before = tracemalloc.get_traced_memory()[0]
            paths.append(Path(count, peer, sender, echo=echo, track=track))
            await paths[-1].open(sink_port)
            for _ in range(WARM_UP):
                await paths[-1].round()
            settled = tracemalloc.get_traced_memory()[0]
            for _ in range(CYCLE):  # what is on its way, or a timer of a busy machine, is not the stream's
                await paths[-1].round()
                settled = min(settled, tracemalloc.get_traced_memory()[0])
            taken = (settled - before) / count
        for path in paths:
            await path.close()
    return {"bytes": taken}


def main(args: argparse.Namespace) -> None:
    """Beside a sink; prints what it took."""
    command = [sys.executable, __file__, "--sink", *(["--one-way"] if args.one_way else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        if args.memory:
            track = Track.BOTH if args.both_tracks else Track.INBOUND
            result = uvloop.run(weigh(port, args.legs, echo=not args.one_way, track=track))
        else:
            how = {"echo": not args.one_way, "plain": args.plain or args.callgrind, "callgrind": args.callgrind}
            result = uvloop.run(measure(port, args.legs, args.rounds, args.warm_up, **how))
        child.communicate()
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--legs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=CYCLE)
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="rounds before the count")
    parser.add_argument("--one-way", action="store_true", help="the sink returns nothing")
    parser.add_argument("--both-tracks", action="store_true", help="the sink is sent both; for --memory")
    parser.add_argument("--plain", action="store_true", help="count nothing")
    parser.add_argument("--callgrind", action="store_true", help="begin its count after the warm-up")
    parser.add_argument("--memory", action="store_true", help="count bytes instead of work")
    parser.add_argument("--sink", action="store_true", help="be the sink")
    arguments = parser.parse_args()
    if arguments.sink:
        uvloop.run(sink(echo=not arguments.one_way))
    else:
        main(arguments)
