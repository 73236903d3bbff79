"""Encryption between a leg and the network: SRTP and SRTCP (RFC 3711), by libsrtp.

A leg that is not encrypted never comes here. One that is gets a `Channel` in front of its inbound half and behind its
outbound one, so that what lies between works on plain packets alone. A packet that fails its check is counted and
dropped before anything is learned from it.

The counter that each packet's encryption depends on includes how often the sequence number has wrapped. That is never
signalled: both sides start at zero with a new key and count. Hence, as long as a key stays its session stays; and when
ours changes our SSRC changes too, with a sequence number in the lower half: then every peer starts at zero, whether it
resets its count for a new key (as most do) or not (as RFC 3711 section 3.3.1 has it).

A peer that changes its key sends some packets under the former one until our answer reaches it. So the former session
goes on being tried, until the first packet under the new key. Should the peer cancel the change, it is taken up again
with its count.
"""

from pylibsrtp import Error, Policy, Session

from trunkline.ids import Seconds
from trunkline.media.inbound import Inbound
from trunkline.media.outbound import Outbound
from trunkline.media.rtp.packet import keeps_alive
from trunkline.sdp.values import SrtpKeys

_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
PACKET_LIMIT = 1500
"""Bytes: the size of libsrtp's buffer as the binding makes it."""


def session(suite: str, key: bytes, *, inbound: bool) -> Session:
    """One direction of one key; `key` is master key and salt."""
    kind = Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=_PROFILES[suite]))


class Channel:
    """One leg's encryption."""

    __slots__ = ("_former", "_inbound", "_keys", "_ours", "_outbound", "_theirs", "auth_failed", "replayed")

    def __init__(self, keys: SrtpKeys, inbound: Inbound, outbound: Outbound) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._keys = keys
        self._theirs = session(keys.suite, keys.theirs, inbound=True)
        self._ours = session(keys.suite, keys.ours, inbound=False)
        self._former: tuple[SrtpKeys, Session] | None = None
        self.auth_failed = 0
        """Packets that were not made with the peer's key."""
        self.replayed = 0
        """Packets that came before, or that are too old to tell."""

    def rekey(self, keys: SrtpKeys) -> bool:
        """Take on what was negotiated anew; True when our key is another, so that our stream has to begin anew."""
        before, self._keys = self._keys, keys
        if (keys.suite, keys.theirs) != (before.suite, before.theirs):
            former, self._former = self._former, (before, self._theirs)
            if former is not None and (keys.suite, keys.theirs) == (former[0].suite, former[0].theirs):
                self._theirs = former[1]
            else:
                self._theirs = session(keys.suite, keys.theirs, inbound=True)
        if (keys.suite, keys.ours) == (before.suite, before.ours):
            return False
        self._ours = session(keys.suite, keys.ours, inbound=False)
        return True

    def receive(self, datagram: bytes, now: Seconds) -> None:
        """What `Inbound.receive` is to a leg without encryption."""
        plain = self.open_rtcp(datagram) if self._inbound.is_rtcp(datagram) else self.open(datagram)
        if plain is not None:
            self._inbound.receive(plain, now)

    def next_packet(self) -> bytes | None:
        """What `Outbound.next_packet` is to a leg without encryption."""
        packet = self._outbound.next_packet()
        return None if packet is None else self._ours.protect(packet)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """SRTCP of RTCP."""
        return self._ours.protect_rtcp(packet)

    def open(self, datagram: bytes) -> bytes | None:
        """The RTP packet in an SRTP packet of the peer's; None, and counted, when there is none."""
        if len(datagram) > PACKET_LIMIT:
            self._inbound.malformed += 1
            return None
        try:
            packet = self._theirs.unprotect(datagram)
        except Error as error:
            former = self._former
            if former is not None:
                try:
                    return former[1].unprotect(datagram)
                except Error:
                    pass
            self._count(error, datagram)
            return None
        self._former = None
        return packet

    def open_rtcp(self, datagram: bytes) -> bytes | None:
        """The RTCP packet in an SRTCP packet of the peer's; None, and counted, when there is none."""
        if len(datagram) > PACKET_LIMIT:
            self._inbound.malformed += 1
            return None
        try:
            return self._theirs.unprotect_rtcp(datagram)
        except Error as error:
            self._count(error, datagram)
            return None

    def _count(self, error: Error, datagram: bytes) -> None:
        if keeps_alive(datagram):
            self._inbound.keepalives += 1
            return
        # The binding tells the kind of an error by its words alone.
        reason = str(error)
        if reason == "authentication failure":
            self.auth_failed += 1
        elif reason.startswith("replay") or reason == "packet index is too old to consider":
            self.replayed += 1
        else:
            self._inbound.malformed += 1
