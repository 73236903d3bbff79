"""The four state machines of SIP transactions (RFC 3261 section 17, corrected by RFC 6026), as tables. Pure.

A transaction is a request and its responses, between two neighbours. INVITE has machines of its own, since its final
response may take long, and a failure is confirmed by an ACK:

    INVITE client (17.1.1, RFC 6026 8.4)          other client (17.1.2)

      CALLING ──1xx──► PROCEEDING                   TRYING ──1xx──► PROCEEDING
       │  │               │   │                        │                │
       │  └──────2xx──────┼─► ACCEPTED (M)             └──────200-699───┴──► COMPLETED (K)
       └───────300-699────┴─► COMPLETED (D), ACK

    INVITE server (17.2.1, RFC 6026 8.5)          other server (17.2.2)

      PROCEEDING ──2xx──► ACCEPTED (L)              TRYING ──1xx──► PROCEEDING
       │                                               │                │
       └──300-699──► COMPLETED (H) ──ACK──► CONFIRMED  └──────200-699───┴──► COMPLETED (J)

All end in TERMINATED. Beside each table are its timers: a message is repeated over UDP, first after T1, then after
growing intervals (A, E, G), and a state lasts a limited time (B, D, F, H, I, J, K, L, M).

Two things go beyond section 17: a 2xx to an INVITE is repeated here until its ACK (section 13.3.1.4), over streams too,
since no other layer keeps it; and an INVITE without a final response ends, as client and as server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

T1 = 0.5
"""Seconds: the estimated round trip, after which a message is first repeated (section 17.1.1.1)."""
T2 = 4.0
"""Seconds: the longest interval between repeats, except of an INVITE."""
T4 = 5.0
"""Seconds that a message stays in the network."""
TRANSACTION_TIME = 64 * T1
"""Seconds without a final response after which a request fails (64*T1)."""
RINGING_LIMIT = 3600.0
"""Seconds that our INVITE may ring; the application ends it earlier."""
UNANSWERED_LIMIT = 300.0
"""Seconds that an INVITE of a peer without Expires may be unanswered."""


class TransactionState(Enum):
    """State of a transaction."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    TERMINATED = auto()


class Input(Enum):
    """Input of a transaction. A response is received by a client and sent by a server."""

    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    REQUEST = auto()
    """A retransmission of the request."""
    ACK = auto()
    REPEAT = auto()
    """The timer of the next repeat."""
    END = auto()
    """The timer of the state."""
    UNREACHABLE = auto()
    """What was sent did not arrive."""

    @staticmethod
    def of_status(status: int) -> "Input":
        """The input that a response with this status is."""
        return Input.PROVISIONAL if status < 200 else Input.SUCCESS if status < 300 else Input.FAILURE


class Do(Enum):
    """Action that follows an input."""

    SEND = auto()
    """The request, or the last response, again."""
    ACKNOWLEDGE = auto()
    """ACK to a failure (section 17.1.1.3)."""
    PASS = auto()
    """The message goes to the transaction user; for a server, to the peer."""
    PASS_REPEATED = auto()
    """A 2xx after the first: of another fork, or because our ACK was lost; to the user agent core."""
    TIME_OUT = auto()
    """No response came in time."""
    FAIL = auto()
    """The peer cannot be reached."""
    EXPIRE = auto()
    """The INVITE was not answered in time."""
    NO_ACK = auto()
    """The 2xx has had no ACK in time."""


@dataclass(frozen=True, slots=True)
class Span:
    """The timers of one state, in seconds."""

    udp: float
    """Duration over UDP."""
    stream: float
    """Duration over TCP and TLS, which need no repeats; 0: it ends at once."""
    repeat: float = 0.0
    """The first interval between repeats; 0: none."""
    longest: float = T2
    """The longest interval."""
    on_streams: bool = False
    """Repeats over streams too."""
    goes_on: bool = False
    """The deadline of the state before stays."""


Table = Mapping[tuple[TransactionState, Input], tuple[TransactionState, tuple[Do, ...]]]
"""A pair without an entry changes nothing."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One of the four state machines."""

    start: TransactionState
    table: Table
    spans: Mapping[TransactionState, Span]
    live: frozenset[TransactionState]
    """States in which a message is still expected; in the others retransmissions are only absorbed."""


_CALLING, _TRYING, _PROCEEDING = TransactionState.CALLING, TransactionState.TRYING, TransactionState.PROCEEDING
_ACCEPTED, _COMPLETED, _CONFIRMED, _TERMINATED = (
    TransactionState.ACCEPTED,
    TransactionState.COMPLETED,
    TransactionState.CONFIRMED,
    TransactionState.TERMINATED,
)

