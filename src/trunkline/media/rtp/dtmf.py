"""Telephone events (RFC 4733) as we send them: a packet each packet time instead of audio, from the press to the last
repetition of its end. What is heard of the peer's: `presses.py`.
"""

from struct import Struct

from trunkline.errors import TrunklineError

DIGITS = "0123456789*#ABCD"
"""Events 0-15 (section 3.2). The others, such as flash (16), are no digits."""

WAITS = {"w": 500, "W": 1000}
"""What may stand among digits to be sent, and how many milliseconds of pause it is."""

PRESS_MS = 160
"""How long a key that we press is down, at least; rounded up to whole packets."""

PAUSE_MS = 40
"""What lies between two keys at least: what most telephone networks ask for (ITU-T Q.24)."""

WAITING_LIMIT = 64
"""Digits that may wait to be sent: more than a number or a card has, and 13 seconds of them."""

_VOLUME = 10
"""-10 dBm0 (section 2.3.3), as most senders have it."""

_ENDS = 3
_PAYLOAD = Struct("!BBH")
_END = 0x80


class NoTelephoneEvent(TrunklineError):
    """The peer takes no telephone events."""


class TooManyDigits(TrunklineError):
    """`WAITING_LIMIT` digits wait already, or would by these."""


class DigitSender:
    """Keys to press, one after another. The owner asks for a payload each packet time while there is `work`."""

    __slots__ = ("_payloads", "_waiting", "fresh", "sent")

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._payloads: list[bytes] = []
        """What is left of the key that is down."""
        self.fresh = False
        """The last payload was the first of its key."""
        self.sent = 0
        """Keys pressed."""

    @property
    def waiting(self) -> int:
        """Digits that are yet to be sent."""
        return len(self._waiting)

    @property
    def work(self) -> bool:
        """A key is down, or will be."""
        return bool(self._payloads or self._waiting)

    def add(self, digits: str) -> None:
        """Press these keys (of `DIGITS`; `WAITS` among them) after those before; all or none. Raises TooManyDigits."""
        if len(self._waiting) + len(digits) > WAITING_LIMIT:
            raise TooManyDigits(f"more than {WAITING_LIMIT} digits would wait to be sent")
        self._waiting.extend(digits)

    def next_payload(self, ptime: int, units: int) -> bytes:
        """The payload of the next packet of `ptime` ms, with `units` of the RTP clock in each; empty in what the
        repeated ends leave of the pause, and while waiting. Only while there is `work`."""
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
    """One key press, pause included; each packet tells the duration up to its own end (section 2.5.1.2), and the last
    one is repeated at the same pace (section 2.5.1.4)."""
    packets, pause = -(-PRESS_MS // ptime), -(-PAUSE_MS // ptime)
    growing = [_PAYLOAD.pack(event, _VOLUME, n * ptime * units) for n in range(1, packets)]
    end = _PAYLOAD.pack(event, _END | _VOLUME, packets * ptime * units)
    return [*growing, *[end] * _ENDS, *[b""] * (pause - (_ENDS - 1))]
