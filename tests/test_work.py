"""The packet path does no more work than it did, and a stream takes no more memory: both are counted, not timed, so a
slow-down shows on the busiest machine. `bench/work.py` does the work, with sockets, and counts what is executed.

The bounds are what was counted, and a little. A change that adds work to the packet path raises them on purpose, with
a line in docs/decisions/2026-11-28-packet-path-diary.md.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trunkline import compiled

pytestmark = pytest.mark.process

WAYS = {"one way": ["--one-way"], "both ways": [], "both tracks": ["--one-way", "--both-tracks"]}
WORK = Path(__file__).parent.parent / "bench" / "work.py"

# Per packet of the caller's, uncompiled: calls of Python and C functions, bytecodes (of Python 3.11), blocks kept.
BOUNDS = {
    "one way": {"calls": 45, "bytecodes": 850, "blocks": 0.3},
    "both ways": {"calls": 84, "bytecodes": 1515, "blocks": 0.3},
}

# The same, compiled: what is still interpreted.
COMPILED_BOUNDS = {
    "one way": {"calls": 1, "bytecodes": 10, "blocks": 0.3},
    "both ways": {"calls": 1, "bytecodes": 10, "blocks": 0.3},
}

# Instructions per packet, compiled, in these functions and what they call: 6 500 and 12 700 were counted, and what
# another Python or another gcc makes of it may be a tenth more. A `json.dumps` more made 50 000 of 12 000.
INSTRUCTIONS = {"one way": 7_300, "both ways": 14_200}
OF_THE_PACKET_PATH = ("Engine__drain_batch", "Engine__run_slot", "Sender_flush", "AppSocket_receive")

# Allocated for a leg with its stream, the replay full (of Python 3.11).
BYTES = {"one way": 41_900, "both ways": 43_000, "both tracks": 60_800}

# Per packet both ways: it is read and sent, what comes back is read and sent, and the harness sends the packet itself.
SYSTEM_CALLS = 4 + 1


def work(way: str, *more: str, under: tuple[str, ...] = (), uncompiled: bool = False) -> dict[str, float]:
    command = [*under, sys.executable, str(WORK), *WAYS[way], *more]
    environment = os.environ | {compiled.ENV_VAR: "1" if uncompiled else "", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    counted: dict[str, float] = json.loads(done.stdout)
    return counted


@pytest.mark.parametrize("uncompiled", [False, True], ids=["compiled", "as Python"])
@pytest.mark.parametrize("way", BOUNDS)
def test_a_packet_takes_no_more_calls_bytecodes_and_memory_than_it_did(way: str, uncompiled: bool) -> None:
    counted = work(way, uncompiled=uncompiled)
    assert counted["packets_in"]
    assert bool(counted["packets_out"]) is (way == "both ways")
    bounds = (BOUNDS if uncompiled else COMPILED_BOUNDS)[way]
    if sys.version_info[:2] != (3, 11):
        bounds = {name: bound for name, bound in bounds.items() if name != "bytecodes"}
    assert {name: counted[name] for name, bound in bounds.items() if counted[name] > bound} == {}


def instructions(way: str, folder: Path) -> float:
    """Per packet, in the functions of the packet path and what they call."""
    log = folder / way.replace(" ", "-")
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={log}")
    packets = work(way, "--callgrind", under=valgrind)["packets_in"]
    annotate = ("callgrind_annotate", "--inclusive=yes", "--threshold=100", "--auto=no", str(log))
    rows = subprocess.run(annotate, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    spent = {
        name: int(row.split()[0].replace(",", ""))
        for name in OF_THE_PACKET_PATH
        for row in rows
        if f"{name} [" in row and ":__pyx_f_" in row
    }
    assert spent.keys() == set(OF_THE_PACKET_PATH[: 3 if way == "one way" else 4])
    return sum(spent.values()) / packets


def test_a_compiled_packet_takes_no_more_instructions_than_it_did(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as both:
        counted = dict(zip(INSTRUCTIONS, both.map(lambda way: instructions(way, tmp_path), INSTRUCTIONS), strict=True))
    assert {way: counted[way] for way, bound in INSTRUCTIONS.items() if counted[way] > bound} == {}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="objects are of other sizes")
@pytest.mark.parametrize("way", BYTES)
def test_a_stream_takes_no_more_memory_than_it_did(way: str) -> None:
    assert work(way, "--memory")["bytes"] < BYTES[way]


def test_a_packet_takes_one_system_call_per_socket_it_passes(tmp_path: Path) -> None:
    def calls(rounds: int) -> tuple[float, int]:
        """Packets, and calls that read or write, of a whole run."""
        log = tmp_path / str(rounds)
        under = ("strace", "-e", "trace=network,read,write,readv,writev", "-o", str(log))
        counted = work("both ways", "--plain", "--rounds", str(rounds), "--warm-up", "51", under=under)
        return counted["packets_in"], len(log.read_text().splitlines())

    (few, calls_of_few), (many, calls_of_many) = calls(5), calls(25)
    assert (calls_of_many - calls_of_few) / (many - few) < SYSTEM_CALLS + 0.3
