"""Set-ups of calls: sipp calls, each call is streamed by REST and ends; how many fail, and what one costs.

    python bench/setups.py [CALLS_PER_SECOND [SECONDS]]

Needs sipp. CPU is that of the control process and of the media workers, with two callbacks for each stream; sipp, the
app and the REST client are ours too and share the machine, so a rate that fails here may be theirs to blame.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from peers import sipp
from peers.harness import RecordingApp, children, new_server, running
from trunkline.demo.callbacks import CallbackReceiver

TICKS = 100
TALK = 3000
"""Milliseconds of a call."""


def cpu(pids: list[int]) -> float:
    """Seconds that the processes have used."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS


async def measure(rate: int, seconds: int, directory: Path) -> str:
    """One run, in words."""
    calls = rate * seconds
    server = new_server(directory, media_ports=40 * rate)
    refused: list[str] = []
    waits: list[float] = []
    async with (
        running(server),
        RecordingApp() as app,
        CallbackReceiver() as callbacks,
        httpx.AsyncClient(headers={"Authorization": f"Bearer {server.api_key}"}, timeout=20) as client,
    ):

        async def start(call_sid: str) -> None:
            began = time.monotonic()
            url = f"{server.base_url}/texml/Accounts/{server.account_sid}/Calls/{call_sid}/Streams.json"
            answer = await client.post(url, json={"Url": app.url, "StatusCallback": callbacks.url})
            waits.append(time.monotonic() - began)
            if answer.status_code != 200:
                refused.append(answer.text)

        steps = (sipp.invite(sipp.sdp(sipp.PCMU_LINES)), sipp.answered(), sipp.ack(), sipp.pause(TALK), sipp.bye(2))
        control, workers = [server.process.pid], children(server)
        before = cpu(control), cpu(workers)
        began = time.monotonic()
        limits = {"calls": calls, "rate": rate, "seconds": seconds + 60, "media_ports": 4}
        async with sipp.SippRun(directory, server.sip_address, steps, **limits) as run:
            await asyncio.gather(*[asyncio.create_task(start((await run.answered()).call_sid)) for _ in range(calls)])
            took = time.monotonic() - began
            await run.succeeds(120)
        await callbacks.watch.until(lambda: len(callbacks.received) >= 2 * calls, 30)
        spent = cpu(control) - before[0], cpu(workers) - before[1]
    waits.sort()
    return (
        f"{calls} calls at {rate}/s in {took:.1f} s: {len(refused)} starts refused, {len(app.sockets)} streams, "
        f"{len(callbacks.received)} of {2 * calls} callbacks\n"
        f"CPU per set-up: control {1000 * spent[0] / calls:.1f} ms, workers {1000 * spent[1] / calls:.1f} ms\n"
        f"start of a stream: p50 {1000 * waits[calls // 2]:.0f} ms, p99 {1000 * waits[calls * 99 // 100]:.0f} ms"
    )


def main() -> None:
    """Measure and print."""
    given = [int(value) for value in sys.argv[1:]]
    rate, seconds = given + [100, 20][len(given) :]
    with tempfile.TemporaryDirectory() as directory:
        sys.stdout.write(asyncio.run(measure(rate, seconds, Path(directory))) + "\n")


if __name__ == "__main__":
    main()
