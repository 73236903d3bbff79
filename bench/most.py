"""The most streams that one core carries: 99 of 100 packets within 20 ms, and none lost. Used by `bench.py`.

Sizes grow by half until one is not carried in two runs, then the gap is halved until it is small.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from product import Invalid
from runs import Run

LATENCY_US = 20_000
LEAST_STEP = 25
FINE = 0.06
"""Of the size: the gap that is small enough."""
CEILING = 4000
"""Streams; the ports end soon after."""


@dataclass(frozen=True)
class Most:
    """How far the search came."""

    streams: int
    """The largest size that was carried."""
    ended: str
    """Why it went no further."""


def carried(run: Run) -> bool:
    """Whether all was well."""
    return 0 <= run["lat_p99_us"] < LATENCY_US and not run["ws_lost"] and not run["rtp_lost"] and not run["ws_closed"]


async def most(measured: Callable[[int], Awaitable[Run]], start: int) -> Most:
    """`measured` makes a run of a size, and raises Invalid when none of its tries says anything."""
    good, bad, size = 0, 0, start
    while not bad or bad - good > max(LEAST_STEP, FINE * good):
        if size > CEILING:
            return Most(good, "more were not tried")
        try:
            fine = carried(await measured(size)) or carried(await measured(size))
        except Invalid as reason:
            return Most(good, f"{size} refused: {reason}")
        if fine:
            good = size
        else:
            bad = size
        size = (good + bad) // 2 if bad else size * 3 // 2
    return Most(good, f"{bad} are too many")
