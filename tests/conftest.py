"""What all tests share."""

import ctypes
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import hypothesis
import pytest

# A busy machine is no failure, and the same code gives the same result. New examples: `--hypothesis-profile exploring`.
hypothesis.settings.register_profile(
    "exploring", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("steady", hypothesis.settings.get_profile("exploring"), derandomize=True)
hypothesis.settings.register_profile("few", hypothesis.settings.get_profile("steady"), max_examples=10)
hypothesis.settings.load_profile("steady")

CLONE_NEWNET = 0x40000000
"""Of `unshare(2)`: a network namespace of its own."""


def pytest_configure(config: pytest.Config) -> None:
    """Each worker of pytest-xdist gets a network of its own, so that no port of its peers is another worker's.

    That takes root. Without it the workers share the machine's ports, which the kernel hands out one by one.
    """
    if "not (peer or process" in config.option.markexpr:
        sys.addaudithook(_refuse_processes)  # `make quick` promises that no test starts a process
    if not hasattr(config, "workerinput") or os.geteuid() != 0 or shutil.which("ip") is None:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `long` may take an hour, unless they say otherwise."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


def pytest_collection_finish() -> None:
    """What was imported stays: without it each full garbage collection would hold up a test's peers for 0.2 s."""
    gc.collect()
    gc.freeze()


_MAY_START_PROCESSES = {"peer", "process"}
_running: pytest.Item | None = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note which test runs, its fixtures included."""
    global _running
    _running = item
    try:
        return (yield)
    finally:
        _running = None


def _refuse_processes(event: str, _: tuple[object, ...]) -> None:
    if event not in ("subprocess.Popen", "os.fork", "os.posix_spawn") or _running is None:
        return
    if not any(_running.get_closest_marker(name) for name in _MAY_START_PROCESSES):
        pytest.fail("a test that starts a process needs the mark `process`, so that `make quick` leaves it out")
