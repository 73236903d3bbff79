"""Kills a server while calls are streamed, again and again, and counts what is lost: `make crash`.

    python tests/rounds/crash.py [ROUNDS] [KIND ...]

Each round starts a server, has calls come in whose document streams them, kills (`kill -9`) as its kind says at a
random moment, starts the server again, and waits until each call and stream is reported as over. Then it counts end
events that are missing or came twice, `completed` callbacks likewise, and callers that got no BYE.

    control   the control process, while calls are up
    tree      the control process and its media workers
    worker    the media workers
    churn     the control process, while calls come and go
"""

import asyncio
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from peers.harness import RecordingApp, children, new_server
from trunkline.demo.audio import speech
from trunkline.demo.caller import DemoCaller
from trunkline.demo.errors import CallFailed
from trunkline.demo.server import ServerProcess
from webapp import Answer, WebApp, texml

KINDS = ("control", "tree", "worker", "churn")
ROUNDS = 20
CALLS = 10
"""Of each round, at once."""
FRAMES = speech(100)
"""What each caller says."""
LONGEST = 3.0
"""Seconds from the first call to the kill."""
PATIENCE = 30.0
"""Seconds until everything must be reported."""
ENDS = ("stream-stopped", "stream-error")


@dataclass
class Round:
    """What one round has seen."""

    web: WebApp
    app: RecordingApp
    calls: set[str] = field(default_factory=set)
    """Sids of calls that were answered."""
    up: list[DemoCaller] = field(default_factory=list)
    """Callers whose call was up at the kill."""

    def reported(self, path: str, member: str, of: Callable[[dict[str, str]], bool]) -> dict[str, set[str]]:
        """The callbacks' ids, by the sid in `member`."""
        found: dict[str, set[str]] = {}
        for callback in self.web.asked(path):
            if of(callback.fields):
                found.setdefault(callback.fields[member], set()).add(callback.headers["webhook-id"])
        return found

    @property
    def streams(self) -> set[str]:
        """Those that the app or the host of callbacks has heard of."""
        seen = {start["stream_id"] for socket in self.app.sockets for start in socket.all("start")}
        return seen | {callback.fields["StreamSid"] for callback in self.web.asked("/stream")}

    def ends(self) -> dict[str, set[str]]:
        """The end events of each stream."""
        return self.reported("/stream", "StreamSid", lambda form: form["StreamEvent"] in ENDS)

    def completed(self) -> dict[str, set[str]]:
        """The last callback of each call."""
        last = ("completed", "failed", "busy", "no-answer", "canceled")
        return self.reported("/call", "CallSid", lambda form: form["CallStatus"] in last)

    def over(self) -> bool:
        """All that is known was reported as over."""
        return self.streams <= self.ends().keys() and self.calls <= self.completed().keys()

    def figures(self) -> Counter[str]:
        """What the table shows."""
        ends, completed = self.ends(), self.completed()
        return Counter(
            {
                "calls": len(self.calls),
                "streams": len(self.streams),
                "ends lost": len(self.streams - ends.keys()),
                "ends doubled": sum(len(ids) > 1 for ids in ends.values()),
                "completed lost": len(self.calls - completed.keys()),
                "completed doubled": sum(len(ids) > 1 for ids in completed.values()),
                "up at the kill": len(self.up),
                "without BYE": sum(not caller.ended_by_server for caller in self.up),
            }
        )


async def play(kind: str, directory: Path) -> Counter[str]:
    """One round."""
    async with WebApp() as web, RecordingApp() as app:
        stream = f'<Connect><Stream url="{app.url}" statusCallback="{web.url}/stream"/></Connect>'
        web.answers |= {"/voice": texml(stream), "/stream": Answer(), "/call": Answer()}
        application = {"name": "bot", "voice_url": f"{web.url}/voice", "status_callback": f"{web.url}/call"}
        server = new_server(
            directory,
            media_ports=4 * CALLS,
            applications=json.dumps([application]),
            numbers='[{"pattern": "*", "application": "bot"}]',
        )
        seen = Round(web, app)
        await server.start()
        try:
            await _kill_in_calls(kind, server, seen)
            await web.watch.until(seen.over, PATIENCE)
        finally:
            await server.stop()  # which sends what is due
        return seen.figures()


def _over(caller: DemoCaller) -> bool:
    return not caller.up


class Lines:
    """`CALLS` callers, each of which calls again once its call is over, until `stop`."""

    def __init__(self, server: ServerProcess, seen: Round, *, churn: bool) -> None:
        self._server = server
        self._seen = seen
        self._churn = churn
        self._stop = asyncio.Event()
        self.callers: set[DemoCaller] = set()
        """Whose calls are up."""

    def stop(self) -> None:
        """No more calls."""
        self._stop.set()
        for caller in self.callers:
            caller.watch.changed()

    async def run(self) -> None:
        """One caller."""
        while not self._stop.is_set():
            async with DemoCaller(self._server.sip_address, FRAMES) as caller:
                try:
                    await caller.call(timeout=3)
                except CallFailed:
                    return  # the server has gone meanwhile
                self._seen.calls.add(caller.call_sid)
                self.callers.add(caller)
                if self._churn and random.random() < 0.7:
                    await caller.watch.until(self._stop.is_set, random.uniform(0.1, 1.0))
                if not self._stop.is_set() and self._churn:
                    await caller.hang_up()
                await caller.watch.until(partial(_over, caller), PATIENCE)
                self.callers.discard(caller)


async def _kill_in_calls(kind: str, server: ServerProcess, seen: Round) -> None:
    lines = Lines(server, seen, churn=kind == "churn")
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLS):
            group.create_task(lines.run())
        await asyncio.sleep(random.uniform(0.3, LONGEST))
        workers = children(server)
        if kind in ("worker", "tree"):
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
        if kind != "worker":
            server.process.kill()
        seen.up = [caller for caller in lines.callers if caller.up]
        lines.stop()
        if kind != "worker":
            await server.kill()
            await server.start()


async def main(rounds: int, kinds: list[str]) -> int:
    """All rounds; 1 if anything was lost or doubled."""
    console = Console()
    totals = {kind: Counter[str]() for kind in kinds}
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}")
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        for kind in kinds:
            task = progress.add_task(kind, total=rounds)
            for _ in range(rounds):
                with tempfile.TemporaryDirectory() as directory:
                    totals[kind].update(await play(kind, Path(directory)))
                progress.advance(task)
    names = list(next(iter(totals.values())))
    table = Table("kill", *names, box=None, title=f"{rounds} rounds of each kind")
    for kind, total in totals.items():
        table.add_row(kind, *(str(total[name]) for name in names))
    console.print(table)
    bad = sum(total[name] for total in totals.values() for name in names if name.split()[-1] in ("lost", "doubled"))
    bad += sum(total["without BYE"] for total in totals.values())
    console.print("nothing was lost or doubled" if not bad else f"{bad} lost, doubled or left", style="bold")
    return int(bad > 0)


if __name__ == "__main__":
    wanted = sys.argv[2:] or list(KINDS)
    if unknown := set(wanted) - set(KINDS):
        sys.exit(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS, wanted)))
