"""The packet path does no more work than it did, and a stream takes no more memory: both are counted, not timed, so a
slow-down shows on the busiest machine. `bench/work.py` does the work, with sockets, and counts what is executed.

The bounds are what was counted, and a little. Who adds work to the packet path raises them knowingly, with a line in
docs/performance.md.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORK = Path(__file__).parent.parent / "bench" / "work.py"

# Per packet of the caller's: calls of Python and C functions, bytecodes (of Python 3.11), memory blocks kept.
BOUNDS = {
    "one way": {"calls": 25, "bytecodes": 640, "blocks": 0.3},
    "both ways": {"calls": 56, "bytecodes": 1195, "blocks": 0.3},
}

# Allocated for a leg with its stream, the replay full (of Python 3.11).
BYTES = {"one way": 51_000, "both ways": 58_000}

# Per packet both ways: it is read and sent, what comes back is read and sent, and the harness sends the packet itself.
SYSTEM_CALLS = 4 + 1


def work(way: str, *more: str, under: tuple[str, ...] = ()) -> dict[str, float]:
    command = [*under, sys.executable, str(WORK), *(["--one-way"] if way == "one way" else []), *more]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
    counted: dict[str, float] = json.loads(done.stdout)
    return counted


@pytest.mark.parametrize("way", BOUNDS)
def test_a_packet_takes_no_more_calls_bytecodes_and_memory_than_it_did(way: str) -> None:
    counted = work(way)
    assert counted["packets_in"]
    assert bool(counted["packets_out"]) is (way == "both ways")
    bounds = BOUNDS[way]
    if sys.version_info[:2] != (3, 11):
        bounds = {name: bound for name, bound in bounds.items() if name != "bytecodes"}
    assert {name: counted[name] for name, bound in bounds.items() if counted[name] > bound} == {}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="objects are of other sizes")
@pytest.mark.parametrize("way", BYTES)
def test_a_stream_takes_no_more_memory_than_it_did(way: str) -> None:
    assert work(way, "--memory")["bytes"] < BYTES[way]


def test_a_packet_takes_one_system_call_per_socket_it_passes(tmp_path: Path) -> None:
    def calls(rounds: int) -> tuple[float, int]:
        """Packets, and calls that read or write, of a whole run."""
        log = tmp_path / str(rounds)
        under = ("strace", "-e", "trace=network,read,write,readv,writev", "-o", str(log))
        counted = work("both ways", "--plain", "--rounds", str(rounds), under=under)
        return counted["packets_in"], len(log.read_text().splitlines())

    (few, calls_of_few), (many, calls_of_many) = calls(5), calls(25)
    assert (calls_of_many - calls_of_few) / (many - few) < SYSTEM_CALLS + 0.3