INVITE_CLIENT = Machine(
    _CALLING,
    {
        (_CALLING, Input.REPEAT): (_CALLING, (Do.SEND,)),
        (_CALLING, Input.END): (_TERMINATED, (Do.TIME_OUT,)),
        (_CALLING, Input.UNREACHABLE): (_TERMINATED, (Do.FAIL,)),
        (_CALLING, Input.PROVISIONAL): (_PROCEEDING, (Do.PASS,)),
        (_CALLING, Input.SUCCESS): (_ACCEPTED, (Do.PASS,)),
        (_CALLING, Input.FAILURE): (_COMPLETED, (Do.ACKNOWLEDGE, Do.PASS)),
        (_PROCEEDING, Input.END): (_TERMINATED, (Do.TIME_OUT,)),
        (_PROCEEDING, Input.PROVISIONAL): (_PROCEEDING, (Do.PASS,)),
        (_PROCEEDING, Input.SUCCESS): (_ACCEPTED, (Do.PASS,)),
        (_PROCEEDING, Input.FAILURE): (_COMPLETED, (Do.ACKNOWLEDGE, Do.PASS)),
        (_ACCEPTED, Input.SUCCESS): (_ACCEPTED, (Do.PASS_REPEATED,)),
        (_ACCEPTED, Input.END): (_TERMINATED, ()),
        (_COMPLETED, Input.FAILURE): (_COMPLETED, (Do.ACKNOWLEDGE,)),
        (_COMPLETED, Input.END): (_TERMINATED, ()),
    },
    {
        _CALLING: Span(TRANSACTION_TIME, TRANSACTION_TIME, repeat=T1, longest=TRANSACTION_TIME),  # A, B
        _PROCEEDING: Span(RINGING_LIMIT, RINGING_LIMIT),
        _ACCEPTED: Span(TRANSACTION_TIME, TRANSACTION_TIME),  # M
        _COMPLETED: Span(TRANSACTION_TIME, 0),  # D
    },
    frozenset((_CALLING, _PROCEEDING)),
)

CLIENT = Machine(
    _TRYING,
    {
        (_TRYING, Input.REPEAT): (_TRYING, (Do.SEND,)),
        (_TRYING, Input.END): (_TERMINATED, (Do.TIME_OUT,)),
        (_TRYING, Input.UNREACHABLE): (_TERMINATED, (Do.FAIL,)),
        (_TRYING, Input.PROVISIONAL): (_PROCEEDING, (Do.PASS,)),
        (_TRYING, Input.SUCCESS): (_COMPLETED, (Do.PASS,)),
        (_TRYING, Input.FAILURE): (_COMPLETED, (Do.PASS,)),
        (_PROCEEDING, Input.REPEAT): (_PROCEEDING, (Do.SEND,)),
        (_PROCEEDING, Input.END): (_TERMINATED, (Do.TIME_OUT,)),
        (_PROCEEDING, Input.PROVISIONAL): (_PROCEEDING, (Do.PASS,)),
        (_PROCEEDING, Input.SUCCESS): (_COMPLETED, (Do.PASS,)),
        (_PROCEEDING, Input.FAILURE): (_COMPLETED, (Do.PASS,)),
        (_COMPLETED, Input.END): (_TERMINATED, ()),
    },
    {
        _TRYING: Span(TRANSACTION_TIME, TRANSACTION_TIME, repeat=T1),  # E, F
        _PROCEEDING: Span(TRANSACTION_TIME, TRANSACTION_TIME, repeat=T2, goes_on=True),  # E, F
        _COMPLETED: Span(T4, 0),  # K
    },
    frozenset((_TRYING, _PROCEEDING)),
)

INVITE_SERVER = Machine(
    _PROCEEDING,
    {
        (_PROCEEDING, Input.REQUEST): (_PROCEEDING, (Do.SEND,)),
        (_PROCEEDING, Input.PROVISIONAL): (_PROCEEDING, (Do.PASS,)),
        (_PROCEEDING, Input.SUCCESS): (_ACCEPTED, (Do.PASS,)),
        (_PROCEEDING, Input.FAILURE): (_COMPLETED, (Do.PASS,)),
        (_PROCEEDING, Input.END): (_PROCEEDING, (Do.EXPIRE,)),
        (_ACCEPTED, Input.REQUEST): (_ACCEPTED, (Do.SEND,)),
        (_ACCEPTED, Input.REPEAT): (_ACCEPTED, (Do.SEND,)),
        (_ACCEPTED, Input.ACK): (_TERMINATED, (Do.PASS,)),
        (_ACCEPTED, Input.END): (_TERMINATED, (Do.NO_ACK,)),
        (_COMPLETED, Input.REQUEST): (_COMPLETED, (Do.SEND,)),
        (_COMPLETED, Input.REPEAT): (_COMPLETED, (Do.SEND,)),
        (_COMPLETED, Input.ACK): (_CONFIRMED, ()),
        (_COMPLETED, Input.END): (_TERMINATED, ()),
        (_CONFIRMED, Input.END): (_TERMINATED, ()),
    },
    {
        _PROCEEDING: Span(UNANSWERED_LIMIT, UNANSWERED_LIMIT),
        _ACCEPTED: Span(TRANSACTION_TIME, TRANSACTION_TIME, repeat=T1, on_streams=True),  # L
        _COMPLETED: Span(TRANSACTION_TIME, TRANSACTION_TIME, repeat=T1),  # G, H
        _CONFIRMED: Span(T4, 0),  # I
    },
    frozenset((_PROCEEDING, _ACCEPTED, _COMPLETED)),
)

