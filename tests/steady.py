"""A clock for drivers under test that a busy machine does not make jump."""

import time

_STEP = 0.015
"""Seconds that pass at most between two reads."""


class SteadyClock:
    """`time.monotonic`, but while it is not read, because the process is held up, it stands still."""

    def __init__(self) -> None:
        self._last = self._shown = time.monotonic()

    def __call__(self) -> float:
        """Seconds."""
        now = time.monotonic()
        self._shown += min(now - self._last, _STEP)
        self._last = now
        return self._shown
