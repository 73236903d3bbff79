"""The product beside the C reference, in alternating runs of one load: what a stream costs, at which latency.

    make bench                    # a few minutes
    make bench BENCH=full         # all sizes, longer and more often; an hour

Each run is a whole one: `trunkline serve` with one worker, a SIP call for each leg, a REST request for each stream,
then the load generator's packets. The generator has core 0 and the worker (or the reference) core 1. A run in which the
generator was late, or something else took more than `--busy` percent of a core or the host took any, says nothing: it
is made again, and after three tries its row says which of the two it was instead of figures, and the exit code is 1.

Into `--out` (bench/results): table.md, runs.json with every figure of every run, and cost.png and cost.svg where
matplotlib is installed (the extra `bench`).
"""

import argparse
import asyncio
import base64
import json
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compare import LIMIT, LOADGEN, TRIES, build
from mp3 import mp3_file
from plot import plot
from product import HOST, Product, processes

SINK, PORTS, RTP = 9140, 56000, 44000
WARM_UP = 2
STOLEN = 2.0
"""Percent of a core that the host may have taken from the machine."""

Run = dict[str, float]


@dataclass(frozen=True)
class Row:
    """A kind of stream. The reference is the C gateway one way, or with these options."""

    name: str
    codec: tuple[int, str] = (0, "PCMU")
    fields: dict[str, str] = field(default_factory=dict)
    """Of the REST request."""
    settings: dict[str, str | int | float] = field(default_factory=dict)
    generator: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    tls: bool = False
    mp3: bool = False


QUIET: dict[str, str | int | float] = {"media.send_silence": "false"}
"""As the reference, which sends nothing back while there is nothing to play."""
RTP_MODE = {"BidirectionalMode": "rtp"}

ROWS = (
    Row("one way", settings=QUIET),
    Row("one way, silence sent back"),
    Row("both tracks", fields={"Track": "both_tracks"}),
    Row("both ways", fields=RTP_MODE, settings=QUIET, generator=("--echo",), reference=("-b",)),
    Row("wss", settings=QUIET, reference=("-T",), tls=True),
    Row("PCMA to PCMU", (8, "PCMA"), {"Codec": "PCMU"}, QUIET, ("--pt", "8")),
    Row("G722 to L16 at 16 kHz", (9, "G722"), {"Codec": "L16", "SamplingRate": "16000"}, QUIET, ("--pt", "9")),
    Row("mp3, one second each second", settings=QUIET, generator=("--echo-batch", "50"), mp3=True),
)


class Invalid(Exception):
    """A run that says nothing, and why."""


