"""Memory that apps make a worker hold, by account (docs/configuration.md#memory-of-an-account). Pure.

The streams of one account share one `Budget`. What an app sends and is kept takes its bytes from there first: audio and
marks in the playback, mp3 files at the decoder, messages for an app that does not read, messages that are not complete.
What finds no room is refused on the app's own socket; other accounts have budgets of their own.
"""

from collections import Counter
from sys import maxsize
from weakref import WeakValueDictionary

UNLIMITED = maxsize


class Budget:
    """Of one account. `counters` gets `stream_memory_refused`."""

    __slots__ = ("__weakref__", "_counters", "held", "limit")

    def __init__(self, limit: int = UNLIMITED, counters: Counter[str] | None = None) -> None:
        self.limit = limit
        """Bytes."""
        self.held = 0
        self._counters = Counter[str]() if counters is None else counters

    def take(self, size: int) -> bool:
        """Take `size` bytes. Returns False, and takes none, if there are not as many."""
        if self.held + size > self.limit:
            self._counters["stream_memory_refused"] += 1
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        """Give `size` bytes back."""
        self.held -= size


UNBOUNDED = Budget()
"""For streams of which no account is charged."""
CLOSED = Budget(0)
"""For what is over."""


class Budgets:
    """Of all accounts that have streams; a budget is there as long as anything refers to it."""

    def __init__(self) -> None:
        self._all: WeakValueDictionary[str, Budget] = WeakValueDictionary()
        self.counters: Counter[str] = Counter()

    def of(self, account: str, limit: int) -> Budget:
        """The account's budget; `limit` is that of a new one."""
        budget = self._all.get(account)
        if budget is None:
            budget = self._all[account] = Budget(limit, self.counters)
        return budget
