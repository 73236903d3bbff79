"""Branch coverage of each room's pure files by the room's own tests: `make coverage`, ROOMS="sdp sip" for some rooms.

A file that only other rooms' tests reach counts as not covered. The drivers (`tests/test_architecture.py` names them)
are left out: sockets and clocks are covered by tests with real peers, which run in other processes.
"""

import os
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from test_architecture import DRIVERS, SRC, name_of, room_files

ROOT = SRC.parent.parent
DATA = ROOT / "build" / "coverage"
COVERAGE = (sys.executable, "-m", "coverage")


def pure_files() -> dict[str, list[Path]]:
    """The pure files of each room that has tests."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in room_files():
        room = path.relative_to(SRC).parts[0]
        if name_of(path) not in DRIVERS and (ROOT / "tests" / room).is_dir():
            found[room].append(path)
    return found


def measure(room: str, files: list[Path]) -> bool:
    """Run the room's tests; true if they passed. Compiled modules run as Python, else nothing sees their lines."""
    config = DATA / f"config-{room}"  # not `{room}.*`, which coverage takes for data of other processes
    config.write_text("\n    ".join(["[run]\nbranch = true\ninclude =", *map(str, files)]) + "\n")
    command = [*COVERAGE, "run", f"--rcfile={config}", f"--data-file={DATA / room}", "-m", "pytest"]
    run = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"tests/{room}"],
        env={**os.environ, "TRUNKLINE_UNCOMPILED": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout.rstrip().splitlines() or [run.stderr]
    sys.stdout.write("\n".join([f"{room}: {lines[-1]}"] + (lines[:-1] if run.returncode else [])) + "\n")
    sys.stdout.flush()
    return run.returncode == 0


def tests_size(room: str) -> int:
    """Bytes of the room's tests."""
    return sum(path.stat().st_size for path in (ROOT / "tests" / room).rglob("*.py"))


def main(rooms: list[str]) -> int:
    """Measure the rooms named, or all; 1 if one of their tests failed."""
    files = pure_files()
    rooms = sorted(rooms or files, key=tests_size, reverse=True)  # the longest first
    DATA.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        passed = list(pool.map(lambda room: measure(room, files[room]), rooms))
    together = f"--data-file={DATA / 'all'}"
    subprocess.run([*COVERAGE, "combine", "-q", "--keep", together, *(DATA / room for room in rooms)], check=True)
    report = [*COVERAGE, "report", together]
    subprocess.run([*report, "--show-missing", "--skip-empty"], cwd=ROOT, check=True)
    for room in sorted(rooms):
        total = [f"--include={SRC / room}/*", "--format=total", "--precision=1"]
        percent = subprocess.run([*report, *total], capture_output=True, text=True, check=True).stdout
        sys.stdout.write(f"{room:>10} {percent}")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
