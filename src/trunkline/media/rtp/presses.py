"""Key presses as they are heard: telephone events (RFC 4733) and SIP INFO to digits, each press once. Pure.

By RFC 4733 a key press is a run of packets that share a timestamp, its duration growing; the last one has the end bit
and is sent three times (section 2.5.1.4). Any of them may be lost, so an event also ends when another begins (section
2.5.2.2) or when nothing more comes. A press longer than the duration field can tell continues in a new segment, whose
timestamp is where the last one stopped (section 2.5.1.3): still one press.

Devices keep to this more or less. Some count the timestamp on with each packet, or with each repetition of the end;
some let it stand still from one press to the next, have a clock, an SSRC or a sequence of their own for events, or send
nothing but ends. Hence a press is
taken for what it is, a stretch of time: packets of one key whose stretches (timestamp, and duration from there) touch,
or nearly do, are one press, in whatever order and however often they come. What touches is a new press all the same if
the sender has begun again, which shows in packets that it sent later (`_Press.is_over`).

Many phones tell each press twice, by events and by INFO. A key heard one way is paired with the same key heard the
other way, and told once.
"""

from struct import Struct
from typing import NamedTuple

from trunkline.ids import RtpTime, Seconds, Ssrc
from trunkline.media.rtp.dtmf import DIGITS
from trunkline.media.rtp.jitter import MAX_MISORDER

TIMEOUT = Seconds(0.2)
"""Silence of an event after which it is over; senders update at least every 50 ms (section 2.6.1)."""

APART = 320
"""RTP units between two presses of a key at least: 40 ms, the shortest pause between keys of most networks (ITU-T
Q.24)."""

MARKED = Seconds(0.1)
"""Since the press's last packet: a marker bit then begins another, as some devices set it on every packet."""

REPEATED = 4
"""Packets from one repetition of an end to the next at most, with one lost and audio between them."""

OVERTAKEN = Seconds(5.0)
"""Beyond this no packet overtakes another: a sequence number says nothing any more, having wrapped perhaps."""

PAIRED = Seconds(2.0)
"""Between both ways of telling one press: more than two repetitions of an INFO take (RFC 3261 section 17.1.2.2)."""

UNPAIRED_LIMIT = 16
"""Keys that may wait to be heard the other way."""

_PAYLOAD = Struct("!BBH")
_END = 0x80
_WRAPPING = 0xF000
"""A duration from which a smaller one may follow in the same press: the field was full."""
_UNITS_PER_SECOND = 8000


class EventPacket(NamedTuple):
    """A packet of telephone events, and when it came."""

    payload: bytes
    timestamp: RtpTime
    sequence: int
    ssrc: Ssrc
    marker: bool
    at: Seconds


class _Press:
    """One press of a key, as far as it was heard. `_newest` is of the packet that was sent last."""

    __slots__ = ("_duration", "_first", "_newest", "_ssrc", "_stop", "at", "began", "digit", "ended", "event")

    def __init__(self, event: int, duration: int, packet: EventPacket) -> None:
        self.event = event
        self.digit = DIGITS[event] if event < len(DIGITS) else ""
        """Empty for what is no key."""
        self._first = int(packet.timestamp)
        self._stop = packet.timestamp + duration
        self._duration = duration
        self._newest = packet.sequence
        self._ssrc = packet.ssrc
        self.began = self.at = packet.at
        self.ended = False
        """Its end was heard."""

    def later(self, packet: EventPacket) -> int:
        """How many packets after `_newest` this one was sent; negative when before it, 0 when nobody can tell."""
        if packet.ssrc != self._ssrc or packet.at - self.at > OVERTAKEN:
            return 1
        step = _signed(packet.sequence - self._newest, 16)
        return step if step >= -MAX_MISORDER else 1

    def touches(self, packet: EventPacket, duration: int) -> bool:
        """Whether both stretches of time are one."""
        begin = _signed(packet.timestamp - self._first, 32)
        return begin - (self._stop - self._first) < APART and begin + duration > -APART

    def repeats(self, packet: EventPacket, later: int, *, end: bool) -> bool:
        """Whether a packet is the end once more. Servers on the way give repetitions timestamps of their own."""
        soon = 0 < later <= REPEATED and packet.at - self.at < TIMEOUT
        return self.ended and end and soon and not packet.marker

    def is_over(self, packet: EventPacket, duration: int, later: int, *, end: bool) -> bool:
        """Whether a packet that was sent `later` than all of this press, and touches it, is the first of another."""
        silence = packet.at - self.at
        if end:
            # Its end, or that once more; but for a press of which there is nothing but ends.
            again = (packet.marker and silence >= MARKED) or (silence >= TIMEOUT and later > REPEATED)
            return self.ended and again
        if self.ended:
            return True
        grown = _signed(packet.timestamp + duration - self._stop, 32)
        if grown < 0:
            return self._duration < _WRAPPING
        if silence >= TIMEOUT:
            return grown < silence * _UNITS_PER_SECOND / 2
        return packet.marker and grown == 0 and silence >= MARKED

    def add(self, packet: EventPacket, duration: int, later: int) -> None:
        """One more packet of this press. Its stretch goes beyond 32 bits, rather than wrap."""
        self.at = packet.at
        begin = self._first + _signed(packet.timestamp - self._first, 32)
        if not self.touches(packet, duration):
            begin, duration = self._first, self._duration  # an end repeated under another timestamp
        if later > 0:
            if duration < _WRAPPING <= self._duration:
                self._stop = begin + duration  # the field was full, and counts anew
            self._newest, self._ssrc, self._duration = packet.sequence, packet.ssrc, duration
        self._stop = max(self._stop, begin + duration)
        self._first = min(self._first, begin)


_Unpaired = tuple[str, _Press | None, Seconds]


class DigitReceiver:
    """The key presses of one peer."""

    __slots__ = ("_down", "_presses", "_unpaired", "deadline")

    def __init__(self) -> None:
        # Tuples, because most calls hear no keys, and empty ones take no room.
        self._presses: tuple[_Press, ...] = ()
        """The last press of each event; of what is no key too, as far as there is room."""
        self._down: _Press | None = None
        """The one that is not told yet."""
        self._unpaired: tuple[_Unpaired, ...] = ()
        """Keys told that were heard one way so far: the press, or None and when INFO told it."""
        self.deadline: Seconds | None = None
        """When `expire` should be called; None while no key is down."""

    def receive(self, packet: EventPacket) -> str | None:
        """The digits that ended with this packet, mostly none: "". None when its payload is no event (malformed)."""
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
            # Before what was sent last there can be no end, but that of a press before.
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
        """End the key press under way, if any, and return its digit, if INFO has not told it."""
        press, self._down, self.deadline = self._down, None, None
        if press is None or not press.digit:
            return ""
        for told in self._unpaired:
            if told[0] == press.digit and told[1] is None and told[2] >= press.began - PAIRED:
                self._pair(told)
                return ""
        self._wait(press.digit, press, press.at)
        return press.digit

    def signalled(self, digit: str, now: Seconds) -> str:
        """INFO tells of a key; return it, if events have not told it."""
        for told in self._unpaired:
            press = told[1]
            if told[0] == digit and press is not None and now - press.at <= PAIRED:
                self._pair(told)
                return ""
        self._wait(digit, None, now)
        return digit

    def _pair(self, told: _Unpaired) -> None:
        self._unpaired = tuple(other for other in self._unpaired if other is not told)

    def _wait(self, digit: str, press: _Press | None, now: Seconds) -> None:
        self._unpaired = (*self._unpaired, (digit, press, now))[-UNPAIRED_LIMIT:]


def _signed(number: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half
