"""What all tests share."""

import ctypes
import os
import shutil
import subprocess

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
    if not hasattr(config, "workerinput") or os.geteuid() != 0 or shutil.which("ip") is None:
        return
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
