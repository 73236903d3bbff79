"""Which callback may be sent when. Pure: `now` (monotonic seconds) and chance come in, due work goes out.

    offer ──► lane (one per key, in order) ──head──► back-off ──due──► turns ──go──► in flight ──answer──┐
      │                                                 ▲                                                │
      └─ no room: stays in the store, loaded later      └──────────────────── try again ─────────────────┴─► settled

* Only the head of a lane is ever tried, and the next one only after the head is settled: order per stream.
* `concurrency` tries are in flight at once, as `outbound.turns` lets them go: accounts take turns, and however many
  hosts are dead, the others have free slots. A host of an account gets `HOST_SLOTS` at most, and two when it did not
  answer last time.
* What is held in memory is bounded per host. A host over its bound is "behind": its further callbacks stay in the
  store, where they already are, and are loaded in order when there is room.
* A host that has been silent for `GIVE_UP` schedules gets no more tries for callbacks that are older than that too;
  otherwise callbacks for it would pile up faster than 5-second timeouts could ever work them off.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from heapq import heappop, heappush
from typing import Literal

from trunkline.config import CallbackSettings
from trunkline.outbound.turns import Limits, Turn, Turns
from trunkline.store.records import CallbackRecord

HOST_LIMIT = 1000
"""Callbacks of one host in memory (about 1 KB each)."""
TOTAL_LIMIT = 20000
"""Callbacks in memory at which every host's limit falls to `SCARCE_LIMIT`; none falls to nothing, so none starves."""
SCARCE_LIMIT = 10
HOST_SLOTS = 8
"""Tries at a host at once, and no more than the same part of the concurrency."""
SILENT_SLOTS = 2
RETRY_AFTER_LIMIT = 600.0
"""Seconds: a longer Retry-After is cut to this."""
JITTER = 0.2
"""Part of a wait by which it is made longer or shorter at random."""
GIVE_UP = 2
"""Full retry schedules for which a host may be silent, and"""
GIVE_UP_FLOOR = 600.0
"""seconds for which it may be silent in any case, when the settings make the schedule short."""

RETRIED_STATUSES = frozenset({408, 429})
"""Besides all of 5xx (docs/reference/callbacks.md#delivery)."""


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What came of a try: an HTTP status, or an error in words."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    """Seconds that the receiver asked to be left alone."""
    permanent: bool = False
    """The request cannot be made at all, so that no repeat would help."""
    body: str = ""
    """The beginning of the answer's body, for people."""


@dataclass(frozen=True, slots=True)
class AttemptDecision:
    """What becomes of a callback after an answer."""

    state: Literal["pending", "delivered", "failed"]
    tries: int
    wait: float | None
    """Seconds to the next try, while pending."""


@dataclass(frozen=True, slots=True)
class Due:
    """Work for now."""

    start: list[CallbackRecord]
    """To be tried; each must be answered with `answered`."""
    expired: list[CallbackRecord]
    """Given up without a further try: the host is silent. They are out of the outbox."""


@dataclass(slots=True)
class _QueuedCallback:
    record: CallbackRecord
    tries: int
    due: float
    born: float
    """When the event happened, on our clock."""
    turn: Turn | None = None
    """While it waits for its turn or is in flight."""


@dataclass(slots=True)
class _HostState:
    held: int = 0
    silent_since: float | None = None
    """The first try without any answer since the last one with one."""


@dataclass(slots=True)
class _Behind:
    loaded: int
    """Position up to which everything has been taken from the store."""
    more: bool = True
    """Whether the store may have something behind that position."""


def wait_before(settings: CallbackSettings, tries: int, jitter: float = 0.5) -> float:
    """Seconds between the try number `tries` and the next; `jitter` in [0, 1) spreads it evenly around the middle."""
    return settings.first_delay * settings.delay_factor ** (tries - 1) * (1 + JITTER * (2 * jitter - 1))


