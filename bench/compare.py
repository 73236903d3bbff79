"""The real media worker beside the C limit, in alternating runs of one load: what counts is the ratio.

    python bench/compare.py -n 300 [-b] [--seconds 5] [--rounds 3]

Builds the load generator and the limit, needs two cores (generator on 0, target on 1). A run in which the generator
itself was late is thrown away and made again, three times at most.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from trunkline import compiled

HERE = Path(__file__).parent
LOADGEN = HERE / "loadgen" / "loadgen"
LIMIT = HERE / "limit" / "gw"
ROWS = ("sut_us_per_pkt", "lat_p50_us", "lat_p99_us", "jit_p99_us", "ws_lost", "rtp_lost", "sut_rss_kb")
LATE_US = 5000
TRIES = 3
POLL = 0.02
"""Seconds between two looks at whether a process is ready."""
SINK, PORTS = 9100, 50000

Run = dict[str, float]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=300, help="streams")
    parser.add_argument("-b", action="store_true", help="both ways")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def build() -> None:
    subprocess.run(["make", "-s", "-C", str(HERE / "loadgen"), "loadgen"], check=True)
    subprocess.run(["gcc", "-O2", "-o", str(LIMIT), str(LIMIT) + ".c"], check=True)


def loadgen(args: argparse.Namespace, *more: str) -> subprocess.Popen[str]:
    command = [str(LOADGEN), "-n", str(args.n), "-w", str(SINK), "-t", str(args.seconds), "--cpu", "0", *more]
    if args.b:
        command.append("--echo")
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def listening(generator: subprocess.Popen[str], ready: Path) -> None:
    while not ready.exists():
        if generator.poll() is not None:
            sys.exit(f"the load generator ended: {generator.stderr.read() if generator.stderr else ''}")
        time.sleep(POLL)


def result(generator: subprocess.Popen[str]) -> Run:
    out, said = generator.communicate(timeout=120)
    if not out:
        sys.exit(f"the load generator measured nothing: {said}")
    run: Run = json.loads(out)
    return run


def limit(args: argparse.Namespace, folder: Path) -> Run:
    pidfile, ready = folder / "limit.pid", folder / "limit.ready"
    generator = loadgen(args, "-p", str(PORTS), "--stride", "2", "--pidfile", str(pidfile), "--ready-file", str(ready))
    listening(generator, ready)
    command = [str(LIMIT), "-n", str(args.n), "-p", str(PORTS), "-w", str(SINK), "-c", "1", *(["-b"] if args.b else [])]
    target = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    pidfile.write_text(str(target.pid))
    try:
        return result(generator)
    finally:
        target.kill()
        target.wait()


def worker(args: argparse.Namespace, folder: Path) -> Run:
    pidfile, dests = folder / "worker.pid", folder / "worker.dests"
    command = [sys.executable, str(HERE / "worker.py"), "-n", str(args.n), "-w", str(SINK), "--cpu", "1"]
    command += ["--dests", str(dests), "--pidfile", str(pidfile), *(["-b"] if args.b else [])]
    target = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not pidfile.exists() or not pidfile.read_text():
            if target.poll() is not None:
                sys.exit("the worker did not start; run bench/worker.py by hand to see why")
            time.sleep(POLL)
        return result(loadgen(args, "--dests", str(dests), "--pidfile", str(pidfile)))
    finally:
        target.communicate()


def valid(make: Callable[[argparse.Namespace, Path], Run], args: argparse.Namespace) -> Run:
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory() as folder:
            run = make(args, Path(folder))
        if run["tx_stalls"] == 0 and run["tx_late_p99_us"] < LATE_US:
            return run
    sys.exit("the load generator was late each time: the machine is too busy to measure on")


def main() -> None:
    args = arguments()
    if compiled.FALLBACK_REASON:
        sys.stderr.write(f"The packet path is measured as Python, uncompiled: {compiled.FALLBACK_REASON}.\n")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    build()
    runs = [(valid(limit, args), valid(worker, args)) for _ in range(args.rounds)]
    sys.stdout.write(f"{args.n} streams, {'both ways' if args.b else 'one way'}, medians of {args.rounds} rounds\n")
    sys.stdout.write(f"{'':16}{'limit':>10}{'worker':>10}{'ratio':>8}\n")
    for row in ROWS:
        ours, theirs = (statistics.median(pair[side][row] for pair in runs) for side in (1, 0))
        ratios = [pair[1][row] / pair[0][row] for pair in runs if pair[0][row] > 0]
        ratio = f"{statistics.median(ratios):8.2f}" if ratios else ""
        sys.stdout.write(f"{row:16}{theirs:10.1f}{ours:10.1f}{ratio}\n")


if __name__ == "__main__":
    main()
