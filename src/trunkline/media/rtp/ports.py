"""Free UDP ports: even ones for RTP, the next odd one for RTCP (RFC 3550 section 11).

A released port rests before it is used again, so that late packets of a call do not reach the next one. The port that
has been unused for longest is taken first.
"""

from collections import deque

from trunkline.errors import TrunklineError
from trunkline.ids import Seconds


class NoPorts(TrunklineError):
    """No RTP port is available: all are in use or rest, or binding failed."""


class PortPool:
    """Even ports of a range."""

    def __init__(self, ports: range, rest: Seconds) -> None:
        self._rest = rest
        self._free = deque(port for port in ports if port % 2 == 0 and port + 1 in ports)
        self._resting: deque[tuple[float, int]] = deque()

    def take(self, now: Seconds) -> int:
        """A free port. Raises NoPorts."""
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
        if not self._free:
            raise NoPorts("all RTP ports are in use")
        return self._free.popleft()

    def give_back(self, port: int, now: Seconds) -> None:
        """The port is closed; it rests from `now` on."""
        self._resting.append((now + self._rest, port))

    def __len__(self) -> int:
        """Ports not in use, resting ones included."""
        return len(self._free) + len(self._resting)