class Bench:
    """Runs of one size."""

    def __init__(self, args: argparse.Namespace, legs: int, folder: Path) -> None:
        self._args, self._legs, self._folder = args, legs, folder

    def _generator(self, row: Row, *more: str) -> list[str]:
        certificate = ("--tls-cert", str(self._folder / "cert.pem"), "--tls-key", str(self._folder / "key.pem"))
        return [
            str(LOADGEN) + ("-tls" if row.tls else ""),
            *("-n", str(self._legs), "-w", str(SINK), "-t", str(self._args.seconds), "--warmup", str(WARM_UP)),
            *("--cpu", "0", "--local-port", str(RTP), "--wait", "60", "--pidfile", str(self._folder / "pids")),
            *("--ready-file", str(self._folder / "ready"), *row.generator, *(certificate if row.tls else ())),
            *(("--echo-file", str(self._folder / "mp3.json")) if row.mp3 else ()),
            *more,
        ]

    async def _load(self, row: Row, *more: str) -> asyncio.subprocess.Process:
        """The generator, waiting for its WebSockets."""
        ready = self._folder / "ready"
        ready.unlink(missing_ok=True)
        pipe = asyncio.subprocess.PIPE
        generator = await asyncio.create_subprocess_exec(*self._generator(row, *more), stdout=pipe)
        while not ready.exists():
            if generator.returncode is not None:
                raise SystemExit("the load generator did not start")
            await asyncio.sleep(0.02)
        return generator

    def _checked(self, out: bytes, known: float) -> Run:
        """The generator's figures. `known`: percent of a core that was ours besides the target. Raises Invalid."""
        if not out:
            raise SystemExit("the load generator measured nothing")
        run: Run = json.loads(out)
        if run["tx_stalls"] or run["tx_late_p99_us"] > self._args.late * 1000:
            raise Invalid(f"the generator was late ({run['tx_late_p99_us'] / 1000:.1f} ms at p99)")
        if run["foreign_cpu_pct"] - known > self._args.busy or run["steal_pct"] > self._args.stolen:
            foreign, stolen = run["foreign_cpu_pct"] - known, run["steal_pct"]
            raise Invalid(f"the machine was busy ({foreign:.0f} % of a core for others, {stolen:.0f} % stolen)")
        return run

    async def reference(self, row: Row) -> Run:
        """One run of the C gateway. Raises Invalid."""
        generator = await self._load(row, "-p", str(PORTS), "--stride", "2")
        command = [str(LIMIT) + ("-tls" if row.tls else ""), "-n", str(self._legs), "-p", str(PORTS), "-w", str(SINK)]
        null = asyncio.subprocess.DEVNULL
        target = await asyncio.create_subprocess_exec(*command, "-c", "1", *row.reference, stderr=null)
        (self._folder / "pids").write_text(str(target.pid))
        out, _ = await generator.communicate()
        target.kill()
        await target.wait()
        return self._checked(out, 0)

    async def product(self, row: Row) -> Run:
        """One run of ours. Raises Invalid."""
        with tempfile.TemporaryDirectory() as directory:
            settings = row.settings | ({"streams.ca_file": str(self._folder / "cert.pem")} if row.tls else {})
            product = Product(Path(directory), self._legs, settings)
            try:
                return await self._product(row, product)
            finally:
                await product.stop()

    async def _product(self, row: Row, product: Product) -> Run:
        await product.start((HOST, RTP), row.codec, cpu=1)
        before = {"worker": processes(product.workers), "control": processes(product.control)}
        (self._folder / "dests").write_text("\n".join(product.dests) + "\n")
        (self._folder / "pids").write_text("\n".join(map(str, product.workers)))
        generator = await self._load(row, "--dests", str(self._folder / "dests"))
        await product.stream(f"{'wss' if row.tls else 'ws'}://localhost:{SINK}/", row.fields)
        began, control = time.monotonic(), processes(product.control)
        done = asyncio.create_task(generator.communicate())
        await asyncio.wait((done,), timeout=WARM_UP + self._args.seconds - 0.5)
        after = {"worker": processes(product.workers), "control": processes(product.control)}
        took, spent = time.monotonic() - began, after["control"].cpu - control.cpu
        out, _ = await done
        run = self._checked(out, 100 * spent / took)

        def grown(what: str) -> float:
            return (after[what].rss - before[what].rss) / self._legs

        return run | {
            "control_us_per_pkt": 1e6 * spent / (took * 50 * self._legs),
            "worker_kb_per_stream": grown("worker"),
            "control_kb_per_stream": grown("control"),
            "sip_calls_per_s": product.calls_per_second,
            "rest_streams_per_s": product.streams_per_second,
        }


async def pairs(bench: Bench, row: Row, rounds: int) -> tuple[list[tuple[Run, Run]], list[str]]:
    """Valid pairs of runs (reference, product), alternating; and why others were not."""
    found: list[tuple[Run, Run]] = []
    refused: list[str] = []
    while len(found) < rounds and len(refused) < TRIES:
        try:
            found.append((await bench.reference(row), await bench.product(row)))
        except Invalid as reason:
            refused.append(str(reason))
    return found, refused


COLUMNS = {
    "worker µs/packet": ("sut_us_per_pkt", 1),
    "control µs/packet": ("control_us_per_pkt", 1),
    "latency p50 ms": ("lat_p50_us", 1000),
    "p99 ms": ("lat_p99_us", 1000),
    "max ms": ("lat_max_us", 1000),
    "return jitter p50 ms": ("jit_p50_us", 1000),
    "p99 ms ": ("jit_p99_us", 1000),
    "worker kB/stream": ("worker_kb_per_stream", 1),
    "control kB/stream": ("control_kb_per_stream", 1),
    "streams started/s": ("rest_streams_per_s", 1),
    "SIP calls/s": ("sip_calls_per_s", 1),
}


