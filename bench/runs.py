"""One run each: the C reference or the product under the load generator. Used by `bench.py` and what is beside it.

The generator has core 0, the worker (or the reference) core 1; while a run is measured the control process keeps off
the workers' cores. A run that says nothing raises `Invalid`.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import resource
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
from compare import LIMIT, LOADGEN, TRIES, build
from mp3 import mp3_file
from product import HOST, Invalid, Product, processes

from trunkline.demo.errors import ServerFailed

SINK, PORTS, RTP = 9140, 56000, 44000
WARM_UP = 2
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
    Row("one way, silence sent back", reference=("-b", "-i")),
    Row("both tracks", fields={"Track": "both_tracks"}, reference=("-b", "-i", "-2")),
    Row("both ways", fields=RTP_MODE, settings=QUIET, generator=("--echo",), reference=("-b",)),
    Row("wss", settings=QUIET, reference=("-T",), tls=True),
    Row("PCMA to PCMU", (8, "PCMA"), {"Codec": "PCMU"}, QUIET, ("--pt", "8")),
    Row("G722 to L16 at 16 kHz", (9, "G722"), {"Codec": "L16", "SamplingRate": "16000"}, QUIET, ("--pt", "9")),
    Row("mp3, one second each second", settings=QUIET, generator=("--echo-batch", "50"), mp3=True),
)


During = Callable[[Product, float], Awaitable[Run]]
"""What goes on for so many seconds while the product is measured."""
Made = TypeVar("Made")


class Runs:
    """Runs of one size, in `folder`, which `prepare` has filled."""

    def __init__(self, args: argparse.Namespace, legs: int, folder: Path) -> None:
        """Of `args`: `seconds`, `late`, `busy`, `stolen`."""
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

    @contextlib.asynccontextmanager
    async def load(self, row: Row, *more: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The generator, waiting for its WebSockets."""
        ready = self._folder / "ready"
        ready.unlink(missing_ok=True)
        async with child(*self._generator(row, *more), stdout=asyncio.subprocess.PIPE) as generator:
            while not ready.exists():
                if generator.returncode is not None:
                    raise SystemExit("the load generator did not start")
                await asyncio.sleep(0.02)
            yield generator

    def checked(self, out: bytes, known: float) -> Run:
        """The generator's figures. `known`: percent of a core that was ours besides the target. Raises Invalid."""
        if not out:
            raise Invalid("the load generator measured nothing")
        run: Run = json.loads(out)
        if run["tx_stalls"] or run["tx_late_p99_us"] > self._args.late * 1000:
            raise Invalid(f"the generator was late ({run['tx_late_p99_us'] / 1000:.1f} ms at p99)")
        if run["foreign_cpu_pct"] - known > self._args.busy or run["steal_pct"] > self._args.stolen:
            foreign, stolen = run["foreign_cpu_pct"] - known, run["steal_pct"]
            raise Invalid(f"the machine was busy ({foreign:.0f} % of a core for others, {stolen:.0f} % stolen)")
        return run

    async def reference(self, row: Row) -> Run:
        """One run of the C gateway. Raises Invalid."""
        command = [str(LIMIT) + ("-tls" if row.tls else ""), "-n", str(self._legs), "-p", str(PORTS), "-w", str(SINK)]
        async with (
            self.load(row, "-p", str(PORTS), "--stride", "2") as generator,
            child(*command, "-c", "1", *row.reference, stderr=asyncio.subprocess.DEVNULL) as target,
        ):
            (self._folder / "pids").write_text(str(target.pid))
            out, _ = await generator.communicate()
        return self.checked(out, 0)

    async def product(self, row: Row, *, workers: int = 1, during: During | None = None) -> Run:
        """One run of ours; `during` goes on while it is measured, and adds its figures. Raises Invalid."""
        settings = row.settings | {"media.workers": workers}
        settings |= {"streams.ca_file": str(self._folder / "cert.pem")} if row.tls else {}
        async with serving(self._legs, settings) as product:
            await product.start((HOST, RTP), row.codec, cpu=1)
            before = {"worker": processes(product.workers), "control": processes(product.control)}
            (self._folder / "dests").write_text("\n".join(product.dests) + "\n")
            (self._folder / "pids").write_text("\n".join(map(str, product.workers)))
            async with self.load(row, "--dests", str(self._folder / "dests")) as generator:
                await product.stream(f"{'wss' if row.tls else 'ws'}://localhost:{SINK}/", row.fields)
                with product.apart():
                    run = await self._measured(product, generator, during)
            after = {"worker": processes(product.workers), "control": processes(product.control)}

        def grown(what: str) -> float:
            return (after[what].rss - before[what].rss) / self._legs

        return run | {
            "worker_kb_per_stream": grown("worker"),
            "control_kb_per_stream": grown("control"),
            "sip_calls_per_s": product.calls_per_second,
            "rest_streams_per_s": product.streams_per_second,
        }

    async def _measured(self, product: Product, generator: asyncio.subprocess.Process, during: During | None) -> Run:
        """From the start of the packets to the end of the measuring."""
        began, control, own = time.monotonic(), processes(product.control), time.process_time()
        decoders = processes(product.decoders)
        done = asyncio.create_task(generator.communicate())
        extra: Run = {}
        if during is not None:
            extra = await during(product, WARM_UP + self._args.seconds - 0.5)
        await asyncio.wait((done,), timeout=max(0, began + WARM_UP + self._args.seconds - 0.5 - time.monotonic()))
        took = time.monotonic() - began
        spent, ours = processes(product.control).cpu - control.cpu, time.process_time() - own
        decoding = processes(product.decoders).cpu - decoders.cpu
        out, _ = await done
        run = self.checked(out, 100 * (spent + ours + decoding) / took)
        return run | extra | {"control_us_per_pkt": 1e6 * spent / (took * 50 * self._legs)}


@contextlib.asynccontextmanager
async def child(
    *command: str, stdout: int | None = None, stderr: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that does not outlive its block, whatever ends that."""
    process = await asyncio.create_subprocess_exec(*command, stdout=stdout, stderr=stderr)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def serving(legs: int, settings: dict[str, str | int | float]) -> AsyncIterator[Product]:
    """The product, yet to be started, and its end."""
    with tempfile.TemporaryDirectory() as directory:
        product = Product(Path(directory), legs, settings)
        try:
            yield product
        finally:
            await product.stop()


async def tried(make: Callable[[], Awaitable[Made]], rounds: int) -> tuple[list[Made], list[str]]:
    """So many valid runs, and why others were not, be it that the product failed; no more after `TRIES` of those."""
    found: list[Made] = []
    refused: list[str] = []
    while len(found) < rounds and len(refused) < TRIES:
        try:
            found.append(await make())
        except (Invalid, ServerFailed, httpx.HTTPError, TimeoutError) as reason:
            refused.append(str(reason) or type(reason).__name__)
    return found, refused


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
