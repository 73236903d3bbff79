"""The product beside the C reference, in alternating runs of one load: what a stream costs, at which latency.

    make bench                    # some five minutes
    make bench BENCH=full         # all sizes, longer and more often, and the most streams per core; most of an hour

Each run is a whole one: `trunkline serve` with one worker, a SIP call for each leg, a REST request for each stream,
then the load generator's packets. The generator has core 0 and the worker (or the reference) core 1. A run in which the
generator was late, or something else took more than `--busy` percent of a core or the host took any, says nothing: it
is made again, and after three tries its row says which of the two it was instead of figures, and the exit code is 1.

Parts, of which `--parts` chooses some:

    rows      every kind of stream at every size, beside the reference; how flat their cost is; Asterisk's figures
    most      the most streams per core, one way and both ways, ours and the reference's (only with BENCH=full)
    loaded    jitter of the playback clock, `--loaded` streams both ways, while the API is under load
    first     from the opening of an app's WebSocket to its first media message
    workers   what a packet costs, and its latency, with one worker and with several
    overload  the latency of a worker's calls beside a worker that has too much to do

Into `--out` (bench/results): table.md, runs.json with every figure of every run, and cost.png and cost.svg where
matplotlib is installed (the extra `bench`).
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from first import first_frames
from loaded import under_requests
from most import most
from plot import plot
from product import Invalid
from report import Measured, Results, Row, line, text
from runs import ROWS, Run, Runs, prepare, tried
from runs import Row as Kind

from trunkline import compiled
from workers import beside

PARTS = ("rows", "most", "loaded", "first", "workers", "overload")
STOLEN = 2.0
"""Percent of a core that the host may have taken from the machine."""
KINDS = {row.name: row for row in ROWS}
FIRST_STREAMS = 60


class Bench:
    """All parts."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self._args, self._folder = args, folder
        self.results = Results()

    def _runs(self, legs: int) -> Runs:
        return Runs(self._args, legs, self._folder)

    async def _other(self, name: str, make: Callable[[], Awaitable[Run]]) -> Measured:
        """One valid run."""
        sys.stderr.write(f"{name}\n")
        found, refused = await tried(make, 1)
        return Measured(name, found[0]) if found else Measured(name, None, refused[-1])

    async def rows(self) -> None:
        """Every kind of stream at every size."""
        for row in ROWS:
            if self._args.only and row.name not in self._args.only:
                continue
            for legs in map(int, self._args.n.split(",")):
                runs = self._runs(legs)

                async def pair(runs: Runs = runs, row: Kind = row) -> tuple[Run, Run]:
                    return await runs.reference(row), await runs.product(row)

                found, refused = await tried(pair, self._args.rounds)
                self.results.rows.append(Row(row.name, legs, found, refused))
                sys.stderr.write(line(self.results.rows[-1]) + "\n")

    async def most(self) -> None:
        """The most streams per core."""
        for name, start in (("one way", self._args.start), ("both ways", self._args.start // 2)):
            for who in ("product", "C"):

                async def measured(legs: int, name: str = name, who: str = who) -> Run:
                    runs = self._runs(legs)
                    make = runs.product if who == "product" else runs.reference
                    found, refused = await tried(partial(make, KINDS[name]), 1)
                    sys.stderr.write(f"{name}, {who}, {legs}: {_words(found, refused)}\n")
                    if not found:
                        raise Invalid(refused[-1])
                    return found[0]

                self.results.most.setdefault(name, {})[who] = await most(measured, start)

    async def loaded(self) -> None:
        """Jitter while the API is under load, and while it is not."""
        legs = self._args.loaded
        runs, row = self._runs(legs), KINDS["both ways"]
        self.results.loaded = [
            await self._other(f"{legs} streams both ways", partial(runs.product, row, during=under_requests))
        ]

    async def first(self) -> None:
        """From a socket's opening to its first media message."""
        make = partial(first_frames, self._runs(FIRST_STREAMS), FIRST_STREAMS, self._folder)
        self.results.first = [await self._other("one way", make)]

    async def workers(self) -> None:
        """One worker, then several with the same load each; on two cores, where the second shares one with the
        generator, with the same load together."""
        cores = os.cpu_count() or 1
        several = max(2, cores - 1)
        each = self._args.each
        total = each * several if cores > several else each
        for count, legs in ((1, each), (several, total)):
            name = f"{count} worker{'s' if count > 1 else ''}, {legs // count} streams each"
            make = partial(self._runs(legs).product, KINDS["one way"], workers=count)
            self.results.workers.append(await self._other(name, make))

    async def overload(self) -> None:
        """A worker alone, then beside one that has too much to do."""
        legs = self._args.each
        for overload in (False, True):
            name = "beside one with too much to do" if overload else "beside one that has nothing to do"
            make = partial(beside, self._runs(legs), legs, self._folder, overload=overload)
            self.results.overload.append(await self._other(name, make))


def _words(found: list[Run], refused: list[str]) -> str:
    if not found:
        return f"refused: {refused[-1]}"
    run = found[0]
    lost = int(run["ws_lost"] + run["rtp_lost"])
    return f"{run['sut_us_per_pkt']:.1f} µs/packet, p99 {run['lat_p99_us'] / 1000:.1f} ms, {lost} lost"


def arguments() -> argparse.Namespace:
    full = os.environ.get("BENCH") == "full"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", default="100,250,500,1000" if full else "100,250", help="sizes, in streams")
    parser.add_argument("--parts", help="which, separated by commas; only rows where --only is given")
    parser.add_argument("--only", action="append", choices=KINDS, help="a row's name; may be given again")
    parser.add_argument("--rounds", type=int, default=3 if full else 1, help="pairs of runs of each row and size")
    parser.add_argument("--seconds", type=int, default=5 if full else 4)
    parser.add_argument("--start", type=int, default=600, help="where the search for the most streams begins")
    parser.add_argument("--loaded", type=int, default=500 if full else 250, help="streams while the API is loaded")
    parser.add_argument("--each", type=int, default=200, help="streams of each worker where there are several")
    parser.add_argument("--late", type=float, default=5, help="ms at p99 that the generator may be late")
    parser.add_argument("--busy", type=float, default=15, help="percent of a core that others may take")
    parser.add_argument("--stolen", type=float, default=STOLEN, help="percent of a core that the host may take")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    usual = [part for part in PARTS if full or part != "most"]
    args.parts = args.parts.split(",") if args.parts else ["rows"] if args.only else usual
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    return args


def write(results: Results, folder: Path) -> None:
    """All files, and the tables on standard output."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text(results))
    (folder / "runs.json").write_text(json.dumps(asdict(results), indent=1))
    drawn = plot(results.rows, folder) if results.rows else []
    sys.stdout.write(f"{text(results)}\n{folder}: table.md, runs.json{''.join(f', {name}' for name in drawn)}\n")


async def main(args: argparse.Namespace) -> int:
    if compiled.FALLBACK_REASON:
        sys.stderr.write(f"The packet path is measured as Python, uncompiled: {compiled.FALLBACK_REASON}.\n")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        bench = Bench(args, Path(folder))
        try:
            for part in args.parts:
                await getattr(bench, part)()
        finally:
            write(bench.results, args.out)
    return int(not bench.results.complete)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(arguments())))
    except KeyboardInterrupt:
        sys.exit(130)
