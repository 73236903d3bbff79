"""A clock for drivers under test that is not what a busy machine makes of it."""

import time

_STEP = 0.015
"""Seconds that go by at most from one look to the next."""


class SteadyClock:
    """`time.monotonic`, but while nobody looks at it, because the process is held up, it stands still."""

    def __init__(self) -> None:
        self._last = self._shown = time.monotonic()

    def __call__(self) -> float:
        """Seconds."""
        now = time.monotonic()
        self._shown += min(now - self._last, _STEP)
        self._last = now
        return self._shown
