"""What decoding mp3 files costs the packets of other streams: one-way latency of N streams, without and with an app
that sends a 30 s file every second to another call of the same worker.

    python bench/mp3.py [-n 100] [--seconds 8]

Two processes here, a worker and its decoder, and the load generator; figures are printed, never asserted.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from compare import LOADGEN, build
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from worker import Bench

SINK, APP, FILE_SECONDS = 9200, 9201, 30


def mp3_file(seconds: int = FILE_SECONDS) -> bytes:
    """So much of a 44.1 kHz stereo tone."""
    rate = 44100
    samples = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate * seconds) / rate)).astype(np.int16)
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        stream = container.add_stream("mp3", rate=rate)
        frame = av.AudioFrame.from_ndarray(np.repeat(samples, 2)[np.newaxis], format="s16", layout="stereo")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return out.getvalue()


async def measure(bench: Bench, args: argparse.Namespace, dests: Path) -> dict[str, float]:
    command = ["-n", str(args.n), "-w", str(SINK), "-t", str(args.seconds), "--dests", str(dests), "--cpu", "0"]
    process = await asyncio.create_subprocess_exec(str(LOADGEN), *command, stdout=asyncio.subprocess.PIPE)
    await bench.open_streams(range(1, args.n + 1), SINK)
    out, _ = await process.communicate()
    figures: dict[str, float] = json.loads(out)
    return figures


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=8)
    args = parser.parse_args()
    build()
    message = json.dumps({"event": "media", "media": {"payload": base64.b64encode(mp3_file()).decode()}})
    sent = 0

    async def app(socket: ServerConnection) -> None:
        nonlocal sent
        with suppress(ConnectionClosed):
            while True:
                await socket.send(json.dumps({"event": "clear"}))
                await socket.send(message)
                sent += 1
                await asyncio.sleep(1.1)

    with tempfile.TemporaryDirectory() as folder:
        dests = Path(folder) / "dests"
        for loaded in (False, True):
            bench = Bench(legs=args.n + 1)
            ports = await bench.start()
            os.sched_setaffinity(bench.pid, {1})
            dests.write_text("".join(f"127.0.0.1:{port}\n" for port in ports[: args.n]))
            async with serve(app, "127.0.0.1", APP, compression=None, max_size=None):
                if loaded:
                    await bench.open_streams([args.n + 1], APP)
                figures = await measure(bench, args, dests)
                await bench.stop()
            names = ("lat_p50_us", "lat_p99_us", "lat_max_us", "ws_lost", "tx_late_p99_us")
            row = "  ".join(f"{name} {figures[name]:.0f}" for name in names)
            sys.stdout.write(f"{f'with {sent} files' if loaded else 'without':>15}: {row}\n")


if __name__ == "__main__":
    asyncio.run(main())
