"""The timers of the SIP room: one heap, whose clock and alarm are the driver's. Pure.

`Timers` knows what is due when; the driver gives it the time, is told of each earlier deadline, and calls `run`.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count

CANCELLED_LIMIT = 1000
"""Cancelled timers in the heap, and more than half of it, at which they are taken out."""


class Timer:
    """One call that is due once."""

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
        """It was neither run nor cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Never run it; harmless when it has run."""
        if self._callback is not None:
            self._callback = None
            self._timers.cancelled()

    def run(self) -> None:
        """Run it, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(*self._arguments)


class Timers:
    """What is due when. `clock` gives seconds, monotonic; `wake` is told a deadline that is earlier than all before;
    `failed` gets what a callback raised."""

    def __init__(
        self,
        clock: Callable[[], float],
        wake: Callable[[float], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._clock = clock
        self._wake = wake
        self._failed = failed
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._cancelled = 0
        self._running = False

    def __len__(self) -> int:
        """Timers that are to run."""
        return len(self._heap) - self._cancelled

    @property
    def next_deadline(self) -> float | None:
        """When `run` is to be called next."""
        while self._heap and not self._heap[0][2].live:
            heappop(self._heap)
            self._cancelled -= 1
        return self._heap[0][0] if self._heap else None

    @property
    def now(self) -> float:
        """Seconds, monotonic."""
        return self._clock()

    def after(self, seconds: float, callback: Callable[..., object], *arguments: object) -> Timer:
        """Call back once, so much later."""
        return self.at(self._clock() + seconds, callback, *arguments)

    def at(self, deadline: float, callback: Callable[..., object], *arguments: object) -> Timer:
        """Call back once, then."""
        earliest = self.next_deadline
        timer = Timer(self, deadline, callback, arguments)
        heappush(self._heap, (timer.deadline, next(self._order), timer))
        if not self._running and (earliest is None or timer.deadline < earliest):
            self._wake(timer.deadline)
        return timer

    def run(self) -> None:
        """Run what is due now, in order, and tell the driver of the next deadline."""
        now = self._clock()
        self._running = True
        try:
            while (deadline := self.next_deadline) is not None and deadline <= now:
                timer = heappop(self._heap)[2]
                try:
                    timer.run()
                except Exception as error:
                    self._failed(error)
        finally:
            self._running = False
        deadline = self.next_deadline
        if deadline is not None:
            self._wake(deadline)

    def cancelled(self) -> None:
        """A timer in the heap was cancelled: a heap that holds little else is made anew."""
        self._cancelled += 1
        if self._cancelled > CANCELLED_LIMIT and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].live]
            heapify(self._heap)
            self._cancelled = 0
