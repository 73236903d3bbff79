"""Has calls come and go for a while and watches what the server holds: `make soak MINUTES=10`.

    python tests/rounds/soak.py [MINUTES]

Each call is streamed both ways, its audio comes back. Every few seconds memory, descriptors and threads of all
processes are read; the slopes of the second half are what counts, since caches and allocators fill up first: for some
thousand calls, so that a run of less than ten minutes shows growth that ends.
"""

import asyncio
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from telnyx import AsyncTelnyx

from peers.harness import RecordingApp, children, new_server
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.server import ServerProcess

MINUTES = 10.0
AT_ONCE = 8
FRAMES = speech(100)
INTERVAL = 5.0
"""Seconds between two readings."""
LIMITS = {"memory, kB": 4.0, "descriptors": 0.01, "threads": 0.001}
"""The most that each may grow by, for each call of the second half."""
BARS = "▁▂▃▄▅▆▇█"


@dataclass
class Readings:
    """Of each kind, in order, and how many calls were over by then."""

    calls: list[int] = field(default_factory=list)
    of: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in LIMITS})

    def read(self, server: ServerProcess, calls: int) -> None:
        """One reading of all processes of a server."""
        pids = [server.process.pid, *children(server)]
        rollups = "\n".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
        private = [int(line.split()[1]) for line in rollups.splitlines() if line.startswith("Private_")]
        self.calls.append(calls)
        self.of["memory, kB"].append(sum(private))
        self.of["descriptors"].append(sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids))
        self.of["threads"].append(sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids))

    def slope(self, name: str) -> float:
        """Growth for each call of the second half: by the least squares."""
        half = len(self.calls) // 2
        return statistics.linear_regression(self.calls[half:], self.of[name][half:]).slope


async def call(server: ServerProcess, client: AsyncTelnyx) -> None:
    """One call, streamed both ways."""
    async with RecordingApp() as app, DemoCaller(server.sip_address, FRAMES) as caller:
        app.echo = True
        await caller.call()
        await client.texml.accounts.calls.streams_json(
            caller.call_sid, account_sid=server.account_sid, url=app.url, bidirectional_mode="rtp"
        )
        socket = await app.socket()
        if not await caller.watch.until(lambda: len(caller.heard) >= len(FRAMES), 30):
            raise RuntimeError(f"call {caller.call_sid} did not get its audio back")
        app.echo = False
        await caller.hang_up()
        await app.watch.until(lambda: socket.close_code is not None, 30)


async def soak(minutes: float, readings: Readings, progress: Progress) -> None:
    """The calls and the readings."""
    loop = asyncio.get_running_loop()
    start, done = loop.time(), 0
    task = progress.add_task("calls", total=minutes * 60)
    with tempfile.TemporaryDirectory() as directory:
        server = new_server(Path(directory), media_ports=400)
        await server.start()
        async with AsyncTelnyx(api_key=server.api_key, base_url=server.base_url) as client:

            async def line() -> None:
                nonlocal done
                while loop.time() < start + minutes * 60:
                    await call(server, client)
                    done += 1

            async with asyncio.TaskGroup() as group:
                lines = [group.create_task(line()) for _ in range(AT_ONCE)]
                while not all(one.done() for one in lines):
                    readings.read(server, done)
                    progress.update(task, completed=loop.time() - start, description=f"{done} calls")
                    await asyncio.wait(lines, timeout=INTERVAL, return_when=asyncio.ALL_COMPLETED)
        await server.stop()


def plot(values: list[float], width: int = 40) -> str:
    """A line of bars from the least to the most."""
    step = max(1, len(values) // width)
    shown, least = values[::step], min(values)
    span = (max(values) - least) or 1
    return "".join(BARS[int((value - least) / span * (len(BARS) - 1))] for value in shown)


def main(minutes: float) -> int:
    """1 if anything grows."""
    console, readings = Console(), Readings()
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        asyncio.run(soak(minutes, readings, progress))
    table = Table("", "first", "last", "for each call", "may be", "", box=None)
    grows = False
    for name, limit in LIMITS.items():
        values, slope = readings.of[name], readings.slope(name)
        grows |= slope > limit
        table.add_row(name, f"{values[0]:.0f}", f"{values[-1]:.0f}", f"{slope:+.4f}", f"{limit:g}", plot(values))
    console.print(table)
    console.print("something grows" if grows else f"nothing grows, {readings.calls[-1]} calls", style="bold")
    return int(grows)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
