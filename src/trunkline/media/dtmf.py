"""Telephone events received (RFC 4733): one digit per key press, told at its end.

A key press is a run of packets that share a timestamp, its duration growing; the last one has the end bit and is sent
three times (section 2.5.1.4). Any of them may be lost, so an event also ends when another begins (section 2.5.2.2) or
when nothing more comes. A press longer than the duration field can tell continues in a new segment, whose timestamp is
where the last one stopped (section 2.5.1.3): still one press.
"""

from struct import Struct

from trunkline.ids import RtpTime, Seconds

DIGITS = "0123456789*#ABCD"
"""Events 0-15 (section 3.2). The others, such as flash (16), are no digits."""

TIMEOUT = Seconds(0.2)
"""Silence of an event after which it is over; senders update at least every 50 ms (section 2.6.1)."""

_PAYLOAD = Struct("!BBH")
_END = 0x80
_SEGMENT = 0xFFFF


class DigitReceiver:
    """The events of one RTP source."""

    __slots__ = ("_at", "_duration", "_event", "_pressed", "deadline")

    def __init__(self) -> None:
        self._event = -1
        self._at = 0
        self._duration = 0
        self._pressed = False
        self.deadline: Seconds | None = None
        """When `expire` should be called; None while no key is down."""

    def receive(self, payload: bytes, timestamp: RtpTime, now: Seconds) -> str | None:
        """The digits that ended with this packet, mostly none: "". None when the payload is no event (malformed)."""
        if len(payload) < _PAYLOAD.size:
            return None
        event, flags, duration = _PAYLOAD.unpack_from(payload)
        ended = ""
        if self._event < 0 or timestamp != self._at:
            behind = (self._at - timestamp) & 0xFFFFFFFF
            if self._event >= 0 and behind < 0x80000000:
                return ""  # of an event before this one, which is over
            if not self._continues(event, timestamp):
                ended = self.expire()
                self._event = event
                self._pressed = True
            self._at = timestamp
        self._duration = duration
        if self._pressed:
            self.deadline = Seconds(now + TIMEOUT)
            if flags & _END:
                ended += self.expire()
        return ended

    def _continues(self, event: int, timestamp: RtpTime) -> bool:
        stopped = (self._at + _SEGMENT) & 0xFFFFFFFF
        return self._pressed and event == self._event and self._duration == _SEGMENT and timestamp == stopped

    def expire(self) -> str:
        """End the key press under way, if any, and return its digit."""
        if not self._pressed:
            return ""
        self._pressed = False
        self.deadline = None
        return DIGITS[self._event] if self._event < len(DIGITS) else ""

    def restart(self) -> None:
        """Another source: its timestamps have nothing to do with those before."""
        self._event = -1
        self._pressed = False
        self.deadline = None
