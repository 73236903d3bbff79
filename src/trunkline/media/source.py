"""Where the peer's RTP comes from, and so where ours goes: symmetric RTP (RFC 4961).

The signalled address may be wrong behind a NAT, so the source of the first valid packet is learned and answered. Who
spoke first may also be a stranger. Hence:

* The signalled address itself is trusted at once and for good.
* Any other first source is provisional for `GRACE`: if the signalled address speaks in that time, it takes over.
* After that a source is settled, and nobody takes over but by signalling: a changed address opens learning anew.
* After such a change the former source is not learned again for `FORMER_REST`: a peer that has been transferred away
  goes on sending for a moment, and must not be taken for the new one.

An unspecified address (`0.0.0.0`, port 0) is no address: the old way to say hold (RFC 2543), or not known yet.
"""

from ipaddress import ip_address

from trunkline.ids import Seconds
from trunkline.sdp.values import Endpoint

Address = tuple[str, int]
"""Host and port as the socket layer gives and takes them."""

GRACE = Seconds(0.5)
FORMER_REST = Seconds(2.0)


def address_of(endpoint: Endpoint) -> Address | None:
    """A signalled address to send to; None when it is unspecified or no literal address."""
    try:
        host = ip_address(endpoint.host)
    except ValueError:
        return None
    if host.is_unspecified or not 0 < endpoint.port < 65536:
        return None
    return str(host), endpoint.port


class Source:
    """One leg's peer."""

    __slots__ = ("_former", "_former_until", "_since", "learned", "settled", "signalled")

    def __init__(self, signalled: Endpoint) -> None:
        self.signalled = address_of(signalled)
        self.learned: Address | None = None
        self.settled = False
        self._since = 0.0
        self._former: Address | None = None
        self._former_until = 0.0

    @property
    def destination(self) -> Address | None:
        """Where our packets go; None while nothing is known."""
        return self.learned or self.signalled

    def signal(self, endpoint: Endpoint, now: Seconds) -> bool:
        """The peer signalled this address; True when it is a new one, so that learning starts anew."""
        address = address_of(endpoint)
        if address is None or address == self.signalled:
            return False
        self.signalled = address
        if self.learned is None:
            return False
        if self.learned == address:
            self.settled = True
            return False
        self._former, self._former_until = self.learned, now + FORMER_REST
        self.learned = None
        self.settled = False
        return True

    def admit(self, address: Address, now: Seconds) -> bool:
        """Whether a valid packet from `address` is the peer's; learns."""
        if address == self.learned:
            if not self.settled and now - self._since >= GRACE:
                self.settled = True
            return True
        if self.settled:
            return False
        if address == self.signalled:
            self.settled = True
        elif self.learned is not None or (address == self._former and now < self._former_until):
            return False
        self.learned = address
        self._since = now
        return True
