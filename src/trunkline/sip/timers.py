"""Timers of the SIP core: one heap of deadlines. Pure.

The driver gives the time with each input, runs the timers that `pop_due` returns, and calls again at `next_deadline`.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

CANCELLED_LIMIT = 1000
"""Cancelled timers in the heap, and more than half of it, at which the heap is rebuilt without them."""


class Timer:
    """One call at a deadline."""

    __slots__ = ("_arguments", "_callback", "_timers", "deadline")

    def __init__(
        self, timers: "Timers", deadline: float, callback: Callable[..., object], arguments: tuple[object, ...]
    ) -> None:
        self._timers = timers
        self.deadline = deadline
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments

    @property
    def live(self) -> bool:
        """It has neither run nor been cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Never run it; no effect once it has run."""
        if self._callback is not None:
            self._callback = None
            self._timers.count_cancelled()

    def run(self) -> None:
        """Run it, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(*self._arguments)


class Timers:
    """All timers of one endpoint. Times are seconds of the driver's monotonic clock."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        """Time of the input that is being handled; the driver sets it before each."""
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0

    def __len__(self) -> int:
        """Timers that are still to run."""
        return len(self._heap) - self._cancelled

    @property
    def next_deadline(self) -> float | None:
        """Deadline of the earliest timer; None without one."""
        while self._heap and not self._heap[0][2].live:
            heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    def after(self, seconds: float, callback: Callable[..., object], *arguments: object) -> Timer:
        """Call `callback` once, `seconds` after `now`."""
        return self.at(self.now + seconds, callback, *arguments)

    def at(self, deadline: float, callback: Callable[..., object], *arguments: object) -> Timer:
        """Call `callback` once, at `deadline`."""
        timer = Timer(self, deadline, callback, arguments)
        heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def pop_due(self) -> Timer | None:
        """The earliest timer that is due at `now`, for the driver to run at once; None if none is."""
        deadline = self.next_deadline
        return heappop(self._heap)[2] if deadline is not None and deadline <= self.now else None

    def count_cancelled(self) -> None:
        """A timer in the heap was cancelled: rebuild the heap if most of it is."""
        self._cancelled += 1
        if self._cancelled > CANCELLED_LIMIT and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].live]
            heapify(self._heap)
            self._cancelled = 0
