"""Which request may be sent when there are more than the limits allow. Pure: its turn is a callback.

    ask ──► account's queue ──► its host's queue ──turn──► under way ──leave──► the next one's turn
                                                    └── give_up

* Accounts take turns, and in an account its hosts: none waits for the requests of another.
* A host is an account's own: its silence towards one has no effect on another.
* A host that did not answer last time gets `silent` requests at once, until one is answered.
* Hosts that have not answered, yet or last time, share at most three quarters of all and of their account's: whatever
  is silent, hosts that answer have free slots.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

KNOWN_LIMIT = 10000
"""Hosts of which it is remembered whether they answered; the one that was not asked for longest goes first."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests at once."""

    total: int
    account: int
    host: int
    silent: int
    """To a host that did not answer last time."""
    waiting: int | None = 2000
    """Of one account; more are refused. None: the caller has a limit."""
    spare: bool = True
    """Whether hosts that have not answered share three quarters only."""


class TooMany(Exception):
    """The account's queue is full."""


@dataclass(slots=True, eq=False)
class Turn:
    """One request, waiting or under way."""

    account: str
    host: str
    go: Callable[[], None]
    unproven: bool = False
    """Under way to a host that had not answered."""
    started: bool = False
    outcome: bool | None = None
    """Whether the host answered, as far as the holder of the turn knows."""


@dataclass(slots=True)
class _HostQueue:
    busy: int = 0
    waiting: deque[Turn] = field(default_factory=deque)


@dataclass(slots=True)
class _Account:
    busy: int = 0
    unproven: int = 0
    waiting: int = 0
    hosts: dict[str, _HostQueue] = field(default_factory=dict)
    turns: deque[str] = field(default_factory=deque)
    """Hosts with requests that wait, each once."""


class Turns:
    """The queues."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._accounts: dict[str, _Account] = {}
        self._turns: deque[str] = deque()
        """Accounts with requests that wait, each once."""
        self._busy = self._unproven = 0
        self._answers: OrderedDict[tuple[str, str], bool] = OrderedDict()
        """Whether a host answered last time."""

    @property
    def under_way(self) -> int:
        """Requests that had their turn and have not left."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Requests that have not had their turn."""
        return sum(account.waiting for account in self._accounts.values())

    def ask(self, account: str, host: str, go: Callable[[], None]) -> Turn:
        """`go` is called when the request may go, now or later. Raises TooMany."""
        held = self._accounts.setdefault(account, _Account())
        if self._limits.waiting is not None and held.waiting >= self._limits.waiting:
            raise TooMany
        turn = Turn(account, host, go)
        queue = held.hosts.setdefault(host, _HostQueue()).waiting
        queue.append(turn)
        held.waiting += 1
        if len(queue) == 1:
            held.turns.append(host)
        if held.waiting == 1:
            self._turns.append(account)
        self._advance()
        return turn

    def leave(self, turn: Turn, *, answered: bool | None) -> None:
        """The request is over, or is not wanted any more. `answered`: whether the host did; None: unknown."""
        account = self._accounts[turn.account]
        host = account.hosts[turn.host]
        if turn.started:
            self._busy -= 1
            self._unproven -= turn.unproven
            account.busy -= 1
            account.unproven -= turn.unproven
            host.busy -= 1
        else:
            host.waiting.remove(turn)
            account.waiting -= 1
            if not host.waiting:
                account.turns.remove(turn.host)
            if not account.waiting:
                self._turns.remove(turn.account)
        if answered is not None:
            self._note(turn, answered)
        if not host.busy and not host.waiting:
            del account.hosts[turn.host]
        if not account.hosts:
            del self._accounts[turn.account]
        self._advance()

    def answers(self, turn: Turn) -> None:
        """The host answers: from now on it counts as one that does."""
        self._note(turn, True)
        if turn.unproven:
            turn.unproven = False
            self._unproven -= 1
            self._accounts[turn.account].unproven -= 1
            self._advance()

    def _note(self, turn: Turn, answered: bool) -> None:
        key = turn.account, turn.host
        self._answers[key] = answered
        self._answers.move_to_end(key)
        if len(self._answers) > KNOWN_LIMIT:
            self._answers.popitem(last=False)

    def _advance(self) -> None:
        """Start what the limits allow."""
        passed_over = 0
        while passed_over < len(self._turns) and self._busy < self._limits.total:
            name = self._turns.popleft()
            turn = self._next_of(name)
            passed_over = 0 if turn is not None else passed_over + 1
            if self._accounts[name].waiting:
                self._turns.append(name)
            if turn is not None:
                turn.go()

    def _next_of(self, name: str) -> Turn | None:
        """Start what an account may start now, each of its hosts in turn."""
        account, limits = self._accounts[name], self._limits
        if account.busy >= limits.account:
            return None
        scarce = self._unproven >= _share(limits.total) or account.unproven >= _share(limits.account)
        scarce = scarce and limits.spare
        for _ in range(len(account.turns)):
            where = account.turns.popleft()
            host = account.hosts[where]
            answered = self._answers.get((name, where))
            most = limits.silent if answered is False else limits.host
            may = host.busy < most and (answered or not scarce)
            turn = host.waiting.popleft() if may else None
            if host.waiting:
                account.turns.append(where)
            if turn is not None:
                turn.started, turn.unproven = True, not answered
                self._busy += 1
                self._unproven += turn.unproven
                account.busy += 1
                account.unproven += turn.unproven
                account.waiting -= 1
                host.busy += 1
                return turn
        return None


def _share(limit: int) -> int:
    return max(1, limit * 3 // 4)