def judge(settings: CallbackSettings, answer: AttemptResult, tries: int, jitter: float) -> AttemptDecision:
    """Delivered, failed for good, or to be tried again, after `tries` tries (docs/reference/callbacks.md#delivery)."""
    status = answer.status
    if status is not None and 200 <= status < 300:
        return AttemptDecision("delivered", tries, None)
    again = status is None or status in RETRIED_STATUSES or status >= 500
    if answer.permanent or not again or tries >= settings.tries:
        return AttemptDecision("failed", tries, None)
    asked = min(answer.retry_after or 0.0, RETRY_AFTER_LIMIT)
    return AttemptDecision("pending", tries, max(asked, wait_before(settings, tries, jitter)))


def retry_after(values: Sequence[str], now: datetime) -> float | None:
    """Seconds that `Retry-After` headers ask for, as a number or an HTTP date (RFC 9110 section 10.2.3): of several the
    longest, 0 to `RETRY_AFTER_LIMIT`; None where none of them is either."""
    found = [seconds for value in values if (seconds := _seconds(value.strip(), now)) is not None]
    return min(max(found), RETRY_AFTER_LIMIT) if found else None


def _seconds(value: str, now: datetime) -> float | None:
    if value.isascii() and value.isdigit():
        return float(value[:9])
    # A date has a comma too.
    parts = [part.strip() for part in value.split(",")]
    if len(parts) > 1 and all(part.isascii() and part.isdigit() for part in parts):
        return max(float(part[:9]) for part in parts)
    try:
        at = parsedate_to_datetime(value)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return max((at - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None  # what the library raises for what looks like a date and is none


class Outbox:
    """The callbacks in memory, and what to do with them."""

    def __init__(self, settings: CallbackSettings) -> None:
        self._settings = settings
        most = settings.concurrency
        host = max(1, min(HOST_SLOTS, most // HOST_SLOTS))
        self._turns = Turns(Limits(most, most - most // 4, host, min(SILENT_SLOTS, host), waiting=None))
        self._may_go: deque[str] = deque()
        """Keys whose heads have their turn."""
        schedule = sum(wait_before(settings, n) for n in range(1, settings.tries))
        self._give_up_after = max(GIVE_UP * schedule, GIVE_UP_FLOOR)
        self._lanes: dict[str, deque[_QueuedCallback]] = {}
        self._hosts: dict[str, _HostState] = {}
        self._waiting: list[tuple[float, int, str]] = []
        """Heap of keys whose heads wait: due time, position (a tie-break), key."""
        self._in_flight: dict[str, _QueuedCallback] = {}
        self._behind: dict[str, _Behind] = {}
        self._offered = 0
        """Position up to which everything was offered, or was there before the start."""
        self._held = 0

    def __len__(self) -> int:
        """Callbacks in memory, those in flight included."""
        return self._held

    @property
    def in_flight(self) -> int:
        """Tries under way."""
        return len(self._in_flight)

    # In.

    def offer(self, record: CallbackRecord, now: float) -> bool:
        """Take a callback just stored; False when there is no room and it stays in the store for now.

        Callbacks are offered in the order of their positions, each soon after it became visible in the store.
        """
        self._offered = record.position
        behind = self._behind.get(record.host)
        if behind is not None:
            behind.more = True
            return False
        host = self._hosts.get(record.host)
        if host is not None and host.held >= self._room():
            self._behind[record.host] = _Behind(record.position - 1)
            return False
        self._add(record, now, now, now)
        return True

    def resume(self, hosts: Sequence[str], newest: int) -> None:
        """At start: what the store has for these hosts, up to the position `newest`, is to be loaded."""
        self._offered = newest
        for host in hosts:
            self._behind[host] = _Behind(0)

    def load(self) -> tuple[str, int, int] | None:
        """The next thing to load, as (host, behind which position, how many at most).

        To be answered with `loaded`, or `not_loaded` when the store fails.
        """
        room = self._room()
        for name, behind in self._behind.items():
            held = self._hosts[name].held if name in self._hosts else 0
            if behind.more and held <= room // 2:
                behind.more = False
                return name, behind.loaded, room - held
        return None

    def not_loaded(self, host: str) -> None:
        """Have it loaded another time."""
        self._behind[host].more = True

    def loaded(
        self, host: str, found: Sequence[tuple[CallbackRecord, float, float]], now: float, *, all_of_it: bool
    ) -> None:
        """Take what the store had: each with its age and the wait before its next try, in seconds."""
        behind = self._behind[host]
        for record, age, wait in found:
            self._add(record, now, now - age, now + wait)
            behind.loaded = record.position
        behind.more = behind.more or not all_of_it
        # One that was loaded before it is offered must not be taken twice: the host stays behind until it was.
        if not behind.more and behind.loaded <= self._offered:
            del self._behind[host]
            self._forget_if_idle(host)

    def _room(self) -> int:
        return HOST_LIMIT if self._held < TOTAL_LIMIT else SCARCE_LIMIT

    def _add(self, record: CallbackRecord, now: float, born: float, due: float) -> None:
        self._hosts.setdefault(record.host, _HostState()).held += 1
        self._held += 1
        lane = self._lanes.setdefault(record.key, deque())
        lane.append(_QueuedCallback(record, record.tries, due, born))
        if len(lane) == 1:
            self._queue_head(record.key, now)

    # Out.

    def due(self, now: float) -> Due:
        """What to try now, and what to give up."""
        while self._waiting and self._waiting[0][0] <= now:
            self._make_ready(heappop(self._waiting)[2])
        work = Due([], [])
        while self._may_go:
            key = self._may_go.popleft()
            entry = self._lanes[key][0]
            if self._is_given_up(entry, now):
                work.expired.append(entry.record)
                self._leave(entry, answered=None)
                self._drop_head(key, now)
                self._forget_if_idle(entry.record.host)
            else:
                self._in_flight[entry.record.id] = entry
                work.start.append(entry.record)
        return work

    def next_due(self) -> float | None:
        """When to ask `due` again, if nothing is answered or offered before; None for never."""
        return self._waiting[0][0] if self._waiting else None

    @property
    def behind(self) -> bool:
        """Whether callbacks are left in the store for lack of room."""
        return bool(self._behind)

    @property
    def ready(self) -> bool:
        """Whether something may be tried as soon as it has its turn."""
        return bool(self._may_go) or self._turns.waiting > 0

    def answered(self, callback_id: str, answer: AttemptResult, now: float, jitter: float) -> AttemptDecision:
        """Settle a try. `jitter` is a random number in [0, 1)."""
        entry = self._in_flight.pop(callback_id)
        record = entry.record
        host = self._hosts[record.host]
        self._leave(entry, answered=None if answer.permanent else answer.status is not None)
        if answer.status is not None:
            host.silent_since = None
        elif host.silent_since is None and not answer.permanent:
            host.silent_since = now
        entry.tries += 1
        verdict = judge(self._settings, answer, entry.tries, jitter)
        if verdict.wait is not None:
            entry.due = now + verdict.wait
            self._queue_head(record.key, now)
        else:
            self._drop_head(record.key, now)
            self._forget_if_idle(record.host)
        return verdict

    # Inside.

    def _queue_head(self, key: str, now: float) -> None:
        head = self._lanes[key][0]
        if head.due <= now:
            self._make_ready(key)
        else:
            heappush(self._waiting, (head.due, head.record.position, key))

    def _make_ready(self, key: str) -> None:
        entry = self._lanes[key][0]
        account, _, host = entry.record.host.rpartition(" ")
        entry.turn = self._turns.ask(account, host, lambda: self._may_go.append(key))

    def _leave(self, entry: _QueuedCallback, *, answered: bool | None) -> None:
        turn, entry.turn = entry.turn, None
        if turn is not None:
            self._turns.leave(turn, answered=answered)

    def _is_given_up(self, entry: _QueuedCallback, now: float) -> bool:
        since = self._hosts[entry.record.host].silent_since
        return since is not None and now - since > self._give_up_after and now - entry.born > self._give_up_after

    def _drop_head(self, key: str, now: float) -> None:
        lane = self._lanes[key]
        self._hosts[lane.popleft().record.host].held -= 1
        self._held -= 1
        if lane:
            self._queue_head(key, now)
        else:
            del self._lanes[key]

    def _forget_if_idle(self, name: str) -> None:
        host = self._hosts.get(name)
        # One that is behind is remembered: how long it has been silent counts for what is still to be loaded.
        if host is not None and not host.held and name not in self._behind:
            del self._hosts[name]
