"""Events of accounts for those who listen: a bounded ring for each account, and clients that read it (docs/reference/
events.md). Pure.

An event has a number, counted for each account. A client is a place in the ring of its account, so what waits for one
that does not read takes no memory of its own; what the ring has dropped meanwhile is reported to it as `dropped`.
Levels have no number: of each watched call a client gets the newest only.

An account's ring holds `RING` events; if all rings hold more than `ALL_RINGS`, the largest drops its oldest. So one
account cannot drive out what others have. An event becomes text when the first client takes it: most are never looked
at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from trunkline.errors import TooManyRequests
from trunkline.ids import AccountSid, CallSid
from trunkline.live.listening import Listening

RING = 5000
"""Events of one account."""
ALL_RINGS = 20_000
"""Events of all accounts, of some 2 KB each."""
CLIENTS_OF_ACCOUNT = 20
CLIENTS = 200
WATCHES = 10
"""Calls that one client watches at once."""
WATCHED = 50
"""Calls that are watched at once, on the whole server."""
BATCH = 50
"""Messages that a client is given at once."""

encode = msgspec.json.Encoder().encode
Message = Mapping[str, object]
Make = Callable[[], Message]
"""Makes the message of an event, later."""


def timestamp(at: datetime) -> str:
    """ISO 8601 in UTC with microseconds, as in callbacks."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


@dataclass(slots=True)
class _Ring:
    """One account's events by number, the oldest first."""

    events: dict[int, tuple[bytes | Make, CallSid | None]] = field(default_factory=dict)
    """The event, as text once it was taken, and the call of one that only those get who watch it."""
    last: int = 0
    """Number of the newest event."""
    clients: set["EventClient"] = field(default_factory=set)

    @property
    def first(self) -> int:
        """Number of the oldest event that is kept, or of the next one."""
        return next(iter(self.events), self.last + 1)

    def drop(self) -> None:
        """The oldest event."""
        del self.events[self.first]

    def text(self, number: int) -> bytes:
        """An event as JSON."""
        event, call = self.events[number]
        if not isinstance(event, bytes):
            event = encode({"sequence": number, **event()})
            self.events[number] = event, call
        return event


class EventClient:
    """One listener. `wake` is called when there may be something for it."""

    def __init__(
        self, hub: "Hub", account: AccountSid, after: int, wake: Callable[[], object], watches_all: bool
    ) -> None:
        self.account = account
        self.wake = wake
        self.watches: set[CallSid] = set()
        self.watches_all = watches_all
        """New calls are watched from their beginning, as long as fewer than `WATCHES` are."""
        self.levels: dict[CallSid, bytes] = {}
        self._hub = hub
        self._next = after + 1

    def take(self) -> list[bytes]:
        """Up to `BATCH` messages, events in order; none: there is nothing now."""
        ring = self._hub.ring(self.account)
        messages: list[bytes] = []
        if self._next < ring.first:
            lost, self._next = ring.first - self._next, ring.first
            messages.append(encode({"event": "dropped", "events": lost, "next_sequence": self._next}))
        while self._next <= ring.last and len(messages) < BATCH:
            _, call = ring.events[self._next]
            if call is None or call in self.watches:
                messages.append(ring.text(self._next))
            self._next += 1
        if len(messages) < BATCH:
            messages += self.levels.values()
            self.levels.clear()
        return messages


class Hub:
    """All accounts. `session` names this life of the server: numbers of another one mean nothing here. `on_watched` is
    called with a call that is to be watched, or no longer, `on_listened` with one that is to be listened to."""

    def __init__(
        self,
        session: str,
        on_watched: Callable[[CallSid, bool], None],
        on_listened: Callable[[CallSid, bool], None] = lambda _call, _on: None,
    ) -> None:
        self.session = session
        self.listening = Listening(on_listened)
        self._on_watched = on_watched
        self._rings: dict[AccountSid, _Ring] = {}
        self._size = 0
        self._clients = 0
        self._watched: dict[CallSid, int] = {}
        """How many clients watch a call."""

    def ring(self, account: AccountSid) -> _Ring:
        """The ring of an account."""
        return self._rings.setdefault(account, _Ring())

    def publish(self, account: AccountSid, make: Make, only_watching: CallSid | None = None) -> None:
        """An event, which gets the next number; with `only_watching` for those alone who watch that call."""
        ring = self.ring(account)
        ring.last += 1
        ring.events[ring.last] = make, only_watching
        self._size += 1
        if len(ring.events) > RING:
            self._drop(ring)
        elif self._size > ALL_RINGS:
            self._drop(max(self._rings.values(), key=lambda one: len(one.events)))
        for client in ring.clients:
            client.wake()

    def _drop(self, ring: _Ring) -> None:
        ring.drop()
        self._size -= 1

    def levels(self, account: AccountSid, call: CallSid, message: Message) -> None:
        """Levels of a call, for those who watch it."""
        text = encode(message)
        for client in self.ring(account).clients:
            if call in client.watches:
                client.levels[call] = text
                client.wake()

    def connect(
        self,
        account: AccountSid,
        wake: Callable[[], object],
        *,
        after: int | None = None,
        session: str | None = None,
        watches_all: bool = False,
    ) -> EventClient:
        """A new client, which gets what comes after that event of that session; with neither, what is new. Raises
        TooManyRequests."""
        ring = self.ring(account)
        if len(ring.clients) >= CLIENTS_OF_ACCOUNT or self._clients >= CLIENTS:
            raise TooManyRequests("Too many event sockets are open", retry_after=5)
        if after is None:
            after = ring.last
        elif session not in (None, self.session) or after > ring.last:
            after = 0  # of another life: all that there is
        client = EventClient(self, account, after, wake, watches_all)
        ring.clients.add(client)
        self._clients += 1
        return client

    def disconnect(self, client: EventClient) -> None:
        """It is gone."""
        for call in list(client.watches):
            self.unwatch(client, call)
        clients = self.ring(client.account).clients
        if client in clients:
            clients.remove(client)
            self._clients -= 1

    def hello(self, client: EventClient) -> bytes:
        """Its first message."""
        ring = self.ring(client.account)
        return encode(
            {
                "event": "hello",
                "account_sid": client.account,
                "session": self.session,
                "first_sequence": ring.first,
                "last_sequence": ring.last,
            }
        )

    def watch(self, client: EventClient, call: CallSid) -> str | None:
        """Give it what only those get who watch that call. The call must be the account's. Returns why not."""
        if call in client.watches:
            return None
        if len(client.watches) >= WATCHES:
            return f"{WATCHES} calls are watched by this socket already"
        if call not in self._watched and len(self._watched) >= WATCHED:
            return f"{WATCHED} calls are watched on this server already"
        client.watches.add(call)
        self._watched[call] = self._watched.get(call, 0) + 1
        if self._watched[call] == 1:
            self._on_watched(call, True)
        return None

    def unwatch(self, client: EventClient, call: CallSid) -> None:
        """No more of that."""
        if call not in client.watches:
            return
        client.watches.remove(call)
        client.levels.pop(call, None)
        self._watched[call] -= 1
        if not self._watched[call]:
            del self._watched[call]
            self._on_watched(call, False)

    def begun(self, account: AccountSid, call: CallSid) -> None:
        """A new call: those who watch all begin to."""
        for client in self.ring(account).clients:
            if client.watches_all:
                self.watch(client, call)

    def ended(self, account: AccountSid, call: CallSid) -> None:
        """Nothing more comes of that call."""
        for client in self.ring(account).clients:
            self.unwatch(client, call)

    def watched(self, call: CallSid) -> bool:
        """Whether anyone watches it."""
        return call in self._watched
