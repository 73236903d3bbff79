"""Two bounded memories: the token bucket of each API key (by its sid), and recent answers by request.

Both are pure: `now` (monotonic seconds) is a parameter. Both drop the least recently used entry first: without its
bucket a key gets a fresh burst, without the answer a repeat is a new request.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

from trunkline.ids import Seconds

T = TypeVar("T")

KEY_LIMIT = 10_000
"""Entries per memory: some megabytes at most, and far more keys or starts a minute than one node serves."""

BURST = 2.0
"""Seconds' worth of requests that may come at once (`http.rate_limit`)."""


class TokenBuckets:
    """One token bucket per API key."""

    def __init__(self, rate: float) -> None:
        """`rate` in requests per second; 0 = no limit."""
        self._rate = rate
        # A rate under one in two seconds must still let single requests through.
        self._size = max(1.0, rate * BURST)
        self._levels: OrderedDict[str, tuple[float, Seconds]] = OrderedDict()

    def take(self, key: str, now: Seconds) -> Seconds:
        """Take one request's token. Returns 0 when there was one, else the seconds until there will be."""
        if self._rate == 0:
            return Seconds(0.0)
        level, since = self._levels.pop(key, (self._size, now))
        level = min(self._size, level + (now - since) * self._rate)
        wait = Seconds(0.0)
        if level >= 1:
            level -= 1
        else:
            wait = Seconds((1 - level) / self._rate)
        self._levels[key] = (level, now)
        if len(self._levels) > KEY_LIMIT:
            self._levels.popitem(last=False)
        return wait


class Recent(Generic[T]):
    """Values kept for `lifetime` seconds after they were put."""

    def __init__(self, lifetime: Seconds) -> None:
        self._lifetime = lifetime
        self._entries: OrderedDict[bytes, tuple[T, Seconds]] = OrderedDict()

    def put(self, key: bytes, value: T, now: Seconds) -> None:
        """Keep `value`; it replaces an older one under the same key."""
        self._entries.pop(key, None)
        self._entries[key] = (value, now)
        self._expire(now)
        if len(self._entries) > KEY_LIMIT:
            self._entries.popitem(last=False)

    def get(self, key: bytes, now: Seconds) -> T | None:
        """The value, unless it is too old or was never put."""
        self._expire(now)
        entry = self._entries.get(key)
        return entry[0] if entry else None

    def drop(self, key: bytes, value: T) -> None:
        """Remove `value`, unless another has replaced it."""
        if key in self._entries and self._entries[key][0] is value:
            del self._entries[key]

    def _expire(self, now: Seconds) -> None:
        while self._entries:
            key, (_, since) = next(iter(self._entries.items()))
            if now - since < self._lifetime:
                return
            del self._entries[key]
