"""Latency of the first media message after the WebSocket opened. Used by `bench.py`.

Measured at the app, which is this process; the calls are up and speak. Streams are started one after the other by REST.
"""

import asyncio
import time
from pathlib import Path

from compare import LOADGEN
from picows import WSFrame, WSTransport, WSUpgradeRequest, ws_create_server
from product import HOST, Invalid, processes, started
from runs import QUIET, RTP, Run, Runs, child, serving
from work import Sink

RATE = 20
"""Streams started per second."""
SPEAKING = 1.0
"""Seconds of RTP of the calls before the first stream."""
LISTENER_WAIT = 5.0


class App(Sink):
    """One socket; notes how long its first media message took."""

    def __init__(self, waits: list[float]) -> None:
        super().__init__(echo=False)
        self._waits = waits
        self._opened: float | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        self._opened = time.monotonic()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Messages, and the close."""
        if self._opened is not None and b'"event":"media"' in frame.get_payload_as_bytes():
            self._waits.append(time.monotonic() - self._opened)
            self._opened = None
        super().on_ws_frame(transport, frame)


async def first_frames(runs: Runs, streams: int, folder: Path) -> Run:
    """So many streams; percentiles of the waits, in ms. Raises Invalid."""
    waits: list[float] = []

    def app(_: WSUpgradeRequest) -> App:
        return App(waits)

    sink = await ws_create_server(app, HOST, 0)
    url = f"ws://{HOST}:{sink.sockets[0].getsockname()[1]}/"
    seconds = SPEAKING + streams / RATE
    async with serving(streams, QUIET) as product:
        await product.start((HOST, RTP), (0, "PCMU"), cpu=1)
        (folder / "dests").write_text("\n".join(product.dests) + "\n")
        options = ("-n", str(streams), "-t", str(seconds), "--warmup", "0.1", "--local-port", str(RTP), "--cpu", "0")
        command = (str(LOADGEN), *options, "--dests", str(folder / "dests"))
        with product.apart():
            began, ours = time.monotonic(), processes(product.control + product.workers).cpu + time.process_time()
            async with child(*command, stdout=asyncio.subprocess.PIPE) as generator, product.client() as client:
                await asyncio.sleep(SPEAKING)
                for number, sid in enumerate(product.call_sids, 1):
                    await started(client, sid, {"Url": url})
                    await asyncio.sleep(max(0.0, began + SPEAKING + number / RATE - time.monotonic()))
                out, _ = await generator.communicate()
            spent = processes(product.control + product.workers).cpu + time.process_time() - ours
        run = runs.checked(out, 100 * spent / (time.monotonic() - began))
    sink.close()
    waits.sort()
    if not waits:
        raise Invalid("no app heard anything")
    at = {"p50": len(waits) // 2, "p99": len(waits) * 99 // 100, "max": -1}
    return run | {"streams": streams, "heard": len(waits)} | {f"{name}_ms": 1000 * waits[n] for name, n in at.items()}
