"""Several media workers: whether a packet costs the same with more of them, and whether one that has far too much to do
is felt by another's calls. Used by `bench.py`.
"""

import asyncio
import os
import time
from pathlib import Path

from picows import WSListener, WSTransport, ws_create_server
from product import HOST, Invalid, Product, processes
from runs import QUIET, RTP, SINK, WARM_UP, Row, Run, Runs, serving

HEAVY = {"Codec": "OPUS", "SamplingRate": "48000"}
"""The dearest stream there is."""
HEAVY_PER_CALL = 4
"""As many as a call may have (`streams.per_call_limit`)."""
OVERLOADED = 90.0
"""Percent of the time in which a worker with too much to do runs, or waits for its core."""


class Deaf(WSListener):
    """An app that reads nothing, so that it takes no CPU itself; its worker makes every message all the same."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The upgrade is done."""
        transport.underlying_transport.pause_reading()


def owner(port: int, pids: list[int]) -> int:
    """Which of these processes has this UDP port."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if int(row[1].partition(":")[2], 16) == port}
    for pid in pids:
        if any(os.readlink(file) in sockets for file in Path(f"/proc/{pid}/fd").iterdir()):
            return pid
    raise Invalid(f"no media worker has port {port}")


async def beside(runs: Runs, legs: int, folder: Path, *, overload: bool) -> Run:
    """`legs` calls, half of them on each of two workers, and a stream of each on one; with `overload` the other has
    heavy streams. Figures of the one. Raises Invalid."""
    deaf = await ws_create_server(lambda _: Deaf(), HOST, 0)
    url = f"ws://{HOST}:{deaf.sockets[0].getsockname()[1]}/"
    async with serving(legs, QUIET | {"media.workers": 2}) as product:
        await product.start((HOST, RTP), (0, "PCMU"), cpu=1)
        # The first worker has core 1 for itself; the second, and on two cores the generator too, have another.
        other, one = product.workers
        sids: dict[int, list[str]] = {one: [], other: []}
        for sid, dest in zip(product.call_sids, product.dests, strict=True):
            sids[owner(int(dest.rpartition(":")[2]), [one, other])].append(sid)
        if overload:
            for _ in range(HEAVY_PER_CALL):
                await product.stream(url, HEAVY, sids[other])
        (folder / "dests").write_text("\n".join(product.dests) + "\n")
        (folder / "pids").write_text(str(one))
        more = ("--dests", str(folder / "dests"), "--conns", str(len(sids[one])))
        async with runs.load(Row("one way"), *more) as generator:
            await product.stream(f"ws://{HOST}:{SINK}/", {}, sids[one])
            run, busy = await _watched(runs, product, generator, other)
    deaf.close()
    if overload and busy < OVERLOADED:
        raise Invalid(f"the worker that was to be overloaded was busy for {busy:.0f} % of the time only")
    return run | {"streams": len(sids[one]), "other_busy_pct": busy}


async def _watched(
    runs: Runs, product: Product, generator: asyncio.subprocess.Process, other: int
) -> tuple[Run, float]:
    """The figures, and percent of the time that the other worker ran or was ready to. Until the packets end."""
    before, began = processes([other]), time.monotonic()
    control = processes(product.control).cpu + time.process_time()
    await asyncio.sleep(WARM_UP)
    with product.apart():
        out, _ = await generator.communicate()
    after, took = processes([other]), time.monotonic() - began
    ours = after.cpu - before.cpu + processes(product.control).cpu + time.process_time() - control
    busy = after.cpu + after.waited - before.cpu - before.waited
    return runs.checked(out, 100 * ours / took), 100 * busy / took