def line(name: str, legs: int, found: list[tuple[Run, Run]], refused: list[str]) -> str:
    """A row of the table: medians of the valid runs."""
    if not found:
        return f"| {name} | {legs} | refused: {refused[-1]} |" + " |" * (len(COLUMNS) + 2)
    reference = statistics.median(pair[0]["sut_us_per_pkt"] for pair in found)
    ratio = statistics.median(pair[1]["sut_us_per_pkt"] / pair[0]["sut_us_per_pkt"] for pair in found)
    cells = [f"{ratio:.2f}", f"{reference:.1f}"]
    for key, unit in COLUMNS.values():
        value = statistics.median(pair[1][key] for pair in found) / unit
        unread = key == "lat_max_us" and found[0][1]["lat_p50_us"] < 0
        cells.append("" if value < 0 or unread else f"{value:.1f}")
    lost = sum(int(pair[1]["ws_lost"] + pair[1]["rtp_lost"]) for pair in found)
    return f"| {name} | {legs} | {' | '.join(cells)} | {lost} |"


def table(results: list[dict[str, Any]]) -> str:
    """All rows, as Markdown."""
    head = ["row", "streams", "ratio to C", "C µs/packet", *COLUMNS, "lost"]
    lines = ["| " + " | ".join(name.strip() for name in head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + [line(r["row"], r["legs"], r["pairs"], r["refused"]) for r in results]) + "\n"


def prepare(folder: Path) -> None:
    """What runs need besides their processes: programs, a certificate for localhost, a message with an mp3 file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    build()
    source, tls = str(LIMIT) + ".c", str(LIMIT) + "-tls"
    try:
        subprocess.run(["make", "-s", "-C", str(LOADGEN.parent), "loadgen-tls"], check=True)
        subprocess.run(["gcc", "-O2", "-DTLS", "-o", tls, source, "-lssl", "-lcrypto"], check=True)
    except subprocess.CalledProcessError:
        raise SystemExit("OpenSSL's headers are needed for the row wss (Debian: libssl-dev)") from None
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*request, *files], check=True, stderr=subprocess.DEVNULL)
    ssl.create_default_context(cafile=folder / "cert.pem")
    payload = base64.b64encode(mp3_file(seconds=1)).decode()
    (folder / "mp3.json").write_text(json.dumps({"event": "media", "media": {"payload": payload}}))


def arguments() -> argparse.Namespace:
    full = os.environ.get("BENCH") == "full"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", default="100,250,500,1000" if full else "100,250", help="sizes, in streams")
    parser.add_argument("--only", action="append", help="a row's name; may be given again")
    parser.add_argument("--rounds", type=int, default=3 if full else 1)
    parser.add_argument("--seconds", type=int, default=8 if full else 4)
    parser.add_argument("--late", type=float, default=5, help="ms at p99 that the generator may be late")
    parser.add_argument("--busy", type=float, default=15, help="percent of a core that others may take")
    parser.add_argument("--stolen", type=float, default=STOLEN, help="percent of a core that the host may take")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


async def main(args: argparse.Namespace) -> int:
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for row in ROWS:
            if args.only and row.name not in args.only:
                continue
            for legs in map(int, args.n.split(",")):
                found, refused = await pairs(Bench(args, legs, Path(folder)), row, args.rounds)
                results.append({"row": row.name, "legs": legs, "pairs": found, "refused": refused})
                sys.stderr.write(line(row.name, legs, found, refused) + "\n")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "table.md").write_text(table(results))
    (args.out / "runs.json").write_text(json.dumps(results, indent=1))
    drawn = plot(results, args.out)
    sys.stdout.write(f"{table(results)}\n{args.out}: table.md, runs.json{''.join(f', {name}' for name in drawn)}\n")
    return int(any(not result["pairs"] for result in results))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
