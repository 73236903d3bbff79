"""The real media worker under the load generator, without SIP and HTTP: N legs, one stream each.

    python bench/worker.py -n 500 -w 9000 --dests legs.txt --pidfile pid.txt [-b] [--cpu 1]

Start `loadgen -n 500 -w 9000 --dests legs.txt --pidfile pid.txt` once the file of destinations is there; it waits for
the streams' WebSockets. Ends with Ctrl-C, or when its standard input closes.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from trunkline.config import MediaSettings, Settings
from trunkline.ids import AccountSid, CallSessionId, CallSid, LegId, StreamSid, random_uuid
from trunkline.sdp.values import Endpoint, MediaParams
from trunkline.streaming.params import BidirectionalMode, StreamIdentity, StreamParams, Track
from trunkline.workers import messages as wire
from trunkline.workers.pool import PoolEvent, WorkerPool


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


async def sink_is_there(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


async def main(args: argparse.Namespace) -> None:
    media = MediaSettings(
        workers=1, port_min=args.p, port_max=args.p + 2 * args.n + 1, silence_timeout=0, send_silence=args.send
    )
    opened: dict[LegId, int] = {}
    changed = asyncio.Event()
    started = 0

    def on_event(event: PoolEvent) -> None:
        nonlocal started
        if isinstance(event, wire.LegOpened):
            opened[event.leg] = event.port
        elif isinstance(event, wire.StreamStarted):
            started += 1
        else:
            print(event, file=sys.stderr)  # noqa: T201 - a bench talks to its operator
        changed.set()

    pool = WorkerPool(Settings(media=media), on_event)
    await pool.start()
    if args.cpu >= 0:
        os.sched_setaffinity(pool.pids[0], {args.cpu})
    legs = [LegId(number) for number in range(1, args.n + 1)]
    for leg in legs:
        pool.place(leg)
        params = MediaParams("PCMU", 0, 20, Endpoint("127.0.0.1", args.peer))
        pool.send(leg, wire.OpenLeg(leg, CallSid(f"v3:{leg}"), params))
    while len(opened) < args.n:
        changed.clear()
        await changed.wait()
    args.dests.write_text("".join(f"127.0.0.1:{opened[leg]}\n" for leg in legs))
    args.pidfile.write_text(f"{pool.pids[0]}\n")
    await sink_is_there(args.w)
    stream = StreamParams(
        f"ws://127.0.0.1:{args.w}/",
        track=Track.BOTH if args.both else Track.INBOUND,
        mode=BidirectionalMode.RTP if args.b else BidirectionalMode.MP3,
    )
    for leg in legs:
        sid = StreamSid(random_uuid(os.urandom(16)))
        identity = StreamIdentity(sid, AccountSid("a"), CallSid(f"v3:{leg}"), CallSessionId("c"), "+1", "+2")
        pool.send(leg, wire.OpenStream(leg, identity, stream, "PCMU"))
        while started < leg - 20:
            changed.clear()
            await changed.wait()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await pool.stop(5)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
