"""The real media worker under the load generator, without SIP and HTTP: N legs, one stream each.

    python bench/worker.py -n 500 -w 9000 --dests legs.txt --pidfile pid.txt [-b] [--cpu 1]

Start `loadgen -n 500 -w 9000 --dests legs.txt --pidfile pid.txt` once the file of destinations is there; it waits for
the streams' WebSockets. Ends when its standard input closes.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trunkline.config import LogSettings, MediaSettings, Settings
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId, StreamSid, random_uuid
from trunkline.outbound.urls import WebSocketUrl
from trunkline.sdp.values import Endpoint, MediaParams
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, Track
from trunkline.workers import messages, orders, reports
from trunkline.workers.pool import WorkerPool

AT_ONCE = 20
"""Streams being opened at the same time."""


class Bench:
    """One media worker with so many PCMU legs."""

    def __init__(self, legs: int, *, first_port: int = 30000, peer: int = 40000, send_silence: bool = False) -> None:
        """`peer`: the UDP port of the load generator."""
        media = MediaSettings(
            workers=1,
            port_min=first_port,
            port_max=first_port + 2 * legs + 1,
            silence_timeout=0,
            send_silence=send_silence,
        )
        self._legs = [LegId(number) for number in range(1, legs + 1)]
        self._params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", peer))
        self._pool = WorkerPool(Settings(media=media, log=LogSettings(level="error")), self._on_event)
        self._ports: dict[LegId, int] = {}
        self._started = 0
        self._failure = ""
        self._changed = asyncio.Event()

    def _on_event(self, event: messages.FromLeg) -> None:
        if isinstance(event.report, reports.LegOpened):
            self._ports[event.leg] = event.report.local.port
        elif isinstance(event.report, reports.StreamStarted):
            self._started += 1
        elif isinstance(event.report, reports.LegFailed):
            self._failure = event.report.detail
        else:
            sys.stderr.write(f"{event}\n")
        self._changed.set()

    async def _news(self) -> None:
        """Until something has happened. Exits when a leg cannot be opened."""
        self._changed.clear()
        await self._changed.wait()
        if self._failure:
            raise SystemExit(self._failure)

    @property
    def pid(self) -> int:
        """The worker's."""
        return self._pool.pids[0]

    async def start(self) -> list[int]:
        """Open all legs; their RTP ports."""
        await self._pool.start()
        for leg in self._legs:
            self._pool.place(leg)
            self._pool.send(leg, orders.OpenLeg(CallSid(f"v3:{leg}"), self._params))
        while len(self._ports) < len(self._legs):
            await self._news()
        return [self._ports[leg] for leg in self._legs]

    async def open_streams(self, legs: Iterable[int], sink: int, **asked: Any) -> None:
        """A stream of each leg to the sink on that port, which is waited for."""
        await _somebody_listens(sink)
        params = StreamParams(WebSocketUrl.parse(f"ws://127.0.0.1:{sink}/"), **asked)
        under_way = self._started
        for leg in legs:
            sid = StreamSid(random_uuid(os.urandom(16)))
            identity = StreamIdentity(sid, AccountSid("a"), CallSid(f"v3:{leg}"), CallSessionId("c"), "+1", "+2")
            self._pool.send(LegId(leg), orders.OpenStream(identity, params, "PCMU"))
            under_way += 1
            while self._started < under_way - AT_ONCE:
                await self._news()

    async def stop(self) -> None:
        """Goodbye to all."""
        await self._pool.stop(5)


async def _somebody_listens(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100, help="legs")
    parser.add_argument("-w", type=int, default=9000, help="the sink's port")
    parser.add_argument("-p", type=int, default=30000, help="first RTP port")
    parser.add_argument("-b", action="store_true", help="bidirectional")
    parser.add_argument("--both", action="store_true", help="both tracks")
    parser.add_argument("--send", action="store_true", help="send silence too, as a server does by default")
    parser.add_argument("--peer", type=int, default=40000, help="UDP port of the load generator")
    parser.add_argument("--cpu", type=int, default=-1, help="pin the worker to this core")
    parser.add_argument("--dests", type=Path, required=True)
    parser.add_argument("--pidfile", type=Path, required=True)
    return parser.parse_args()


async def main(args: argparse.Namespace) -> None:
    bench = Bench(args.n, first_port=args.p, peer=args.peer, send_silence=args.send)
    ports = await bench.start()
    if args.cpu >= 0:
        os.sched_setaffinity(bench.pid, {args.cpu})
    args.dests.write_text("".join(f"127.0.0.1:{port}\n" for port in ports))
    args.pidfile.write_text(f"{bench.pid}\n")
    track = Track.BOTH if args.both else Track.INBOUND
    mode = BidirectionalMode.RTP if args.b else BidirectionalMode.MP3
    await bench.open_streams(range(1, args.n + 1), args.w, track=track, mode=mode)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await bench.stop()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
