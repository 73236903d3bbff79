"""Received key presses: telephone events (RFC 4733) and SIP INFO to digits, each press once. Pure.

By RFC 4733 a key press is a run of packets with the same timestamp and a growing duration; the last one has the end bit
and is sent three times (section 2.5.1.4). Any of them may be lost, so an event also ends when another begins (section
2.5.2.2) or when no more packets come. A press longer than the duration field allows continues in a new segment, whose
timestamp is the end of the last one (section 2.5.1.3).

Devices differ. Some advance the timestamp with each packet, or with each repetition of the end; some keep it from one
press to the next, use a clock, an SSRC or a sequence of their own for events, or send only ends. Hence a press is an
interval: packets of one key whose intervals (from the timestamp, for the duration) touch or nearly touch are one press,
in any order and number. A packet that touches is still a new press if the sender has restarted (`_Press.is_over`).

Many phones report each press twice, by events and by INFO. A key received one way is paired with the same key received
the other way, and reported once.
"""

from struct import Struct
from typing import NamedTuple

from trunkline.ids import RtpTime, Seconds, Ssrc
from trunkline.media.rtp.dtmf import DIGITS
from trunkline.media.rtp.jitter import MAX_MISORDER

TIMEOUT = Seconds(0.2)
"""Silence after which an event has ended; senders update at least every 50 ms (section 2.6.1)."""

APART = 320
"""Shortest pause between two presses of a key, in RTP units: 40 ms, as most networks require (ITU-T Q.24)."""

MARKED = Seconds(0.1)
"""Time since the press's last packet from which a marker bit begins another press; some devices set it on every
packet."""

REPEATED = 4
"""Most packets from one repetition of an end to the next, with one lost and audio between them."""

OVERTAKEN = Seconds(5.0)
"""No packet overtakes another by more; beyond this sequence numbers, which may have wrapped, are not compared."""

PAIRED = Seconds(2.0)
"""Longest time between event and INFO of one press: more than two retransmissions of an INFO take (RFC 3261 section
17.1.2.2)."""

UNPAIRED_LIMIT = 16
"""Presses that may wait for their other report."""

_PAYLOAD = Struct("!BBH")
_END = 0x80
_WRAPPING = 0xF000
"""A duration after which a smaller one may follow in the same press: the field overflowed."""
_UNITS_PER_SECOND = 8000


class EventPacket(NamedTuple):
    """A telephone-event packet and its arrival."""

    payload: bytes
    timestamp: RtpTime
    sequence: int
    ssrc: Ssrc
    marker: bool
    at: Seconds


class _Press:
    """One key press, as far as it was received. `_newest`: sequence number of the packet that was sent last."""

    __slots__ = ("_duration", "_first", "_newest", "_ssrc", "_stop", "at", "began", "digit", "ended", "event")

    def __init__(self, event: int, duration: int, packet: EventPacket) -> None:
        self.event = event
        self.digit = DIGITS[event] if event < len(DIGITS) else ""
        """Empty for an event that is not a key."""
        self._first = int(packet.timestamp)
        self._stop = packet.timestamp + duration
        self._duration = duration
        self._newest = packet.sequence
        self._ssrc = packet.ssrc
        self.began = self.at = packet.at
        self.ended = False
        """Its end was received."""

    def later(self, packet: EventPacket) -> int:
        """How many packets after `_newest` this one was sent; negative: before it; 0: a duplicate."""
        if packet.ssrc != self._ssrc or packet.at - self.at > OVERTAKEN:
            return 1
        step = _signed(packet.sequence - self._newest, 16)
        return step if step >= -MAX_MISORDER else 1

    def touches(self, packet: EventPacket, duration: int) -> bool:
        """Whether the two intervals touch."""
        begin = _signed(packet.timestamp - self._first, 32)
        return begin - (self._stop - self._first) < APART and begin + duration > -APART

    def repeats(self, packet: EventPacket, later: int, *, end: bool) -> bool:
        """Whether a packet repeats the end. Some servers on the path change the timestamps of repetitions."""
        soon = 0 < later <= REPEATED and packet.at - self.at < TIMEOUT
        return self.ended and end and soon and not packet.marker

    def is_over(self, packet: EventPacket, duration: int, later: int, *, end: bool) -> bool:
        """Whether a packet that was sent `later` than all of this press, and touches it, is the first of another."""
        silence = packet.at - self.at
        if end:
            # The end or its repetition, except for devices that send only ends.
            again = (packet.marker and silence >= MARKED) or (silence >= TIMEOUT and later > REPEATED)
            return self.ended and again
        if self.ended:
            return True
        grown = _signed(packet.timestamp + duration - self._stop, 32)
        if grown < 0:
            return self._duration < _WRAPPING
        if silence >= TIMEOUT:
            # With hardly a packet between them the sender or the network paused, not the key.
            return later > REPEATED and grown < silence * _UNITS_PER_SECOND / 2
        return packet.marker and grown == 0 and silence >= MARKED

    def add(self, packet: EventPacket, duration: int, later: int) -> None:
        """Add a packet to this press. Its interval goes beyond 32 bits instead of wrapping."""
        self.at = packet.at
        begin = self._first + _signed(packet.timestamp - self._first, 32)
        if not self.touches(packet, duration):
            begin, duration = self._first, self._duration  # an end repeated under another timestamp
        if later > 0:
            if duration < _WRAPPING <= self._duration:
                self._stop = begin + duration  # the field overflowed
            self._newest, self._ssrc, self._duration = packet.sequence, packet.ssrc, duration
        self._stop = max(self._stop, begin + duration)
        self._first = min(self._first, begin)


