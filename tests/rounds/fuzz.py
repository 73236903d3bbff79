"""Runs the tests that make their own examples, with new ones each time, for hours: `make fuzz HOURS=1`.

    python tests/rounds/fuzz.py [HOURS]

Parsers of what comes from outside, the API against its own OpenAPI document (schemathesis), models against each other.
It ends with the first example that fails, which Hypothesis keeps in `.hypothesis` and tries first the next time.
"""

import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent
HOURS = 1.0


def property_tests() -> list[str]:
    """The files with tests that make their own examples."""
    words = ("@given(", "schemathesis")
    files = [(path, path.read_text()) for path in TESTS.rglob("test_*.py")]
    return sorted(str(path) for path, text in files if any(word in text for word in words))


def main(hours: float) -> int:
    """The exit code of the first run that fails, else 0."""
    end, runs = time.monotonic() + hours * 3600, 0
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "auto", "--hypothesis-profile", "exploring"]
    files = property_tests()
    while time.monotonic() < end:
        code = subprocess.run([*command, *files], check=False).returncode
        if code:
            return code
        runs += 1
        left = max(0.0, end - time.monotonic()) / 60
        sys.stdout.write(f"{runs} runs of {len(files)} files, {left:.0f} minutes left\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else HOURS))
