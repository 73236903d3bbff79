"""Those who listen in to calls: what waits for each, bounded (docs/reference/listen.md). Pure.

A listener that reads slowly loses the oldest audio, which shows as a gap between the times of two pieces.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from trunkline.errors import TooManyRequests
from trunkline.ids import AccountSid, CallSid

RATE = 16000
"""Samples per second of each track."""
LISTENERS = 20
"""Of all accounts: each takes 64 KB a second."""
LISTENERS_OF_ACCOUNT = 10
WAITING = 20
"""Pieces that wait for a listener, of some 100 ms each; of more the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class HeardPiece:
    """Audio of a call."""

    at_ms: int
    """On the call's time axis."""
    pcm: bytes
    """16-bit little-endian samples at 16 kHz, of inbound and outbound in turn."""


class CallListener:
    """One listener. `wake` is called when there is something for it."""

    def __init__(self, account: AccountSid, call: CallSid, wake: Callable[[], object]) -> None:
        self.account = account
        self.call = call
        self.wake = wake
        self.over = False
        """The call is: nothing more comes."""
        self._waiting: deque[HeardPiece] = deque(maxlen=WAITING)

    def put(self, piece: HeardPiece) -> None:
        """One more, in place of the oldest if too many wait."""
        self._waiting.append(piece)
        self.wake()

    def take(self) -> HeardPiece | None:
        """The oldest that waits."""
        return self._waiting.popleft() if self._waiting else None


class Listening:
    """All listeners. `on_listened` is called with a call that is to be listened to, or no longer."""

    def __init__(self, on_listened: Callable[[CallSid, bool], None]) -> None:
        self._on_listened = on_listened
        self._of_call: dict[CallSid, set[CallListener]] = {}

    def connect(self, account: AccountSid, call: CallSid, wake: Callable[[], object]) -> CallListener:
        """A new listener; the call must be the account's. Raises TooManyRequests."""
        present = [one for listeners in self._of_call.values() for one in listeners]
        if len(present) >= LISTENERS or sum(one.account == account for one in present) >= LISTENERS_OF_ACCOUNT:
            raise TooManyRequests("Too many listen in already", retry_after=5)
        listener = CallListener(account, call, wake)
        listeners = self._of_call.setdefault(call, set())
        listeners.add(listener)
        if len(listeners) == 1:
            self._on_listened(call, True)
        return listener

    def disconnect(self, listener: CallListener) -> None:
        """It is gone."""
        listeners = self._of_call.get(listener.call, set())
        if listener in listeners:
            listeners.remove(listener)
            if not listeners:
                del self._of_call[listener.call]
                self._on_listened(listener.call, False)

    def heard(self, call: CallSid, piece: HeardPiece) -> None:
        """Audio of a call, for those who listen."""
        for listener in self._of_call.get(call, ()):
            listener.put(piece)

    def ended(self, call: CallSid) -> None:
        """Nothing more comes of that call."""
        for listener in self._of_call.pop(call, ()):
            listener.over = True
            listener.wake()

    def listened(self, call: CallSid) -> bool:
        """Whether anyone listens."""
        return call in self._of_call
