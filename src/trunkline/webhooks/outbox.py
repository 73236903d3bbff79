"""Which callback may be sent when. Pure: `now` (monotonic seconds) and chance come in, due work goes out.

    offer ──► lane (one per key, in order) ──head──► back-off ──due──► ready ──slot──► in flight ──answer──┐
      │                                                 ▲                                                  │
      └─ no room: stays in the store, loaded later      └──────────────────── try again ───────────────────┴─► settled

* Only the head of a lane is ever tried, and the next one only after the head is settled: order per stream.
* `concurrency` tries are in flight at once. A host gets at most an eighth of them, hosts take turns, and those that
  did not answer last time share at most half: however many hosts are dead, the others have free slots.
* What is held in memory is bounded per host. A host over its bound is "behind": its further callbacks stay in the
  store, where they already are, and are loaded in order when there is room.
* A host that has been silent for `GIVE_UP` schedules gets no more tries for callbacks that are older than that too;
  otherwise callbacks for it would pile up faster than 5-second timeouts could ever work them off.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Literal

from trunkline.config import CallbackSettings
from trunkline.store.records import CallbackRecord

HOST_LIMIT = 1000
"""Callbacks of one host in memory (about 1 KB each)."""
TOTAL_LIMIT = 20000
"""Callbacks in memory at which every host's limit falls to `SCARCE_LIMIT`; none falls to nothing, so none starves."""
SCARCE_LIMIT = 10
HOST_SHARE = 8
"""A host gets at most this part of the concurrency."""
RETRY_AFTER_LIMIT = 600.0
"""Seconds: a longer Retry-After is cut to this."""
JITTER = 0.2
"""Part of a wait by which it is made longer or shorter at random."""
GIVE_UP = 2
"""Full retry schedules for which a host may be silent, and"""
GIVE_UP_FLOOR = 600.0
"""seconds for which it may be silent in any case, when the settings make the schedule short."""

RETRIED_STATUSES = frozenset({408, 429})
"""Besides all of 5xx (spec section 3)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try: an HTTP status, or an error in words."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    """Seconds that the receiver asked to be left alone."""
    hopeless: bool = False
    """The request cannot be made at all, so that no repeat would help."""


@dataclass(frozen=True, slots=True)
class Verdict:
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
class _Entry:
    record: CallbackRecord
    tries: int
    due: float
    born: float
    """When the event happened, on our clock."""


@dataclass(slots=True)
class _Host:
    held: int = 0
    in_flight: int = 0
    silent_since: float | None = None
    """The first try without any answer since the last one with one."""
    ready: deque[str] = field(default_factory=deque)
    """Keys whose heads may be tried."""
    in_turn: bool = False
    """Whether it is among the hosts that take turns."""


@dataclass(slots=True)
class _Behind:
    loaded: int
    """Position up to which everything has been taken from the store."""
    more: bool = True
    """Whether the store may have something behind that position."""


def wait_before(settings: CallbackSettings, tries: int, jitter: float = 0.5) -> float:
    """Seconds between the try number `tries` and the next; `jitter` in [0, 1) spreads it evenly around the middle."""
    return settings.first_delay * settings.delay_factor ** (tries - 1) * (1 + JITTER * (2 * jitter - 1))


def judge(settings: CallbackSettings, answer: Answer, tries: int, jitter: float) -> Verdict:
    """Delivered, failed for good, or to be tried again, after `tries` tries (spec section 3)."""
    status = answer.status
    if status is not None and 200 <= status < 300:
        return Verdict("delivered", tries, None)
    again = status is None or status in RETRIED_STATUSES or status >= 500
    if answer.hopeless or not again or tries >= settings.tries:
        return Verdict("failed", tries, None)
    asked = min(answer.retry_after or 0.0, RETRY_AFTER_LIMIT)
    return Verdict("pending", tries, max(asked, wait_before(settings, tries, jitter)))


class Outbox:
    """The callbacks in memory, and what to do with them."""

    def __init__(self, settings: CallbackSettings) -> None:
        self._settings = settings
        self._host_slots = max(1, settings.concurrency // HOST_SHARE)
        self._silent_slots = max(1, settings.concurrency // 2)
        schedule = sum(wait_before(settings, n) for n in range(1, settings.tries))
        self._patience = max(GIVE_UP * schedule, GIVE_UP_FLOOR)
        self._lanes: dict[str, deque[_Entry]] = {}
        self._hosts: dict[str, _Host] = {}
        self._turns: deque[str] = deque()
        """Hosts with ready keys, each once."""
        self._waiting: list[tuple[float, int, str]] = []
        """Heap of keys whose heads wait: due time, position (a tie-break), key."""
        self._in_flight: dict[str, _Entry] = {}
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
        self._hosts.setdefault(record.host, _Host()).held += 1
        self._held += 1
        lane = self._lanes.setdefault(record.key, deque())
        lane.append(_Entry(record, record.tries, due, born))
        if len(lane) == 1:
            self._queue_head(record.key, now)

    # Out.

    def due(self, now: float) -> Due:
        """What to try now, each host in turn, and what to give up."""
        while self._waiting and self._waiting[0][0] <= now:
            self._make_ready(heappop(self._waiting)[2])
        work = Due([], [])
        silent = sum(host.in_flight for host in self._hosts.values() if host.silent_since is not None)
        passed_over = 0
        while passed_over < len(self._turns) and len(self._in_flight) < self._settings.concurrency:
            name = self._turns.popleft()
            host = self._hosts[name]
            self._expire(host, now, work.expired)
            is_silent = host.silent_since is not None
            if host.ready and host.in_flight < self._host_slots and not (is_silent and silent >= self._silent_slots):
                work.start.append(self._start(host))
                silent += is_silent
                passed_over = 0
            else:
                passed_over += 1
            host.in_turn = bool(host.ready)
            if host.in_turn:
                self._turns.append(name)
            self._forget_if_idle(name)
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
        """Whether something may be tried as soon as a slot is free."""
        return bool(self._turns)

    def answered(self, callback_id: str, answer: Answer, now: float, jitter: float) -> Verdict:
        """Settle a try. `jitter` is a random number in [0, 1)."""
        entry = self._in_flight.pop(callback_id)
        record = entry.record
        host = self._hosts[record.host]
        host.in_flight -= 1
        if answer.status is not None:
            host.silent_since = None
        elif host.silent_since is None and not answer.hopeless:
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
        name = self._lanes[key][0].record.host
        host = self._hosts[name]
        host.ready.append(key)
        if not host.in_turn:
            host.in_turn = True
            self._turns.append(name)

    def _start(self, host: _Host) -> CallbackRecord:
        entry = self._lanes[host.ready.popleft()][0]
        host.in_flight += 1
        self._in_flight[entry.record.id] = entry
        return entry.record

    def _expire(self, host: _Host, now: float, expired: list[CallbackRecord]) -> None:
        if host.silent_since is None or now - host.silent_since <= self._patience:
            return
        while host.ready and now - self._lanes[host.ready[0]][0].born > self._patience:
            key = host.ready.popleft()
            expired.append(self._lanes[key][0].record)
            self._drop_head(key, now)

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