SERVER = Machine(
    _TRYING,
    {
        (_TRYING, Input.PROVISIONAL): (_PROCEEDING, (Do.PASS,)),
        (_TRYING, Input.SUCCESS): (_COMPLETED, (Do.PASS,)),
        (_TRYING, Input.FAILURE): (_COMPLETED, (Do.PASS,)),
        (_TRYING, Input.END): (_TERMINATED, ()),
        (_PROCEEDING, Input.REQUEST): (_PROCEEDING, (Do.SEND,)),
        (_PROCEEDING, Input.PROVISIONAL): (_PROCEEDING, (Do.PASS,)),
        (_PROCEEDING, Input.SUCCESS): (_COMPLETED, (Do.PASS,)),
        (_PROCEEDING, Input.FAILURE): (_COMPLETED, (Do.PASS,)),
        (_PROCEEDING, Input.END): (_TERMINATED, ()),
        (_COMPLETED, Input.REQUEST): (_COMPLETED, (Do.SEND,)),
        (_COMPLETED, Input.END): (_TERMINATED, ()),
    },
    {
        _TRYING: Span(TRANSACTION_TIME, TRANSACTION_TIME),
        _PROCEEDING: Span(TRANSACTION_TIME, TRANSACTION_TIME, goes_on=True),
        _COMPLETED: Span(TRANSACTION_TIME, TRANSACTION_TIME),  # J; what comes twice by a stream is absorbed too
    },
    frozenset((_TRYING, _PROCEEDING)),
)


class Transaction:
    """One transaction: inputs and `now` (seconds, monotonic) in; what to do and the next deadline out."""

    __slots__ = ("_interval", "_machine", "_reliable", "ends_at", "repeats_at", "state")

    def __init__(self, machine: Machine, now: float, *, reliable: bool) -> None:
        self._machine = machine
        self._reliable = reliable
        self._interval = 0.0
        self.state = machine.start
        self.ends_at = inf
        self.repeats_at = inf
        self._enter(machine.start, now)

    @property
    def live(self) -> bool:
        """A message is still expected."""
        return self.state in self._machine.live

    @property
    def next_deadline(self) -> float:
        """Time of the next timer; infinite without one."""
        return min(self.ends_at, self.repeats_at)

    def due(self, now: float) -> Input | None:
        """The timer that is due; None if none is."""
        if self.ends_at <= now:
            return Input.END
        return Input.REPEAT if self.repeats_at <= now else None

    def apply(self, what: Input, now: float) -> tuple[Do, ...]:
        """Apply an input. Returns the actions, in order."""
        state, actions = self._machine.table.get((self.state, what), (self.state, ()))
        if state is not self.state:
            self._enter(state, now)
        elif actions and what is Input.REPEAT:
            self._interval = min(2 * self._interval, self._machine.spans[state].longest)
            self.repeats_at = now + self._interval
        elif actions and what is Input.END:
            self.ends_at = inf
        return actions

    def stop_repeating(self) -> None:
        """Repeat nothing in this state."""
        self.repeats_at = inf

    def end_in(self, seconds: float, now: float) -> None:
        """End this state after `seconds`, not as its table says."""
        self.ends_at = now + seconds

    def terminate(self) -> None:
        """End the transaction."""
        self.state, self.ends_at, self.repeats_at = TransactionState.TERMINATED, inf, inf

    def _enter(self, state: TransactionState, now: float) -> None:
        span = self._machine.spans.get(state)
        seconds = 0.0 if span is None else span.stream if self._reliable else span.udp
        if span is None or not seconds:
            self.terminate()
            return
        self.state = state
        self.ends_at = min(self.ends_at, now + seconds) if span.goes_on else now + seconds
        repeats = span.repeat and (span.on_streams or not self._reliable)
        self._interval = span.repeat
        self.repeats_at = now + span.repeat if repeats else inf
