"""Telephone events (RFC 4733) that we send: one packet per packet time instead of audio, from the press to the last
repetition of its end. Receiving: `presses.py`.
"""

from struct import Struct

from trunkline.errors import TrunklineError

DIGITS = "0123456789*#ABCD"
"""Events 0-15 (section 3.2). The others, such as flash (16), are no digits."""

WAITS = {"w": 500, "W": 1000}
"""Pauses among digits to send, in ms."""

PRESS_MS = 160
"""Shortest duration of an event, in ms; rounded up to whole packets."""

PAUSE_MS = 40
"""Shortest pause between two events, in ms, as most telephone networks require (ITU-T Q.24)."""

WAITING_LIMIT = 64
"""Digits that may wait: more than a phone or card number has, and 13 seconds of them."""

_VOLUME = 10
"""-10 dBm0 (section 2.3.3), as most senders use."""

_ENDS = 3
_PAYLOAD = Struct("!BBH")
_END = 0x80


class NoTelephoneEvent(TrunklineError):
    """telephone-event was not negotiated."""


class TooManyDigits(TrunklineError):
    """More than `WAITING_LIMIT` digits would wait."""


class DigitSender:
    """Sends digits one after another. The owner calls `next_payload` each packet time while there is `work`."""

    __slots__ = ("_payloads", "_waiting", "fresh", "sent")

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._payloads: list[bytes] = []
        """Remaining payloads of the event in progress."""
        self.fresh = False
        """The last payload was the first of its event."""
        self.sent = 0
        """Events sent."""

    @property
    def waiting(self) -> int:
        """Digits that wait."""
        return len(self._waiting)

    @property
    def work(self) -> bool:
        """An event is in progress, or digits wait."""
        return bool(self._payloads or self._waiting)

    def add(self, digits: str) -> None:
        """Append digits (of `DIGITS` and `WAITS`), all or none. Raises TooManyDigits."""
        if len(self._waiting) + len(digits) > WAITING_LIMIT:
            raise TooManyDigits(f"more than {WAITING_LIMIT} digits would wait to be sent")
        self._waiting.extend(digits)

    def next_payload(self, ptime: int, units: int) -> bytes:
        """The payload of the next packet of `ptime` ms, with `units` of the RTP clock per ms; empty in pauses. Only
        while there is `work`."""
        self.fresh = not self._payloads
        if self.fresh:
            key = self._waiting.pop(0)
            if key in WAITS:
                self._payloads.extend([b""] * (WAITS[key] // ptime))
            else:
                self._payloads.extend(_press(DIGITS.index(key), ptime, units))
                self.sent += 1
        return self._payloads.pop(0)

    def release(self) -> None:
        """The stream goes on under other terms: what is left of the key that is down is not sent. The peer has heard
        it, and ends it by its own clock."""
        self._payloads.clear()


def _press(event: int, ptime: int, units: int) -> list[bytes]:
    """The packets of one event and its pause. Each has the duration up to its own end (section 2.5.1.2); the last is
    repeated once per packet time (section 2.5.1.4)."""
    packets, pause = -(-PRESS_MS // ptime), -(-PAUSE_MS // ptime)
    growing = [_PAYLOAD.pack(event, _VOLUME, n * ptime * units) for n in range(1, packets)]
    end = _PAYLOAD.pack(event, _END | _VOLUME, packets * ptime * units)
    return [*growing, *[end] * _ENDS, *[b""] * (pause - (_ENDS - 1))]