_Unpaired = tuple[str, _Press | None, Seconds]


class DigitReceiver:
    """The key presses of one peer."""

    __slots__ = ("_down", "_presses", "_unpaired", "deadline")

    def __init__(self) -> None:
        # Tuples: most calls have no key presses, and empty tuples take no memory.
        self._presses: tuple[_Press, ...] = ()
        """The last press of each event, also of events that are not keys while there is room."""
        self._down: _Press | None = None
        """The press in progress, not reported yet."""
        self._unpaired: tuple[_Unpaired, ...] = ()
        """Presses reported one way so far: the press, or None for INFO, and when it was reported."""
        self.deadline: Seconds | None = None
        """When `expire` is due; None while no key is down."""

    def receive(self, packet: EventPacket) -> str | None:
        """The digits that ended with this packet, mostly none: "". None: the payload is malformed."""
        if len(packet.payload) < _PAYLOAD.size:
            return None
        event, flags, duration = _PAYLOAD.unpack_from(packet.payload)
        end = bool(flags & _END)
        press = next((press for press in self._presses if press.event == event), None)
        ended = ""
        if press is None or self._is_another(press, packet, duration, end=end):
            ended = self.expire()
            others = [other for other in self._presses if other.event != event]
            press = self._down = _Press(event, duration, packet)
            self._presses = (*others, press)[-len(DIGITS) :]
        else:
            later = press.later(packet)
            # An end sent before the newest packet is that of an earlier press.
            if later < 0 and ((end and not press.ended) or not press.touches(packet, duration)):
                return ""
            press.add(packet, duration, later)
        press.ended = press.ended or end
        if press is self._down:
            self.deadline = Seconds(packet.at + TIMEOUT)
            if end:
                ended += self.expire()
        return ended

    @staticmethod
    def _is_another(press: _Press, packet: EventPacket, duration: int, *, end: bool) -> bool:
        """Whether a packet is of a press after this one of the same key."""
        later = press.later(packet)
        if press.repeats(packet, later, end=end):
            return False
        if not press.touches(packet, duration):
            return later >= 0
        return later > 0 and press.is_over(packet, duration, later, end=end)

    def expire(self) -> str:
        """End the press in progress, if any; return its digit unless INFO has reported it."""
        press, self._down, self.deadline = self._down, None, None
        if press is None or not press.digit:
            return ""
        for other in self._unpaired:
            if other[0] == press.digit and other[1] is None and other[2] >= press.began - PAIRED:
                self._pair(other)
                return ""
        self._wait(press.digit, press, press.at)
        return press.digit

    def signalled(self, digit: str, now: Seconds) -> str:
        """A key press by INFO; return it unless events have reported it."""
        for other in self._unpaired:
            press = other[1]
            if other[0] == digit and press is not None and now - press.at <= PAIRED:
                self._pair(other)
                return ""
        self._wait(digit, None, now)
        return digit

    def _pair(self, paired: _Unpaired) -> None:
        self._unpaired = tuple(other for other in self._unpaired if other is not paired)

    def _wait(self, digit: str, press: _Press | None, now: Seconds) -> None:
        self._unpaired = (*self._unpaired, (digit, press, now))[-UNPAIRED_LIMIT:]


def _signed(number: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half
